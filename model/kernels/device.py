"""The Triton kernels themselves; ``stem`` and ``head`` say what they compute and launch them.

Parameters in lower case are pointers and integers, those in capitals are compiled in. Every
program works on BLOCK pixels, counted row by row through all images of the batch.
"""
# Triton has types of its own, which mypy does not know.
# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators, allow-untyped-calls
# ruff: noqa: ANN001, ANN201, ANN202, N803, PLR0917

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def stem_kernel(
    label, shares, distinct, dense, table, bias, out,
    height, width, pixels, void, channels,
    POOLED: tl.constexpr, DENSE: tl.constexpr, RELU: tl.constexpr,
    BLOCK: tl.constexpr, BLOCK_CHANNELS: tl.constexpr,
):  # fmt: skip
    """Sum BLOCK pixels by BLOCK_CHANNELS channels over the 49 taps."""
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    channel = tl.program_id(1) * BLOCK_CHANNELS + tl.arange(0, BLOCK_CHANNELS)
    inside, used = pixel < pixels, channel < channels
    wanted = inside[:, None] & used[None, :]
    x, y, image = pixel % width, pixel // width % height, pixel // (width * height)
    start = tl.load(bias + channel, mask=used, other=0.0).to(tl.float32)
    total = tl.zeros((BLOCK, BLOCK_CHANNELS), tl.float32) + start[None, :]
    for tap in range(49):
        row = _reflect(y + tap // 7 - 3, height)
        source = (image * height + row) * width + _reflect(x + tap % 7 - 3, width)
        rows = table + tap * (void + 1 + DENSE) * channels + channel
        if POOLED:
            entries = tl.load(distinct + source, mask=inside, other=0).to(tl.int32)
            for entry in range(tl.max(entries, 0)):
                there = inside & (entry < entries)
                place = entry * pixels + source
                code = tl.load(label + place, mask=there, other=255).to(tl.int32)
                share = tl.load(shares + place, mask=there, other=0.0)
                at = tl.minimum(code, void)[:, None] * channels
                total += share[:, None] * tl.load(rows[None, :] + at, mask=wanted, other=0.0)
        else:
            code = tl.load(label + source, mask=inside, other=255).to(tl.int32)
            at = tl.minimum(code, void)[:, None] * channels
            total += tl.load(rows[None, :] + at, mask=wanted, other=0.0)
        for plane in tl.static_range(DENSE):
            value = tl.load(dense + source * DENSE + plane, mask=inside, other=0).to(tl.float32)
            weight = tl.load(rows + (void + 1 + plane) * channels, mask=used, other=0.0)
            total += value[:, None] * weight[None, :]
    if RELU:
        total = tl.maximum(total, 0.0)
    # A batch of large photographs has more values than an int32 counts.
    to = out + pixel.to(tl.int64)[:, None] * channels + channel[None, :]
    tl.store(to, total.to(out.dtype.element_ty), mask=wanted)


@triton.jit
def pool_kernel(
    label, labels, shares, distinct,
    height, width, half_height, half_width, pixels, label_count,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """List the distinct labels under BLOCK pixels of the halved map."""
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = pixel < pixels
    image = pixel // (half_width * half_height)
    top = pixel // half_width % half_height * 2 - 1
    left = pixel % half_width * 2 - 1
    rows = 3 - (top < 0).to(tl.int32) - (top + 2 >= height).to(tl.int32)
    columns = 3 - (left < 0).to(tl.int32) - (left + 2 >= width).to(tl.int32)
    covered = (rows * columns).to(tl.float32)
    base = label + image * height * width
    found = tl.zeros((BLOCK,), tl.int32)
    for one in tl.static_range(9):
        code = _label_at(base, top + one // 3, left + one % 3, height, width, label_count, inside)
        first = code >= 0
        count = tl.zeros((BLOCK,), tl.int32)
        for other in tl.static_range(9):
            y, x = top + other // 3, left + other % 3
            same = code == _label_at(base, y, x, height, width, label_count, inside)
            count += same.to(tl.int32)
            if other < one:
                first = first & (same == 0)
        place = found * pixels + pixel
        tl.store(labels + place, code.to(tl.uint8), mask=first)
        tl.store(shares + place, count.to(tl.float32) / covered, mask=first)
        found += first.to(tl.int32)
    tl.store(distinct + pixel, found.to(tl.uint8), mask=inside)


@triton.jit
def head_kernel(
    features, table, bias, out,
    height, width, pixels, channels, outputs,
    BLOCK: tl.constexpr, CHANNELS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Make BLOCK pixels by one matrix product per tap."""
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    channel = tl.arange(0, CHANNELS)
    column = tl.arange(0, COLUMNS)
    inside = pixel < pixels
    wanted = inside[:, None] & (channel < channels)[None, :]
    x, y, image = pixel % width, pixel // width % height, pixel // (width * height)
    start = tl.load(bias + column, mask=column < outputs, other=0.0).to(tl.float32)
    total = tl.zeros((BLOCK, COLUMNS), tl.float32) + start[None, :]
    for tap in range(49):
        row = _reflect(y + tap // 7 - 3, height)
        source = (image * height + row) * width + _reflect(x + tap % 7 - 3, width)
        # Feature maps of large batches have more values than an int32 counts.
        at = source.to(tl.int64)[:, None] * channels + channel[None, :]
        value = tl.load(features + at, mask=wanted, other=0.0)
        weight = tl.load(table + (tap * CHANNELS + channel)[:, None] * COLUMNS + column[None, :])
        total = tl.dot(value, weight, total, input_precision="ieee")
    # (tanh(v) + 1) / 2 is the logistic function of 2 v; from -40 down it is 0 and exp overflows.
    level = 255.0 / (1.0 + tl.exp(-2.0 * tl.maximum(total, -40.0)))
    to = out + pixel.to(tl.int64)[:, None] * outputs + column[None, :]
    made = inside[:, None] & (column < outputs)[None, :]
    tl.store(to, tl.floor(level + 0.5).to(tl.uint8), mask=made)


@triton.jit
def _reflect(position, side):
    """Index of what a reflection pad shows at ``position``, at most ``side`` - 1 outside."""
    return side - 1 - tl.abs(side - 1 - tl.abs(position))


@triton.jit
def _label_at(label, row, column, height, width, label_count, inside):
    """The label at a place of one map; -1 where it is void or outside of the map."""
    there = inside & (row >= 0) & (row < height) & (column >= 0) & (column < width)
    code = tl.load(label + row * width + column, mask=there, other=255).to(tl.int32)
    return tl.where(there & (code < label_count), code, -1)
