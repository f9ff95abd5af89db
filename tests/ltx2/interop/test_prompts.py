"""Prompts in ComfyUI's two forms, read back as they were."""

from __future__ import annotations

import pytest
import torch

from ltx2.config.text import ConnectorsConfig
from ltx2.errors import LTX2Error
from ltx2.interop.prompts import UNPROCESSED, read, to_conditioning, unprocessed
from ltx2.sampling.denoiser import Context

SHARED = ConnectorsConfig(num_heads=2, head_dim=4, audio_num_heads=2, audio_head_dim=4)
SEPARATE = ConnectorsConfig(num_heads=2, head_dim=4, audio_num_heads=2, audio_head_dim=2, has_separate_projections=True)


def drawn(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("config", [SHARED, SEPARATE], ids=["2.0", "2.3"])
def test_after_the_connectors(config):
    context = Context(drawn(1, 16, config.video_dim), drawn(1, 16, config.audio_dim).bfloat16())
    ((tensor, options),) = conditioning = to_conditioning(context, 30)
    assert tensor.shape == (1, 16, config.video_dim + config.audio_dim)
    assert tensor.dtype == torch.float32
    assert options == {"pooled_output": None, "frame_rate": 30.0}
    back = read(conditioning, config)
    assert not back.needs_connectors
    assert torch.equal(back.video, context.video)
    assert torch.equal(back.audio, context.audio.float())
    assert back.frame_rate == 30.0


def test_before_the_connectors():
    one = drawn(1, 5, 8)
    ((tensor, options),) = unprocessed((one, one), 24.0)
    assert tensor.shape == (1, 5, 8)
    assert options[UNPROCESSED] is True
    back = read([[tensor, options]], SHARED)
    assert back.needs_connectors
    assert torch.equal(back.video, one)
    assert torch.equal(back.audio, one)
    two = drawn(1, 5, 8), drawn(1, 5, 4)
    back = read(unprocessed(two, 24.0), SEPARATE)
    assert back.needs_connectors
    assert torch.equal(back.video, two[0])
    assert torch.equal(back.audio, two[1])


def test_padding_in_front_is_left_out():
    tensor, mask = drawn(1, 6, 8), torch.tensor([[0, 0, 1, 1, 1, 1]])
    back = read([[tensor, {UNPROCESSED: True, "attention_mask": mask}]], SHARED)
    assert torch.equal(back.video, tensor[:, 2:])
    with pytest.raises(LTX2Error, match="an attention mask must go with a prompt before the connectors"):
        read([[drawn(1, 6, 16), {"attention_mask": mask}]], SHARED)


def test_without_a_frame_rate_it_is_comfyuis():
    assert read([[drawn(1, 4, 16), {}]], SHARED).frame_rate == 25.0


def test_what_would_be_lost_is_refused():
    tensor = drawn(1, 4, 16)
    options = {"pooled_output": None, "start_percent": 0.0, "end_percent": 1.0, "area": None}
    assert not read([[tensor, options]], SHARED).needs_connectors
    for lost in ({"keyframe_idxs": torch.zeros(1)}, {"start_percent": 0.5}, {"hooks": object()}, {"strength": 0.5}):
        with pytest.raises(LTX2Error, match=f"it also says {next(iter(lost))}"):
            read([[tensor, lost]], SHARED)
    with pytest.raises(LTX2Error, match="one prompt; got 2 of them"):
        read([[tensor, {}], [tensor, {}]], SHARED)


@pytest.mark.parametrize(
    "wrong", ["text", [], [[1, {}]], [[drawn(2, 4, 16), {}]], [["a"]], [3], [[drawn(1, 4, 16), 3]]]
)
def test_other_values_are_refused(wrong):
    with pytest.raises(LTX2Error, match="conditioning must be"):
        read(wrong, SHARED)


def test_prompts_of_another_model_are_refused():
    with pytest.raises(LTX2Error, match="must be 16 wide for this text encoder, or 8 before its connectors; got 7"):
        read([[drawn(1, 4, 7), {}]], SHARED)
    with pytest.raises(LTX2Error, match="must be 12 wide for this text encoder; got 8"):
        read([[drawn(1, 4, 8), {}]], SEPARATE)
    with pytest.raises(LTX2Error, match="before the connectors must be 8 wide"):
        read([[drawn(1, 4, 16), {UNPROCESSED: True}]], SHARED)
