"""Label and instance maps: exact ids in, and a reason for everything that holds none."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from model.errors import MapError
from model.image_io import (
    decode_instance_map,
    decode_label_map,
    read_instance_map,
    read_label_map,
)

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
LIMIT = 1 << 20
IDS = (np.arange(6 * 8, dtype=np.uint8) * 5).reshape(6, 8)


def chunk(kind: bytes, body: bytes) -> bytes:
    """Build one PNG chunk with a right checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def header(
    width: int, height: int, depth: int = 8, colour: int = GREY, interlace: int = 0
) -> bytes:
    """Build the IHDR chunk."""
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))


def scanlines(ids: NDArray[np.integer], depth: int) -> bytes:
    """Pack ids (H, W), or (H, W, channels), of ``depth`` bits into unfiltered PNG rows."""
    rows = ids.reshape(len(ids), -1).astype(">u2").view(np.uint8).reshape(len(ids), -1, 2)
    packed = np.packbits(np.unpackbits(rows, axis=2)[:, :, 16 - depth :].reshape(len(ids), -1), 1)
    return b"".join(b"\0" + row.tobytes() for row in packed)


def png(ids: NDArray[np.integer], depth: int = 8, colour: int = GREY, extra: bytes = b"") -> bytes:
    """Build a PNG file of ids (H, W) or (H, W, channels); ``extra`` chunks precede the pixels."""
    pixels = chunk(b"IDAT", zlib.compress(scanlines(ids, depth)))
    start = SIGNATURE + header(ids.shape[1], ids.shape[0], depth, colour)
    return start + extra + pixels + chunk(b"IEND", b"")


def npy(array: NDArray[np.generic]) -> bytes:
    """Build a .npy file."""
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def tiff(
    ids: NDArray[np.integer],
    *,
    bits: int = 32,
    sample_format: int = 1,
    photometric: int = 1,
    compression: int = 1,
    channels: int = 1,
    size: tuple[int, int] | None = None,
) -> bytes:
    """Build a little-endian TIFF of one strip."""
    pixels = ids.astype(f"<u{bits // 8}").tobytes()
    width, height = size or (ids.shape[1], ids.shape[0])
    tags = {256: width, 257: height, 258: bits, 259: compression, 262: photometric}
    tags |= {273: 134, 277: channels, 278: height, 279: len(pixels), 339: sample_format}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return struct.pack("<4sIH", b"II*\0", 8, len(tags)) + entries + bytes(4) + pixels


def refusal(data: bytes, max_pixels: int = LIMIT, instance: bool = False) -> MapError:
    """Decode ``data`` as the upload "field" and return the error."""
    decode = decode_instance_map if instance else decode_label_map
    with pytest.raises(MapError, match=r"^field: ") as caught:
        decode(data, max_pixels=max_pixels, name="field")
    return caught.value


@pytest.mark.parametrize("colour", [GREY, PALETTE])
@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_ids_of_every_depth_come_out_as_stored(depth: int, colour: int) -> None:
    """Greys are not scaled to 0..255 and palette entries are not looked up."""
    ids = np.random.default_rng(depth).integers(0, 2**depth, (13, 21), np.uint8)
    palette = chunk(b"PLTE", bytes(range(255, -1, -1)) * 3) if colour == PALETTE else b""
    decoded = decode_label_map(png(ids, depth, colour, palette), max_pixels=LIMIT)
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, ids)


def test_16_bit_grey_is_exact() -> None:
    """All 65,536 values survive, as uint16 labels and as int32 instances."""
    ids = np.arange(1 << 16, dtype=np.uint16).reshape(256, 256)
    label = decode_label_map(png(ids, 16), max_pixels=LIMIT)
    instance = decode_instance_map(png(ids, 16), max_pixels=LIMIT)
    assert label.dtype == np.uint16
    assert instance.dtype == np.int32
    np.testing.assert_array_equal(label, ids)
    np.testing.assert_array_equal(instance, ids)


