"""Latent upsamplers: fixtures, released names, diffusers, sizes, and bad configs."""

from types import SimpleNamespace

import pytest
import torch
from oracle import upsampler_twin

from ltx2.checkpoint import keys
from ltx2.checkpoint.load import InMemory, audit, build, on_meta
from ltx2.config.section import parse
from ltx2.config.upsampler import UpsamplerConfig
from ltx2.errors import LTX2Error, ModelFileError
from ltx2.networks.upsampler import Upsampler, upsample

KINDS = {
    "spatial": {},
    "rational_x2": {"rational_resampler": True},
    "rational_x1.5": {"rational_resampler": True, "spatial_scale": 1.5},
    "temporal": {"spatial_upsample": False, "temporal_upsample": True},
    "both": {"temporal_upsample": True},
}
SMALL = {"in_channels": 6, "mid_channels": 64, "num_blocks_per_stage": 2}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def assert_close(actual: torch.Tensor, expected: torch.Tensor, tolerance: float = 2e-5) -> None:
    torch.testing.assert_close(actual, expected, atol=tolerance, rtol=0)


def filled(config: UpsamplerConfig, weights: dict[str, torch.Tensor]) -> Upsampler:
    return build(lambda: Upsampler(config), keys.UPSAMPLER, InMemory(weights))


def theirs_of(config: UpsamplerConfig):
    torch.manual_seed(4)
    return upsampler_twin(config)


@pytest.mark.parametrize("kind", ["rational_x1p5", "rational_x2", "spatial_x2", "temporal_x2"])
def test_fixture(golden, kind):
    case = golden(f"upsampler_{kind}")
    network = filled(parse(UpsamplerConfig, case.config, "config"), case.weights)
    statistics = SimpleNamespace(mean=case.inputs["mean_of_means"], std=case.inputs["std_of_means"])
    assert_close(network(case.inputs["latent"]), case.outputs["raw"])
    assert_close(upsample(network, case.inputs["latent"], statistics), case.outputs["latent"])


@pytest.mark.parametrize(
    "version,kind",
    [("20", "spatial_x2"), ("20", "temporal_x2"), ("23", "spatial_x2"), ("23", "spatial_x1.5"), ("23", "temporal_x2")],
)
def test_released_names_and_shapes(golden_json, version, kind):
    config = parse(UpsamplerConfig, golden_json(f"config_{version}")["upsamplers"][kind], "config")
    shapes = golden_json(f"manifest_{version}")[f"upsampler_{kind} (separate file)"]
    tensors = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    found = audit(on_meta(lambda: Upsampler(config)), keys.UPSAMPLER, InMemory(tensors))
    assert sorted(found.values()) == sorted(shapes)


@pytest.mark.parametrize("kind", list(KINDS))
@torch.no_grad()
def test_parity_with_diffusers_and_sizes(kind):
    config = parse(UpsamplerConfig, {**SMALL, **KINDS[kind]}, "config")
    theirs = theirs_of(config)
    ours = filled(config, theirs.state_dict())
    latent = torch.randn(2, 6, 3, 4, 5)  # an odd width: 1.5 times it is rounded up
    larger = ours(latent)
    scale = config.spatial_factor
    assert larger.shape == (2, 6, config.frames(3), -(-4 * scale // 1), -(-5 * scale // 1))
    assert_close(larger, theirs(latent), 1e-5)


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_parameter_matters(kind):
    config = parse(UpsamplerConfig, {**SMALL, **KINDS[kind]}, "config")
    network = filled(config, theirs_of(config).state_dict()).requires_grad_(True)
    larger = network(torch.randn(1, 6, 2, 3, 3))
    (larger * torch.randn_like(larger)).sum().backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


@torch.no_grad()
def test_the_network_computes_in_the_dtype_asked_for_and_the_input_is_untouched():
    config = UpsamplerConfig(in_channels=6, mid_channels=32, num_blocks_per_stage=1)
    network = filled(config, {key: tensor.bfloat16() for key, tensor in theirs_of(config).state_dict().items()})
    statistics = SimpleNamespace(mean=torch.full((6,), 0.5).bfloat16(), std=torch.full((6,), 2.0).bfloat16())
    latent = torch.randn(1, 6, 1, 2, 2)
    before = latent.clone()
    exact = upsample(network, latent, statistics)
    rough = upsample(network, latent, statistics, dtype=torch.bfloat16)
    assert exact.dtype == rough.dtype == torch.float32
    assert torch.equal(latent, before)
    assert not torch.equal(exact, rough)
    assert_close(rough, exact, 0.1)


def test_a_wrong_latent_is_answered():
    network = on_meta(lambda: Upsampler(UpsamplerConfig(in_channels=6, mid_channels=32)))
    with pytest.raises(LTX2Error, match=r"\(batch, 6, frames, height, width\); got \(1, 128, 2, 2\); use"):
        network(torch.zeros(1, 128, 2, 2))


@pytest.mark.parametrize(
    "raw,message",
    [
        ({"spatial_upsample": False}, "spatial_upsample or temporal_upsample must be true; both are false"),
        ({"dims": 2}, "config.dims = 2 is not supported (supported: 3)"),
        ({"spatial_scale": 1.5}, "config.spatial_scale = 1.5 is not supported (supported: 2.0)"),
        ({"rational_resampler": True, "spatial_scale": 3.0}, "supported: 0.75, 1.5, 2.0, 4.0"),
    ],
)
def test_configs_that_cannot_be(raw, message):
    with pytest.raises(ModelFileError) as caught:
        parse(UpsamplerConfig, raw, "config")
    assert message in str(caught.value)
