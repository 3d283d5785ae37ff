"""Photographs: any common kind read as RGB, ours written fast, exact and whole."""

from __future__ import annotations

import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from model.errors import MapError
from model.image_io import (
    PHOTO_FORMATS,
    FormatName,
    decode_photo,
    encode_photo,
    photo_format,
    read_photo,
    write_photo,
)

LIMIT = 1 << 22
ROTATED = 6
"""EXIF orientation of a camera held upright: the picture needs a quarter turn clockwise."""


def smooth_photo(height: int, width: int) -> NDArray[np.uint8]:
    """Draw overlapping waves, which every lossy format keeps well: (H, W, 3)."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 37 + phase) + np.cos(y / 29 - phase) for phase in (0, 1, 2)]
    return (128 + 55 * np.stack(waves, axis=-1)).astype(np.uint8)


def encoded(image: Image.Image, format_name: str, **options: Any) -> bytes:
    """Encode with Pillow."""
    stream = io.BytesIO()
    image.save(stream, format_name, **options)
    return stream.getvalue()


def pixels(data: bytes) -> NDArray[np.uint8]:
    """Decode with Pillow, the independent reader."""
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == "RGB"
        return np.array(image)


def with_chunk(png: bytes, kind: bytes, body: bytes) -> bytes:
    """Put a chunk behind the header of a PNG file."""
    checksum = struct.pack(">I", zlib.crc32(kind + body))
    return png[:33] + struct.pack(">I", len(body)) + kind + body + checksum + png[33:]


def refusal(data: bytes, max_pixels: int = LIMIT) -> MapError:
    """Decode ``data`` as the upload "field" and return the error."""
    with pytest.raises(MapError, match=r"^field: ") as caught:
        decode_photo(data, max_pixels=max_pixels, name="field")
    return caught.value


@pytest.mark.parametrize(
    "shape",
    [(1, 1), (1, 7), (7, 1), (3, 5), (31, 33), (255, 257), (513, 1025), (1, 600_000), (600_000, 1)],
)
def test_png_is_lossless_at_every_size(shape: tuple[int, int]) -> None:
    """Noise, flat colour and gradients come back exactly, in one strip or several."""
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    for image in (noise, np.full_like(noise, 255), smooth_photo(*shape)):
        np.testing.assert_array_equal(pixels(encode_photo(image, "png")), image)


def test_png_of_many_strips_is_lossless() -> None:
    """More strips than threads, of unequal heights, join to one picture."""
    image = smooth_photo(1999, 1501)
    image[::3] = np.random.default_rng(1).integers(0, 256, image[::3].shape, np.uint8)
    np.testing.assert_array_equal(pixels(encode_photo(image, "png")), image)


def test_encoding_from_many_threads_agrees() -> None:
    """The encoders share no state."""
    image = smooth_photo(700, 900)
    for name in PHOTO_FORMATS:
        with ThreadPoolExecutor(8) as pool:
            results = set(pool.map(lambda _, name=name: encode_photo(image, name), range(16)))
        assert results == {encode_photo(image, name)}


@pytest.mark.parametrize("name", ["jpeg", "webp"])
@pytest.mark.parametrize("shape", [(64, 96), (33, 51), (1, 1)])
def test_lossy_formats_keep_the_picture(name: FormatName, shape: tuple[int, int]) -> None:
    """Size and colours survive, odd sizes included."""
    image = smooth_photo(*shape)
    decoded = pixels(encode_photo(image, name)).astype(int)
    assert decoded.shape == image.shape
    assert np.abs(decoded - image).mean() < 4


@pytest.mark.parametrize("name", ["jpeg", "webp"])
def test_quality_trades_bytes(name: FormatName) -> None:
    """A higher quality gives a larger file; none given means the format's own."""
    image = smooth_photo(128, 128)
    small, large = (encode_photo(image, name, quality) for quality in (30, 95))
    assert len(small) < len(large)
    default = encode_photo(image, name, PHOTO_FORMATS[name].quality)
    assert encode_photo(image, name) == default


@pytest.mark.parametrize("name", PHOTO_FORMATS)
def test_views_are_encoded_like_their_copies(name: FormatName) -> None:
    """A crop or a mirror image, not contiguous in memory, is encoded right."""
    image = smooth_photo(50, 60)
    for view in (image[5:40, 7:50], image[:, ::-1], image[::2]):
        assert encode_photo(view, name) == encode_photo(view.copy(), name)


