"""A PNG encoder for photographs that keeps up with the network.

It filters each row by the one above and deflates with ISA-L, the fastest deflate there is; what
that costs in file size a photograph hardly shows. Large images are cut into strips of rows that
are compressed side by side: both steps run outside the interpreter lock.
"""

from __future__ import annotations

import os
import struct
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from model.png_reader import RGB, SIGNATURE

_STRIP_PIXELS = 1 << 19
_MAX_THREADS = 4
_BLOCK_BYTES = 1 << 18
"""Rows are filtered and deflated in blocks that stay in the processor's cache."""
_DEFLATE_LEVEL = 1
_RAW_DEFLATE = -15
_ZLIB_HEADER = b"\x78\x01"
_UP_FILTER = 2
_ADLER_BASE = 65521


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """Encode a C-contiguous (H, W, 3) uint8 image as a PNG file, losslessly."""
    height, width, _ = image.shape
    # More strips than cores would only wait for one another.
    count = min(height, -(-height * width // _STRIP_PIXELS), os.cpu_count() or 1, _MAX_THREADS)
    bounds = [height * strip // count for strip in range(count + 1)]
    run = _pool().map if count > 1 else map
    compress = partial(_compress_rows, image)
    header = struct.pack(">IIBBBBB", width, height, 8, RGB, 0, 0, 0)
    file, checksum = [SIGNATURE, *_chunk(b"IHDR", [header])], 1
    strips = run(compress, bounds[:-1], bounds[1:])
    # The strips are one zlib stream, spread over as many IDAT chunks.
    for start, stop, (pieces, adler) in zip(bounds[:-1], bounds[1:], strips, strict=True):
        checksum = _join_adler(checksum, adler, (stop - start) * (3 * width + 1))
        if start == 0:
            pieces.insert(0, _ZLIB_HEADER)
        if stop == height:
            pieces.append(struct.pack(">I", checksum))
        file += _chunk(b"IDAT", pieces)
    return b"".join([*file, *_chunk(b"IEND", [])])


@cache
def _pool() -> ThreadPoolExecutor:
    """Threads that every encoding shares; starting some for each costs a millisecond."""
    return ThreadPoolExecutor(_MAX_THREADS, "png")


def _compress_rows(image: NDArray[np.uint8], start: int, stop: int) -> tuple[list[bytes], int]:
    """Filter and deflate rows ``start`` .. ``stop`` - 1 so that more may follow.

    Returns the stream in pieces, since the file joins them all once at the end,
    and the Adler-32 checksum of what is in it.
    """
    rows = image.reshape(image.shape[0], -1)
    step = max(1, _BLOCK_BYTES // (rows.shape[1] + 1))
    buffer = np.empty((step, rows.shape[1] + 1), np.uint8)
    buffer[:, 0] = _UP_FILTER
    compressor = isal_zlib.compressobj(_DEFLATE_LEVEL, isal_zlib.DEFLATED, _RAW_DEFLATE)
    pieces, adler = [], 1
    for top in range(start, stop, step):
        block = buffer[: min(step, stop - top)]
        end = top + len(block)
        if top:
            np.subtract(rows[top:end], rows[top - 1 : end - 1], out=block[:, 1:])
        else:  # the image's first row has nothing above it
            block[0, 1:] = rows[0]
            np.subtract(rows[1:end], rows[: end - 1], out=block[1:, 1:])
        adler = isal_zlib.adler32(block, adler)
        pieces.append(compressor.compress(block))
    last = stop == image.shape[0]
    pieces.append(compressor.flush(isal_zlib.Z_FINISH if last else isal_zlib.Z_SYNC_FLUSH))
    return pieces, adler


def _join_adler(first: int, second: int, length: int) -> int:
    """Adler-32 of two pieces in a row; ``length`` is the second one's, in bytes."""
    low, high = first & 0xFFFF, first >> 16
    low2, high2 = second & 0xFFFF, second >> 16
    joined = (high + high2 + length * (low - 1)) % _ADLER_BASE
    return joined << 16 | (low + low2 - 1) % _ADLER_BASE


def _chunk(kind: bytes, pieces: list[bytes]) -> list[bytes]:
    """A PNG chunk of the joined pieces, itself in pieces."""
    checksum = isal_zlib.crc32(kind)
    for piece in pieces:
        checksum = isal_zlib.crc32(piece, checksum)
    length = sum(map(len, pieces))
    return [struct.pack(">I", length), kind, *pieces, struct.pack(">I", checksum)]
