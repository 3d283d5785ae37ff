from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class MapEncoding(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MAP_ENCODING_UNSPECIFIED: _ClassVar[MapEncoding]
    MAP_ENCODING_FILE: _ClassVar[MapEncoding]
    MAP_ENCODING_RAW: _ClassVar[MapEncoding]
    MAP_ENCODING_RAW_ZLIB: _ClassVar[MapEncoding]

class ElementType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ELEMENT_TYPE_UNSPECIFIED: _ClassVar[ElementType]
    ELEMENT_TYPE_UINT8: _ClassVar[ElementType]
    ELEMENT_TYPE_UINT16: _ClassVar[ElementType]
    ELEMENT_TYPE_INT32: _ClassVar[ElementType]

class ImageFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    IMAGE_FORMAT_UNSPECIFIED: _ClassVar[ImageFormat]
    IMAGE_FORMAT_PNG: _ClassVar[ImageFormat]
    IMAGE_FORMAT_JPEG: _ClassVar[ImageFormat]
    IMAGE_FORMAT_WEBP: _ClassVar[ImageFormat]
    IMAGE_FORMAT_RAW: _ClassVar[ImageFormat]

class Delivery(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DELIVERY_UNSPECIFIED: _ClassVar[Delivery]
    DELIVERY_LATEST_ONLY: _ClassVar[Delivery]
    DELIVERY_ORDERED: _ClassVar[Delivery]

class DropReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DROP_REASON_UNSPECIFIED: _ClassVar[DropReason]
    DROP_REASON_SUPERSEDED: _ClassVar[DropReason]
    DROP_REASON_EXPIRED: _ClassVar[DropReason]
    DROP_REASON_OVERLOADED: _ClassVar[DropReason]
    DROP_REASON_INVALID: _ClassVar[DropReason]
MAP_ENCODING_UNSPECIFIED: MapEncoding
MAP_ENCODING_FILE: MapEncoding
MAP_ENCODING_RAW: MapEncoding
MAP_ENCODING_RAW_ZLIB: MapEncoding
ELEMENT_TYPE_UNSPECIFIED: ElementType
ELEMENT_TYPE_UINT8: ElementType
ELEMENT_TYPE_UINT16: ElementType
ELEMENT_TYPE_INT32: ElementType
IMAGE_FORMAT_UNSPECIFIED: ImageFormat
IMAGE_FORMAT_PNG: ImageFormat
IMAGE_FORMAT_JPEG: ImageFormat
IMAGE_FORMAT_WEBP: ImageFormat
IMAGE_FORMAT_RAW: ImageFormat
DELIVERY_UNSPECIFIED: Delivery
DELIVERY_LATEST_ONLY: Delivery
DELIVERY_ORDERED: Delivery
DROP_REASON_UNSPECIFIED: DropReason
DROP_REASON_SUPERSEDED: DropReason
DROP_REASON_EXPIRED: DropReason
DROP_REASON_OVERLOADED: DropReason
DROP_REASON_INVALID: DropReason

class Map(_message.Message):
    __slots__ = ("encoding", "element_type", "width", "height", "data")
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    ELEMENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    encoding: MapEncoding
    element_type: ElementType
    width: int
    height: int
    data: bytes
    def __init__(self, encoding: _Optional[_Union[MapEncoding, str]] = ..., element_type: _Optional[_Union[ElementType, str]] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class MapTile(_message.Message):
    __slots__ = ("x", "y", "map")
    X_FIELD_NUMBER: _ClassVar[int]
    Y_FIELD_NUMBER: _ClassVar[int]
    MAP_FIELD_NUMBER: _ClassVar[int]
    x: int
    y: int
    map: Map
    def __init__(self, x: _Optional[int] = ..., y: _Optional[int] = ..., map: _Optional[_Union[Map, _Mapping]] = ...) -> None: ...

class Rectangle(_message.Message):
    __slots__ = ("x", "y", "width", "height")
    X_FIELD_NUMBER: _ClassVar[int]
    Y_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    x: int
    y: int
    width: int
    height: int
    def __init__(self, x: _Optional[int] = ..., y: _Optional[int] = ..., width: _Optional[int] = ..., height: _Optional[int] = ...) -> None: ...

class StyleCode(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, values: _Optional[_Iterable[float]] = ...) -> None: ...

class StyleBetween(_message.Message):
    __slots__ = ("first", "second", "at")
    FIRST_FIELD_NUMBER: _ClassVar[int]
    SECOND_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    first: Style
    second: Style
    at: float
    def __init__(self, first: _Optional[_Union[Style, _Mapping]] = ..., second: _Optional[_Union[Style, _Mapping]] = ..., at: _Optional[float] = ...) -> None: ...

class Style(_message.Message):
    __slots__ = ("cluster", "code", "between")
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    BETWEEN_FIELD_NUMBER: _ClassVar[int]
    cluster: int
    code: StyleCode
    between: StyleBetween
    def __init__(self, cluster: _Optional[int] = ..., code: _Optional[_Union[StyleCode, _Mapping]] = ..., between: _Optional[_Union[StyleBetween, _Mapping]] = ...) -> None: ...

class Styles(_message.Message):
    __slots__ = ("seed", "instances", "classes")
    class InstancesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: Style
        def __init__(self, key: _Optional[int] = ..., value: _Optional[_Union[Style, _Mapping]] = ...) -> None: ...
    class ClassesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: Style
        def __init__(self, key: _Optional[int] = ..., value: _Optional[_Union[Style, _Mapping]] = ...) -> None: ...
    SEED_FIELD_NUMBER: _ClassVar[int]
    INSTANCES_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    seed: int
    instances: _containers.MessageMap[int, Style]
    classes: _containers.MessageMap[int, Style]
    def __init__(self, seed: _Optional[int] = ..., instances: _Optional[_Mapping[int, Style]] = ..., classes: _Optional[_Mapping[int, Style]] = ...) -> None: ...

class StageSeconds(_message.Message):
    __slots__ = ("decode", "queue", "infer", "encode")
    DECODE_FIELD_NUMBER: _ClassVar[int]
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    INFER_FIELD_NUMBER: _ClassVar[int]
    ENCODE_FIELD_NUMBER: _ClassVar[int]
    decode: float
    queue: float
    infer: float
    encode: float
    def __init__(self, decode: _Optional[float] = ..., queue: _Optional[float] = ..., infer: _Optional[float] = ..., encode: _Optional[float] = ...) -> None: ...

class Photo(_message.Message):
    __slots__ = ("format", "width", "height", "data")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    format: ImageFormat
    width: int
    height: int
    data: bytes
    def __init__(self, format: _Optional[_Union[ImageFormat, str]] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class SynthesizeRequest(_message.Message):
    __slots__ = ("model", "label", "instance", "styles", "format", "quality", "style_photo", "min_faithfulness")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    STYLES_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    STYLE_PHOTO_FIELD_NUMBER: _ClassVar[int]
    MIN_FAITHFULNESS_FIELD_NUMBER: _ClassVar[int]
    model: str
    label: Map
    instance: Map
    styles: Styles
    format: ImageFormat
    quality: int
    style_photo: bytes
    min_faithfulness: float
    def __init__(self, model: _Optional[str] = ..., label: _Optional[_Union[Map, _Mapping]] = ..., instance: _Optional[_Union[Map, _Mapping]] = ..., styles: _Optional[_Union[Styles, _Mapping]] = ..., format: _Optional[_Union[ImageFormat, str]] = ..., quality: _Optional[int] = ..., style_photo: _Optional[bytes] = ..., min_faithfulness: _Optional[float] = ...) -> None: ...

class SynthesizeResponse(_message.Message):
    __slots__ = ("photo", "model_version", "seconds", "faithfulness")
    PHOTO_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    FAITHFULNESS_FIELD_NUMBER: _ClassVar[int]
    photo: Photo
    model_version: str
    seconds: StageSeconds
    faithfulness: float
    def __init__(self, photo: _Optional[_Union[Photo, _Mapping]] = ..., model_version: _Optional[str] = ..., seconds: _Optional[_Union[StageSeconds, _Mapping]] = ..., faithfulness: _Optional[float] = ...) -> None: ...

class SynthesizeStreamRequest(_message.Message):
    __slots__ = ("config", "frame", "ack", "styles", "heartbeat")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    STYLES_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    config: StreamConfig
    frame: Frame
    ack: Ack
    styles: Styles
    heartbeat: Heartbeat
    def __init__(self, config: _Optional[_Union[StreamConfig, _Mapping]] = ..., frame: _Optional[_Union[Frame, _Mapping]] = ..., ack: _Optional[_Union[Ack, _Mapping]] = ..., styles: _Optional[_Union[Styles, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ...) -> None: ...

class SynthesizeStreamResponse(_message.Message):
    __slots__ = ("ready", "result", "dropped", "pacing", "go_away", "heartbeat")
    READY_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    PACING_FIELD_NUMBER: _ClassVar[int]
    GO_AWAY_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    ready: Ready
    result: FrameResult
    dropped: FrameDropped
    pacing: Pacing
    go_away: GoAway
    heartbeat: Heartbeat
    def __init__(self, ready: _Optional[_Union[Ready, _Mapping]] = ..., result: _Optional[_Union[FrameResult, _Mapping]] = ..., dropped: _Optional[_Union[FrameDropped, _Mapping]] = ..., pacing: _Optional[_Union[Pacing, _Mapping]] = ..., go_away: _Optional[_Union[GoAway, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ...) -> None: ...

class StreamConfig(_message.Message):
    __slots__ = ("model", "format", "quality", "delivery", "max_unacknowledged", "max_age_ms", "styles", "steady")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_FIELD_NUMBER: _ClassVar[int]
    MAX_UNACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    MAX_AGE_MS_FIELD_NUMBER: _ClassVar[int]
    STYLES_FIELD_NUMBER: _ClassVar[int]
    STEADY_FIELD_NUMBER: _ClassVar[int]
    model: str
    format: ImageFormat
    quality: int
    delivery: Delivery
    max_unacknowledged: int
    max_age_ms: int
    styles: Styles
    steady: bool
    def __init__(self, model: _Optional[str] = ..., format: _Optional[_Union[ImageFormat, str]] = ..., quality: _Optional[int] = ..., delivery: _Optional[_Union[Delivery, str]] = ..., max_unacknowledged: _Optional[int] = ..., max_age_ms: _Optional[int] = ..., styles: _Optional[_Union[Styles, _Mapping]] = ..., steady: _Optional[bool] = ...) -> None: ...

class Frame(_message.Message):
    __slots__ = ("frame_id", "capture_time_us", "max_age_ms", "label", "instance", "label_tiles", "instance_tiles", "scene_cut", "region", "reduction")
    FRAME_ID_FIELD_NUMBER: _ClassVar[int]
    CAPTURE_TIME_US_FIELD_NUMBER: _ClassVar[int]
    MAX_AGE_MS_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    LABEL_TILES_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_TILES_FIELD_NUMBER: _ClassVar[int]
    SCENE_CUT_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    REDUCTION_FIELD_NUMBER: _ClassVar[int]
    frame_id: int
    capture_time_us: int
    max_age_ms: int
    label: Map
    instance: Map
    label_tiles: _containers.RepeatedCompositeFieldContainer[MapTile]
    instance_tiles: _containers.RepeatedCompositeFieldContainer[MapTile]
    scene_cut: bool
    region: Rectangle
    reduction: int
    def __init__(self, frame_id: _Optional[int] = ..., capture_time_us: _Optional[int] = ..., max_age_ms: _Optional[int] = ..., label: _Optional[_Union[Map, _Mapping]] = ..., instance: _Optional[_Union[Map, _Mapping]] = ..., label_tiles: _Optional[_Iterable[_Union[MapTile, _Mapping]]] = ..., instance_tiles: _Optional[_Iterable[_Union[MapTile, _Mapping]]] = ..., scene_cut: _Optional[bool] = ..., region: _Optional[_Union[Rectangle, _Mapping]] = ..., reduction: _Optional[int] = ...) -> None: ...

class Ack(_message.Message):
    __slots__ = ("frame_id",)
    FRAME_ID_FIELD_NUMBER: _ClassVar[int]
    frame_id: int
    def __init__(self, frame_id: _Optional[int] = ...) -> None: ...

class Ready(_message.Message):
    __slots__ = ("session_id", "model", "model_version", "window")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    model: str
    model_version: str
    window: int
    def __init__(self, session_id: _Optional[str] = ..., model: _Optional[str] = ..., model_version: _Optional[str] = ..., window: _Optional[int] = ...) -> None: ...

class FrameResult(_message.Message):
    __slots__ = ("frame_id", "capture_time_us", "photo", "seconds", "age", "region", "new_styles")
    FRAME_ID_FIELD_NUMBER: _ClassVar[int]
    CAPTURE_TIME_US_FIELD_NUMBER: _ClassVar[int]
    PHOTO_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    AGE_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    NEW_STYLES_FIELD_NUMBER: _ClassVar[int]
    frame_id: int
    capture_time_us: int
    photo: Photo
    seconds: StageSeconds
    age: float
    region: Rectangle
    new_styles: _containers.RepeatedCompositeFieldContainer[InstanceStyle]
    def __init__(self, frame_id: _Optional[int] = ..., capture_time_us: _Optional[int] = ..., photo: _Optional[_Union[Photo, _Mapping]] = ..., seconds: _Optional[_Union[StageSeconds, _Mapping]] = ..., age: _Optional[float] = ..., region: _Optional[_Union[Rectangle, _Mapping]] = ..., new_styles: _Optional[_Iterable[_Union[InstanceStyle, _Mapping]]] = ...) -> None: ...

class InstanceStyle(_message.Message):
    __slots__ = ("instance", "label", "code")
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    instance: int
    label: int
    code: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, instance: _Optional[int] = ..., label: _Optional[int] = ..., code: _Optional[_Iterable[float]] = ...) -> None: ...

class FrameDropped(_message.Message):
    __slots__ = ("first_frame_id", "last_frame_id", "reason", "error")
    FIRST_FRAME_ID_FIELD_NUMBER: _ClassVar[int]
    LAST_FRAME_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    first_frame_id: int
    last_frame_id: int
    reason: DropReason
    error: ErrorDetail
    def __init__(self, first_frame_id: _Optional[int] = ..., last_frame_id: _Optional[int] = ..., reason: _Optional[_Union[DropReason, str]] = ..., error: _Optional[_Union[ErrorDetail, _Mapping]] = ...) -> None: ...

class Pacing(_message.Message):
    __slots__ = ("frames_per_second",)
    FRAMES_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    frames_per_second: float
    def __init__(self, frames_per_second: _Optional[float] = ...) -> None: ...

class GoAway(_message.Message):
    __slots__ = ("drain_s",)
    DRAIN_S_FIELD_NUMBER: _ClassVar[int]
    drain_s: float
    def __init__(self, drain_s: _Optional[float] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("time_us",)
    TIME_US_FIELD_NUMBER: _ClassVar[int]
    time_us: int
    def __init__(self, time_us: _Optional[int] = ...) -> None: ...

class ErrorDetail(_message.Message):
    __slots__ = ("reason", "message")
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    reason: str
    message: str
    def __init__(self, reason: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class GetModelRequest(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    def __init__(self, model: _Optional[str] = ...) -> None: ...

class GetModelResponse(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: Model
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("name", "version", "engine", "classes", "ignore_labels", "max_pixels", "size_multiple", "style_channels")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ENGINE_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    IGNORE_LABELS_FIELD_NUMBER: _ClassVar[int]
    MAX_PIXELS_FIELD_NUMBER: _ClassVar[int]
    SIZE_MULTIPLE_FIELD_NUMBER: _ClassVar[int]
    STYLE_CHANNELS_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    engine: str
    classes: _containers.RepeatedCompositeFieldContainer[ModelClass]
    ignore_labels: _containers.RepeatedScalarFieldContainer[int]
    max_pixels: int
    size_multiple: int
    style_channels: int
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., engine: _Optional[str] = ..., classes: _Optional[_Iterable[_Union[ModelClass, _Mapping]]] = ..., ignore_labels: _Optional[_Iterable[int]] = ..., max_pixels: _Optional[int] = ..., size_multiple: _Optional[int] = ..., style_channels: _Optional[int] = ...) -> None: ...

class ModelClass(_message.Message):
    __slots__ = ("id", "name", "colour", "styles")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    COLOUR_FIELD_NUMBER: _ClassVar[int]
    STYLES_FIELD_NUMBER: _ClassVar[int]
    id: int
    name: str
    colour: int
    styles: int
    def __init__(self, id: _Optional[int] = ..., name: _Optional[str] = ..., colour: _Optional[int] = ..., styles: _Optional[int] = ...) -> None: ...
