"""The GPU kernels without a GPU: run by Triton's interpreter, and compiled for real targets."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

CHECKS = Path(__file__).parent / "kernels"

# Compiles every kernel to machine code; with the types and sizes of a full-size generator.
COMPILE = """
import sys, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from model.kernels import device

def compile(kernel, pointers, constants, warps, capability):
    signature = dict.fromkeys(kernel.arg_names, "i32") | pointers
    signature |= dict.fromkeys(constants, "constexpr")
    source = ASTSource(kernel, signature, constexprs=constants)
    target = GPUTarget("cuda", capability, 32)
    made = triton.compile(source, target=target, options={"num_warps": warps})
    print(kernel.fn.__name__, len(made.asm["cubin"]))

lists = {"label": "*u8", "shares": "*fp32", "distinct": "*u8"}
stem = lists | {"dense": "*fp16", "table": "*fp16", "bias": "*fp32", "out": "*fp16"}
head = {"features": "*fp16", "table": "*fp16", "bias": "*fp32", "out": "*u8"}
sizes = {"DENSE": 1, "RELU": False, "BLOCK": 128, "BLOCK_CHANNELS": 32}
for capability in map(int, sys.argv[1:]):
    compile(device.stem_kernel, stem, sizes | {"POOLED": False}, 2, capability)
    compile(device.stem_kernel, stem, sizes | {"POOLED": True}, 2, capability)
    compile(device.pool_kernel, lists | {"labels": "*u8"}, {"BLOCK": 256}, 4, capability)
    compile(device.head_kernel, head, {"BLOCK": 256, "CHANNELS": 32, "COLUMNS": 16}, 4, capability)
"""


@pytest.mark.parametrize("name", ["check_stem.py", "check_head.py", "check_network.py"])
def test_kernels_in_the_interpreter(name: str) -> None:
    """The checks beside this file pass; Triton decides at its import whether to interpret."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(CHECKS / name)]
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_kernels_compile_for_gpus(tmp_path: Path) -> None:
    """Triton and its assembler turn every kernel into machine code for A100, H100 and RTX 50."""
    program = tmp_path / "compile_kernels.py"
    program.write_text(COMPILE, encoding="utf-8")
    # Floating-point fusion is named because Triton warns while its default changes.
    environment = os.environ | {
        "TRITON_CACHE_DIR": str(tmp_path / "cache"),
        "TRITON_DEFAULT_FP_FUSION": "1",
    }
    environment.pop("TRITON_INTERPRET", None)
    result = subprocess.run(
        [sys.executable, str(program), "80", "90", "120"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    made = [line.split() for line in result.stdout.splitlines()]
    assert [name for name, _ in made] == 3 * [
        "stem_kernel",
        "stem_kernel",
        "pool_kernel",
        "head_kernel",
    ]
    assert all(int(size) > 1000 for _, size in made)