def test_palette_with_transparency_still_gives_indices() -> None:
    """A tRNS chunk, as drawing programs write it, changes no id."""
    extra = chunk(b"PLTE", bytes(768)) + chunk(b"tRNS", bytes([0, 128, 255]))
    decoded = decode_label_map(png(IDS, 8, PALETTE, extra), max_pixels=LIMIT)
    np.testing.assert_array_equal(decoded, IDS)


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (5, 2), (8, 8), (13, 21)])
@pytest.mark.parametrize("depth", [1, 8, 16])
def test_interlaced_maps_are_read(size: tuple[int, int], depth: int) -> None:
    """An Adam7 file gives the ids of its seven passes, and misses no byte unnoticed."""
    ids = np.random.default_rng(0).integers(0, 2**depth, size, np.uint16)
    starts = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2)]
    passes = [ids[y::step_y, x::step_x] for y, x, step_y, step_x in [*starts, (1, 0, 2, 1)]]
    rows = b"".join(scanlines(part, depth) for part in passes if part.size)
    start = SIGNATURE + header(size[1], size[0], depth, interlace=1)
    whole, short = (
        start + chunk(b"IDAT", zlib.compress(stream)) + chunk(b"IEND", b"")
        for stream in (rows, rows[:-1])
    )
    np.testing.assert_array_equal(decode_label_map(whole, max_pixels=LIMIT), ids)
    assert f"{len(rows) - 1} of the {len(rows)} bytes" in str(refusal(short))


def test_decoded_maps_are_writable() -> None:
    """Callers may change what they get, as torch.from_numpy demands."""
    for data in (png(IDS), png(IDS, 16), npy(IDS.astype(np.int32)), tiff(IDS)):
        assert decode_instance_map(data, max_pixels=LIMIT).flags.writeable
    assert decode_label_map(png(IDS), max_pixels=LIMIT).flags.writeable


@pytest.mark.parametrize(
    ("colour", "channels", "word"),
    [(RGB, 3, "RGB"), (RGBA, 4, "RGBA"), (GREY_ALPHA, 2, "grey with alpha")],
)
@pytest.mark.parametrize("instance", [False, True])
def test_colours_are_no_ids(colour: int, channels: int, word: str, instance: bool) -> None:
    """A colour PNG is refused with the way to turn its colours into ids."""
    error = refusal(png(np.zeros((4, 5, channels), np.uint8), 8, colour), instance=instance)
    assert error.reason == "COLOUR_MAP"
    assert f"a {word} PNG" in str(error)
    assert "replace it by that id" in str(error)


def test_animated_png_is_refused() -> None:
    """Of several frames none is the map."""
    error = refusal(png(IDS, extra=chunk(b"acTL", struct.pack(">II", 2, 0))))
    assert error.reason == "MULTIPLE_FRAMES"


def test_no_bytes() -> None:
    """An empty upload says so, and what to send."""
    error = refusal(b"")
    assert error.reason == "EMPTY_UPLOAD"
    assert "PNG" in str(error)


@pytest.mark.parametrize(
    ("start", "found"),
    [
        (b"\xff\xd8\xff\xe0", "JPEG"),
        (b"GIF89a", "GIF"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "WebP"),
        (b"II*\0", "TIFF"),
        (b"MM\0*", "TIFF"),
        (b"BM", "BMP"),
        (b"%PDF-1.7", "PDF"),
        (b"PK\x03\x04", "ZIP"),
        (b"\x93NUMPY", "NPY"),
        (b"\0\0\0\x20ftypavif", "AVIF or HEIC"),
        (b"<svg", "unknown format (it starts with bytes 3c 73 76 67)"),
    ],
)
def test_other_formats_are_named(start: bytes, found: str) -> None:
    """The message names what was sent and what a label map must be."""
    error = refusal(start + bytes(40))
    assert error.reason == "UNSUPPORTED_FORMAT"
    assert found in str(error)
    assert "must be a PNG file" in str(error)


def test_a_file_cut_anywhere_is_invalid() -> None:
    """No prefix of a PNG gives a map, and beyond the header the message says where it ends."""
    whole = png(IDS)
    for length in range(len(SIGNATURE), len(whole)):
        error = refusal(whole[:length])
        assert error.reason == "INVALID_IMAGE"
        if length >= 33:
            assert f"cut off at byte {length}" in str(error)


