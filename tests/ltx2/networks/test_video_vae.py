"""The video VAE against fixtures, manifests and diffusers at tiny widths, and what its config refuses."""

from __future__ import annotations

import copy
import re
from dataclasses import replace

import pytest
import torch
from diffusers import AutoencoderKLLTX2Video

from ltx2.checkpoint.keys import VIDEO_VAE
from ltx2.checkpoint.load import InMemory, audit, build, on_meta
from ltx2.config.section import parse
from ltx2.config.video_vae import VideoVAEConfig
from ltx2.errors import LTX2Error, ModelFileError
from ltx2.networks.video_vae import VideoVAE

TOLERANCE = {"rtol": 0, "atol": 2e-5}

ENCODER_20 = [
    ["res_x", {"num_layers": 1}],
    ["compress_space_res", {"multiplier": 2}],
    ["res_x", {"num_layers": 2}],
    ["compress_time_res", {"multiplier": 2}],
    ["res_x", {"num_layers": 1}],
    ["compress_all_res", {"multiplier": 2}],
    ["res_x", {"num_layers": 2}],
    ["compress_all_res", {"multiplier": 2}],
    ["res_x", {"num_layers": 1}],
]
DECODER_20 = [
    ["res_x", {"num_layers": 1}],
    ["compress_all", {"residual": True, "multiplier": 2}],
    ["res_x", {"num_layers": 2}],
    ["compress_all", {"residual": True, "multiplier": 2}],
    ["res_x", {"num_layers": 1}],
    ["compress_all", {"residual": True, "multiplier": 2}],
    ["res_x", {"num_layers": 3}],
]
ENCODER_23 = [*ENCODER_20[:7], ["compress_all_res", {"multiplier": 1}], ENCODER_20[8]]
DECODER_23 = [
    ["res_x", {"num_layers": 2}],
    ["compress_space", {"multiplier": 2}],
    ["res_x", {"num_layers": 1}],
    ["compress_time", {"multiplier": 2}],
    ["res_x", {"num_layers": 3}],
    ["compress_all", {"multiplier": 1}],
    ["res_x", {"num_layers": 1}],
    ["compress_all", {"multiplier": 2}],
    ["res_x", {"num_layers": 2}],
]


def tiny(release: str, **changes) -> dict:
    """`config["vae"]` of a release at widths that the fixtures do not have."""
    raw = {
        "latent_channels": 6,
        "decoder_base_channels": 4,
        "timestep_conditioning": False,
        "encoder_blocks": ENCODER_20 if release == "2.0" else ENCODER_23,
        "decoder_blocks": DECODER_20 if release == "2.0" else DECODER_23,
    }
    padding = {} if release == "2.0" else {"spatial_padding_mode": "zeros"}
    return copy.deepcopy({**raw, **padding, **changes})


def read(raw: dict) -> VideoVAEConfig:
    return parse(VideoVAEConfig, raw, "vae")


def random_vae(raw: dict, seed: int = 0) -> VideoVAE:
    torch.manual_seed(seed)
    vae = VideoVAE(read(raw)).eval()
    with torch.no_grad():
        vae.statistics.mean.normal_(0, 0.3)
        vae.statistics.std.uniform_(0.5, 1.5)
        for name, parameter in vae.named_parameters():
            if "scale_shift_table" in name:
                parameter.normal_(0, 0.3)
    return vae


def load(case) -> VideoVAE:
    config = read(case.config["vae"])
    return build(lambda: VideoVAE(config), VIDEO_VAE, InMemory(case.weights))


def as_pixels(video: torch.Tensor) -> torch.Tensor:
    return video.float() / 127.5 - 1


