"""Image files in and out: maps, source images and photographs. Needs no torch.

``model.map_io`` reads maps, ``model.source_io`` source images, and ``model.photo_io`` reads and
writes photographs; this is what the rest of the product uses of them.
"""

from model.errors import MapError
from model.map_io import decode_instance_map, decode_label_map, read_instance_map, read_label_map
from model.photo_io import (
    PHOTO_FORMATS,
    FormatName,
    PhotoFormat,
    decode_photo,
    encode_photo,
    photo_format,
    read_photo,
    write_photo,
)
from model.source_io import decode_source, read_source

__all__ = [
    "PHOTO_FORMATS",
    "FormatName",
    "MapError",
    "PhotoFormat",
    "decode_instance_map",
    "decode_label_map",
    "decode_photo",
    "decode_source",
    "encode_photo",
    "photo_format",
    "read_instance_map",
    "read_label_map",
    "read_photo",
    "read_source",
    "write_photo",
]
