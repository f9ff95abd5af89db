"""The tiny set's files with their linear layers packed, twins of them with the numbers that this leaves, and runs."""

from __future__ import annotations

import re

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ltx2.geometry import Canvas
from ltx2.latents import empty, states_of
from ltx2.sampling.denoiser import Context, Denoiser, Prompts
from ltx2.sampling.sample import start

#: Layers of the blocks, as the released fp8 files choose them.
BLOCK_LINEARS = re.compile(r"transformer_blocks\.\d+\..*\.(to_q|to_k|to_v|to_out\.0|net\.0\.proj|net\.2)\.weight$")


@pytest.fixture(scope="session")
def dev(tiny_models):
    """The tiny 2.3 checkpoint."""
    return tiny_models("2.3") / "checkpoints" / "ltx-2.3-22b-dev.safetensors"


@pytest.fixture
def repack(tmp_path):
    """`repack(file, encode, which)` is (the file packed, a twin in fp32 with the numbers that are left).

    `encode(matrix)` gives ({suffix of the key: tensor}, the numbers); suffix "weight" is the packed matrix.
    """

    def write(file, encode, which=BLOCK_LINEARS, metadata=None, extra=None):
        with safe_open(file, "pt") as opened:
            kept = opened.metadata() or {}
        packed, plain = {}, {}
        for key, tensor in load_file(file).items():
            plain[key] = packed[key] = tensor
            if which.search(key):
                parts, numbers = encode(tensor.float())
                plain[key] = numbers
                packed |= {f"{key.removesuffix('weight')}{suffix}": part for suffix, part in parts.items()}
        files = tmp_path / "packed.safetensors", tmp_path / "plain.safetensors"
        save_file(packed | (extra or {}), files[0], {**kept, **(metadata or {})})
        save_file(plain, files[1], kept)
        return files

    return write


@pytest.fixture(scope="session")
def run():
    """`run(network)` is what a transformer predicts of a small clip: (video, audio)."""

    @torch.no_grad()
    def predict(network, dtype=torch.float32):
        generator = torch.Generator().manual_seed(0)
        config = network.config
        widths = [
            config.caption_channels if config.caption_projection else stream.width
            for stream in (config.video, config.audio)
        ]
        context = Context(*(torch.randn(1, 8, width, generator=generator) for width in widths))
        states = states_of(*empty(Canvas(64, 96, 9, 24.0), 1))
        noise = tuple(torch.randn(state.latent.shape, generator=generator) for state in states)
        states = start(states, noise, 1.0)
        return Denoiser(network, Prompts(context), states)(tuple(state.latent for state in states), 0.8).x0

    return predict


@pytest.fixture(scope="session")
def assert_close():
    """`assert_close(one, other)`: in fp32 to 1e-5."""

    def check(one, other, atol=1e-5):
        for a, b in zip(one, other, strict=True):
            torch.testing.assert_close(a, b, atol=atol, rtol=0)

    return check
