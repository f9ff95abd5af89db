"""The wiring of the graph has an oracle: the distilled run, with a LoRA, recomputed with diffusers' components.

Prompt, noise, schedule, LoRA, upsampling, re-noising, refinement: everything between the files of the tiny set and the
final latents is computed a second time without our library (but for reading the configs), and must agree.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from oracle import connector_name, connectors_twin, transformer_twin_of, upsampler_twin
from safetensors import safe_open

from ltx2.config.section import parse
from ltx2.config.text import ConnectorsConfig
from ltx2.config.transformer import TransformerConfig
from ltx2.config.upsampler import UpsamplerConfig

WIDTH, HEIGHT, FRAMES, RATE = 192, 128, 17, 25.0
STRENGTH, SEEDS, PROMPT = 0.7, (5, 6), "A kettle whistles on a stove; steam drifts to the window."
STAGES = (
    (1.0, 0.99375, 0.9875, 0.98125, 0.975, 0.909375, 0.725, 0.421875, 0.0),
    (0.909375, 0.725, 0.421875, 0.0),
)
CHECKPOINTS = {"2.0": "ltx-2-19b-distilled.safetensors", "2.3": "ltx-2.3-22b-distilled-1.1.safetensors"}


class Files:
    """The tiny set, read without our library: fp32 tensors and metadata."""

    def __init__(self, models: Path, release: str) -> None:
        self.checkpoint, self.metadata = read(models / "checkpoints" / CHECKPOINTS[release])
        self.config = json.loads(self.metadata["config"])
        (self.lora_path,) = (models / "loras").glob("*distilled*")
        self.lora, _ = read(self.lora_path)
        (self.upsampler_path,) = (models / "latent_upscale_models").glob("*spatial-upscaler-x2*")
        self.upsampler, upsampler_metadata = read(self.upsampler_path)
        self.upsampler_config = json.loads(upsampler_metadata["config"])
        (self.gemma,) = (models / "text_encoders").iterdir()


def read(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    with safe_open(path, "pt") as file:
        return {key: file.get_tensor(key).float() for key in file.keys()}, file.metadata()  # noqa: SIM118


def contexts(files: Files) -> tuple[torch.Tensor, torch.Tensor]:
    """Prompt -> transformers' Gemma -> diffusers' connectors, padded to 1024 on the left as the reference does it."""
    from tokenizers import Tokenizer
    from transformers import Gemma3TextConfig, Gemma3TextModel

    text_config = json.loads((files.gemma / "config.json").read_text())["text_config"]
    model = Gemma3TextModel(Gemma3TextConfig(**text_config)).eval()
    weights = {}
    for shard in files.gemma.glob("*.safetensors"):
        weights.update(read(shard)[0])
    prefix = "language_model.model."
    model.load_state_dict({key[len(prefix) :]: value for key, value in weights.items() if key.startswith(prefix)})
    tokenizer = Tokenizer.from_file(str(files.gemma / "tokenizer.json"))
    ids = [tokenizer.token_to_id("<bos>"), *tokenizer.encode(PROMPT, add_special_tokens=False).ids]
    states = model(torch.tensor([ids]), output_hidden_states=True).hidden_states
    real = torch.stack(states, -1)

    config = parse(ConnectorsConfig, files.config["transformer"], "transformer")
    twin = connectors_twin(config.with_projection_width(real.shape[2] * real.shape[3]))
    twin.load_state_dict({name: files.checkpoint[connector_name(name)] for name in twin.state_dict()})
    padded = torch.cat((torch.zeros(1, 1024 - len(ids), *real.shape[2:]), real), 1)
    mask = torch.cat((torch.zeros(1, 1024 - len(ids)), torch.ones(1, len(ids))), 1).long()
    video, audio, _ = twin(padded, mask, padding_side="left")
    return video, audio


def merged(files: Files) -> dict[str, torch.Tensor]:
    """The transformer's weights with the LoRA, summed in bf16 as they are stored."""
    weights = dict(files.checkpoint)
    for key in files.lora:
        if key.endswith(".lora_A.weight"):
            module = key.removesuffix(".lora_A.weight")
            down, up = files.lora[key].bfloat16(), files.lora[f"{module}.lora_B.weight"].bfloat16()
            name = f"model.{module}.weight"
            weights[name] = (weights[name].bfloat16() + (up * STRENGTH) @ down).float()
    return weights