def assert_close(actual: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(actual, expected, **TOLERANCE)


class TestFixtures:
    @pytest.mark.parametrize("name", ["video_vae_20", "video_vae_23"])
    def test_encode(self, golden, name):
        case = golden(name)
        vae, pixels = load(case), as_pixels(case.inputs["video_u8"])
        assert_close(vae.encode(pixels), case.outputs["latent"])
        assert_close(vae.encode(pixels[:, :, :1]), case.outputs["latent_first_frame"])
        assert_close(vae.encode(pixels[:, :, :12]), case.outputs["latent_12_frames"])

    @pytest.mark.parametrize("name", ["video_vae_20", "video_vae_23"])
    def test_decode(self, golden, name):
        case = golden(name)
        vae = load(case)
        pixels = vae.decode(case.inputs["latent"])
        assert pixels.shape == (1, 3, 9, 64, 96)
        assert_close(pixels[:, :, [0, 1, 4, 8]], case.outputs["pixels_frames"])
        assert_close(pixels[:, :, :, ::3, ::5], case.outputs["pixels_subsampled"])
        assert_close(vae.decode(case.inputs["latent_tiled"])[:, :, :, ::7, ::11], case.outputs["untiled"])

    def test_encoder_of_the_nested_form(self, golden):
        case = golden("video_vae_25_encoder")
        vae = load(case)
        assert_close(vae.encode(as_pixels(case.inputs["video_u8"])), case.outputs["latent"])
        with pytest.raises(LTX2Error, match="has an encoder only"):
            vae.decode(case.outputs["latent"])

    def test_decoder_with_timestep(self, golden):
        case = golden("video_vae_timestep")
        encoder = VideoVAE(read(case.config["vae"])).encoder.state_dict(prefix="vae.encoder.")
        vae = load(replace(case, weights={**encoder, **case.weights}))  # the fixture has no encoder
        pixels = vae.decode(case.inputs["latent"], noise=case.inputs["noise"])
        assert_close(pixels[:, :, :, ::3, ::5], case.outputs["pixels"])

    def test_decoder_with_timestep_takes_a_generator(self):
        vae = random_vae(tiny("2.0", timestep_conditioning=True))
        latent = torch.randn(1, 6, 2, 2, 2)
        noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(3))
        drawn = vae.decode(latent, generator=torch.Generator().manual_seed(3))
        assert torch.equal(drawn, vae.decode(latent, noise=noise))
        assert not torch.equal(drawn, vae.decode(latent, generator=torch.Generator().manual_seed(4)))
        with pytest.raises(LTX2Error, match="noise or a seeded generator"):
            vae.decode(latent)


class TestManifest:
    @pytest.mark.parametrize("release", ["20", "23"])
    def test_released_names_and_shapes(self, golden_json, release):
        manifest = golden_json(f"manifest_{release}")
        parts = ("video_vae_encoder", "video_vae_statistics", "video_vae_decoder")
        released = {key: tuple(shape) for part in parts for key, shape in manifest[part].items()}
        vae = on_meta(lambda: VideoVAE(read(golden_json(f"config_{release}")["config"]["vae"])))
        assert {VIDEO_VAE.to_theirs(name): tuple(x.shape) for name, x in vae.state_dict().items()} == released
        audit(vae, VIDEO_VAE, InMemory({key: torch.empty(shape, device="meta") for key, shape in released.items()}))

    @pytest.mark.parametrize("release", ["20", "23"])
    def test_released_compression(self, golden_json, release):
        config = read(golden_json(f"config_{release}")["config"]["vae"])
        assert (config.temporal_compression, config.spatial_compression) == (8, 32)
        assert config.compression == (8, 32, 32)
        assert config.decoder_bottleneck == 1024
        assert config.decoder_padding_mode == {"20": "reflect", "23": "zeros"}[release]
        assert config.encoder_padding_mode == "zeros"


