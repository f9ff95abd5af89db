"""Releases by metadata and by tensor names, and what every loader says of a file that is none of its own."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from ltx2.checkpoint.keys import AUDIO_VAE, TEXT, TRANSFORMER, UPSAMPLER, VIDEO_VAE, VOCODER
from ltx2.checkpoint.load import audit, on_meta
from ltx2.checkpoint.reader import Checkpoint, TensorEntry
from ltx2.checkpoint.release import contents, release_of, released_config, section_of
from ltx2.config.section import parse
from ltx2.errors import ModelFileError
from ltx2.recipe import (
    AudioVAERecipe,
    TextEncoderRecipe,
    TransformerRecipe,
    UpsamplerRecipe,
    VideoVAERecipe,
    VocoderRecipe,
    read_connectors,
)

TABLES = (TRANSFORMER, TEXT, VIDEO_VAE, AUDIO_VAE, VOCODER)
RECIPES = {
    "transformer": TransformerRecipe,
    "video VAE": VideoVAERecipe,
    "audio VAE": AudioVAERecipe,
    "vocoder": VocoderRecipe,
    "latent upsampler": UpsamplerRecipe,
}


def headers(path, shapes, metadata=None) -> Checkpoint:
    """A checkpoint that is all header: what a multi-gigabyte file looks like to everything that only opens it."""
    checkpoint = Checkpoint(path, [])
    checkpoint.metadata = metadata or {}
    checkpoint.entries = {key: TensorEntry(tuple(shape), "BF16", path) for key, shape in shapes.items()}
    return checkpoint


@pytest.fixture(scope="module", params=["2.0", "2.3"])
def release(request):
    return request.param


@pytest.fixture
def released(release, golden_json, tmp_path):
    """`released(metadata, keep)`: the released checkpoint's headers, optionally of some components only."""
    manifest = golden_json(f"manifest_{release.replace('.', '')}")
    shapes = {
        key: shape
        for component, keys in manifest.items()
        if not component.startswith(("_", "upsampler"))
        for key, shape in keys.items()
    }

    def make(metadata=None, prefix=""):
        kept = {key: shape for key, shape in shapes.items() if key.startswith(prefix)}
        return headers(tmp_path / "stripped.safetensors", kept, metadata)

    return make


@pytest.mark.parametrize(
    ("version", "expected"),
    [("2.0.0", "2.0"), ("2", "2.0"), ("2.3.0", "2.3"), ("2.3.0-rc1", "2.3"), ("2.4.0", "2.5"), ("2.5.0", "2.5")],
)
def test_metadata_says_the_release(tmp_path, version, expected):
    checkpoint = headers(tmp_path / "x.safetensors", {"whatever": (1,)}, {"model_version": version})
    assert {release_of(checkpoint, table) for table in (*TABLES, UPSAMPLER)} == {expected}


def test_a_stripped_checkpoint_is_recognised_and_its_shapes_agree(released, release):
    checkpoint = released()
    for table in TABLES:
        assert release_of(checkpoint, table) == ("any" if table is AUDIO_VAE else release)
        assert section_of(checkpoint, table) == released_config(release)[table.section]
    for name, recipe in RECIPES.items():
        if name != "latent upsampler":
            config = parse(recipe.config_class, section_of(checkpoint, recipe.table), "config")
            assert audit(on_meta(lambda recipe=recipe, config=config: recipe.network(config)), recipe.table, checkpoint)
    assert read_connectors(checkpoint).num_text_states == 49


@pytest.mark.parametrize("prefix", ["vae.", "vocoder.", "model.diffusion_model.", "text_embedding_projection."])
def test_one_component_alone_is_recognised(released, release, prefix):
    table = next(
        table for table in TABLES if table.prefixes[0] == prefix or (prefix.startswith("text") and table is TEXT)
    )
    assert release_of(released(prefix=prefix), table) == release


