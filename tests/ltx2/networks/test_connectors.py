"""Text connectors: the fixtures' contexts from real tokens only, diffusers' numbers, the released names and shapes."""

from __future__ import annotations

import pytest
import torch
from oracle import connector_name, connectors_twin

from ltx2.checkpoint.keys import TEXT
from ltx2.config.section import parse
from ltx2.config.text import ConnectorsConfig
from ltx2.errors import LTX2Error, ModelFileError
from ltx2.networks.text.connector import TextConnectors

VERSIONS = ["20", "23"]


def _config(raw: dict, weights: dict) -> ConnectorsConfig:
    config = parse(ConnectorsConfig, raw["transformer"], "transformer")
    name = "video_aggregate_embed" if config.has_separate_projections else "aggregate_embed"
    shape = weights[f"text_embedding_projection.{name}.weight"]
    return config.with_projection_width(getattr(shape, "shape", shape)[1])


def _build(config: ConnectorsConfig, weights: dict[str, torch.Tensor]) -> TextConnectors:
    with torch.device("meta"):
        connectors = TextConnectors(config)
    found, strangers = TEXT.select(weights)
    assert not strangers
    connectors.load_state_dict({ours: weights[key] for ours, key in found.items()}, strict=True, assign=True)
    return connectors


def _real_tokens(case, row: int) -> torch.Tensor:
    valid = case.inputs["attention_mask"][row].bool()
    return case.inputs["hidden_states"][:, row, valid].permute(1, 2, 0)[None]


@pytest.mark.parametrize("row", [0, 1])
@pytest.mark.parametrize("version", VERSIONS)
@torch.no_grad()
def test_contexts_from_real_tokens_equal_those_of_the_padded_batch(golden, version, row):
    case = golden(f"connectors_{version}")
    connectors = _build(_config(case.config, case.weights), case.weights)
    states, valid = _real_tokens(case, row), case.inputs["attention_mask"][row].bool()
    length = valid.shape[0]

    features = dict(zip(("video", "audio"), connectors.projection(states), strict=True))
    contexts = dict(zip(("video", "audio"), connectors(states, length), strict=True))
    for name in ("video", "audio"):
        expected = case.outputs[f"features.{name}"][row]
        torch.testing.assert_close(features[name][0], expected[valid], atol=2e-5, rtol=0)
        torch.testing.assert_close(contexts[name][0], case.outputs[f"{name}_context"][row], atol=2e-5, rtol=0)


@pytest.mark.parametrize("version", VERSIONS)
def test_names_and_shapes_are_those_of_the_released_files(golden_json, version):
    manifest = golden_json(f"manifest_{version}")
    expected = manifest["connectors"] | manifest["text_projection"]
    config = _config(golden_json(f"config_{version}")["config"], expected)
    with torch.device("meta"):
        connectors = TextConnectors(config)
    shapes = {TEXT.to_theirs(name): list(tensor.shape) for name, tensor in connectors.state_dict().items()}
    assert shapes == expected
    assert config.num_text_states == 49
    checkpoint = [key for part in manifest.values() if isinstance(part, dict) for key in part]
    _, strangers = TEXT.select(key for key in checkpoint if key.startswith(("model.", "text_embedding_projection.")))
    assert not strangers


@pytest.mark.parametrize("version", VERSIONS)
def test_every_parameter_matters(golden, version):
    case = golden(f"connectors_{version}")
    connectors = _build(_config(case.config, case.weights), case.weights)
    # 5 tokens of 256: every register is read at least once.
    states = torch.randn(1, 5, 32, 4, generator=torch.Generator().manual_seed(0))
    video, audio = connectors(states, 256)
    (video.square().sum() + audio.sin().sum()).backward()
    dead = [name for name, parameter in connectors.named_parameters() if not parameter.grad.abs().sum() > 0]
    assert not dead
    for connector in (connectors.video, connectors.audio):
        assert (connector.registers.grad.abs().sum(1) > 0).all()


def _random_twin(version: str, *, seed: int, hidden: int, states: int, layers: int):
    """A tiny diffusers model with random weights under the released names, and the config that describes it."""
    separate = version == "23"
    heads, head_dim, audio_heads, audio_head_dim = (3, 20, 2, 12) if separate else (4, hidden // 4, 4, hidden // 4)
    config = ConnectorsConfig(
        hidden_size=hidden,
        num_text_states=states,
        has_separate_projections=separate,
        num_layers=layers,
        num_heads=heads,
        head_dim=head_dim,
        audio_num_heads=audio_heads,
        audio_head_dim=audio_head_dim,
        is_gated=separate,
    )
    torch.manual_seed(seed)
    twin = connectors_twin(config)
    with torch.no_grad():
        for name, parameter in twin.named_parameters():
            parameter.uniform_(0.8, 1.2) if "norm" in name else parameter.normal_(0, 0.2)
    return twin, config


@pytest.mark.parametrize(
    ("version", "seed", "hidden", "states", "layers", "tokens", "length"),
    [
        ("20", 1, 24, 3, 1, 1, 128),
        ("20", 2, 40, 5, 3, 128, 128),
        ("23", 3, 36, 3, 2, 9, 256),
        ("23", 4, 20, 6, 1, 200, 384),
    ],
)
@torch.no_grad()
def test_diffusers_computes_the_same(version, seed, hidden, states, layers, tokens, length):
    twin, config = _random_twin(version, seed=seed, hidden=hidden, states=states, layers=layers)
    connectors = _build(config, {connector_name(name): value for name, value in twin.state_dict().items()})
    real = torch.randn(1, tokens, hidden, states) * 3
    padded = torch.cat((torch.randn(1, length - tokens, hidden, states) * 50, real), dim=1)
    mask = torch.cat((torch.zeros(1, length - tokens), torch.ones(1, tokens)), dim=1).long()
    expected_video, expected_audio, _ = twin(padded, mask, padding_side="left")
    video, audio = connectors(real, length)
    torch.testing.assert_close(video, expected_video, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(audio, expected_audio, atol=1e-5, rtol=1e-5)


def test_a_prompt_longer_than_the_context_is_refused(golden):
    case = golden("connectors_23")
    connectors = _build(_config(case.config, case.weights), case.weights)
    with pytest.raises(LTX2Error, match="129 tokens"):
        connectors(torch.zeros(1, 129, 32, 4), 128)


def test_a_projection_of_another_text_model_is_refused():
    with pytest.raises(ModelFileError, match="multiple of the text model's hidden size"):
        ConnectorsConfig(hidden_size=3840).with_projection_width(62208)


def test_other_projections_than_the_two_known_are_refused(golden):
    raw = golden("connectors_23").config["transformer"] | {"caption_projection_first_linear": True}
    with pytest.raises(ModelFileError, match="caption_projection_first_linear"):
        parse(ConnectorsConfig, raw, "transformer")