def test_wrong_checksum_names_chunk_and_byte() -> None:
    """A flipped bit in the pixel data is found before anything is decompressed."""
    data = bytearray(png(IDS))
    data[33 + 8 + 5] ^= 1
    error = refusal(bytes(data))
    assert error.reason == "INVALID_IMAGE"
    assert "checksum of its chunk IDAT at byte 33" in str(error)


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        b"not a zlib stream",
        zlib.compress(scanlines(IDS, 8))[:-10],
        zlib.compress(scanlines(IDS[:-1], 8)),
        zlib.compress(scanlines(IDS, 8) + b"\0"),
        zlib.compress(scanlines(IDS, 8))[:-1] + b"?",
        zlib.compress(b"\x09" + scanlines(IDS, 8)[1:]),
    ],
    ids=["empty", "garbage", "cut", "row missing", "byte more", "wrong sum", "unknown filter"],
)
def test_damaged_pixel_data(stream: bytes) -> None:
    """What passes the checksums but holds no whole picture is invalid."""
    data = SIGNATURE + header(8, 6) + chunk(b"IDAT", stream) + chunk(b"IEND", b"")
    assert refusal(data).reason == "INVALID_IMAGE"


@pytest.mark.parametrize(
    "ihdr",
    [
        header(0, 6),
        header(8, 0),
        header(8, 6, depth=3),
        header(8, 6, depth=16, colour=PALETTE),
        header(8, 6, colour=5),
        header(8, 6, interlace=2),
        chunk(b"tEXt", b"first chunk must be the header"),
    ],
    ids=["width 0", "height 0", "3 bits", "16-bit palette", "colour type 5", "interlace 2", "none"],
)
def test_headers_that_png_does_not_define(ihdr: bytes) -> None:
    """Nonsense in the header is refused before decoding."""
    data = SIGNATURE + ihdr + chunk(b"IDAT", zlib.compress(scanlines(IDS, 8)))
    assert refusal(data + chunk(b"IEND", b"")).reason == "INVALID_IMAGE"


def test_second_header_cannot_replace_the_checked_one() -> None:
    """A file can't pass the size check with one header and be decoded by another."""
    error = refusal(png(IDS, extra=header(20000, 20000)))
    assert error.reason == "INVALID_IMAGE"
    assert "misplaced b'IHDR' at byte 33" in str(error)


def test_png_without_pixels() -> None:
    """A header alone is no map."""
    error = refusal(SIGNATURE + header(8, 6) + chunk(b"IEND", b""))
    assert error.reason == "INVALID_IMAGE"
    assert "IDAT" in str(error)


def test_a_flood_of_chunks_is_refused() -> None:
    """A file of countless empty chunks is given up early."""
    error = refusal(png(IDS, extra=chunk(b"tEXt", b"") * (1 << 16)))
    assert error.reason == "INVALID_IMAGE"
    assert "more than 65536 chunks" in str(error)


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_text_and_profiles_are_never_unpacked(kind: bytes) -> None:
    """Compressed extras that would burst or fail are passed over."""
    bomb = zlib.compress(bytes(100 << 20), 1)
    for body in (b"name\0\0" + bomb, b"name\0\0garbage"):
        decoded = decode_label_map(png(IDS, extra=chunk(kind, body)), max_pixels=LIMIT)
        np.testing.assert_array_equal(decoded, IDS)


def test_size_limit_is_inclusive_and_named() -> None:
    """Exactly max_pixels pass; one less is too few, and the message has size and limit."""
    assert decode_label_map(png(IDS), max_pixels=48).shape == (6, 8)
    error = refusal(png(IDS), max_pixels=47)
    assert error.reason == "IMAGE_TOO_LARGE"
    assert "8x6 = 48 pixels; the limit is 47" in str(error)


