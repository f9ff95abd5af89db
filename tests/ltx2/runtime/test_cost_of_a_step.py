"""What a step and a prompt cost at full size, counted on the meta device: limits that hold for every later change.

Operations are what launches a kernel: views are none, attention and an RMS norm one each, as on GPUs.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

RELEASES = ("2.0", "2.3")
DTYPE = torch.bfloat16


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize(("mask", "limit"), [(None, 2.1e9), ("first frame", 2.3e9)], ids=["text", "image"])
def test_memory_of_a_step_at_1920x1088(stages, release, mask, limit):
    """As the denoiser makes it, rotary tables and prompts included: at most so many bytes beside the weights."""
    run = stages.Run(1920, 1088, 121, mask=mask)
    assert 1e9 < stages.sampling(release, run, DTYPE, num_layers=2).counted <= limit


def plain_calls(peers, release, *, is_fused=False):
    """The forward call of a network of one block and of one of two, at 768x512x121."""
    from comfyui_ltx2.ltx2.layers.fused import FUSED, use_operations

    for num_layers in (1, 2):
        network = peers.ours(peers.transformer_config(release, num_layers=num_layers)).to(DTYPE)
        if is_fused:
            use_operations(network, FUSED)
        streams = peers.our_inputs(network, peers.Clip(768, 512, 121), device="meta", dtype=DTYPE)
        yield lambda network=network, streams=streams: network(*streams)


@pytest.mark.parametrize(
    ("release", "is_fused", "operations", "traffic"),
    [("2.0", False, 120, 75), ("2.3", False, 150, 75), ("2.0", True, 70, 40), ("2.3", True, 70, 40)],
)
def test_operations_and_traffic_of_a_block(counting, peers, release, is_fused, operations, traffic):
    """Traffic in hidden states of the video."""
    one, two = map(counting.traffic, plain_calls(peers, release, is_fused=is_fused))
    assert 50 < two.operations - one.operations <= operations
    hidden = 16 * 16 * 24 * 4096 * DTYPE.itemsize
    assert 25 * hidden < two.elementwise_bytes - one.elementwise_bytes <= traffic * hidden


class Denoised:
    """A run of one pass at 384x256x121 on the meta device, two blocks deep, and what its modules did."""

    def __init__(self, stages, peers, release):
        self.config = peers.transformer_config(release, num_layers=2)
        self.network = stages.on_meta(lambda: stages.Transformer(self.config)).to(DTYPE)
        self.seen = []
        for name, module in self.network.named_modules():
            if name.endswith(("caption_projection", "text_attention.to_k", "text_attention.to_v")):
                module.register_forward_hook(lambda *_, name=name: self.seen.append(name))
        rotary = self.network.rotary
        self.network.rotary = lambda *given: self.seen.append("rotary") or rotary(*given)
        width = self.config.caption_channels if self.config.caption_projection else None
        widths = [width or one.context_dim for one in (self.config.video, self.config.audio)]
        context = stages.Context(*(torch.zeros(1, 1, 1).expand(1, 1024, width) for width in widths))
        self.states = stages._states(stages.Run(384, 256, 121))
        given = {"device": stages.META, "dtype": DTYPE}
        self.denoiser = stages.Denoiser(self.network, stages.Prompts(context), self.states, **given)

    def step(self):
        """The denoiser's call of the network; the rest of a step is arithmetic on the CPU."""
        return self.network(*(one.inputs(one.state.latent, 0.7, True) for one in self.denoiser.streams))


@pytest.mark.parametrize("release", RELEASES)
def test_what_no_step_changes_is_made_before_the_first(stages, peers, release):
    run = Denoised(stages, peers, release)
    assert run.seen.count("rotary") == 2
    run.seen.clear()
    run.step()
    # From 2.3 on keys and values of the text follow the noise level.
    assert set(run.seen) == (set() if release == "2.0" else {name for name in run.seen if ".to_" in name})


def test_a_step_of_2_0_does_not_read_the_text_again(counting, stages, peers):
    """Against the same forward call that makes keys and values of the text, at 384x256x121."""
    run = Denoised(stages, peers, "2.0")
    width = run.config.caption_channels
    contexts = (torch.empty(1, 1024, width, device="meta", dtype=DTYPE),)
    streams = [one.inputs(one.state.latent, 0.7, True) for one in run.denoiser.streams]
    again = [replace(one, text=None, contexts=contexts) for one in streams]
    assert 0.85 < counting.flops(run.step) / counting.flops(lambda: run.network(*again)) <= 0.915


def test_a_prompt_costs_its_own_tokens(counting, stages):
    """Gemma 3 12B on 200 tokens, beside the 1024 that a prompt is padded to elsewhere."""
    gemma = stages._gemma()

    def operations(length):
        return counting.flops(lambda: gemma(stages.empty(1, length, dtype=torch.long), DTYPE))

    assert 0.15 < operations(200) / operations(1024) <= 0.2