@pytest.mark.parametrize("name", PHOTO_FORMATS)
def test_media_types_fit_the_bytes(name: FormatName) -> None:
    """The table announces what the encoder writes, and knows its suffixes."""
    with Image.open(io.BytesIO(encode_photo(smooth_photo(8, 8), name))) as image:
        assert image.get_format_mimetype() == PHOTO_FORMATS[name].media_type
    for suffix in PHOTO_FORMATS[name].suffixes:
        assert photo_format(f"scene{suffix.upper()}") == name


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 5, 3), np.float32),
        np.zeros((4, 5), np.uint8),
        np.zeros((4, 5, 4), np.uint8),
        np.zeros((0, 5, 3), np.uint8),
    ],
)
def test_other_arrays_are_refused(image: NDArray[Any]) -> None:
    """The message names type and shape."""
    with pytest.raises(ValueError, match="uint8 array") as caught:
        encode_photo(image, "png")
    assert f"{image.dtype} of shape {image.shape}" in str(caught.value)


def test_unknown_format_and_quality_are_refused() -> None:
    """Both messages name the value and the choice."""
    image = smooth_photo(8, 8)
    with pytest.raises(ValueError, match="'gif'; choose png, jpeg, webp"):
        encode_photo(image, "gif")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"quality is 0; it must lie in 1\.\.100"):
        encode_photo(image, "jpeg", 0)


@pytest.mark.parametrize(("name", "side"), [("jpeg", 65500), ("webp", 16383)])
def test_sides_beyond_a_format_are_refused(name: FormatName, side: int) -> None:
    """The longest side is encoded, one pixel more is told."""
    strip = np.zeros((1, side + 1, 3), np.uint8)
    assert pixels(encode_photo(strip[:, :side], name)).shape == (1, side, 3)
    with pytest.raises(ValueError, match=f"{side + 1}x1 pixels do not fit into {name}"):
        encode_photo(strip, name)


def test_written_files_are_read_back(tmp_path: Path) -> None:
    """The suffix chooses the format, and nothing else stays in the folder."""
    image = smooth_photo(40, 56)
    for suffix in (".png", ".jpg", ".jpeg", ".webp"):
        write_photo(tmp_path / f"photo{suffix}", image)
        again = read_photo(tmp_path / f"photo{suffix}").astype(int)
        assert np.abs(again - image).mean() < 3
    np.testing.assert_array_equal(read_photo(tmp_path / "photo.png"), image)
    assert len(list(tmp_path.iterdir())) == 4


def test_write_replaces_whole_files_only(tmp_path: Path) -> None:
    """A write that fails leaves the old photograph and no fragment."""
    path = tmp_path / "photo.png"
    write_photo(path, smooth_photo(8, 8))
    before = path.read_bytes()
    with pytest.raises(ValueError, match="uint8 array"):
        write_photo(path, np.zeros((4, 5), np.uint8))
    assert path.read_bytes() == before
    folder = tmp_path / "folder.png"
    folder.mkdir()
    with pytest.raises(IsADirectoryError):
        write_photo(folder, smooth_photo(8, 8))
    assert {entry.name for entry in tmp_path.iterdir()} == {"photo.png", "folder.png"}


def test_unknown_suffix_and_missing_folder_are_named(tmp_path: Path) -> None:
    """Both errors begin with the file and tell the fix."""
    for name in ("photo.bmp", "photo"):
        with pytest.raises(ValueError, match=r"use \.png, \.jpg, \.jpeg, \.webp") as caught:
            write_photo(tmp_path / name, smooth_photo(8, 8))
        assert str(caught.value).startswith(str(tmp_path / name))
    with pytest.raises(FileNotFoundError, match=r"the folder .*missing does not exist"):
        write_photo(tmp_path / "missing" / "photo.png", smooth_photo(8, 8))


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation_is_applied(format_name: str) -> None:
    """A photograph of a turned camera comes out upright."""
    image = np.zeros((16, 32, 3), np.uint8)
    image[:, :16] = 255  # the left half becomes the upper half
    exif = Image.Exif()
    exif[0x0112] = ROTATED
    decoded = decode_photo(
        encoded(Image.fromarray(image), format_name, exif=exif), max_pixels=LIMIT
    )
    assert decoded.shape == (32, 16, 3)
    assert decoded[:12].min() > 200
    assert decoded[20:].max() < 55


def test_grey_palette_and_cmyk_become_rgb() -> None:
    """Other colour models are converted, not refused."""
    grey = Image.new("L", (8, 6), 77)
    for image, format_name in (
        (grey, "PNG"),
        (grey, "JPEG"),
        (grey.convert("P"), "PNG"),
        (grey.convert("RGB").convert("CMYK"), "JPEG"),
    ):
        decoded = decode_photo(encoded(image, format_name), max_pixels=LIMIT)
        assert decoded.shape == (6, 8, 3)
        assert np.abs(decoded.astype(int) - 77).max() <= 2


