"""The transformer against the reference: every release, every perturbation, one modality alone."""

import pytest
import torch

from ltx2.checkpoint.keys import TRANSFORMER
from ltx2.checkpoint.load import InMemory, build
from ltx2.config.section import parse
from ltx2.config.transformer import TransformerConfig
from ltx2.layers.modulation import Levels
from ltx2.networks.transformer.inputs import StreamInput
from ltx2.networks.transformer.model import Transformer
from ltx2.networks.transformer.passes import ISOLATED, Pass, Perturbation

CASES = (
    "transformer_20",
    "transformer_20_interleaved",
    "transformer_23",
    "transformer_25",
    "transformer_25_static_prompt",
)
BLOCK_1 = frozenset({1})
PERTURBED = {
    "skip_video_self_attn": Perturbation(video_self_attention=BLOCK_1),
    "skip_audio_self_attn": Perturbation(audio_self_attention=BLOCK_1),
    "skip_a2v": Perturbation(audio_to_video=BLOCK_1),
    "skip_v2a": Perturbation(video_to_audio=BLOCK_1),
}


@pytest.fixture(scope="module", params=CASES)
def case(request, golden):
    return golden(request.param)


@pytest.fixture(scope="module")
def network(case):
    config = parse(TransformerConfig, case.config["transformer"], "transformer")
    return build(lambda: Transformer(config), TRANSFORMER, InMemory(case.weights))


def stream(case, network, name, positions=None, uniform=False, **changes):
    inputs = case.inputs
    config = getattr(network.config, name)
    rotary, exchange_rotary = network.rotary(config, inputs[f"{name}_{positions or 'positions'}"])
    sigma = inputs[f"{name}_sigma"]
    mask = inputs[f"{name}_denoise_mask"].squeeze(-1)
    mask = torch.ones_like(mask) if uniform else mask
    options = {"keyframes": inputs.get("keyframes_mask_first_frame")} if name == "video" else {}
    return StreamInput(
        latent=inputs[f"{name}_latent"],
        sigma=sigma,
        levels=Levels.of(mask * sigma[:, None]),
        contexts=(inputs[f"{name}_context"],),
        rotary=rotary,
        exchange_rotary=exchange_rotary,
        **{**options, **changes},
    )


def both(case, network, **changes):
    video = stream(case, network, "video", **changes)
    return video, stream(case, network, "audio", uniform=changes.get("uniform", False))


def check(case, variant, outputs):
    for name, velocity in zip(("video", "audio"), outputs, strict=True):
        key = f"{variant}.{name}_velocity"
        assert (velocity is None) == (key not in case.outputs)
        if velocity is not None:
            torch.testing.assert_close(velocity, case.outputs[key], atol=1e-5, rtol=0)


def test_base(case, network):
    check(case, "base", network(*both(case, network)))


def test_other_frame_rate(case, network):
    check(case, "pos_25fps", network(*both(case, network, positions="positions_25fps")))


def test_uniform_noise(case, network):
    check(case, "uniform", network(*both(case, network, uniform=True)))


@pytest.mark.parametrize("variant", PERTURBED)
def test_perturbed(case, network, variant):
    check(case, variant, network(*both(case, network), [Pass(perturbation=PERTURBED[variant])]))


def test_passes_perturbed_differently(case, network):
    second = Perturbation(video_self_attention=BLOCK_1, audio_self_attention=BLOCK_1)
    passes = [Pass(perturbation=ISOLATED), Pass(perturbation=second)]
    velocities = network(*both(case, network), passes, passes_per_batch=1)
    # The fixture has one clip of each pass.
    check(case, "mixed", [torch.stack((x[0], x[3])) for x in velocities])


class DenseBias:
    """An attention bias of strengths (B, T, T)."""

    def __init__(self, strengths):
        self.strengths = strengths

    def rows(self, start, stop, like):
        strengths = self.strengths[:, None, start:stop].to(like)
        return strengths.log().clamp_min(torch.finfo(like.dtype).min)


def test_attention_mask(case, network):
    bias = DenseBias(case.inputs["video_attention_mask"])
    check(case, "attention_mask", network(*both(case, network, attention_bias=bias)))


def test_one_modality_alone(case, network):
    video, audio = both(case, network)
    check(case, "video_only", network(video, None))
    check(case, "audio_only", network(None, audio))


def test_a_disabled_stream_is_seen_and_not_updated(case, network):
    frozen = stream(case, network, "video", is_updated=False)
    check(case, "video_disabled", network(frozen, stream(case, network, "audio")))
    frozen = stream(case, network, "audio", is_updated=False)
    check(case, "audio_disabled", network(stream(case, network, "video"), frozen))


@pytest.mark.parametrize("variant", ["keyframes_extra", "no_keyframes"])
def test_keyframes(case, network, variant):
    if f"{variant}.video_velocity" not in case.outputs:
        assert not network.config.keyframe_embedding
        return
    keyframes = case.inputs.get("keyframes_mask_extra") if variant == "keyframes_extra" else None
    check(case, variant, network(*both(case, network, keyframes=keyframes)))


def test_rotary_tables(case, network):
    for name in ("video", "audio"):
        given = stream(case, network, name)
        for key, rotary in ((name, given.rotary), (f"{name}_cross", given.exchange_rotary)):
            for part in ("cos", "sin"):
                table, expected = getattr(rotary, part), case.outputs[f"rope.{key}.{part}"]
                if rotary.interleaved:
                    table = table.transpose(1, 2).flatten(2).repeat_interleave(2, dim=-1)
                torch.testing.assert_close(table.expand_as(expected), expected, atol=1e-6, rtol=0)


def test_hidden_states(case, network):
    states = {}

    def record(key):
        return lambda module, args, output: states.update({f"{key}.video": output[0], f"{key}.audio": output[1]})

    handles = [block.register_forward_hook(record(f"block{n}")) for n, block in enumerate(network.blocks)]
    network(*both(case, network))
    for handle in handles:
        handle.remove()
    assert len(states) == 4
    for key, state in states.items():
        torch.testing.assert_close(state, case.outputs[key], atol=1e-5, rtol=0)