def to_diffusers(vae: VideoVAE) -> AutoencoderKLLTX2Video:
    """The same VAE, weights included, as diffusers builds it."""
    encoder, decoder = vae.config.encoder_blocks, vae.config.decoder_blocks
    kinds = {(1, 2, 2): "spatial", (2, 1, 1): "temporal", (2, 2, 2): "spatiotemporal"}
    widths = [vae.config.latent_channels]
    for block in encoder[1::2]:
        widths.append(widths[-1] * block.multiplier)
    ups = decoder[1::2]
    # diffusers names the width before the division; its lists are reversed, but for upsample_type (N16).
    up_widths = [vae.config.decoder_base_channels]
    for block in ups:
        up_widths.append(up_widths[-1] * block.multiplier)
    model = AutoencoderKLLTX2Video(
        latent_channels=vae.config.latent_channels,
        block_out_channels=tuple(widths[1:]),
        down_block_types=("LTX2VideoDownBlock3D",) * (len(widths) - 1),
        decoder_block_out_channels=tuple(up_widths[1:]),
        layers_per_block=tuple(block.num_layers for block in encoder[0::2]),
        decoder_layers_per_block=tuple(block.num_layers for block in decoder[0::2]),
        spatio_temporal_scaling=(True,) * (len(widths) - 1),
        decoder_spatio_temporal_scaling=(True,) * len(ups),
        decoder_inject_noise=(False,) * (len(ups) + 1),
        downsample_type=tuple(kinds[block.stride] for block in encoder[1::2]),
        upsample_type=tuple(kinds[block.stride] for block in reversed(ups)),
        upsample_residual=tuple(block.residual for block in ups),
        upsample_factor=tuple(block.multiplier for block in ups),
        timestep_conditioning=vae.config.timestep_conditioning,
        decoder_causal=vae.config.decoder_is_causal,
        encoder_spatial_padding_mode=vae.config.encoder_padding_mode,
        decoder_spatial_padding_mode=vae.config.decoder_padding_mode,
    )
    names = {key: diffusers_to_ours(key, len(widths) - 1) for key in model.state_dict()}
    ours = vae.state_dict()
    assert sorted(names.values()) == sorted(ours)
    model.load_state_dict({key: ours[name] for key, name in names.items()})
    return model.eval()


def diffusers_to_ours(key: str, num_down: int) -> str:
    part, _, rest = key.partition(".")
    renamed = {"latents_mean": "statistics.mean", "latents_std": "statistics.std"}.get(key)
    if renamed:
        return renamed
    rest = re.sub(r"^(time_embedder|scale_shift_table)", r"last_\1", rest)
    if part == "encoder":
        rest = re.sub(r"^down_blocks\.(\d+)\.resnets", lambda m: f"down_blocks.{2 * int(m[1])}.res_blocks", rest)
        rest = re.sub(r"^down_blocks\.(\d+)\.downsamplers\.0", lambda m: f"down_blocks.{2 * int(m[1]) + 1}", rest)
        rest = re.sub(r"^mid_block\.", f"down_blocks.{2 * num_down}.", rest)
    else:
        rest = re.sub(r"^up_blocks\.(\d+)\.upsamplers\.0", lambda m: f"up_blocks.{2 * int(m[1]) + 1}", rest)
        rest = re.sub(
            r"^up_blocks\.(\d+)\.(resnets|time_embedder)", lambda m: f"up_blocks.{2 * int(m[1]) + 2}.{m[2]}", rest
        )
        rest = re.sub(r"^mid_block\.", "up_blocks.0.", rest)
    return f"{part}.{rest.replace('resnets.', 'res_blocks.')}"


