"""What a guided step costs beside four plain passes: counted on the meta device, at full size."""

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ltx2.checkpoint.load import on_meta
from ltx2.config.section import parse
from ltx2.config.transformer import TransformerConfig
from ltx2.guidance.guidance import Guidance
from ltx2.guidance.plan import plan
from ltx2.layers.modulation import Levels
from ltx2.layers.rope import Rotary
from ltx2.networks.transformer.inputs import StreamInput
from ltx2.networks.transformer.model import Transformer

SMALL, LARGE = 16 * 8 * 12, 16 * 16 * 24  # video tokens of 384x256x121 and of 768x512x121
AUDIO = 126


@pytest.fixture(scope="module", params=["20", "23"])
def config(request, golden_json):
    raw = golden_json(f"config_{request.param}")["config"]["transformer"]
    return parse(TransformerConfig, raw, "transformer")


@pytest.fixture(scope="module")
def network(config):
    assert config.num_layers == 48
    return on_meta(lambda: Transformer(config))


def stream(network, name, num_tokens):
    config, like = network.config, torch.empty((), device="meta", dtype=torch.bfloat16)
    stream = getattr(config, name)

    def table(head_dim):
        return Rotary(*(like.new_empty(1, stream.num_heads, num_tokens, head_dim // 2) for _ in "cs"))

    width = config.caption_channels if config.caption_projection else stream.context_dim
    return StreamInput(
        latent=like.new_empty(1, num_tokens, stream.in_channels),
        sigma=torch.empty(1, device="meta"),
        levels=Levels(torch.empty(1, device="meta")),
        contexts=(like.new_empty(1, 1024, width),) * 2,
        rotary=table(stream.head_dim),
        exchange_rotary=table(config.audio_head_dim),
    )


def flops(call):
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        result = call()
    return counter.get_total_flops(), result


def plain_flops(config, streams):
    """Of one pass: blocks are all alike, so two networks of one and two blocks tell."""
    streams = [replace(one, contexts=one.contexts[:1]) for one in streams]
    small = (on_meta(lambda n=n: Transformer(replace(config, num_layers=n))) for n in (1, 2))
    one, two = (flops(lambda network=network: network(*streams))[0] for network in small)
    return one + (config.num_layers - 1) * (two - one)


def with_text(network, streams):
    """The inputs of a step that is not the run's first: where no noise level enters the text, it is known."""
    if network.follows_sigma_in_text:
        return streams
    text = network.text(*(one.contexts for one in streams))
    return tuple(replace(one, text=known) for one, known in zip(streams, text, strict=True))


# The most that a step may cost, of four passes, in the two digits that the limits have: (2.0, 2.3).
@pytest.mark.parametrize(("num_tokens", "limits"), [(LARGE, (0.81, 0.82)), (SMALL, (0.74, 0.79))])
def test_a_guided_step_costs_less_than_its_passes(config, network, num_tokens, limits):
    streams = (stream(network, "video", num_tokens), stream(network, "audio", AUDIO))
    guidance = Guidance(cfg=3, stg=1, modality=3, rescale=0.7).fitted(config)
    passes = tuple(plan(guidance, guidance).values())
    assert len(passes) == 4
    given = with_text(network, streams)
    guided, velocities = flops(lambda: network(*given, passes))
    assert [len(velocity) for velocity in velocities] == [4, 4]
    share = guided / (4 * plain_flops(config, streams))
    assert 0.7 < round(share, 2) <= limits[config.text_modulation], f"{share:.4f} of four passes"
