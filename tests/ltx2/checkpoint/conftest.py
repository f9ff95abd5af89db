"""The reference's merges of LoRAs: their weights and files, and what a network makes of their inputs."""

from __future__ import annotations

import pytest
from safetensors.torch import save_file

from ltx2.checkpoint.lora import Lora
from ltx2.checkpoint.lora_stack import LoraStack, StackedLora
from ltx2.checkpoint.lora_use import LoraUse
from ltx2.config.section import parse
from ltx2.config.transformer import TransformerConfig
from ltx2.layers.modulation import Levels
from ltx2.networks.transformer.inputs import StreamInput


@pytest.fixture(scope="session")
def case(golden):
    return golden("lora_merge")


@pytest.fixture(scope="session")
def config(case):
    return parse(TransformerConfig, case.config["transformer"], "transformer")


@pytest.fixture
def lora_file(case, tmp_path):
    """`lora_file("a", rename=..., extra=...)` writes that LoRA of the fixture."""

    def write(which, rename=lambda key: key, extra=None, metadata=None):
        prefix = f"lora_{which}."
        tensors = {rename(key[len(prefix) :]): value for key, value in case.inputs.items() if key.startswith(prefix)}
        file = tmp_path / f"lora_{which}.safetensors"
        save_file({**tensors, **(extra or {})}, file, metadata)
        return file

    return write


@pytest.fixture(scope="session")
def stack():
    """`stack([(file, strength or LoraUse), ...])` is that stack for a transformer."""

    def make(parts):
        opened = [(file, Lora.open(file), use if isinstance(use, LoraUse) else LoraUse(use)) for file, use in parts]
        return LoraStack(tuple(StackedLora(file, lora, lora.transformer, use) for file, lora, use in opened))

    return make


@pytest.fixture(scope="session")
def velocities(case):
    """`velocities(network)` is what it makes of the fixture's inputs: (video, audio)."""

    def run(network):
        streams = []
        for name in ("video", "audio"):
            latent, sigma = case.inputs[f"{name}_latent"], case.inputs["sigma"]
            rotary, exchange = network.rotary(getattr(network.config, name), case.inputs[f"{name}_positions"])
            levels = Levels.of(sigma[:, None].expand(latent.shape[:2]))
            streams.append(StreamInput(latent, sigma, levels, case.inputs[f"{name}_context"], rotary, exchange))
        return network(*streams)

    return run
