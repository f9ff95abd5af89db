"""Every released file, under its name and in its folder, is offered by the loaders that it is for, and opens there.

The names are those of the model cards. The contents are tiny: of the tiny model set, and of the golden fixtures for
what only LTX-2.5 has.
"""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
GEMMA = "gemma-3-12b-it-qat-q4_0-unquantized"
CAMERAS = ("dolly-in", "dolly-out", "dolly-left", "dolly-right", "jib-up", "jib-down", "static")

#: {(folder, what it is made of): names}. What it is made of: a path in a tiny set, or a golden fixture.
RELEASED = {
    ("checkpoints", "2.0/checkpoints/ltx-2-19b-dev"): ("ltx-2-19b-dev", "ltx-2-19b-distilled"),
    ("checkpoints", "2.3/checkpoints/ltx-2.3-22b-dev"): ("ltx-2.3-22b-dev", "ltx-2.3-22b-distilled-1.1"),
    ("latent_upscale_models", "2.0/latent_upscale_models/ltx-2-spatial-upscaler-x2-1.0"): (
        "ltx-2-spatial-upscaler-x2-1.0",
    ),
    ("latent_upscale_models", "2.3/latent_upscale_models/ltx-2.3-spatial-upscaler-x2-1.1"): (
        "ltx-2.3-spatial-upscaler-x2-1.1",
    ),
    ("latent_upscale_models", "2.3/latent_upscale_models/ltx-2.3-spatial-upscaler-x1.5-1.0"): (
        "ltx-2.3-spatial-upscaler-x1.5-1.0",
    ),
    ("latent_upscale_models", "2.3/latent_upscale_models/ltx-2.3-temporal-upscaler-x2-1.0"): (
        "ltx-2.3-temporal-upscaler-x2-1.0",
    ),
    ("loras", "2.0/loras/ltx-2-19b-distilled-lora-384"): (
        "ltx-2-19b-distilled-lora-384",
        *(f"ltx-2-19b-ic-lora-{kind}" for kind in ("canny-control", "depth-control", "pose-control", "detailer")),
        *(f"ltx-2-19b-lora-camera-control-{camera}" for camera in CAMERAS),
    ),
    ("loras", "2.3/loras/ltx-2.3-22b-distilled-lora-384-1.1"): ("ltx-2.3-22b-distilled-lora-384-1.1",),
    ("loras", "2.3/loras/ltx-2.3-22b-ic-lora-union-control-ref0.5"): (
        "ltx-2.3-22b-ic-lora-union-control-ref0.5",
        "ltx-2.3-22b-ic-lora-motion-track-control-ref0.5",
    ),
    ("loras", "2.3/loras/ltx-2.3-22b-ic-lora-dubit-0.9"): ("ltx-2.3-22b-ic-lora-dubit-0.9",),
    ("diffusion_models", "transformer_25"): (
        "ltx-2.5-22b-dev-transformer-bf16",
        "ltx-2.5-22b-distilled-transformer-bf16",
    ),
    ("vae", "video_vae_25_encoder"): ("ltx-2.5-video-vae-bf16", "ltx-2.5-video-vae-conv-bf16"),
    ("vae", "audio_vae"): ("ltx-2.5-audio-vae-bf16",),
    ("latent_upscale_models", "upsampler_spatial_x2"): ("ltx-2.5-latent-spatial-upscaler-x2-bf16-1.0",),
    ("latent_upscale_models", "upsampler_temporal_x2"): ("ltx-2.5-latent-temporal-upscaler-x2-bf16-1.0",),
}
NAMES = {name: (folder, made_of) for (folder, made_of), names in RELEASED.items() for name in names}
PLACES = ("", "Lightricks/new/")  # in the folder itself, or in a folder within it

#: Which loaders a file is for: (node, input), by its folder; VAEs by what they are.
LOADERS = {
    "checkpoints": [
        ("LTX2_LoadCheckpoint", "checkpoint"),
        ("LTX2_LoadTransformer", "file"),
        ("LTX2_LoadTextEncoder", "checkpoint"),
        ("LTX2_LoadVideoVAE", "file"),
        ("LTX2_LoadAudioVAE", "file"),
        ("LTX2_LoadVocoder", "file"),
    ],
    "diffusion_models": [("LTX2_LoadTransformer", "file")],
    "latent_upscale_models": [("LTX2_LoadUpsampler", "file")],
    "video_vae_25_encoder": [("LTX2_LoadVideoVAE", "file")],
    "audio_vae": [("LTX2_LoadAudioVAE", "file")],
    "loras": [("LTX2_Lora", "lora")],
}


