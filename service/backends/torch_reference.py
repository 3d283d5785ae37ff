"""A checkout of the reference implementation as an engine, to be timed beside ours.

Only the checkout's ``models/networks.py`` is used, through its ``define_G``. The bundle's weights
go into the network that it builds, so that the photographs can be compared as well.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from model.bundle import Bundle, BundleError
from service.backends.base import EngineInput

NETWORKS = Path("models", "networks.py")


class ReferenceEngine:
    """Runs the checkout's generator in float32: one-hot, network and copy-out, as it would.

    On CUDA where there is a GPU, with TF32 off, else on the CPU. Unlike the reference, which
    never leaves training mode, batch norms use their fixed statistics.
    """

    def __init__(self, bundle: Bundle, checkout: Path, threads: int = 0) -> None:
        """Build the network and load the bundle's weights into it.

        Raises FileNotFoundError when DIR is no checkout, BundleError when its networks are not
        the bundle's.
        """
        import torch

        from model.checkpoint import load_generator
        from model.synthesis import Synthesis

        if threads:
            torch.set_num_threads(threads)
        torch.backends.cudnn.allow_tf32 = False
        spec = bundle.generator
        networks = _import_networks(checkout / NETWORKS)
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # it prints the whole network
                network = networks.define_G(
                    spec.input_channels,
                    spec.output_channels,
                    spec.width,
                    spec.kind,
                    spec.downsamplings,
                    spec.blocks,
                    spec.enhancers,
                    spec.enhancer_blocks,
                    spec.norm,
                    gpu_ids=[],
                )
            network.load_state_dict(load_generator(bundle).state_dict())
        except Exception as error:  # raises what it likes, a plain string included
            raise BundleError(
                f"{checkout / NETWORKS}: its define_G makes no generator for this bundle "
                f"({spec.kind}): {error}"
            ) from error
        network.spec = spec  # what Synthesis asks a generator for: the legal sizes
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self._network = Synthesis(bundle.input, network).eval().to(device)
        self._torch, self._device = torch, device
        self.name = f"reference {'CUDA' if device == 'cuda' else 'CPU'} float32"

    def run(self, batch: EngineInput) -> NDArray[np.uint8]:
        """Synthesise photographs: (N, H, W, 3) uint8 RGB."""
        feeds = {
            name: self._torch.from_numpy(array).to(self._device)
            for name, array in batch.maps().items()
        }
        with self._torch.inference_mode():
            return np.asarray(self._network(**feeds).cpu().numpy(), np.uint8)

    def close(self) -> None:
        """Free the network."""
        del self._network


def _import_networks(path: Path) -> ModuleType:
    """Import the checkout's networks under a name of their own."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist; name the folder of a checkout of the reference implementation"
        )
    if importlib.util.find_spec("torchvision") is None:
        # The file imports it for the perceptual loss of training, which is not run here.
        sys.modules.setdefault("torchvision", ModuleType("torchvision")).models = None  # type: ignore[attr-defined]
    specification = importlib.util.spec_from_file_location("reference_networks", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module