def denoise(transformer, video, audio, context, sigmas):
    """Euler over `sigmas` for a video latent [1, C, F, H, W] and an audio latent [1, C, T, bins]."""
    grid, (channels, length, bins) = video.shape[2:], audio.shape[1:]
    video = video.flatten(2).transpose(1, 2)
    audio = audio.transpose(1, 2).flatten(2)
    for sigma, following in zip(sigmas[:-1], sigmas[1:], strict=True):
        t = torch.tensor([sigma * 1000.0])
        velocities = transformer(
            hidden_states=video,
            audio_hidden_states=audio,
            encoder_hidden_states=context[0],
            audio_encoder_hidden_states=context[1],
            timestep=t[:, None].expand(1, video.shape[1]),
            audio_timestep=t[:, None].expand(1, audio.shape[1]),
            sigma=t,
            audio_sigma=t,
            num_frames=grid[0],
            height=grid[1],
            width=grid[2],
            fps=RATE,
            audio_num_frames=length,
            return_dict=False,
        )
        video, audio = (x + v * (following - sigma) for x, v in zip((video, audio), velocities[:2], strict=True))
    video = video.transpose(1, 2).unflatten(2, grid)
    return video, audio.unflatten(2, (channels, bins)).transpose(1, 2)


def recompute(files: Files):
    """The final latents of the two stages."""
    context = contexts(files)
    weights = merged(files)
    config = parse(TransformerConfig, files.config["transformer"], "transformer")
    transformer = transformer_twin_of(config, weights)
    statistics = [files.checkpoint[f"vae.per_channel_statistics.{name}-of-means"] for name in ("mean", "std")]
    mean, std = (values.view(1, -1, 1, 1, 1) for values in statistics)
    upsampler = upsampler_twin(parse(UpsamplerConfig, files.upsampler_config, "config"))
    upsampler.load_state_dict(files.upsampler)

    frames = (FRAMES - 1) // 8 + 1
    shapes = (1, 128, frames, HEIGHT // 64, WIDTH // 64), (1, 8, round(FRAMES / RATE * 25), 16)
    generator = torch.Generator().manual_seed(SEEDS[0])
    noise = [torch.randn(shape, generator=generator) for shape in shapes]
    video, audio = denoise(transformer, *noise, context, STAGES[0])

    video = (upsampler(video * std + mean) - mean) / std
    generator = torch.Generator().manual_seed(SEEDS[1])
    noise = [torch.randn(latent.shape, generator=generator) for latent in (video, audio)]
    sigma = STAGES[1][0]
    video, audio = ((1 - sigma) * x + sigma * n for x, n in zip((video, audio), noise, strict=True))
    return denoise(transformer, video, audio, context, STAGES[1])


def as_shipped(prompt, files: Files):
    """The shipped graph at the test's size, with a LoRA in front of the guider."""
    by_class = {}
    for node_id, node in prompt.items():
        by_class.setdefault(node["class_type"], []).append(node_id)

    def only(name):
        (node_id,) = by_class[name]
        return node_id

    loader = prompt[only("LTX2_LoadCheckpoint")]
    loader["inputs"].update(checkpoint=Path(CHECKPOINTS[files.metadata["model_version"][:3]]).name)
    prompt[only("LTX2_LoadUpsampler")]["inputs"]["file"] = files.upsampler_path.name
    prompt[only("LTX2_EncodePrompt")]["inputs"]["text"] = PROMPT
    prompt[only("LTX2_Canvas")]["inputs"].update(width=WIDTH, height=HEIGHT, frames=FRAMES, frame_rate=RATE)
    prompt["lora"] = {
        "class_type": "LTX2_Lora",
        "inputs": {
            "transformer": [only("LTX2_LoadCheckpoint"), 0],
            "lora": files.lora_path.name,
            "strength": STRENGTH,
        },
    }
    prompt[only("LTX2_Guider")]["inputs"]["transformer"] = ["lora", 0]
    stages = sorted(by_class["LTX2_Sample"], key=lambda node_id: prompt[node_id]["inputs"]["seed"])
    for node_id, seed in zip(stages, SEEDS, strict=True):
        prompt[node_id]["inputs"]["seed"] = seed
    return prompt, stages[-1]


@pytest.mark.parametrize("release", ["2.0", "2.3"])
def test_the_distilled_run_equals_diffusers(tiny_models, run_prompt, api_prompt, release):
    models = tiny_models(release)
    files = Files(models, release)
    prompt, last = as_shipped(api_prompt("LTX-2 Text to Video Distilled"), files)
    result = run_prompt(models, prompt)
    video, audio = (latent["samples"] for latent in result.values[last])
    with torch.no_grad():
        expected_video, expected_audio = recompute(files)
    assert video.std() > 0.1
    assert math.prod(video.shape) == 128 * 3 * 4 * 6
    torch.testing.assert_close(video, expected_video, atol=1e-4, rtol=0)
    torch.testing.assert_close(audio, expected_audio, atol=1e-4, rtol=0)
