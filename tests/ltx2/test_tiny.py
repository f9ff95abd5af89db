"""The tiny set: released names and layout, accepted by every strict audit, repeatable, and alive in all its parts."""

from __future__ import annotations

import json
import re

import pytest
import torch
from tokenizers import Tokenizer

from ltx2 import tiny
from ltx2.checkpoint.reader import Checkpoint
from ltx2.errors import LTX2Error
from ltx2.geometry import Canvas
from ltx2.latents import empty, latents_of, states_of
from ltx2.networks.upsampler import upsample
from ltx2.recipe import (
    AudioVAERecipe,
    TextEncoderRecipe,
    TransformerRecipe,
    UpsamplerRecipe,
    VideoVAERecipe,
    VocoderRecipe,
)
from ltx2.sampling.denoiser import Context, Denoiser, Prompts
from ltx2.sampling.run import run
from ltx2.sampling.sample import start
from ltx2.sampling.schedules import distilled_schedule
from ltx2.sampling.solvers import euler
from ltx2.tiny.values import value

CPU = torch.device("cpu")
GEMMA = "text_encoders/gemma-3-12b-it-qat-q4_0-unquantized"
FILES = {
    "2.0": {
        "checkpoints/ltx-2-19b-dev.safetensors",
        "checkpoints/ltx-2-19b-distilled.safetensors",
        "latent_upscale_models/ltx-2-spatial-upscaler-x2-1.0.safetensors",
        "loras/ltx-2-19b-distilled-lora-384.safetensors",
        "loras/ltx-2-19b-ic-lora-canny-control.safetensors",
        "loras/ltx-2-19b-lora-camera-control-dolly-in.safetensors",
    },
    "2.3": {
        "checkpoints/ltx-2.3-22b-dev.safetensors",
        "checkpoints/ltx-2.3-22b-distilled-1.1.safetensors",
        "latent_upscale_models/ltx-2.3-spatial-upscaler-x2-1.1.safetensors",
        "latent_upscale_models/ltx-2.3-spatial-upscaler-x1.5-1.0.safetensors",
        "latent_upscale_models/ltx-2.3-temporal-upscaler-x2-1.0.safetensors",
        "loras/ltx-2.3-22b-distilled-lora-384-1.1.safetensors",
        "loras/ltx-2.3-22b-ic-lora-union-control-ref0.5.safetensors",
        "loras/ltx-2.3-22b-ic-lora-dubit-0.9.safetensors",
    },
}
LARGEST_SET = 65e6


@pytest.fixture(scope="module", params=["2.0", "2.3"])
def release(request):
    return request.param


@pytest.fixture(scope="module")
def models(release, tiny_models):
    return tiny_models(release)


@pytest.fixture(scope="module")
def distilled(models):
    return sorted(models.glob("checkpoints/*distilled*"))[0]


def files_in(folder):
    return {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}


def test_released_names_and_a_small_size(models, release):
    files = files_in(models)
    assert {name for name in files if not name.startswith("text_encoders/")} == FILES[release]
    gemma = {"config.json", "tokenizer.json", "tokenizer_config.json", "preprocessor_config.json"}
    assert {f"{GEMMA}/{name}" for name in gemma} <= files.keys()
    assert sum(file.stat().st_size for file in files.values()) < LARGEST_SET


def test_tensor_names_are_those_of_the_released_checkpoint(models, release, golden_json, distilled):
    manifest = golden_json(f"manifest_{release.replace('.', '')}")
    components = {name: keys for name, keys in manifest.items() if not name.startswith(("_", "upsampler"))}

    def kinds(shapes):
        return {(re.sub(r"\d+", "N", key), len(shape)) for key, shape in shapes.items()}

    expected = set().union(*(kinds(keys) for keys in components.values()))
    ignored = {kind for kind in expected if "per_channel_statistics" in kind[0] and "-of-means" not in kind[0]}
    ignored |= {kind for kind in expected if "mean-of-stds" in kind[0]}
    assert kinds(Checkpoint.open(distilled).shapes()) == expected - ignored


def test_the_same_seed_gives_the_same_bytes(models, release, tmp_path):
    tiny.write(tmp_path / "again", release=release, seed=0)
    one, other = files_in(models), files_in(tmp_path / "again")
    assert one.keys() == other.keys()
    assert all(one[name].read_bytes() == other[name].read_bytes() for name in one)


def test_another_seed_gives_other_weights(models, tmp_path, distilled, release):
    tiny.write(tmp_path, release=release, seed=1)
    assert (tmp_path / "checkpoints" / distilled.name).read_bytes() != distilled.read_bytes()


