"""A stand-in for a checkout of the reference implementation, with its interface and no more.

``models/networks.py`` has a ``define_G`` of the same signature, which prints what it built and
imports torchvision, as the reference does. Behind it are our own networks.
"""

from __future__ import annotations

from pathlib import Path

NETWORKS = '''
"""Stand-in for the reference's networks.py: its interface around hdsynth's own networks."""
from torchvision import models
from model.generator import build_generator
from model.spec import GeneratorSpec

def define_G(input_nc, output_nc, ngf, netG, n_downsample_global=3, n_blocks_global=9,
             n_local_enhancers=1, n_blocks_local=3, norm="instance", gpu_ids=[]):
    if netG not in ("global", "local"):
        raise("generator not implemented!")
    local = netG == "local"
    network = build_generator(GeneratorSpec(
        netG, input_nc, output_nc, ngf, n_downsample_global, n_blocks_global,
        n_local_enhancers if local else 0, n_blocks_local if local else 0, norm,
    ))
    print(network)
    return network
'''


def write_stand_in(folder: Path) -> Path:
    """Write the stand-in checkout into ``folder`` and return it."""
    (folder / "models").mkdir(parents=True)
    (folder / "models" / "networks.py").write_text(NETWORKS, encoding="utf-8")
    return folder
