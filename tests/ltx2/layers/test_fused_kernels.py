"""Kernels are compiled to the code of GPUs, which needs none: what interprets them takes more than compilers do."""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FILE = Path(__file__).resolve().parents[3] / "ltx2" / "layers" / "fused_kernels.py"
NORM = {"OUTS": 2, "NORMS": True, "BLOCK": 4096}
VARIANTS = [
    ("modulate", {"ADDS": True, "GATE_INDEXED": True, "INDEXED": True, **NORM}),
    ("modulate", {"ADDS": False, "GATE_INDEXED": False, "INDEXED": False, **NORM, "OUTS": 1, "NORMS": False}),
    ("modulate", {"ADDS": True, "GATE_INDEXED": True, "INDEXED": False, **NORM, "OUTS": 0, "NORMS": False}),
    ("turn", {"INTERLEAVED": False, "BLOCK": 2048}),
    ("turn", {"INTERLEAVED": True, "BLOCK": 1024}),
    ("join", {"BLOCK": 4096}),
]
TENSORS = "x update gate gate_table added query key attended out"
COMPUTE_CAPABILITY = 90


def is_tensor(name):
    return name in TENSORS.split() or name.endswith(("_0", "_1", "_table", "_weight", "_cos", "_sin"))


def kinds(parameters, constants):
    """Triton's name of each argument's type."""
    found = {name: "*bf16" if is_tensor(name) else "i32" for name in parameters}
    found |= {name: "*i32" for name in ("index", "gate_index") if name in found}
    return found | dict.fromkeys(constants, "constexpr") | ({"eps": "fp32"} if "eps" in found else {})


def compiled(kernel, constants):
    """The kernel for a GPU."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, compile

    parameters = list(inspect.signature(kernel.fn).parameters)
    places = {(parameters.index(constant),): value for constant, value in constants.items()}
    source = ASTSource(kernel, kinds(parameters, constants), places)
    return compile(source, target=GPUTarget("cuda", COMPUTE_CAPABILITY, 32), options={"num_warps": 8}).asm


def main():
    """Compile them all, in a process in which nothing has been interpreted: that changes Triton's language for good."""
    spec = importlib.util.spec_from_file_location("kernels_to_compile", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = [compiled(getattr(module, name), constants) for name, constants in VARIANTS]
    sys.stdout.write(json.dumps([(len(each["cubin"]), ".local" in each["ptx"]) for each in made]))


def test_kernels_are_compiled(tmp_path):
    if importlib.util.find_spec("triton") is None:
        pytest.skip("needs triton, which is made for Linux: pip install triton")
    environment = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path), "TRITON_INTERPRET": "0"}
    ran = subprocess.run([sys.executable, __file__], env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    made = json.loads(ran.stdout)
    assert len(made) == len(VARIANTS)
    for size, spills in made:
        assert size > 1000
        assert not spills, "registers are spilled"


if __name__ == "__main__":
    main()