def test_16_bit_grey_is_scaled() -> None:
    """The high byte is kept; clipping would turn nearly everything white."""
    image = Image.fromarray(np.array([[0, 0x1234, 0xFFFF]], np.uint16))
    decoded = decode_photo(encoded(image, "PNG"), max_pixels=LIMIT)
    assert decoded[0].tolist() == [[0] * 3, [0x12] * 3, [255] * 3]


def test_transparency_is_laid_on_white() -> None:
    """What a page would show: clear pixels white, half-clear black grey, opaque as it is."""
    image = Image.fromarray(np.array([[[0, 0, 0, 0], [0, 0, 0, 128], [9, 8, 7, 255]]], np.uint8))
    decoded = decode_photo(encoded(image, "PNG"), max_pixels=LIMIT)
    assert decoded[0].tolist() == [[255] * 3, [127] * 3, [9, 8, 7]]
    palette = Image.new("P", (2, 2), 0)
    data = encoded(palette, "PNG", transparency=0)
    assert decode_photo(data, max_pixels=LIMIT).min() == 255


def test_decoded_photos_are_writable() -> None:
    """Callers may change what they get, as torch.from_numpy demands."""
    for name in PHOTO_FORMATS:
        data = encode_photo(smooth_photo(8, 8), name)
        assert decode_photo(data, max_pixels=LIMIT).flags.writeable


def test_animations_are_refused() -> None:
    """Neither an animated WebP nor an animated PNG is a photograph."""
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    for format_name in ("PNG", "WEBP"):
        data = encoded(frames[0], format_name, save_all=True, append_images=frames[1:])
        assert refusal(data).reason == "MULTIPLE_FRAMES"


def test_empty_and_foreign_files() -> None:
    """No bytes and other formats are told apart, and what is accepted is said."""
    assert refusal(b"").reason == "EMPTY_UPLOAD"
    error = refusal(encoded(Image.new("RGB", (8, 8)), "GIF"))
    assert error.reason == "UNSUPPORTED_FORMAT"
    assert "is GIF; a photograph must be a JPEG, PNG or WebP file" in str(error)


@pytest.mark.parametrize("name", PHOTO_FORMATS)
def test_truncated_photos_are_invalid(name: FormatName) -> None:
    """Half a file is no photograph."""
    data = encode_photo(smooth_photo(64, 64), name)
    for length in (16, len(data) // 2, len(data) - 20):
        assert refusal(data[:length]).reason == "INVALID_IMAGE"


@pytest.mark.parametrize("name", PHOTO_FORMATS)
def test_photo_size_limit(name: FormatName) -> None:
    """Exactly max_pixels pass; fewer are too few, and the message has size and limit."""
    data = encode_photo(smooth_photo(6, 8), name)
    assert decode_photo(data, max_pixels=48).shape == (6, 8, 3)
    error = refusal(data, max_pixels=47)
    assert error.reason == "IMAGE_TOO_LARGE"
    assert "8x6 = 48 pixels; the limit is 47" in str(error)


def test_webp_of_a_vast_canvas_is_refused() -> None:
    """A small frame on a canvas of 268 megapixels does not get its canvas."""
    frame = encode_photo(smooth_photo(16, 16), "webp")[12:]
    side = struct.pack("<I", 16383 - 1)[:3]
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + side + side + frame
    error = refusal(b"RIFF" + struct.pack("<I", len(body)) + body)
    assert error.reason == "IMAGE_TOO_LARGE"


@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP"])
def test_photo_text_and_profiles_are_never_unpacked(kind: bytes) -> None:
    """Compressed extras of a PNG that would burst or fail are passed over."""
    image = smooth_photo(8, 8)
    bomb = b"name\0\0" + zlib.compress(bytes(100 << 20), 1)
    data = with_chunk(encode_photo(image, "png"), kind, bomb)
    np.testing.assert_array_equal(decode_photo(data, max_pixels=LIMIT), image)


def test_photo_errors_name_the_file(tmp_path: Path) -> None:
    """Messages of the reader begin with the path."""
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"\xff\xd8\xff\xe0 but no more")
    with pytest.raises(MapError) as caught:
        read_photo(path)
    assert caught.value.reason == "INVALID_IMAGE"
    assert str(caught.value).startswith(f"{path}: ")
