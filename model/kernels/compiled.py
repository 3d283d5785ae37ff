"""A generator compiled by Inductor, once for every shape of input that it meets.

Compiled in the process that runs it rather than packaged ahead of time (AOTInductor): a package
holds one shape for one GPU and torch, with its own copy of the weights, where programs compiled
here share one copy, and what Inductor made is found again in its cache on disk. The price is a
slow first batch of each shape; warming up pays it before the first request.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.codec import legal_size
from model.generator import Generator
from model.inputs import network_input, paint_styles
from model.kernels.fold import fold_batch_norms
from model.padding import pad_to_legal
from model.spec import InputSpec
from model.synthesis import to_pixels

Inputs = dict[str, Tensor]
"""What ``model.synthesis.Synthesis`` takes, by name."""
Shapes = tuple[tuple[str, tuple[int, ...]], ...]
Program = Callable[[Inputs], Tensor]

KEPT_SHAPES = 32
"""Programs kept; the one unused for longest goes first. Each holds its buffers on the device."""
FEWEST_STYLES = 64

_log = logging.getLogger(__name__)


class CompiledSynthesis:
    """``model.synthesis.Synthesis`` compiled: fast on CUDA, exact on the CPU.

    On CUDA it computes in float16 on the kernels of this package and replays a CUDA graph per
    shape; on the CPU in float32. Not safe to call from two threads at once.
    """

    def __init__(
        self,
        spec: InputSpec,
        generator: Generator,
        device: torch.device,
        kept_shapes: int = KEPT_SHAPES,
    ) -> None:
        """Take over ``generator``, in evaluation mode.

        On CUDA raises ImportError without triton.
        """
        self._rule = generator.spec
        self.device, self._kept = device, kept_shapes
        self._programs: OrderedDict[Shapes, Program] = OrderedDict()
        self._build: Callable[[Inputs], Program]
        if device.type == "cuda":
            self._build = _CudaBuilder(spec, generator, device)
        else:
            self._build = _CpuBuilder(spec, generator)

    @property
    def shapes(self) -> int:
        """Number of shapes that are compiled now."""
        return len(self._programs)

    @torch.no_grad()
    def __call__(self, inputs: Inputs) -> Tensor:
        """Synthesise photographs (N, H, W, 3) uint8 from tensors on the CPU, to the CPU."""
        height, width = inputs["label"].shape[1:3]
        legal = {name: self._legal(name, tensor) for name, tensor in inputs.items()}
        shapes = tuple((name, tuple(tensor.shape)) for name, tensor in legal.items())
        if shapes not in self._programs:
            _log.info("compiling for %s on %s", dict(shapes), self.device)
            self._programs[shapes] = self._build(legal)
            while len(self._programs) > self._kept:
                self._programs.popitem(last=False)
        self._programs.move_to_end(shapes)
        return self._programs[shapes](legal)[:, :height, :width]

    def _legal(self, name: str, tensor: Tensor) -> Tensor:
        """Pad before the program, so that the shapes to compile are few."""
        if name != "style_table":
            (height, width), rule = tensor.shape[1:3], self._rule
            legal = legal_size(height, width, rule.size_multiple, rule.minimum_side)
            if (height, width) == legal:
                return tensor  # a copy of large maps would take as long as they take to the GPU
            return pad_to_legal(tensor, rule.size_multiple, rule.minimum_side)
        rows = max(FEWEST_STYLES, 1 << (tensor.shape[1] - 1).bit_length())
        return F.pad(tensor, (0, 0, 0, rows - tensor.shape[1]))


class _CpuBuilder:
    """Compiles all but the expansion of the maps.

    That stays eager: the C++ which Inductor writes for the edges' masks does not compile
    (torch 2.13), and it is no measurable part of the time.
    """

    def __init__(self, spec: InputSpec, generator: Generator) -> None:
        self._spec = spec
        self._network = _FromPlanes(fold_batch_norms(generator))

    def __call__(self, inputs: Inputs) -> Program:
        compiled = _compile(self._network, {"planes": self._planes(**inputs)}, "default")
        return lambda inputs: compiled(planes=self._planes(**inputs))

    def _planes(
        self,
        label: Tensor,
        instance: Tensor | None = None,
        style_index: Tensor | None = None,
        style_table: Tensor | None = None,
    ) -> Tensor:
        styles = None
        if style_index is not None and style_table is not None:
            styles = paint_styles(style_index, style_table)
        planes = network_input(self._spec, label, instance, styles)
        return planes.contiguous(memory_format=torch.channels_last)


class _FromPlanes(nn.Module):
    """From the generator's input to pixels."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, planes: Tensor) -> Tensor:
        return to_pixels(self.generator(planes))


class _CudaBuilder:
    """Compiles everything and captures it as a CUDA graph."""

    def __init__(self, spec: InputSpec, generator: Generator, device: torch.device) -> None:
        try:
            from model.kernels.network import gpu_synthesis
        except ModuleNotFoundError as error:
            raise ImportError(
                "triton, which compiles for GPUs, is not installed: pip install 'hdsynth[torch]'"
            ) from error
        # Each shape is compiled once and run often, so cuDNN may try its algorithms.
        torch.backends.cudnn.benchmark = True
        self._device = device
        self._network = gpu_synthesis(spec, generator, torch.float16).to(device)
        # Graphs never run at the same time, so one pool serves the intermediates of all.
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, inputs: Inputs) -> Program:
        on_device = {name: tensor.to(self._device) for name, tensor in inputs.items()}
        compiled = _compile(self._network, on_device, "max-autotune-no-cudagraphs")
        return _GraphProgram(compiled, on_device, self._pool)


class _GraphProgram:
    """One shape's CUDA graph between pinned buffers."""

    def __init__(self, compiled: Callable[..., Tensor], inputs: Inputs, pool: Any) -> None:
        self._inputs = inputs
        self._staging = {name: _pinned(tensor) for name, tensor in inputs.items()}
        # Compiling, tuning and loading must be over before the capture.
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                compiled(**inputs)
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, pool=pool):
            self._pixels = compiled(**inputs)
        self._result = _pinned(self._pixels)

    def __call__(self, inputs: Inputs) -> Tensor:
        for name, tensor in inputs.items():
            self._staging[name].copy_(tensor)
            self._inputs[name].copy_(self._staging[name], non_blocking=True)
        self._graph.replay()
        self._result.copy_(self._pixels, non_blocking=True)
        torch.cuda.current_stream().synchronize()
        return self._result.clone()


def _pinned(like: Tensor) -> Tensor:
    """Host memory that the device copies to and from without a detour."""
    return torch.empty(like.shape, dtype=like.dtype, pin_memory=True)


def _compile(network: nn.Module, inputs: Inputs, mode: str) -> Callable[..., Tensor]:
    """Compile for exactly these shapes.

    The exported module is code of its own, so shapes neither count against torch.compile's limit
    of recompilations, beyond which it silently runs uncompiled, nor outlive their program.
    """
    exported = torch.export.export(network, (), inputs).module()
    compiled: Callable[..., Tensor] = torch.compile(exported, dynamic=False, mode=mode)
    return compiled