def test_nothing_is_overwritten(tmp_path):
    own = tmp_path / "loras" / "ltx-2-19b-distilled-lora-384.safetensors"
    own.parent.mkdir()
    own.write_text("mine")
    with pytest.raises(LTX2Error, match="must not replace .* choose another folder"):
        tiny.write(tmp_path, release="2.0")
    assert files_in(tmp_path) == {"loras/ltx-2-19b-distilled-lora-384.safetensors": own}
    assert own.read_text() == "mine"


def test_a_failure_leaves_no_half_set(tmp_path):
    (tmp_path / "loras").write_text("a file where a folder must be")  # found only when all else is in place
    with pytest.raises(OSError, match="loras"):
        tiny.write(tmp_path, release="2.0")
    assert files_in(tmp_path).keys() == {"loras"}


def test_unknown_release(tmp_path):
    with pytest.raises(LTX2Error, match=r"2\.0, 2\.3; got '3\.0'"):
        tiny.write(tmp_path / "new", release="3.0")
    assert not (tmp_path / "new").exists()


def test_recipes_accept_every_file(models, release):
    for checkpoint in models.glob("checkpoints/*"):
        for recipe in (TransformerRecipe, VideoVAERecipe, AudioVAERecipe, VocoderRecipe):
            assert recipe.open(checkpoint).release == release
        text = TextEncoderRecipe.open(models / GEMMA, checkpoint)
        assert text.connectors.num_text_states == text.config.num_states
    assert [UpsamplerRecipe.open(file).release for file in models.glob("latent_upscale_models/*")]
    for lora in models.glob("loras/*"):
        assert TransformerRecipe.open(checkpoint).with_lora(lora, 0.5).loras[0].strength == 0.5


def test_real_geometry(distilled, release):
    vae = VideoVAERecipe.open(distilled).config
    assert (vae.latent_channels, vae.compression) == (128, (8, 32, 32))
    audio = AudioVAERecipe.open(distilled).config
    assert (audio.token_channels, audio.latents_per_second) == (128, 25)
    assert VocoderRecipe.open(distilled).config.sampling_rate == {"2.0": 24000, "2.3": 48000}[release]
    transformer = TransformerRecipe.open(distilled).config
    assert transformer.num_layers >= 2
    assert transformer.video.width % 6  # rotary tables need padding, as in the released models


def test_the_tokenizer_splits_text_and_loses_nothing(models):
    tokenizer = Tokenizer.from_file(str(models / GEMMA / "tokenizer.json"))
    text = "A red fox runs through the snow, caf\u00e9 \u2603!"
    encoding = tokenizer.encode(text)
    assert encoding.ids[0] == tokenizer.token_to_id("<bos>") == 2
    assert {"\u2581red", "\u2581fox", "\u2581snow"} <= set(encoding.tokens)
    assert tokenizer.decode(encoding.ids) == text


def test_the_gemma_folder_is_a_whole_one(models):
    keys = Checkpoint.open(models / GEMMA).entries
    assert {key.partition(".")[0] for key in keys} == {"language_model", "vision_tower", "multi_modal_projector"}
    config = json.loads((models / GEMMA / "config.json").read_text())
    shape = keys["language_model.model.embed_tokens.weight"].shape
    assert shape == (config["text_config"]["vocab_size"], config["text_config"]["hidden_size"])


@pytest.mark.parametrize(
    "key",
    [
        "vocoder.vocoder.act_post.upsample.filter",
        "vocoder.vocoder.act_post.downsample.lowpass.filter",
        "vocoder.mel_stft.stft_fn.forward_basis",
        "vocoder.mel_stft.mel_basis",
    ],
)
def test_constants_are_those_of_the_reference(golden, key):
    expected = golden("vocoder_23").weights[key]
    torch.testing.assert_close(value(key, tuple(expected.shape), "0"), expected, atol=2e-6, rtol=1e-5)


def dead_parameters(network, *outputs):
    """Names of parameters that no output depends on; an unused log-variance may fill half of one."""
    names, parameters = zip(*network.named_parameters(), strict=True)
    total = sum((output * torch.randn_like(output)).sum() for output in outputs)
    gradients = torch.autograd.grad(total, parameters, allow_unused=True)
    return [n for n, g in zip(names, gradients, strict=True) if g is None or not (g != 0).float().mean() >= 0.5]


