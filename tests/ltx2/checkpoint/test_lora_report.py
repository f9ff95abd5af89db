"""What a LoRA changes, in words."""

from __future__ import annotations

import pytest
import torch

from ltx2.checkpoint.load import on_meta
from ltx2.checkpoint.lora import Lora
from ltx2.checkpoint.lora_report import report
from ltx2.checkpoint.lora_use import LoraUse
from ltx2.errors import ModelFileError
from ltx2.networks.transformer.model import Transformer

CONNECTOR = "diffusion_model.audio_embeddings_connector.transformer_1d_blocks.0.attn1.to_q"


@pytest.fixture(scope="module")
def shapes(config):
    return {name: tuple(tensor.shape) for name, tensor in on_meta(lambda: Transformer(config)).state_dict().items()}


@pytest.fixture
def said(lora_file, shapes):
    """`said(use, extra=..., metadata=..., text=...)` is the report of the fixture's first LoRA, its name aside."""

    def say(use, text=None, **changes):
        lines = report(Lora.open(lora_file("a", **changes)), use, shapes, text).splitlines()
        assert lines[0].startswith("lora_a.safetensors: ")
        return [lines[0].removeprefix("lora_a.safetensors: "), *lines[1:]]

    return say


def halves(module, width=32, rank=4):
    return {f"{module}.lora_A.weight": torch.ones(rank, width), f"{module}.lora_B.weight": torch.ones(width, rank)}


def test_a_whole_lora(said):
    assert said(LoraUse(0.7)) == [
        "rank 4, no alpha, strength 0.7, merged into the weights",
        "transformer: 15 weights (video 10 at 0.7, audio 3 at 0.7, cross-modal 2 at 0.7)",
    ]


def test_factors_and_mode(said):
    assert said(LoraUse(0.5, video=0.5, audio=0.0, cross=-1.0, mode="runtime")) == [
        "rank 4, no alpha, strength 0.5, computed beside the weights",
        "transformer: 12 weights (video 10 at 0.25, cross-modal 2 at -0.5)",
        "transformer: left out by audio strength 0: 3 weights (audio 3)",
    ]


def test_a_range_of_blocks(said):
    _, changed, left_out = said(LoraUse(blocks=(1, 1)))
    assert changed.startswith("transformer: ")
    assert "left out by the range of blocks 1 to 1, outside of which nothing changes: " in left_out
    counts = [int(line.split(" weights ")[0].rpartition(" ")[2]) for line in (changed, left_out)]
    assert sum(counts) == 15
    assert min(counts) > 0


def test_strength_zero(said):
    assert said(LoraUse(0.0))[1:] == [
        "transformer: nothing is changed",
        "transformer: left out by strength 0: 15 weights (video 10, audio 3, cross-modal 2)",
    ]


def test_ranks_and_alphas(said):
    one = {"diffusion_model.patchify_proj.alpha": torch.tensor(8.0)}
    assert said(LoraUse(), extra=one)[0].startswith("rank 4, alpha 8 on 1 of 15 weights, ")
    wide = halves("diffusion_model.transformer_blocks.0.attn1.to_k", rank=16)
    two = {**one, "diffusion_model.proj_out.alpha": torch.tensor(2.0), **halves("diffusion_model.proj_out"), **wide}
    assert said(LoraUse(), extra=two)[0].startswith("ranks 4 to 16, alpha 2 to 8 on 2 of ")


def test_what_does_not_fit_and_what_is_not_known(said):
    strangers = {**halves("diffusion_model.transformer_blocks.9.attn1.to_q"), **halves("diffusion_model.other")}
    assert said(LoraUse(), extra=strangers)[2:] == [
        "transformer: 1 weight of another shape or name left out",
        "not known: 1 key, such as diffusion_model.other.lora_A.weight",
    ]


def test_text_connectors(said):
    text = {"audio.blocks.0.attention.to_q.weight": (32, 32)}
    assert said(LoraUse(0.5), text, extra=halves(CONNECTOR))[2:] == ["text connectors: 1 weight (audio 1 at 0.5)"]
    assert said(LoraUse(0.5), None, extra=halves(CONNECTOR))[2:] == [
        "text connectors: 1 weight left out, for no text encoder is connected"
    ]
    _, _, _, changed, left_out = said(LoraUse(blocks=(0, 0)), text, extra=halves(CONNECTOR))
    assert changed == "text connectors: nothing is changed"
    assert left_out.startswith("text connectors: left out by the range of blocks 0 to 0")


def test_metadata(said):
    metadata = {"reference_downscale_factor": "2", "use_hdr_transform": "true"}
    assert said(LoraUse(), metadata=metadata)[2:] == [
        "IC-LoRA: reference at 1/2 size, every frame",
        "use_hdr_transform: true",
    ]
    with pytest.raises(ModelFileError, match="must be a whole number from 1; got 'half'"):
        said(LoraUse(), metadata={"reference_downscale_factor": "half"})