def huge_png() -> bytes:
    """Build a valid PNG of 20000x20000 zeros (400 megapixels) in some 400 kB."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = deflate.compress(bytes(20001 * 20)) + deflate.flush(zlib.Z_FULL_FLUSH)
    adler = struct.pack(">I", (20001 * 20000 % 65521) << 16 | 1)
    stream = b"\x78\x9c" + block * 1000 + b"\x03\0" + adler
    return SIGNATURE + header(20000, 20000) + chunk(b"IDAT", stream) + chunk(b"IEND", b"")


def test_a_small_file_of_400_megapixels_takes_no_memory(tmp_path: Path) -> None:
    """A decompression bomb is refused by its header, in a process that stays small."""
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(huge_png())
    assert bomb.stat().st_size < 600_000
    program = """
import resource, sys
from model.image_io import MapError, decode_instance_map, decode_label_map, decode_photo
data = open(sys.argv[1], "rb").read()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for decode in decode_label_map, decode_instance_map, decode_photo:
    try:
        decode(data, max_pixels=16_000_000)
    except MapError as error:
        print(error.reason)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", program, str(bomb)]
    output = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    *reasons, growth_kib = output.split()
    assert reasons == ["IMAGE_TOO_LARGE"] * 3
    assert int(growth_kib) < 16 * 1024


