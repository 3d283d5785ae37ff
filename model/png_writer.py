"""A PNG encoder for photographs that keeps up with the network.

It filters each row by the one above and deflates with ISA-L: a tenth of the time that Pillow's
fastest level takes, at about the same file size. Large images are cut into strips of rows that
are compressed side by side; filter and deflate both run outside the interpreter lock.
"""

from __future__ import annotations

import struct
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from model.png_reader import RGB, SIGNATURE

_STRIP_PIXELS = 1 << 19
_MAX_THREADS = 4
_DEFLATE_LEVEL = 1
_RAW_DEFLATE = -15
_ZLIB_HEADER = b"\x78\x01"
_UP_FILTER = 2


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """Encode a C-contiguous (H, W, 3) uint8 image as a PNG file, losslessly."""
    height, width, _ = image.shape
    count = min(height, -(-height * width // _STRIP_PIXELS))
    bounds = [height * strip // count for strip in range(count + 1)]
    streams, checksum = [[_ZLIB_HEADER]], 1
    with ThreadPoolExecutor(min(count, _MAX_THREADS)) as pool:
        # One strip needs no thread: the pool starts them only when work is submitted.
        run = pool.map if count > 1 else map
        for filtered, deflated in run(partial(_compress_rows, image), bounds[:-1], bounds[1:]):
            checksum = isal_zlib.adler32(filtered, checksum)
            streams.append(deflated)
    streams.append([struct.pack(">I", checksum)])
    header = struct.pack(">IIBBBBB", width, height, 8, RGB, 0, 0, 0)
    # The strips are one zlib stream, spread over as many IDAT chunks.
    pixels = [part for stream in streams for part in _chunk(b"IDAT", *stream)]
    return b"".join([SIGNATURE, *_chunk(b"IHDR", header), *pixels, *_chunk(b"IEND")])


def _compress_rows(
    image: NDArray[np.uint8], start: int, stop: int
) -> tuple[NDArray[np.uint8], list[bytes]]:
    """Return rows ``start`` .. ``stop`` - 1 filtered, and deflated so that more may follow."""
    rows = image.reshape(image.shape[0], -1)
    filtered = np.empty((stop - start, rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = _UP_FILTER
    first = max(start, 1)  # the image's first row has nothing above it
    filtered[: first - start, 1:] = rows[start:first]
    np.subtract(rows[first:stop], rows[first - 1 : stop - 1], out=filtered[first - start :, 1:])
    compressor = isal_zlib.compressobj(_DEFLATE_LEVEL, isal_zlib.DEFLATED, _RAW_DEFLATE)
    deflated = compressor.compress(filtered)
    last = stop == image.shape[0]
    end = compressor.flush(isal_zlib.Z_FINISH if last else isal_zlib.Z_SYNC_FLUSH)
    return filtered, [deflated, end]


def _chunk(kind: bytes, *body: bytes) -> list[bytes]:
    """Return the parts of a chunk, to be joined once with all others."""
    checksum = isal_zlib.crc32(kind)
    for part in body:
        checksum = isal_zlib.crc32(part, checksum)
    return [struct.pack(">I", sum(map(len, body))), kind, *body, struct.pack(">I", checksum)]
