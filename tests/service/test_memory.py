"""What the process does with memory that is free again."""

import subprocess
import sys

import pytest

# Two planes of 2048x1024, over and over, on a thread as the server's pools do it.
_WORK = """
import resource, sys, threading
import numpy as np
from service.memory import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
def work():
    def scene():
        np.ones((1024, 2048), np.int32), np.ones((1024, 2048, 3), np.uint8)
    scene()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        scene()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


def page_faults(how: str) -> int:
    """Count those of twenty scenes in a process of their own."""
    command = [sys.executable, "-c", _WORK, how]
    return int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc only")
def test_planes_of_one_scene_serve_the_next() -> None:
    """The kernel does not have to map them anew, page by page."""
    assert page_faults("kept") < page_faults("as usual") / 10
