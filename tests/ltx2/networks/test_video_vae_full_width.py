"""One level of each released video VAE at its real width, against diffusers."""

from __future__ import annotations

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl_ltx2 import LTX2VideoDownBlock3D, LTX2VideoUpBlock3d
from torch import Tensor, nn

from ltx2.config.section import parse
from ltx2.config.video_vae import VideoVAEConfig
from ltx2.networks.video_vae import VideoVAE

_KINDS = {(1, 2, 2): "spatial", (2, 1, 1): "temporal", (2, 2, 2): "spatiotemporal"}


def released(golden_json, release: str) -> tuple[VideoVAE, VideoVAEConfig]:
    config = parse(VideoVAEConfig, golden_json(f"config_{release}")["config"]["vae"], "vae")
    with torch.device("meta"):
        return VideoVAE(config), config


def fill(modules: nn.ModuleDict, oracle: nn.Module) -> None:
    """Random weights in `modules`, the same in the diffusers block `oracle`."""
    modules.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(23)
    for parameter in modules.parameters():
        fan_in = parameter[0].numel()
        nn.init.normal_(parameter, 0, fan_in**-0.5 if parameter.dim() > 1 else 0.1, generator=generator)
    renamed = {}
    for key, tensor in modules.state_dict().items():
        renamed[key.replace("sampler.", f"{_sampler_name(oracle)}.0.").replace("stage.res_blocks", "resnets")] = tensor
    oracle.load_state_dict(renamed, assign=True)


def _sampler_name(oracle: nn.Module) -> str:
    return "downsamplers" if isinstance(oracle, LTX2VideoDownBlock3D) else "upsamplers"


def assert_same(actual: Tensor, expected: Tensor) -> None:
    # Each residual block adds to the values, so 1e-5 is meant relative to their scale.
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5 * max(1.0, expected.abs().max().item()))


@pytest.mark.parametrize(("release", "index"), [("20", 3), ("23", 5)])  # 512 to 256 channels in both
@torch.no_grad()
def test_decoder_level(golden_json, release, index):
    vae, config = released(golden_json, release)
    sampler, stage = vae.decoder.up_blocks[index : index + 2]
    block = config.decoder_blocks[::-1][index]
    width = stage.res_blocks[0].conv1.conv.in_channels
    with torch.device("meta"):
        oracle = LTX2VideoUpBlock3d(
            width,
            num_layers=len(stage.res_blocks),
            upsample_type=_KINDS[block.stride],
            upsample_residual=block.residual,
            upscale_factor=block.multiplier,
            spatial_padding_mode=config.decoder_padding_mode,
        )
    fill(nn.ModuleDict({"sampler": sampler, "stage": stage}), oracle)
    x = torch.randn(1, width * block.multiplier, 2, 3, 4, generator=torch.Generator().manual_seed(1))
    assert_same(stage(sampler(x)), oracle(x, causal=False))


@pytest.mark.parametrize(("release", "index"), [("20", 2), ("23", 4)])  # 256 to 512, and 512 to 1024
@torch.no_grad()
def test_encoder_level(golden_json, release, index):
    vae, config = released(golden_json, release)
    stage, sampler = vae.encoder.down_blocks[index : index + 2]
    block = config.encoder_blocks[index + 1]
    width = stage.res_blocks[0].conv1.conv.in_channels
    with torch.device("meta"):
        oracle = LTX2VideoDownBlock3D(
            width,
            width * block.multiplier,
            num_layers=len(stage.res_blocks),
            downsample_type=_KINDS[block.stride],
            spatial_padding_mode=config.encoder_padding_mode,
        )
    fill(nn.ModuleDict({"stage": stage, "sampler": sampler}), oracle)
    x = torch.randn(1, width, 5, 4, 6, generator=torch.Generator().manual_seed(2))
    assert_same(sampler(stage(x)), oracle(x, causal=True))
