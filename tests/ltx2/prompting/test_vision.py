"""Gemma's eye: soft tokens equal transformers', pictures are prepared as its processor does, files are refused."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from ltx2.checkpoint.gemma import load_vision, read_vision_config
from ltx2.checkpoint.reader import Checkpoint
from ltx2.config.vision import VisionConfig
from ltx2.errors import LTX2Error, ModelFileError
from ltx2.networks.text.vision import GemmaVision, Projector, VisionTower
from ltx2.prompting.vision import VisionRecipe, picture_pixels
from ltx2.recipe import TextEncoderRecipe


@torch.no_grad()
def test_soft_tokens_equal_those_of_transformers(tiny_gemma, oracle, pixels):
    expected = oracle.get_image_features(pixels)
    expected = getattr(expected, "pooler_output", expected)
    tokens = tiny_gemma.vision(pixels)
    assert tokens.shape == (1, 4, 64)
    torch.testing.assert_close(tokens, expected, atol=1e-5, rtol=1e-5)
    close = tiny_gemma.vision(pixels.bfloat16())
    assert close.dtype == torch.bfloat16
    assert (close.float() - expected).norm() < 0.03 * expected.norm()


def test_no_parameter_of_the_eye_is_dead(tiny_gemma, pixels):
    vision = load_vision(Checkpoint.open(tiny_gemma.folder), tiny_gemma.vision.projector.config).requires_grad_(True)
    tokens = vision.projector(vision.tower(pixels))
    # The same number added to every key shifts all logits of a query alike, so their biases change nothing.
    parameters = {name: tensor for name, tensor in vision.named_parameters() if not name.endswith("k_proj.bias")}
    gradients = torch.autograd.grad((tokens * torch.randn_like(tokens)).sum(), list(parameters.values()))
    used = zip(parameters, gradients, strict=True)
    assert [name for name, gradient in used if (gradient.abs() > 1e-7).float().mean() < 0.5] == []


def test_a_square_picture_is_what_the_processor_of_transformers_makes(tiny_gemma):
    import transformers

    # Version 5 has one processor more, and the plain name is that which needs torchvision.
    kind = getattr(transformers, "Gemma3ImageProcessorPil", None) or transformers.Gemma3ImageProcessor
    image = torch.rand(1, 90, 90, 3, generator=torch.Generator().manual_seed(0))
    processor = kind.from_pretrained(tiny_gemma.folder)
    levels = image[0].mul(255).round().to(torch.uint8).numpy()
    expected = processor(levels, do_pan_and_scan=False, return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(picture_pixels(image, 56), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("height", "width"), [(1080, 1920), (64, 33), (1, 500), (896, 896)])
def test_every_picture_becomes_a_square(height, width):
    image = torch.rand(1, height, width, 3, generator=torch.Generator().manual_seed(0))
    pixels = picture_pixels(image, 56)
    assert pixels.shape == (1, 3, 56, 56)
    assert -1 <= pixels.min() < pixels.max() <= 1
    assert abs(pixels.mean() / 2 + 0.5 - image.mean()) < 0.05


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.zeros(2, 8, 8, 3), r"one RGB picture .* got \(2, 8, 8, 3\); pick one"),
        (torch.zeros(1, 8, 8, 4), "drop an alpha channel"),
        (torch.full((1, 8, 8, 3), float("nan")), "must be a finite number"),
        ("a file", "got str"),
    ],
)
def test_pictures_that_cannot_be_seen(image, message):
    with pytest.raises(LTX2Error, match=message):
        picture_pixels(image, 56)


def single_file(tiny_gemma, path, prefixes, **metadata):
    """All tensors in one file, with other prefixes; a prefix of None leaves them out."""
    tensors = {}
    for shard in tiny_gemma.folder.glob("*.safetensors"):
        tensors |= load_file(shard)
    renamed = {}
    for key, tensor in tensors.items():
        old = next((prefix for prefix in prefixes if key.startswith(prefix)), "")
        if prefixes.get(old, old) is not None:
            renamed[prefixes.get(old, old) + key.removeprefix(old)] = tensor
    config = json.loads((tiny_gemma.folder / "config.json").read_text())
    save_file(renamed, path, metadata={"gemma_config": json.dumps(config | metadata)})
    return Checkpoint.open(path)


LAYOUTS = {
    "a folder": {},
    "newer transformers": {
        "vision_tower.": "model.vision_tower.",
        "multi_modal_projector.": "model.multi_modal_projector.",
        "language_model.model.": "model.language_model.",
    },
    "newest transformers": {
        "vision_tower.vision_model.": "model.vision_tower.",
        "multi_modal_projector.": "model.multi_modal_projector.",
        "language_model.model.": "model.language_model.",
    },
    "ComfyUI": {"vision_tower.vision_model.": "vision_model.", "language_model.model.": "model."},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_read(tiny_gemma, tmp_path, pixels, layout):
    checkpoint = single_file(tiny_gemma, tmp_path / "gemma.safetensors", LAYOUTS[layout])
    vision = load_vision(checkpoint, read_vision_config(checkpoint))
    assert torch.equal(vision(pixels), tiny_gemma.vision(pixels))


@pytest.mark.parametrize(
    ("left_out", "named"), [("vision_tower.", "vision tower"), ("multi_modal_projector.", "projector of pictures")]
)
def test_a_file_without_an_eye_says_what_is_missing(tiny_gemma, tmp_path, left_out, named):
    checkpoint = single_file(tiny_gemma, tmp_path / "blind.safetensors", {left_out: None})
    message = rf"blind\.safetensors has no Gemma 3 {named} .*choose the folder google/gemma-3-12b.*leave the image out"
    with pytest.raises(ModelFileError, match=message):
        read_vision_config(checkpoint)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mm_tokens_per_image": 5}, "must be a square number; got 5"),
        ({"mm_tokens_per_image": "4"}, "must be a square number; got '4'"),
        ({"mm_tokens_per_image": 9}, "4 patches on a side must be a multiple of the 3 tokens"),
        ({"vision_config": []}, "vision_config must be a JSON object"),
        ({"vision_config": {"model_type": "clip_vision_model"}}, "'clip_vision_model' is not supported"),
        ({"vision_config": {"model_type": "siglip_vision_model"}}, "does not fit as Gemma 3 vision tower"),
    ],
)
def test_configs_that_cannot_be_used_name_the_file(tiny_gemma, tmp_path, change, message):
    checkpoint = single_file(tiny_gemma, tmp_path / "odd.safetensors", {}, **change)
    with pytest.raises(ModelFileError, match=f"(?s)odd.safetensors.*{message}"):
        read_vision_config(checkpoint)


def test_a_folder_whose_config_knows_no_eye(tiny_gemma, tmp_path):
    folder = shutil.copytree(tiny_gemma.folder, tmp_path / "gemma")
    config = json.loads((folder / "config.json").read_text())
    del config["vision_config"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelFileError, match=r"its config\.json has no vision_config"):
        read_vision_config(Checkpoint.open(folder))


def test_the_released_config_says_what_the_built_in_one_does():
    # What google/gemma-3-12b-it's config.json states; everything else is a default there.
    stated = {
        "hidden_size": 1152,
        "image_size": 896,
        "intermediate_size": 4304,
        "model_type": "siglip_vision_model",
        "num_attention_heads": 16,
        "num_hidden_layers": 27,
        "patch_size": 14,
        "vision_use_head": False,
    }
    config = VisionConfig.from_huggingface({"mm_tokens_per_image": 256, "vision_config": stated}, 3840, "gemma")
    assert config == VisionConfig()
    with torch.device("meta"):
        vision = GemmaVision(VisionTower(config), Projector(config))
    assert 0.41e9 < sum(parameter.numel() for parameter in vision.parameters()) < 0.43e9
    assert vision(torch.empty(1, 3, 896, 896, device="meta")).shape == (1, 256, 3840)


def test_the_eye_is_a_recipe_of_its_own(tiny_models, pixels):
    models = tiny_models("2.3")
    gemma = next(folder for folder in (models / "text_encoders").iterdir() if folder.is_dir())
    text_encoder = TextEncoderRecipe.open(gemma, next((models / "checkpoints").glob("*dev*")))
    recipe = VisionRecipe.of(text_encoder)
    assert recipe == VisionRecipe.of(text_encoder)
    assert (recipe.kind, recipe.file) == ("vision tower", text_encoder.file)
    assert recipe.build()(pixels).shape == (1, 4, 64)
