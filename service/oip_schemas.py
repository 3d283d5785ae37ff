"""The JSON of the Open Inference Protocol v2, as far as hdsynth speaks it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from service.oip import TensorDescription

MAX_RANK = 8


class ServerMetadata(BaseModel):
    """What answers."""

    name: str
    version: str
    extensions: list[str]


class TensorMetadata(BaseModel):
    """What a tensor is like; -1 in a shape stands for any size."""

    name: str
    datatype: str
    shape: list[int]

    @classmethod
    def of(cls, tensor: TensorDescription) -> TensorMetadata:
        """Describe a tensor."""
        return cls(name=tensor.name, datatype=tensor.datatype, shape=list(tensor.shape))


class ModelMetadata(BaseModel):
    """What a model takes and gives."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ModelReady(BaseModel):
    """Whether a model is served."""

    name: str
    ready: bool


class InferenceInput(BaseModel):
    """A tensor."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field(examples=["label"])
    shape: list[int] = Field(max_length=MAX_RANK, examples=[[1, 2, 3]])
    datatype: str = Field(examples=["UINT8"])
    parameters: dict[str, Any] = Field(
        default={}, description="`binary_data_size`: the bytes that stand behind the JSON"
    )
    data: list[Any] | None = Field(
        default=None, description="elements, flat or nested", examples=[[1, 1, 8, 1, 8, 8]]
    )


class InferenceOutput(BaseModel):
    """An output that is wanted."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field(examples=["image"])
    parameters: dict[str, Any] = Field(
        default={}, description="`binary_data`: whether it comes as bytes behind the JSON"
    )


class InferenceRequest(BaseModel):
    """A batch to synthesise; `/v2/models/{model}` tells the tensors."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: str = Field(default="", max_length=1000, description="comes back in the answer")
    parameters: dict[str, Any] = Field(
        default={},
        description="`seed`; `format`: raw, png, jpeg or webp; `timeout`: microseconds; "
        "`binary_data_output`: whether outputs come as bytes behind the JSON",
    )
    inputs: list[InferenceInput] = Field(max_length=16)
    outputs: list[InferenceOutput] = Field(default=[], max_length=16)


class InferenceResult(BaseModel):
    """One output."""

    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, int] = Field(default={}, description="`binary_data_size`")
    data: list[int] | None = None


class InferenceResponse(BaseModel):
    """The outputs of a batch."""

    model_name: str
    model_version: str
    id: str
    outputs: list[InferenceResult]
