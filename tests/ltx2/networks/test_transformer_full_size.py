"""The transformer at full size: names and shapes against the manifests, a full-width block against diffusers."""

import math

import pytest
import torch
from oracle import transformer_twin

from ltx2.checkpoint.keys import TRANSFORMER
from ltx2.checkpoint.load import InMemory, assign, audit, build, on_meta
from ltx2.config.section import parse
from ltx2.config.transformer import TransformerConfig
from ltx2.layers.modulation import Levels
from ltx2.networks.transformer.inputs import StreamInput
from ltx2.networks.transformer.model import Transformer
from ltx2.tokens import audio_positions, video_positions

RELEASES = ("20", "23")


class Manifest:
    name, metadata = "manifest", {}

    def __init__(self, manifest):
        components = [part for name, part in manifest.items() if not name.startswith("_") and "separate" not in name]
        self._shapes = {key: tuple(shape) for part in components for key, shape in part.items()}

    def shapes(self):
        return self._shapes

    def stored_as(self, key):
        return "BF16"


@pytest.mark.parametrize("release", RELEASES)
def test_names_and_shapes_of_the_released_checkpoint(golden_json, release):
    raw = golden_json(f"config_{release}")["config"]["transformer"]
    network = on_meta(lambda: Transformer(parse(TransformerConfig, raw, "transformer")))
    manifest = golden_json(f"manifest_{release}")
    found = audit(network, TRANSFORMER, Manifest(manifest))
    assert set(found.values()) == set(manifest["transformer"])
    assert {TRANSFORMER.to_theirs(name) for name in found} == set(manifest["transformer"])
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == manifest["_summary"]["transformer"]["parameters"]


def inputs(network, *, seed=0, grid=(2, 3, 4), audio_length=5, context_length=6):
    generator = torch.Generator().manual_seed(seed)
    config = network.config
    streams = []
    for name, length in (("video", math.prod(grid)), ("audio", audio_length)):
        stream = getattr(config, name)
        positions = video_positions(grid, 25.0) if name == "video" else audio_positions(length)
        own, exchange = network.rotary(stream, positions)
        width = config.caption_channels if config.caption_projection else stream.context_dim
        streams.append(
            StreamInput(
                latent=torch.randn(1, length, stream.in_channels, generator=generator),
                sigma=torch.tensor([0.7]),
                levels=Levels.of(torch.full((1, length), 0.7)),
                contexts=(torch.randn(1, context_length, width, generator=generator),),
                rotary=own,
                exchange_rotary=exchange,
            )
        )
    return streams


def fill(network, seed=0):
    """Random weights at a scale that keeps activations near one."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        scale = tensor.shape[-1] ** -0.5 if tensor.ndim > 1 else 0.1
        values = torch.randn(tensor.shape, generator=generator).mul_(scale)
        assign(network, name, values.add_(1.0) if name.endswith("norm.weight") else values)
    return network


def assert_same_as_diffusers(network, *, grid, audio_length):
    video, audio = inputs(network, grid=grid, audio_length=audio_length)
    with torch.no_grad():
        ours = network(video, audio)
        theirs = transformer_twin(network)(
            hidden_states=video.latent,
            audio_hidden_states=audio.latent,
            encoder_hidden_states=video.contexts[0],
            audio_encoder_hidden_states=audio.contexts[0],
            timestep=torch.tensor([[700.0]]).expand(1, video.latent.shape[1]),
            audio_timestep=torch.tensor([[700.0]]).expand(1, audio.latent.shape[1]),
            sigma=torch.tensor([700.0]),
            audio_sigma=torch.tensor([700.0]),
            num_frames=grid[0],
            height=grid[1],
            width=grid[2],
            fps=25.0,
            audio_num_frames=audio_length,
            return_dict=False,
        )
    for own, other in zip(ours, theirs[:2], strict=True):
        assert own.abs().mean() > 0.1
        torch.testing.assert_close(own, other, atol=1e-5, rtol=1e-5)


def config_of(golden_json, release, **changes):
    raw = golden_json(f"config_{release}")["config"]["transformer"]
    return parse(TransformerConfig, {**raw, **changes}, "transformer")


@pytest.mark.parametrize("release", RELEASES)
def test_a_block_at_full_width_equals_diffusers(golden_json, release):
    config = config_of(golden_json, release, num_layers=1)
    network = fill(on_meta(lambda: Transformer(config)))
    assert_same_as_diffusers(network, grid=(2, 2, 3), audio_length=5)


TINY = {
    "num_layers": 3,
    "num_attention_heads": 4,
    "attention_head_dim": 22,
    "audio_num_attention_heads": 4,
    "audio_attention_head_dim": 10,
    "cross_attention_dim": 88,
    "audio_cross_attention_dim": 40,
    "in_channels": 9,
    "out_channels": 9,
    "audio_in_channels": 7,
    "audio_out_channels": 7,
    "caption_channels": 31,
}


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize(("grid", "audio_length"), [((3, 4, 5), 7), ((1, 1, 1), 1)])
def test_other_sizes_equal_diffusers(golden_json, release, grid, audio_length):
    network = fill(on_meta(lambda: Transformer(config_of(golden_json, release, **TINY))), seed=5)
    assert_same_as_diffusers(network, grid=grid, audio_length=audio_length)


@pytest.mark.parametrize("release", RELEASES)
def test_every_parameter_has_an_effect(golden_json, release):
    network = fill(on_meta(lambda: Transformer(config_of(golden_json, release, **TINY))), seed=6)
    network.requires_grad_(True)
    video, audio = network(*inputs(network))
    (video.square().sum() + audio.square().sum()).backward()
    # A bias on all keys alike moves every logit of a query equally, which softmax cancels; the norm behind it does not.
    dead = [name for name, parameter in network.named_parameters() if not parameter.grad.abs().max() > 0]
    assert not dead


def test_weights_in_bf16_are_cast_where_they_are_used(golden_json):
    network = fill(on_meta(lambda: Transformer(config_of(golden_json, "23", **TINY))), seed=7)
    weights = {TRANSFORMER.to_theirs(name): tensor.bfloat16() for name, tensor in network.state_dict().items()}
    stored = build(lambda: Transformer(network.config), TRANSFORMER, InMemory(weights))
    upcast = build(
        lambda: Transformer(network.config), TRANSFORMER, InMemory({k: v.float() for k, v in weights.items()})
    )
    assert {tensor.dtype for tensor in stored.state_dict().values()} == {torch.bfloat16}
    given = inputs(network)
    with torch.no_grad():
        for own, other in zip(stored(*given), upcast(*given), strict=True):
            assert own.dtype == torch.float32
            assert torch.equal(own, other)