def test_metadata_goes_before_the_released_config(released):
    config = {"transformer": {"num_layers": 3}}
    assert section_of(released({"config": json.dumps(config)}), TRANSFORMER) == {"num_layers": 3}


def test_a_stripped_25_names_what_is_built_in(tmp_path):
    shapes = {"model.diffusion_model.keyframes_abs_pos_embedding": (1, 4096)}
    shapes |= {"model.diffusion_model.transformer_blocks.0.attn1.to_q.weight": (4096, 4096)}
    with pytest.raises(ModelFileError, match=r"belongs to LTX-2\.5 .* exist for 2\.0, 2\.3: get the file with its met"):
        section_of(headers(tmp_path / "x.safetensors", shapes), TRANSFORMER)


def test_an_unknown_transformer_says_what_is_known(tmp_path):
    shapes = {"transformer_blocks.0.attn1.to_q.weight": (2048, 2048)}
    with pytest.raises(ModelFileError, match=r"cannot be recognised; known are 2\.0, 2\.3"):
        section_of(headers(tmp_path / "x.safetensors", shapes), TRANSFORMER)


def test_upsamplers_without_metadata(tiny_models, tmp_path):
    for file in [f for release in ("2.0", "2.3") for f in tiny_models(release).glob("latent_upscale_models/*")]:
        checkpoint = Checkpoint.open(file)
        stripped = tmp_path / file.name
        save_file({key: checkpoint.read(key).clone() for key in checkpoint.entries}, stripped)
        assert UpsamplerRecipe.open(stripped).config == UpsamplerRecipe.open(file).config


WRONG = {
    "LoRA": "it is a LoRA: choose it in the LTX-2 LoRA node instead",
    "Gemma": "it holds a Gemma text encoder",
    "latent upsampler": "it holds a latent upsampler",
    "video VAE": "it holds a video VAE",
    "audio VAE": "it holds an audio VAE",
    "something else": r"it holds nothing known \(2 tensors, such as alpha, beta\)",
}


@pytest.fixture(scope="module")
def wrong_files(tiny_models, tmp_path_factory):
    """A file of every kind, by kind."""
    models, folder = tiny_models("2.3"), tmp_path_factory.mktemp("wrong")
    checkpoint = Checkpoint.open(next(models.glob("checkpoints/*dev*")))

    def part(prefix, strip=""):
        file = folder / f"{prefix}safetensors"
        keys = [key for key in checkpoint.entries if key.startswith(prefix)]
        save_file({key.removeprefix(strip): checkpoint.read(key).clone() for key in keys}, file)
        return file

    save_file({"alpha": torch.ones(1), "beta": torch.ones(1)}, folder / "else.safetensors")
    return {
        "LoRA": next(models.glob("loras/*")),
        "Gemma": next(models.glob("text_encoders/*")),
        "latent upsampler": next(models.glob("latent_upscale_models/*")),
        "video VAE": part("vae.", strip="vae."),
        "audio VAE": part("audio_vae."),
        "something else": folder / "else.safetensors",
    }


@pytest.mark.parametrize("wanted", RECIPES)
def test_wrong_files_in_every_loader(wrong_files, wanted):
    for what, message in WRONG.items():
        if what != wanted:
            with pytest.raises(ModelFileError, match=f"must hold a {wanted}; {message}"):
                RECIPES[wanted].open(wrong_files[what])


def test_wrong_files_as_text_encoder(wrong_files, tiny_models):
    dev = next(tiny_models("2.3").glob("checkpoints/*dev*"))
    for what in WRONG.keys() - {"Gemma"}:
        with pytest.raises(
            ModelFileError, match="must hold the Gemma 3 language model; it holds .*: choose Gemma 3 12B"
        ):
            TextEncoderRecipe.open(wrong_files[what], dev)
    for what in WRONG:
        with pytest.raises(ModelFileError, match="must hold a text projection and connectors; it "):
            TextEncoderRecipe.open(wrong_files["Gemma"], wrong_files[what])