class TestAgainstDiffusers:
    """Other widths, depths, seeds and shapes than the fixtures'."""

    @pytest.mark.parametrize(
        ("release", "changes"),
        [
            ("2.0", {}),
            ("2.3", {}),
            ("2.0", {"timestep_conditioning": True}),
            ("2.3", {"causal_decoder": True, "spatial_padding_mode": "reflect"}),
        ],
    )
    @torch.no_grad()
    def test_same_latents_and_pixels(self, release, changes):
        raw = tiny(release, **changes)
        vae = random_vae(raw, seed=11)
        oracle = to_diffusers(vae)
        pixels = torch.rand(2, 3, 9, 96, 64) * 2 - 1
        expected = vae.normalize(oracle.encode(pixels).latent_dist.mean)
        torch.testing.assert_close(vae.encode(pixels), expected, rtol=0, atol=1e-5)

        latent, noise = torch.randn(2, 6, 3, 2, 4), torch.randn(2, 6, 3, 2, 4)
        if raw["timestep_conditioning"]:
            mixed = vae.un_normalize(0.975 * latent + 0.025 * noise)
            expected = oracle.decode(mixed, temb=torch.tensor([0.05, 0.05])).sample
        else:
            expected = oracle.decode(vae.un_normalize(latent)).sample
        torch.testing.assert_close(vae.decode(latent, noise=noise), expected, rtol=0, atol=1e-5)


