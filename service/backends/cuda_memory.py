"""GPU and page-locked memory, one stream and captured graphs, through cuda-python."""

from __future__ import annotations

import ctypes
import math
import weakref
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from model.gpu import checked, cuda_runtime, select_gpu


class PinnedPool:
    """Page-locked host arrays, which the GPU copies without a detour, for use again and again.

    An array's memory returns to the pool by itself when nothing refers to it any more.
    ``allocate`` takes bytes and returns an address; ``free`` takes the address.
    """

    def __init__(self, allocate: Callable[[int], int], free: Callable[[int], object]) -> None:
        self._allocate, self._free = allocate, free
        self._idle: defaultdict[int, list[int]] = defaultdict(list)
        self._sizes: dict[int, int] = {}
        self._closed = False

    def array(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """An array of undefined content; pinning new memory is slow, reusing it is not."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        idle = self._idle[size]
        address = idle.pop() if idle else self._allocate(size)
        self._sizes[address] = size
        memory = (ctypes.c_uint8 * size).from_address(address)
        # Every view of the array keeps `memory` alive, and so away from the pool.
        weakref.finalize(memory, self._give_back, address).atexit = False
        return np.ctypeslib.as_array(memory).view(dtype).reshape(shape)

    def owns(self, array: NDArray[Any]) -> bool:
        """Say whether an array is whole, in one piece and in this pool's memory."""
        size = self._sizes.get(array.ctypes.data)
        return size is not None and array.nbytes <= size and array.flags.c_contiguous

    def close(self) -> None:
        """Free what is idle now and the rest as it comes back."""
        self._closed = True
        for addresses in self._idle.values():
            while addresses:
                self._release(addresses.pop())

    def _give_back(self, address: int) -> None:
        if self._closed:
            self._release(address)
        else:
            self._idle[self._sizes[address]].append(address)

    def _release(self, address: int) -> None:
        del self._sizes[address]
        self._free(address)


class Gpu:
    """One GPU with one stream, for use by one thread at a time.

    Raises NoGpuError, CudaError and ImportError.
    """

    def __init__(self, device: int = 0) -> None:
        self._device = device
        self._cuda = cuda = cuda_runtime()
        select_gpu(device)
        self.stream = checked(cuda.cudaStreamCreateWithFlags(cuda.cudaStreamNonBlocking))
        self._allocated: list[int] = []
        self._graphs: list[Any] = []
        self.pinned = PinnedPool(
            lambda size: int(checked(cuda.cudaHostAlloc(size, cuda.cudaHostAllocDefault))),
            lambda address: checked(cuda.cudaFreeHost(address)),
        )

    def select(self) -> None:
        """Make this the GPU of the calling thread."""
        checked(self._cuda.cudaSetDevice(self._device))

    def allocate(self, size: int) -> int:
        """Address of new GPU memory, freed by ``close``."""
        self._allocated.append(int(checked(self._cuda.cudaMalloc(max(size, 256)))))
        return self._allocated[-1]

    def upload(self, address: int, array: NDArray[Any], row_bytes: int | None = None) -> None:
        """Queue a copy of a contiguous array to the GPU.

        With ``row_bytes``, entries of the first axis lie that far apart on the GPU. The array
        must stay unchanged until ``synchronize``.
        """
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        width = array.nbytes // len(array)
        checked(
            self._cuda.cudaMemcpy2DAsync(
                address, row_bytes or width, array.ctypes.data, width, width, len(array), kind,
                self.stream,
            )
        )  # fmt: skip

    def download(self, array: NDArray[Any], address: int) -> None:
        """Queue a copy from the GPU into a contiguous array."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        checked(
            self._cuda.cudaMemcpyAsync(array.ctypes.data, address, array.nbytes, kind, self.stream)
        )

    def synchronize(self) -> None:
        """Wait until everything queued is done; errors of the GPU surface here."""
        checked(self._cuda.cudaStreamSynchronize(self.stream))

    def capture(self, work: Callable[[], object]) -> Any:
        """Record what ``work`` queues as a graph, which ``launch`` replays; freed by ``close``."""
        # Other threads may go on using CUDA meanwhile.
        mode = self._cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        checked(self._cuda.cudaStreamBeginCapture(self.stream, mode))
        try:
            work()
        finally:
            graph = checked(self._cuda.cudaStreamEndCapture(self.stream))
        executable = checked(self._cuda.cudaGraphInstantiate(graph, 0))
        self._graphs.append(executable)
        checked(self._cuda.cudaGraphDestroy(graph))
        return executable

    def launch(self, graph: Any) -> None:
        """Queue a captured graph."""
        checked(self._cuda.cudaGraphLaunch(graph, self.stream))

    def close(self) -> None:
        """Free graphs, memory and stream."""
        self.select()
        for graph in self._graphs:
            checked(self._cuda.cudaGraphExecDestroy(graph))
        for address in self._allocated:
            checked(self._cuda.cudaFree(address))
        self.pinned.close()
        checked(self._cuda.cudaStreamDestroy(self.stream))