def weights_of(fixture: str, path: Path) -> Path:
    """A golden fixture as the checkpoint that it was cut out of."""
    with safe_open(GOLDEN / f"{fixture}.safetensors", "pt") as file:
        keys = [key for key in file.keys() if key.startswith("weights.")]  # noqa: SIM118 - no mapping
        save_file({key.removeprefix("weights."): file.get_tensor(key) for key in keys}, path, file.metadata())
    return path


@pytest.fixture(scope="module")
def models(tiny_models, tmp_path_factory):
    """A models folder with a tiny file under every released name, in the folders that they are published for."""
    root, cut = tmp_path_factory.mktemp("released"), tmp_path_factory.mktemp("cut")
    for (folder, made_of), names in RELEASED.items():
        release, _, path = made_of.partition("/")
        is_tiny = bool(path)
        source = tiny_models(release) / f"{path}.safetensors" if is_tiny else weights_of(made_of, cut / made_of)
        for file in [root / folder / place / f"{name}.safetensors" for place in PLACES for name in names]:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.symlink_to(source)
    for place in PLACES:
        shutil.copytree(tiny_models("2.3") / "text_encoders" / GEMMA, root / "text_encoders" / place / GEMMA)
    return root


@pytest.fixture(scope="module")
def nodes(pack, models):
    """The pack's nodes on that models folder, by id."""
    with pack("nodes.host.headless.host").HeadlessHost(models, stream=io.StringIO()) as host:
        pack("nodes.host").use(host)
        yield {cls.GET_SCHEMA().node_id: cls for cls in pack("nodes").node_classes()}


def options(cls, name: str) -> list[str]:
    (given,) = (each for each in cls.GET_SCHEMA().inputs if each.id == name)
    return given.options


