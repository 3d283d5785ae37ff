import os

import numpy as np

from service.shared_planes import SharedPlanes, lay_out


def test_two_mappings_show_the_same_arrays() -> None:
    """What is written through one descriptor is read through another, also after growing."""
    ours = SharedPlanes.create()
    theirs = SharedPlanes(os.dup(ours.descriptor))
    for side in (3, 300, 30):
        places, size = lay_out(
            {"a": ("u1", (side,)), "b": ("<f4", (side, 2)), "none": ("u1", (0,))}
        )
        ours.reserve(size)
        written, read = ours.arrays(places), theirs.arrays(places)
        written["a"][:] = side % 256
        written["b"][:] = 0.5
        assert (read["a"] == side % 256).all()
        assert (read["b"] == np.float32(0.5)).all()
        assert read["none"].size == 0
    ours.close()
    theirs.close()
    assert read["b"].shape == (30, 2)
    assert (read["b"] == np.float32(0.5)).all()
