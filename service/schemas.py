"""What travels over REST: the form and its options, and what the server tells about its model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    StrictInt,
    WithJsonSchema,
)
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import from_json

from model.bundle import Bundle, Parity
from model.classes import Classes
from model.styles import Between, StyleChoice, style_wish
from model.styles import Style as _Style
from service.errors import ServiceError
from service.jobs import ElementType

if TYPE_CHECKING:
    from service.forms import Part

MAX_OPTIONS_BYTES = 256 << 10
MAX_SEED = 2**53 - 1
"""JavaScript's largest exact integer: every client can send every seed."""
MAX_SIDE = 2**31 - 1
MAX_DEADLINE_MS = 24 * 3600 * 1000


_CODE_OR_NUMBER = {"oneOf": [{"type": "integer"}, {"type": "array", "items": {"type": "number"}}]}

# The model's own limits are checked with the scene.
Style = Annotated[
    _Style | Between,
    PlainValidator(style_wish),
    WithJsonSchema(
        {
            "oneOf": [
                *_CODE_OR_NUMBER["oneOf"],
                {
                    "type": "object",
                    "required": ["between", "at"],
                    "additionalProperties": False,
                    "properties": {
                        "between": {
                            "type": "array",
                            "items": _CODE_OR_NUMBER,
                            "minItems": 2,
                            "maxItems": 2,
                        },
                        "at": {"type": "number", "minimum": 0, "maximum": 1},
                    },
                },
            ]
        }
    ),
]


class SynthesisOptions(BaseModel):
    """How the photograph is made. Unknown entries are refused."""

    model_config = ConfigDict(extra="forbid", title="Options")

    seed: StrictInt = Field(
        default=0,
        ge=0,
        le=MAX_SEED,
        description="chooses a style for every object; the same seed gives the same photograph",
    )
    styles: dict[int, Style] = Field(
        default={},
        description="instance id -> style: the number of one of its class's styles, a code, or "
        "a place between two of them",
    )
    class_styles: dict[str, Style] = Field(
        default={},
        description="class name or label id -> style of all its objects that `styles` leaves out",
    )
    quality: StrictInt | None = Field(
        default=None,
        ge=1,
        le=100,
        description="quality of JPEG and WebP; PNG is lossless and ignores it",
    )

    def choice(self, classes: Classes) -> StyleChoice:
        """Name the classes by label id. Raises ServiceError CLASS_NOT_FOUND."""
        by_label = {_label_id(key, classes): style for key, style in self.class_styles.items()}
        return StyleChoice(self.seed, self.styles, by_label)


def _label_id(key: str, classes: Classes) -> int:
    if key in classes.names:
        return classes.names.index(key)
    # Python refuses to read numbers of thousands of digits.
    if key.isdecimal() and len(key) < 10 and int(key) < len(classes):
        return int(key)
    raise ServiceError.at(
        ["options", "class_styles", key],
        "CLASS_NOT_FOUND",
        f"options: class_styles names {key[:60]!r}; the classes are {', '.join(classes.names)}, "
        f"or label ids 0 to {len(classes) - 1}",
    )


class RawPlane(BaseModel):
    """How to read a map that is sent as plain numbers instead of a file."""

    model_config = ConfigDict(extra="forbid")

    encoding: Literal["raw", "raw_zlib"] = Field(
        description="rows from top to bottom without padding, elements little-endian; or the "
        "same, deflated as zlib does"
    )
    element_type: ElementType = "uint8"
    width: StrictInt = Field(ge=1, le=MAX_SIDE, description="pixels")
    height: StrictInt = Field(ge=1, le=MAX_SIDE, description="pixels")


class FormOptions(SynthesisOptions):
    """How the photograph is made, and how the form's files are to be read."""

    label: RawPlane | None = Field(
        default=None, description="size and type of a raw label map; leave out for a file"
    )
    instance: RawPlane | None = Field(default=None, description="the same for the instance map")
    deadline_ms: StrictInt | None = Field(
        default=None,
        ge=1,
        le=MAX_DEADLINE_MS,
        description="milliseconds from now after which the photograph is of no use any more",
    )
    min_faithfulness: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="scores how well the photograph shows its layout, and refuses it below this; "
        "0 = only scores it; needs a server with a judge",
    )


def _parsed(part: Part) -> Any:
    """Read the JSON of a form field, which browsers and generated clients send as a file."""
    if len(part.data) > MAX_OPTIONS_BYTES:
        raise ValueError(f"has more than {MAX_OPTIONS_BYTES} bytes")
    try:
        return from_json(part.data)
    except ValueError as error:
        raise ValueError(f"is no JSON: {error}") from error


def _file(part: Part) -> bytes:
    if not part.is_file:
        raise ValueError("is text instead of a file")
    return part.data


File = Annotated[
    bytes,
    PlainValidator(_file),
    WithJsonSchema({"type": "string", "contentMediaType": "application/octet-stream"}),
]
"""A file in a form; read by `service.forms`."""


