"""`ltx2 inspect`: every kind of file described, and what is missing named by its released name."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from ltx2.checkpoint.inspection import describe
from ltx2.checkpoint.reader import Checkpoint
from ltx2.errors import ModelFileError

GEMMA = "text_encoders/gemma-3-12b-it-qat-q4_0-unquantized (the whole folder)"


def rows(path):
    """[(name, text)] below the first line, which is the path."""
    first, *lines = describe(path).splitlines()
    assert first == str(path)
    return [tuple(part.strip() for part in line.strip().split("  ", 1)) for line in lines]


def needed(found):
    return [text for name, text in found if name == "also needed"]


@pytest.mark.parametrize(
    ("release", "family"), [("2.0", "ltx-2-19b"), ("2.3", "ltx-2.3-22b")], ids=["release 2.0", "release 2.3"]
)
def test_a_checkpoint(tiny_models, release, family):
    path = next(tiny_models(release).glob("checkpoints/*dev*"))
    found = rows(path)
    facts = dict(found)
    checkpoint = Checkpoint.open(path)
    assert facts["size"] == f"{path.stat().st_size / 1e6:.1f} MB, {len(checkpoint.entries)} tensors"
    assert facts["release"] == release
    for component in ("transformer", "text projection and connectors", "video VAE", "audio VAE", "vocoder"):
        assert " parameters, bf16" in facts[component]
    number = sum(e.num_elements for key, e in checkpoint.entries.items() if key.startswith("audio_vae."))
    assert facts["audio VAE"].startswith(f"{number / 1e3:.2f} thousand parameters")
    text, upsampler, lora = needed(found)
    assert text == GEMMA
    assert upsampler.startswith("latent_upscale_models/ltx-2")
    assert "spatial-upscaler-x2" in upsampler
    assert lora.startswith(f"loras/{family}-distilled-lora")
    assert ("metadata", f"model_version = {release}.0") in found
    assert ("metadata", "config = {transformer, vae, audio_vae, vocoder}") in found


def test_a_lora(tiny_models, tmp_path):
    checkpoint = Checkpoint.open(next(tiny_models("2.3").glob("loras/*distilled*")))
    tensors = {key: checkpoint.read(key).clone() for key in checkpoint.entries}
    module = "diffusion_model.audio_embeddings_connector.transformer_1d_blocks.0.attn1.to_q"
    tensors |= {f"{module}.lora_A.weight": torch.ones(2, 80), f"{module}.lora_B.weight": torch.ones(80, 2)}
    tensors |= {f"{module}.alpha": torch.tensor(2.0), "stranger": torch.ones(1)}
    file = tmp_path / "control.safetensors"
    save_file(tensors, file, {"reference_downscale_factor": "2"})
    found = rows(file)
    facts = dict(found)
    assert facts["holds"] == "a LoRA"
    assert facts["rank"] == "2, 8, 1 of 97 with alpha"
    assert facts["changes"].startswith("97 weights: ")
    for part in ("video 32", "audio 32", "audio-video exchange 32", "text connectors 1"):
        assert part in facts["changes"]
    assert facts["not known"] == "1 tensors, such as stranger"
    assert facts["metadata"] == "reference_downscale_factor = 2"


def test_a_lora_of_another_model(tmp_path):
    file = tmp_path / "other.safetensors"
    save_file({"unet.x.lora_A.weight": torch.ones(2, 8), "unet.x.lora_B.weight": torch.ones(8, 2)}, file)
    assert "was made for another model" in dict(rows(file))["not usable"]


@pytest.mark.parametrize(
    ("release", "name", "kind"),
    [
        ("2.0", "spatial-upscaler-x2", "height and width x2 (rational resampler)"),
        ("2.3", "spatial-upscaler-x2", "height and width x2 (pixel shuffle)"),
        ("2.3", "spatial-upscaler-x1.5", "height and width x1.5 (rational resampler)"),
        ("2.3", "temporal-upscaler-x2", "frames x2"),
    ],
)
def test_upsamplers(tiny_models, release, name, kind):
    found = rows(next(tiny_models(release).glob(f"latent_upscale_models/*{name}*")))
    assert dict(found)["kind"] == kind
    assert dict(found)["release"] == "any"
    checkpoint, gemma = needed(found)
    assert checkpoint.startswith("checkpoints/ltx-2-19b-dev.safetensors or checkpoints/ltx-2.3-22b-dev.safetensors (")
    assert gemma == GEMMA


def test_a_gemma_folder(tiny_models):
    found = rows(next(tiny_models("2.3").glob("text_encoders/*")))
    facts = dict(found)
    assert facts["kind"].startswith("Gemma 3, hidden size 64, 7 layers, ")
    assert "release" not in facts
    assert not any("text_encoders" in text for text in needed(found))


def test_a_stripped_part_of_a_checkpoint(tiny_models, tmp_path):
    checkpoint = Checkpoint.open(next(tiny_models("2.3").glob("checkpoints/*dev*")))
    file = tmp_path / "vae.safetensors"
    save_file({key: checkpoint.read(key).clone() for key in checkpoint.entries if key.startswith("vae.")}, file)
    found = rows(file)
    assert dict(found)["release"] == "2.3"
    assert dict(found)["metadata"] == "none (stripped)"
    assert needed(found)[0] == (
        "checkpoints/ltx-2.3-22b-dev.safetensors (transformer, text projection and connectors, audio VAE, vocoder)"
    )


def test_something_else(tmp_path):
    file = tmp_path / "else.safetensors"
    save_file({"alpha": torch.ones(1)}, file)
    assert dict(rows(file))["holds"] == "nothing known (1 tensors, such as alpha)"


def test_no_safetensors_file(tmp_path):
    file = tmp_path / "page.safetensors"
    file.write_text("<html>")
    with pytest.raises(ModelFileError, match="a web page"):
        describe(file)