def test_no_parameter_of_the_transformer_is_dead(distilled):
    torch.manual_seed(0)
    network = TransformerRecipe.open(distilled).build().requires_grad_(True)
    config = network.config
    context_dim = config.caption_channels if config.caption_projection else config.video.width
    audio_dim = config.caption_channels if config.caption_projection else config.audio.width
    context = Context(torch.randn(1, 8, context_dim), torch.randn(1, 8, audio_dim))
    states = states_of(*empty(Canvas(64, 96, 9, 24.0), 1))
    states = start(states, tuple(torch.randn_like(state.latent) for state in states), 1.0)
    x0 = Denoiser(network, Prompts(context), states)(tuple(state.latent for state in states), 0.8).x0
    assert dead_parameters(network, *x0) == []


def test_no_parameter_of_the_other_networks_is_dead(distilled, models):
    torch.manual_seed(0)
    connectors = TextEncoderRecipe.open(models / GEMMA, distilled).build().connectors.requires_grad_(True)
    states = torch.randn(1, 5, connectors.config.hidden_size, connectors.config.num_text_states)
    assert dead_parameters(connectors, *connectors(states, 256)) == []
    vae = VideoVAERecipe.open(distilled).build().requires_grad_(True)
    latent = vae.encode(torch.randn(1, 3, 9, 64, 64))
    assert dead_parameters(vae, latent, vae.decode(torch.randn(1, 128, 2, 2, 2))) == []
    audio = AudioVAERecipe.open(distilled).build().requires_grad_(True)
    mel = audio.decode(audio.encode(torch.randn(1, 2, 9, 64)))
    assert dead_parameters(audio, mel) == []
    vocoder = VocoderRecipe.open(distilled).build().requires_grad_(True)
    assert dead_parameters(vocoder, vocoder(mel.detach())) == []
    for file in models.glob("latent_upscale_models/*"):
        network = UpsamplerRecipe.open(file).build().requires_grad_(True)
        assert dead_parameters(network, network(torch.randn(1, 128, 2, 3, 4))) == []


@pytest.fixture(scope="module")
def two_stages(models, distilled):
    """`two_stages(prompt=..., seed=..., lora=..., stage_1=...)` is the final (video, audio) of a small run."""
    vae = VideoVAERecipe.open(distilled).build()
    encoder = TextEncoderRecipe.open(models / GEMMA, distilled).build()
    spatial = next(file for file in models.glob("latent_upscale_models/*") if "spatial-upscaler-x2" in file.name)
    upsampler = UpsamplerRecipe.open(spatial).build()

    @torch.no_grad()
    def generate(prompt="a red fox in the snow", seed=0, lora=0.0, stage_1=1.0):
        recipe = TransformerRecipe.open(distilled).with_lora(next(models.glob("loras/*distilled*")), lora)
        network, context = recipe.build(), Context(*encoder(prompt, device=CPU))

        def sampled(latents, stage):
            sigmas = distilled_schedule(stage)
            options = {"device": CPU, "dtype": torch.float32}
            states = run(network, Prompts(context), states_of(*latents), latents, sigmas, euler, seed, **options).states
            return latents_of(states, *latents)

        video, audio = sampled(empty(Canvas(128, 192, 9, 24.0), 2), 1)
        larger = upsample(upsampler, stage_1 * video["samples"], vae.statistics)
        video, audio = sampled(({**video, "samples": larger}, audio), 2)
        return video["samples"], audio["samples"]

    return generate


def test_the_result_depends_on_everything(two_stages):
    base = two_stages()
    assert all(torch.equal(one, other) for one, other in zip(base, two_stages(), strict=True))
    for change in ({"prompt": "music in a city at night"}, {"seed": 1}, {"lora": 1.0}, {"lora": -0.5}):
        for name, one, other in zip(("video", "audio"), base, two_stages(**change), strict=True):
            assert (one - other).std() > 5e-3 * one.std(), f"{change} does not reach the {name}"
    video, _ = two_stages(stage_1=-1.0)
    assert (video - base[0]).std() > 1e-2 * base[0].std()


def test_pictures_and_sound_are_neither_empty_nor_saturated(two_stages, distilled):
    video, audio = two_stages()
    with torch.no_grad():
        frames = VideoVAERecipe.open(distilled).build().decode(video)
        sound = VocoderRecipe.open(distilled).build()(AudioVAERecipe.open(distilled).build().decode(audio))
    assert torch.isfinite(frames).all()
    assert frames.std() > 0.1
    assert (frames[:, :, 1:] - frames[:, :, :-1]).std() > 0.05
    assert (frames.abs() > 1).float().mean() < 0.1
    assert torch.isfinite(sound).all()
    assert 0.03 < (sound - sound.mean()).std() < 0.5
    assert (sound.abs() >= 1).float().mean() < 0.05
