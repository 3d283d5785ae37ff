"""Turn a float32 ONNX graph into one whose convolutions compute with 8-bit integers."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx

from export.parity import Feeds

_IN_FLOAT32 = 9
"""Convolutions of the image and two up-sampling steps, of four convolutions each."""


def quantize(graph: Path, scenes: Sequence[Feeds], path: Path) -> None:
    """Write the int8 form of a generator's float32 ``graph`` to ``path``, weights included.

    Static quantisation, as the processors' integer instructions like it best: unsigned
    activations with one scale per tensor, whose range is that seen on ``scenes``, times signed
    weights with one scale per output channel. The image and the two
    up-sampling steps before it stay in float32: they alone would double the error, and have
    little of the work.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    with TemporaryDirectory() as folder, _quiet():
        # Folds norms into weights first, so that it is their product that is quantised.
        folded = Path(folder) / "folded.onnx"
        _fold(graph, folded)
        quantize_static(
            folded,
            path,
            _reader(scenes),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            nodes_to_exclude=_last_convolutions(folded, _IN_FLOAT32),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
    onnx.checker.check_model(path, full_check=True)


def _fold(graph: Path, path: Path) -> None:
    """Let ONNX Runtime do what it does to every graph, and keep the result."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path)
    onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _last_convolutions(path: Path, count: int) -> list[str]:
    """Names of the convolutions nearest to the output; gives names to nodes that have none."""
    model = onnx.load(path)
    for number, unnamed in enumerate(model.graph.node):
        unnamed.name = f"{unnamed.op_type}_{number}"
    onnx.save(model, path)
    makers = {output: node for node in model.graph.node for output in node.output}
    names: list[str] = []
    values = [model.graph.output[0].name]
    for value in values:  # which grows: from the output back to all that it is made of
        node = makers.get(value)
        if node is not None:
            values.extend(name for name in node.input if name not in values)
            if node.op_type == "Conv":
                names.append(node.name)
    return names[:count]


def _reader(scenes: Sequence[Feeds]) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # publishes no types
        """Hands out the scenes one by one."""

        def __init__(self) -> None:
            self._left = iter(scenes)

        def get_next(self) -> Feeds | None:
            return next(self._left, None)

    return Reader()


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the quantiser's advice, which is followed already."""
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(previous)