def others(nodes, node_id: str, name: str, file: str) -> dict:
    """What the loader needs besides the file."""
    if node_id in ("LTX2_LoadCheckpoint", "LTX2_LoadTextEncoder"):
        return {"text_encoder": GEMMA}
    if node_id != "LTX2_Lora":
        return {}
    of = "ltx-2-19b-dev" if "ltx-2-" in file else "ltx-2.3-22b-dev"
    (transformer,) = nodes["LTX2_LoadTransformer"].execute(f"{of}.safetensors").args
    (text_encoder,) = nodes["LTX2_LoadTextEncoder"].execute(GEMMA, f"{of}.safetensors").args
    factors = {"video_strength": 1.0, "audio_strength": 1.0, "cross_strength": 1.0}
    return {
        "transformer": transformer,
        "text_encoder": text_encoder,
        "strength": 1.0,
        **factors,
        "first_block": 0,
        "last_block": -1,
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_released_file_is_offered_and_opens(nodes, name):
    folder, made_of = NAMES[name]
    for node_id, given in LOADERS.get(made_of) or LOADERS[folder]:
        for file in [f"{place}{name}.safetensors" for place in PLACES]:
            assert file in options(nodes[node_id], given), f"{node_id} does not offer {file}"
            outputs = nodes[node_id].execute(**{given: file}, **others(nodes, node_id, given, file)).args
            assert len(outputs) == len(nodes[node_id].GET_SCHEMA().outputs)


def gemma_parts(tiny_models) -> dict[str, torch.Tensor]:
    folder = tiny_models("2.3") / "text_encoders" / GEMMA
    return {key: tensor for file in folder.glob("*.safetensors") for key, tensor in load_file(file).items()}


@pytest.fixture(scope="module")
def single_gemma(models, tiny_models):
    """The text encoder as ComfyUI has it, in one file: weights, config and tokenizer."""
    folder = tiny_models("2.3") / "text_encoders" / GEMMA
    config = (folder / "config.json").read_text(encoding="utf-8")
    tokenizer = torch.frombuffer(bytearray((folder / "tokenizer.json").read_bytes()), dtype=torch.uint8)
    path = models / "text_encoders" / "split_files" / "gemma_3_12B_it.safetensors"
    path.parent.mkdir()
    save_file(gemma_parts(tiny_models) | {"tokenizer_json": tokenizer}, path, {"gemma_config": config})
    return "split_files/gemma_3_12B_it.safetensors"


def test_gemma_is_offered_and_opens_as_a_folder_and_as_a_file(nodes, single_gemma):
    checkpoint = "ltx-2.3-22b-dev.safetensors"
    for node_id in ("LTX2_LoadCheckpoint", "LTX2_LoadTextEncoder"):
        for name in (*(place + GEMMA for place in PLACES), single_gemma):
            assert name in options(nodes[node_id], "text_encoder")
            assert nodes[node_id].execute(text_encoder=name, checkpoint=checkpoint).args


@pytest.fixture(scope="module")
def unreadable(models, tiny_models):
    """Files that are published, or that people have, and that a loader does not read: {(folder, name): a word of why}.

    fp8 that lost a scale, Gemma 4, a part of a folder, and what is no safetensors file at all.
    """
    checkpoint = tiny_models("2.3") / "checkpoints" / "ltx-2.3-22b-dev.safetensors"
    with safe_open(checkpoint, "pt") as file:
        metadata = file.metadata()
    weights = load_file(checkpoint)
    scaled = [key for key in weights if "transformer_blocks." in key and key.endswith(".to_q.weight")]
    weights |= {key: weights[key].to(torch.float8_e4m3fn) for key in scaled}
    weights |= {key + "_scale": torch.ones(()) for key in scaled[1:]}
    save_file(weights, models / "checkpoints" / "ltx-2.3-22b-less-fp8.safetensors", metadata)
    gemma4 = gemma_parts(tiny_models) | {"language_model.model.layers.0.layer_scalar": torch.ones(1)}
    save_file(gemma4, models / "text_encoders" / "gemma4-12b-with-proj-ltx-2.5-bf16.safetensors")
    (models / "checkpoints" / "broken.safetensors").write_text("<html>404</html>")
    return {
        ("checkpoints", "ltx-2.3-22b-less-fp8.safetensors"): "without the scale that others have",
        ("text_encoders", "gemma4-12b-with-proj-ltx-2.5-bf16.safetensors"): "Gemma 4",
        ("text_encoders", f"{GEMMA}/model-00001-of-00002.safetensors"): "model-00001-of-00002.safetensors",
        ("checkpoints", "broken.safetensors"): "broken.safetensors",
    }


def test_what_a_loader_cannot_read_is_refused_in_words_where_it_is_chosen(nodes, error, unreadable):
    for (folder, name), word in unreadable.items():
        inputs = {"checkpoint": "ltx-2.3-22b-dev.safetensors", "text_encoder": GEMMA}
        inputs["text_encoder" if folder == "text_encoders" else "checkpoint"] = name
        assert name in options(
            nodes["LTX2_LoadCheckpoint"], "checkpoint" if folder == "checkpoints" else "text_encoder"
        )
        with pytest.raises(error) as refused:
            nodes["LTX2_LoadCheckpoint"].execute(**inputs)
        assert name.rpartition("/")[2] in str(refused.value)
        assert word in str(refused.value)


def test_a_file_of_another_kind_is_refused_by_every_loader(nodes, models, error):
    """Nothing is opened for what its name says, or for the folder that it lies in."""
    sources = {folder: next((models / folder).glob("*.safetensors")) for folder in ("loras", "latent_upscale_models")}
    sources |= {"vae": models / "vae" / "ltx-2.5-audio-vae-bf16.safetensors"}
    for folder in ("checkpoints", "diffusion_models", "vae", "latent_upscale_models"):
        for kind, source in sources.items():
            (models / folder / "misplaced").mkdir(exist_ok=True)
            (models / folder / "misplaced" / f"{kind}.safetensors").symlink_to(source.resolve())
    loaders = {"LTX2_LoadTransformer", "LTX2_LoadVideoVAE", "LTX2_LoadVocoder", "LTX2_LoadUpsampler"}
    for node_id in loaders:
        for kind in sources.keys() - ({"latent_upscale_models"} if node_id == "LTX2_LoadUpsampler" else set()):
            with pytest.raises(error, match="must hold"):
                nodes[node_id].execute(file=f"misplaced/{kind}.safetensors")