def test_maps_above_pillows_own_limit_are_read_without_a_warning() -> None:
    """Only max_pixels decides; Pillow's bomb warning (an error here) does not come up."""
    pixels = chunk(b"IDAT", zlib.compress(bytes((1 + 9000 // 8) * 10000), 1))
    data = SIGNATURE + header(9000, 10000, depth=1) + pixels + chunk(b"IEND", b"")
    assert decode_label_map(data, max_pixels=1 << 27).shape == (10000, 9000)


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "<i4", ">i4", "<i8", "<u8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_instances_from_npy(dtype: str, order: str) -> None:
    """Integers of any width, byte order and memory order come out as int32."""
    ids = np.arange(48).reshape(6, 8)
    array = np.array(ids, dtype, order="F" if order == "F" else "C")
    decoded = decode_instance_map(npy(array), max_pixels=LIMIT)
    assert decoded.dtype == np.int32
    np.testing.assert_array_equal(decoded, ids)


def test_large_ids_are_exact_in_npy_and_tiff() -> None:
    """Ids up to 2**31 - 1 survive both 32-bit routes."""
    ids = np.array([[0, 65536, 2**31 - 1], [33001, 2**24 + 1, 7]])
    for data in (npy(ids), tiff(ids), tiff(ids, sample_format=2)):
        np.testing.assert_array_equal(decode_instance_map(data, max_pixels=LIMIT), ids)


def test_signed_ids_stay_negative() -> None:
    """Data sets that mark 'nothing' by -1 keep it."""
    ids = np.array([[-1, 5]], np.int32)
    for data in (npy(ids), tiff(ids.view(np.uint32), sample_format=2)):
        assert decode_instance_map(data, max_pixels=LIMIT).tolist() == [[-1, 5]]


@pytest.mark.parametrize("bits", [8, 16])
def test_narrow_tiff(bits: int) -> None:
    """TIFF instance maps of 8 and 16 bits are read as well."""
    decoded = decode_instance_map(tiff(IDS, bits=bits), max_pixels=LIMIT)
    np.testing.assert_array_equal(decoded, IDS)


def test_tiff_written_by_pillow(tmp_path: Path) -> None:
    """What Image.save makes of an int32 array is accepted."""
    ids = np.arange(48, dtype=np.int32).reshape(6, 8) * 100_003
    Image.fromarray(ids).save(tmp_path / "ids.tif")
    np.testing.assert_array_equal(read_instance_map(tmp_path / "ids.tif"), ids)


def test_ids_beyond_int32_name_value_and_pixel() -> None:
    """An id that would wrap to a negative one is refused."""
    ids = np.zeros((4, 5), np.int64)
    ids[3, 2] = 2**31
    for data in (npy(ids), npy(ids.astype(np.uint64)), tiff(ids)):
        error = refusal(data, instance=True)
        assert error.reason == "INSTANCE_OUT_OF_RANGE"
        assert "id 2147483648 at x=2, y=3" in str(error)


@pytest.mark.parametrize(
    "data",
    [
        tiff(IDS, sample_format=3),
        tiff(IDS, bits=8, photometric=0),
        tiff(IDS, compression=5),
        npy(np.zeros((4, 5), np.float32)),
        npy(np.zeros((4, 5), np.bool_)),
        npy(np.zeros(5, np.int32)),
        npy(np.zeros((4, 5, 3), np.int32)),
        npy(np.zeros((0, 5), np.int32)),
    ],
    ids=["float", "inverted", "LZW", "npy float", "npy bool", "npy 1-D", "npy 3-D", "npy empty"],
)
def test_files_of_other_things_than_ids(data: bytes) -> None:
    """Floats, inverted greys, compressed TIFFs and arrays that are no picture are refused."""
    assert refusal(data, instance=True).reason == "UNSUPPORTED_FORMAT"


def test_colour_tiff() -> None:
    """A TIFF of several channels is told like a colour PNG."""
    stream = io.BytesIO()
    Image.new("RGB", (5, 4)).save(stream, "TIFF")
    error = refusal(stream.getvalue(), instance=True)
    assert error.reason == "COLOUR_MAP"
    assert "TIFF of 3 channels" in str(error)


def test_cmyk_tiff() -> None:
    """Inks are no ids either."""
    stream = io.BytesIO()
    Image.new("CMYK", (5, 4)).save(stream, "TIFF")
    assert refusal(stream.getvalue(), instance=True).reason == "COLOUR_MAP"


def test_tiff_of_several_pages() -> None:
    """Of several pages none is the map."""
    stream = io.BytesIO()
    page = Image.fromarray(IDS)
    page.save(stream, "TIFF", save_all=True, append_images=[page])
    assert refusal(stream.getvalue(), instance=True).reason == "MULTIPLE_FRAMES"


def test_oversized_tiff_and_npy_are_refused_by_their_headers() -> None:
    """Sizes are checked before memory is taken for them."""
    claimed = io.BytesIO()
    description = {"descr": "<i4", "fortran_order": False, "shape": (20000, 20000)}
    np.lib.format.write_array_header_1_0(claimed, description)
    for data in (tiff(IDS, size=(20000, 20000)), claimed.getvalue()):
        error = refusal(data, instance=True)
        assert error.reason == "IMAGE_TOO_LARGE"
        assert "20000x20000" in str(error)


@pytest.mark.filterwarnings("ignore:(Corrupt EXIF|Truncated File):UserWarning")  # Pillow's
def test_damaged_tiff_and_npy() -> None:
    """Every prefix of either format is refused, and says that it is damaged."""
    for whole in (tiff(IDS), npy(IDS)):
        for length in range(8, len(whole), 7):
            assert refusal(whole[:length], instance=True).reason == "INVALID_IMAGE"


def test_npy_of_objects_is_never_unpickled() -> None:
    """An array that holds a pickle is refused by its type."""
    stream = io.BytesIO()
    np.save(stream, np.array([[{}, {}]], object), allow_pickle=True)
    assert refusal(stream.getvalue(), instance=True).reason == "UNSUPPORTED_FORMAT"


def test_files_are_read_and_named(tmp_path: Path) -> None:
    """The readers take paths, and their messages begin with the file."""
    path = tmp_path / "scene.png"
    path.write_bytes(png(IDS))
    np.testing.assert_array_equal(read_label_map(path), IDS)
    np.testing.assert_array_equal(read_instance_map(str(path)), IDS)
    path.write_bytes(png(IDS)[:50])
    for read in (read_label_map, read_instance_map):
        with pytest.raises(MapError) as caught:
            read(path)
        assert str(caught.value).startswith(f"{path}: ")


def test_missing_file_is_named(tmp_path: Path) -> None:
    """A wrong path is the system's own error."""
    with pytest.raises(FileNotFoundError, match=r"nowhere\.png"):
        read_label_map(tmp_path / "nowhere.png")