def test_a_checkpoint_as_text_encoder_is_named(tiny_models):
    dev = next(tiny_models("2.3").glob("checkpoints/*dev*"))
    with pytest.raises(
        ModelFileError, match="it holds a transformer, a text projection, a vocoder, an audio VAE, a vid"
    ):
        TextEncoderRecipe.open(dev, dev)


def test_another_gemma_than_the_checkpoint_was_made_for(tmp_path, tiny_models):
    dev = next(tiny_models("2.3").glob("checkpoints/*dev*"))
    folder = tmp_path / "gemma-3-4b-it"
    folder.mkdir()
    config = {"model_type": "gemma3_text", "hidden_size": 2560, "num_hidden_layers": 34, "vocab_size": 8}
    (folder / "config.json").write_text(json.dumps(config))
    save_file({"model.embed_tokens.weight": torch.ones(8, 2560)}, folder / "model.safetensors")
    with pytest.raises(ModelFileError, match=r"gemma-3-4b-it is Gemma 3 4B \(hidden size 2560, 34 layers\): choose"):
        TextEncoderRecipe.open(folder, dev)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (["audio_vae.per_channel_statistics.mean-of-means"], "an audio VAE"),
        (["encoder.conv_in.conv.weight", "per_channel_statistics.mean-of-means"], "a video VAE"),
        (["vae.per_channel_statistics.x", "audio_vae.per_channel_statistics.x"], "an audio VAE, a video VAE"),
        (["x.lora_A.weight"], "a LoRA"),
    ],
)
def test_contents_in_words(keys, expected):
    assert contents(keys) == expected


@pytest.mark.parametrize("version", ["abc", "0.9.7", "20250101", ""])
def test_a_version_that_says_nothing_leaves_it_to_the_names(released, release, tmp_path, version):
    assert release_of(released({"model_version": version}), TRANSFORMER) == release
    unknown = headers(tmp_path / "x.safetensors", {"whatever": (1,)}, {"model_version": "abc"})
    with pytest.raises(
        ModelFileError, match=r"cannot be recognised \(its model_version is 'abc'\); known are 2\.0, 2\.3"
    ):
        release_of(unknown, TRANSFORMER)


SECTIONS = {
    "a list": ([1, 2], r"transformer must be a JSON object; got \[1, 2\]"),
    "null": (None, "transformer must be a JSON object; got None"),
    "a negative count": ({"num_layers": -3}, r"transformer.num_layers must be at least 1; got -3"),
    "no heads": ({"num_attention_heads": 0}, r"transformer.num_attention_heads must be at least 1; got 0"),
}


@pytest.mark.parametrize("what", SECTIONS)
@pytest.mark.parametrize("recipe", [TransformerRecipe, TextEncoderRecipe])
def test_sections_that_cannot_be_used_name_the_file(tmp_path, tiny_models, what, recipe):
    section, message = SECTIONS[what]
    if recipe is TextEncoderRecipe and isinstance(section, dict):
        section = {f"connector_{key}": value for key, value in section.items()}
        message = message.replace("transformer.", "transformer.connector_")
    models = tiny_models("2.3")
    dev = Checkpoint.open(next(models.glob("checkpoints/*dev*")))
    file = tmp_path / "broken.safetensors"
    config = json.dumps({"transformer": section})
    save_file({key: dev.read(key).clone() for key in dev.entries}, file, {"config": config})
    gemma = [next(models.glob("text_encoders/*"))] if recipe is TextEncoderRecipe else []
    with pytest.raises(ModelFileError, match=rf"(?s)^the config of broken.safetensors cannot be used:.*{message}\n"):
        recipe.open(*gemma, file)


def test_an_upsampler_without_metadata_that_is_damaged(tmp_path):
    shapes = {"initial_conv.weight": (3,), "post_upsample_res_blocks.0.conv1.weight": (1,)}
    with pytest.raises(ModelFileError, match="x.safetensors is damaged: initial_conv.weight"):
        section_of(headers(tmp_path / "x.safetensors", shapes), UPSAMPLER)