class TestEveryParameterCounts:
    @pytest.mark.parametrize(
        "raw", [tiny("2.0"), tiny("2.3"), tiny("2.0", timestep_conditioning=True)], ids=["2.0", "2.3", "timestep"]
    )
    def test_gradients(self, raw):
        vae = random_vae(raw)
        latent = vae.encode(torch.rand(1, 3, 9, 64, 64) * 2 - 1)
        vae.decode(latent, noise=torch.randn_like(latent)).square().sum().backward()
        silent = [name for name, p in vae.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
        assert silent == []


class TestCompression:
    """Defect 1: ratios come from each block's own kind, per axis, and equal what encode and decode measure."""

    @pytest.mark.parametrize(
        ("kinds", "expected"),
        [
            (("space", "time", "all", "all"), (8, 32, 32)),
            (("time", "time", "space"), (4, 8, 8)),
            (("space", "space", "space"), (1, 32, 32)),
            (("all", "time"), (4, 8, 8)),
        ],
    )
    @torch.no_grad()
    def test_measured(self, kinds, expected):
        res = ["res_x", {"num_layers": 1}]
        raw = tiny(
            "2.3",
            latent_channels=8,
            encoder_blocks=[res, *([f"compress_{kind}_res", {"multiplier": 1}] for kind in kinds)],
            decoder_blocks=[res, *([f"compress_{kind}", {"multiplier": 1}] for kind in kinds)],
        )
        vae = random_vae(raw)
        assert vae.config.compression == expected
        time, height, width = expected
        latent = vae.encode(torch.zeros(1, 3, 1 + 2 * time, 2 * height, 3 * width))
        assert latent.shape == (1, 8, 3, 2, 3)
        assert vae.decode(latent).shape == (1, 3, 1 + 2 * time, 2 * height, 3 * width)

    def test_encoder_and_decoder_must_agree(self):
        with pytest.raises(ModelFileError, match=r"expands .* by \(8, 32, 32\); the encoder has \(4, 16, 16\)"):
            read(tiny("2.3", encoder_blocks=ENCODER_23[:6]))


class TestConfig:
    def test_decoder_list_is_kept_as_written_and_run_backwards(self):
        """N16: every property of a block moves with it."""
        config = read(tiny("2.3"))
        assert [b.num_layers for b in config.decoder_blocks[0::2]] == [2, 1, 3, 1, 2]
        assert [b.kind for b in config.decoder_blocks[1::2]] == [
            "compress_space",
            "compress_time",
            "compress_all",
            "compress_all",
        ]
        raw = tiny(
            "2.3",
            latent_channels=8,
            encoder_blocks=[["compress_space_res", {}], ["compress_time_res", {}], ["compress_all_res", {}]],
            decoder_blocks=[
                ["res_x", {"num_layers": 3}],
                ["compress_all", {"multiplier": 2, "residual": True}],
                ["compress_space", {"multiplier": 1}],
                ["res_x", {"num_layers": 1}],
                ["compress_time", {}],
            ],
        )
        vae = on_meta(lambda: VideoVAE(read(raw)))
        assert [getattr(b, "stride", len(getattr(b, "res_blocks", ()))) for b in vae.decoder.up_blocks] == [
            (2, 1, 1),
            1,
            (1, 2, 2),
            (2, 2, 2),
            3,
        ]
        assert [b.repeats for b in vae.decoder.up_blocks if hasattr(b, "repeats")] == [0, 0, 4]

    def test_padding_modes(self):
        def modes(**changes):
            config = read({**tiny("2.0"), **changes})
            return config.encoder_padding_mode, config.decoder_padding_mode

        assert modes() == ("zeros", "reflect")
        assert modes(spatial_padding_mode="replicate") == ("replicate", "replicate")
        assert modes(encoder_spatial_padding_mode="reflect") == ("reflect", "reflect")
        assert modes(spatial_padding_mode="zeros", decoder_spatial_padding_mode="reflect") == ("zeros", "reflect")

    def test_timestep_conditioning_defaults_to_true(self):
        raw = tiny("2.0")
        del raw["timestep_conditioning"]
        assert read(raw).timestep_conditioning

    def test_nested_form_is_an_encoder(self, golden):
        config = read(golden("video_vae_25_encoder").config["vae"])
        assert config.decoder_blocks is None
        assert config.compression == (8, 32, 32)
        assert config.latent_channels == 4

    def test_every_problem_at_once(self):
        raw = tiny("2.3", norm_layer="group_norm", patch_size="4")
        raw["encoder_blocks"][0] = ["attn", {"attention_head_dim": 64}]
        raw["decoder_blocks"][2] = ["res_x", {"num_layers": 1, "inject_noise": True}]
        with pytest.raises(ModelFileError) as error:
            read(raw)
        for part in ("vae.norm_layer", "vae.patch_size", "encoder_blocks[0]: block 'attn' is not supported"):
            assert part in str(error.value)
        assert "vae.decoder_blocks[2].inject_noise = True" in str(error.value)

    def test_widths_must_divide(self):
        with pytest.raises(ModelFileError, match=r"encoder_blocks\[1\]: 1 channels cannot become 2"):
            read(tiny("2.3", latent_channels=1))


class TestBadInput:
    @pytest.mark.parametrize(
        ("height", "width", "message"),
        [
            (64, 500, "width .* multiple of 32 pixels; got 500; .* 480 or 512"),
            (20, 64, "height .* got 20; .* to 32$"),
        ],
    )
    def test_size(self, height, width, message):
        vae = random_vae(tiny("2.3"))
        with pytest.raises(LTX2Error, match=message):
            vae.encode(torch.zeros(1, 3, 9, height, width))

    def test_no_frames(self):
        with pytest.raises(LTX2Error, match="at least 1 frame"):
            random_vae(tiny("2.3")).encode(torch.zeros(1, 3, 0, 64, 64))

    def test_mirrored_edges_need_two_latents(self):
        with pytest.raises(LTX2Error, match="at least 64x64 pixels.* got 32x64"):
            random_vae(tiny("2.0")).decode(torch.zeros(1, 6, 1, 2, 1))


@torch.no_grad()
def test_bf16_weights_are_cast_at_use():
    raw = tiny("2.0", timestep_conditioning=True)
    vae = random_vae(raw).bfloat16()
    weights = {VIDEO_VAE.to_theirs(name): tensor for name, tensor in vae.state_dict().items()}
    stored = build(lambda: VideoVAE(read(raw)), VIDEO_VAE, InMemory(weights))
    latent = torch.randn(1, 6, 2, 2, 2)
    assert stored.decoder.conv_in.conv.weight.dtype == torch.bfloat16
    assert torch.equal(stored.decode(latent, noise=latent), vae.float().decode(latent, noise=latent))
    pixels = torch.rand(1, 3, 9, 64, 64)
    assert torch.equal(stored.encode(pixels), vae.encode(pixels))
