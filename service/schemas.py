"""What travels over REST: the form and its options, and what the server tells about its model."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import UploadFile
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
from starlette.datastructures import UploadFile as FormFile  # what the form parser makes

from model.bundle import Bundle, Parity
from model.classes import Classes
from model.styles import Between, StyleChoice, style_wish
from model.styles import Style as _Style
from service.errors import ServiceError

MAX_OPTIONS_BYTES = 256 << 10


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

    # JavaScript's largest exact integer: every client can send every seed.
    seed: StrictInt = Field(
        default=0,
        ge=0,
        le=2**53 - 1,
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
    if key.isdecimal() and int(key) < len(classes):
        return int(key)
    raise ServiceError.at(
        ["options", "class_styles", key],
        "CLASS_NOT_FOUND",
        f"options: class_styles names {key!r}; the classes are {', '.join(classes.names)}, "
        f"or label ids 0 to {len(classes) - 1}",
    )


def _parsed(value: Any) -> Any:
    """Read the JSON of a form field, which browsers and generated clients send as a file."""
    if isinstance(value, FormFile):
        value = value.file.read(MAX_OPTIONS_BYTES + 1)
    if len(value) > MAX_OPTIONS_BYTES:
        raise ValueError(f"has more than {MAX_OPTIONS_BYTES} bytes")
    try:
        return from_json(value)
    except ValueError as error:
        raise ValueError(f"is no JSON: {error}") from error


class SynthesisForm(BaseModel):
    """The multipart form of a synthesis. Unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")

    label: UploadFile = Field(
        description="label map: PNG with one channel (grey of 8 or 16 bits, or palette) that "
        "holds the class of every pixel; see `/v1/models` for the classes"
    )
    # A form leaves a field out; it cannot hold null.
    instance: UploadFile | SkipJsonSchema[None] = Field(
        default=None,
        description="instance map of the same size: PNG (8 or 16 bits), or TIFF or .npy (32 bits) "
        "that holds an id per object; without it connected regions of one class are objects",
    )
    options: Annotated[SynthesisOptions, BeforeValidator(_parsed)] = Field(
        default_factory=SynthesisOptions, description="JSON, as text or as a file"
    )


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
        "levels 0..255; null = the engine is the reference"
    )
    classes: list[SceneClass]
    ignore_labels: list[int] = Field(description="label values that mean 'no class'")
    size: SizeRules
    style_channels: int = Field(description="length of a style code; 0 = a model without styles")
    samples: bool = Field(description="whether `/v1/samples` draws scenes for it")

    @classmethod
    def of(
        cls, bundle: Bundle, backend: str, engine: str, max_pixels: int, samples: bool
    ) -> ModelDescription:
        """Describe the bundle that a backend's engine runs."""
        names = zip(bundle.classes.names, bundle.classes.palette, strict=True)
        parities = [entry.parity for entry in bundle.engines if entry.backend == backend]
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


class ModelList(BaseModel):
    """The models being served."""

    models: list[ModelDescription]