class SynthesisForm(BaseModel):
    """The multipart form of a synthesis. Unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")

    label: File = Field(
        description="label map: PNG with one channel (grey of 8 or 16 bits, or palette) that "
        "holds the class of every pixel; see `/v1/models` for the classes; or a raw plane that "
        "`options` describes"
    )
    # A form leaves a field out; it cannot hold null.
    instance: File | SkipJsonSchema[None] = Field(
        default=None,
        description="instance map of the same size: PNG (8 or 16 bits), or TIFF or .npy (32 bits) "
        "that holds an id per object, or a raw plane; without it connected regions of one class "
        "are objects",
    )
    style_photo: File | SkipJsonSchema[None] = Field(
        default=None,
        description="photograph of the same layout and size (JPEG, PNG or WebP): its objects' "
        "styles are taken, but for those that `options` chooses",
    )
    options: Annotated[FormOptions, BeforeValidator(_parsed)] = Field(
        default_factory=FormOptions, description="JSON, as text or as a file"
    )


class EncodeForm(BaseModel):
    """The multipart form of a photograph. Unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")

    photo: File = Field(description="photograph: JPEG, PNG or WebP")
    label: File = Field(description="its label map, of the same size, as for `/v1/synthesize`")
    instance: File | SkipJsonSchema[None] = Field(
        default=None,
        description="its instance map; without it connected regions of one class are objects",
    )


class EncodedStyles(BaseModel):
    """The styles of a photograph's objects, as the options of `/v1/synthesize` take them."""

    styles: dict[int, list[float]] = Field(description="instance id -> code")
    class_styles: dict[str, list[float]] = Field(
        description="class name -> mean code of its objects, for scenes with other objects"
    )
    model_version: str


class SceneClass(BaseModel):
    """One class of a label map."""

    id: int = Field(description="value in the label map")
    name: str
    colour: tuple[int, int, int] = Field(description="display colour: red, green, blue 0..255")
    styles: int = Field(description="number of styles; `options` chooses one of 0 .. styles - 1")


class SizeRules(BaseModel):
    """Which sizes are synthesised how."""

    multiple: int = Field(description="sides are padded to a multiple of this, and cropped back")
    minimum: int = Field(description="shorter sides are padded to this, and cropped back")
    max_pixels: int = Field(description="largest scene after padding, in pixels")
    trained: tuple[int, int] | None = Field(description="width and height seen in training")


class ModelDescription(BaseModel):
    """A model being served."""

    name: str
    version: str = Field(description="changes with every bit of the model")
    engine: str = Field(description="what runs it")
    parity: Parity | None = Field(
        description="how far the engine's pixels are from the reference implementation, in grey "
        "levels 0..255; null = the bundle has no record of this engine"
    )
    classes: list[SceneClass]
    ignore_labels: list[int] = Field(description="label values that mean 'no class'")
    size: SizeRules
    style_channels: int = Field(description="length of a style code; 0 = a model without styles")
    samples: bool = Field(description="whether `/v1/samples` draws scenes for it")

    @classmethod
    def of(cls, bundle: Bundle, engine: str, max_pixels: int, samples: bool) -> ModelDescription:
        """Describe the bundle that an engine runs, by the engine's name: runtime ... precision."""
        names = zip(bundle.classes.names, bundle.classes.palette, strict=True)
        runtime, *_, precision = engine.split()
        parities = [
            entry.parity
            for entry in bundle.engines
            if (entry.backend, entry.precision) == (runtime, precision)
        ]
        return cls(
            name=bundle.name,
            version=bundle.version,
            engine=engine,
            parity=parities[0] if parities else None,
            classes=[
                SceneClass(id=i, name=name, colour=colour, styles=len(bundle.styles.get(i, ())))
                for i, (name, colour) in enumerate(names)
            ],
            ignore_labels=list(bundle.ignore_labels),
            size=SizeRules(
                multiple=bundle.generator.size_multiple,
                minimum=bundle.generator.minimum_side,
                max_pixels=max_pixels,
                trained=bundle.trained_size,
            ),
            style_channels=bundle.input.style_channels,
            samples=samples,
        )


class ModelStatus(BaseModel):
    """Where a model stands."""

    name: str
    version: str = Field(default="", description="being served; empty = none")
    state: Literal["loading", "ready", "failed"] = Field(
        description="of the last loading; a version that was served before it is served until a "
        "new one is ready"
    )
    reason: str = Field(default="", description="why the loading failed")


class ModelSourceText(BaseModel):
    """Where a model is to be loaded from."""

    model_config = ConfigDict(extra="forbid")

    source: str = Field(
        min_length=1,
        max_length=2000,
        description="folder or archive on the server, or URL of an archive, with #sha256=HEX "
        "behind it if it shall be checked",
    )


class ModelList(BaseModel):
    """The models being served."""

    models: list[ModelDescription]
    status: list[ModelStatus] = Field(description="also of models that are not served (yet)")
