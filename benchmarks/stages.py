"""Every stage that a node runs, at full size on the meta device: what is estimated for it and what is counted.

Nothing is computed and no memory is taken; the code that runs is the one that nodes call.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources
from typing import Any

import torch
from comfyui_ltx2.ltx2.checkpoint.load import on_meta
from comfyui_ltx2.ltx2.config.audio_vae import AudioVAEConfig
from comfyui_ltx2.ltx2.config.section import parse
from comfyui_ltx2.ltx2.config.text import ConnectorsConfig, GemmaConfig
from comfyui_ltx2.ltx2.config.transformer import TransformerConfig
from comfyui_ltx2.ltx2.config.upsampler import UpsamplerConfig
from comfyui_ltx2.ltx2.config.video_vae import VideoVAEConfig
from comfyui_ltx2.ltx2.config.vision import VisionConfig
from comfyui_ltx2.ltx2.config.vocoder import VocoderConfig
from comfyui_ltx2.ltx2.geometry import audio_latents
from comfyui_ltx2.ltx2.guidance.guidance import NEUTRAL, Guidance
from comfyui_ltx2.ltx2.guidance.plan import plan
from comfyui_ltx2.ltx2.networks.audio_vae.mel import log_mel
from comfyui_ltx2.ltx2.networks.audio_vae.model import AudioVAE
from comfyui_ltx2.ltx2.networks.text.connector import TextConnectors
from comfyui_ltx2.ltx2.networks.text.encoder import encode_prompt
from comfyui_ltx2.ltx2.networks.text.gemma import Gemma3
from comfyui_ltx2.ltx2.networks.text.vision import GemmaVision, Projector, VisionTower
from comfyui_ltx2.ltx2.networks.transformer.model import Transformer
from comfyui_ltx2.ltx2.networks.upsampler import Upsampler, upsample
from comfyui_ltx2.ltx2.networks.video_vae import VideoVAE
from comfyui_ltx2.ltx2.networks.vocoder.model import Vocoder
from comfyui_ltx2.ltx2.precision.cast import cast_at_use
from comfyui_ltx2.ltx2.runtime import estimates
from comfyui_ltx2.ltx2.runtime.tiled_vae import decode_video, encode_frames
from comfyui_ltx2.ltx2.runtime.tiling import Tiling
from comfyui_ltx2.ltx2.sampling.denoiser import Context, Denoiser, Prompts
from comfyui_ltx2.ltx2.tokens import TokenState, audio_state, video_state
from counting import flops, peak_bytes
from torch import Tensor, nn

META = torch.device("meta")
UPSAMPLERS = {
    "x2": UpsamplerConfig(mid_channels=1024),
    "x2 rational": UpsamplerConfig(mid_channels=1024, rational_resampler=True),
    "x1.5 rational": UpsamplerConfig(mid_channels=1024, rational_resampler=True, spatial_scale=1.5),
    "frames x2": UpsamplerConfig(spatial_upsample=False, temporal_upsample=True),
}


#: Four passes a step.
FULL = Guidance(cfg=3.0, stg=1.0, stg_blocks=frozenset({1}), modality=3.0)


@dataclass(frozen=True)
class Stage:
    """Bytes of results alive at once: as the library estimates them, and as they are counted."""

    estimated: int
    counted: int

    @property
    def ratio(self) -> float:
        return self.estimated / self.counted


@lru_cache
def released(release: str, section: str, config: type) -> Any:
    """The released config of one network."""
    file = resources.files("comfyui_ltx2.ltx2.config") / "released" / f"{release}.json"
    return parse(config, json.loads(file.read_text("utf-8"))[section], section)


@lru_cache
def built(factory: Callable[[Any], nn.Module], config: Any) -> nn.Module:
    """A network with its weights as they are in files, cast where they are used."""
    return cast_at_use(on_meta(lambda: factory(config)).to(torch.bfloat16))


def empty(*shape: int, dtype: torch.dtype) -> Tensor:
    return torch.empty(shape, dtype=dtype, device=META)


def counted(network: nn.Module, call: Callable[[], object], *given: Tensor) -> int:
    return peak_bytes(call, given=(*network.parameters(), *network.buffers(), *given))


def decoding(release: str, size: tuple[int, int, int], tiling: Tiling | None, dtype: torch.dtype) -> Stage:
    """A clip of `size` (frames, height, width) in pixels, whose frames are taken run by run."""
    config = released(release, "vae", VideoVAEConfig)
    vae = built(VideoVAE, config)
    latent = empty(1, 128, 1 + (size[0] - 1) // 8, size[1] // 32, size[2] // 32, dtype=dtype)

    def call() -> None:
        for _ in decode_video(vae, latent, tiling):
            pass

    return Stage(estimates.decode_bytes(config, size, tiling, dtype), counted(vae, call, latent))


def decoding_flops(release: str, size: tuple[int, int, int], tiling: Tiling | None) -> int:
    """Operations of `decoding`'s convolutions."""
    vae = built(VideoVAE, released(release, "vae", VideoVAEConfig))
    latent = empty(1, 128, 1 + (size[0] - 1) // 8, size[1] // 32, size[2] // 32, dtype=torch.bfloat16)
    return flops(lambda: list(decode_video(vae, latent, tiling)))


def encoding(release: str, size: tuple[int, int, int], tiling: Tiling | None, dtype: torch.dtype) -> Stage:
    """A clip of `size` (frames, height, width) in pixels, read picture by picture."""
    config = released(release, "vae", VideoVAEConfig)
    vae = built(VideoVAE, config)
    picture = empty(*size[1:], 3, dtype=torch.uint8)

    def call() -> None:
        pictures: Iterator[Tensor] = (picture for _ in range(size[0]))
        encode_frames(vae, pictures, size, tiling, device=META, dtype=dtype)

    return Stage(estimates.encode_bytes(config, size, tiling, dtype), counted(vae, call, picture))


def sound_decoding(release: str, seconds: float, dtype: torch.dtype) -> Stage:
    """Latents to a spectrogram and on to a waveform."""
    config, vocoder_config = released(release, "audio_vae", AudioVAEConfig), released(release, "vocoder", VocoderConfig)
    vae, vocoder = built(AudioVAE, config), built(Vocoder, vocoder_config)
    latent = empty(1, 8, round(25 * seconds), 16, dtype=dtype)
    networks = nn.ModuleList((vae, vocoder))
    # Not `vocoder(...)`: it keeps autocast away, which the meta device has none of.
    found = counted(networks, lambda: vocoder.synthesise(vae.decode(latent).float()), latent)
    return Stage(estimates.decode_sound_bytes(config, vocoder_config, latent.shape[2], dtype), found)


def sound_encoding(seconds: float, rate: int, dtype: torch.dtype) -> Stage:
    """A stereo waveform to a spectrogram and on to latents."""
    config = released("2.3", "audio_vae", AudioVAEConfig)
    vae = built(AudioVAE, config)
    waveform = empty(1, 2, round(rate * seconds), dtype=torch.float32)
    found = counted(vae, lambda: vae.encode(log_mel(waveform, rate, config).to(dtype)), waveform)
    return Stage(estimates.encode_sound_bytes(config, round(25 * seconds), dtype), found)


def upsampling(kind: str, latents: tuple[int, int, int], dtype: torch.dtype) -> Stage:
    """Latents of (frames, height, width)."""
    config = UPSAMPLERS[kind]
    network, statistics = built(Upsampler, config), built(VideoVAE, released("2.3", "vae", VideoVAEConfig)).statistics
    latent = empty(1, 128, *latents, dtype=torch.float32)
    networks = nn.ModuleList((network, statistics))
    found = counted(networks, lambda: upsample(network, latent, statistics, dtype=dtype), latent)
    return Stage(estimates.upsample_bytes(config, latents, dtype), found)


def prompt(release: str, num_tokens: int, dtype: torch.dtype) -> Stage:
    """A prompt through Gemma, the projection and the connectors."""
    config = released(release, "transformer", ConnectorsConfig)
    gemma, connectors = _gemma(), built(TextConnectors, config)
    tokens = empty(1, num_tokens, dtype=torch.long)
    networks = nn.ModuleList((gemma, connectors))
    found = counted(networks, lambda: encode_prompt(gemma, connectors, tokens, dtype=dtype), tokens)
    return Stage(estimates.prompt_bytes(gemma.config, config, num_tokens, dtype), found)


def answering(question: int, answer: int, dtype: torch.dtype) -> Stage:
    """A question that is read, and the last token of an answer, when all before it are remembered."""
    gemma = _gemma()

    def call() -> None:
        read = gemma.new_cache()
        gemma.next_logits(empty(1, question, gemma.config.hidden_size, dtype=dtype), read)
        del read
        written, config = gemma.new_cache(), gemma.config
        for layer in range(config.num_layers):
            for length in (question + answer - 2, 1):  # with the second, windows are all that is left
                shape = (1, config.num_key_value_heads, length, config.head_dim)
                written.update(empty(*shape, dtype=dtype), empty(*shape, dtype=dtype), layer)
        gemma.next_logits(empty(1, 1, gemma.config.hidden_size, dtype=dtype), written)

    return Stage(estimates.answer_bytes(gemma.config, question, answer, dtype), counted(gemma, call))


def _gemma() -> Gemma3:
    gemma = built(Gemma3, GemmaConfig())
    if not gemma.model._forward_pre_hooks:
        # transformers looks at the positions to make masks, which cannot be done on meta.
        masks = dict.fromkeys(gemma.config.layer_types)
        gemma.model.register_forward_pre_hook(
            lambda module, args, given: (args, {**given, "attention_mask": masks}), with_kwargs=True
        )
    return gemma


def seeing(dtype: torch.dtype) -> Stage:
    """One picture through Gemma's eye."""
    config = VisionConfig()
    vision = built(lambda config: GemmaVision(VisionTower(config), Projector(config)), config)
    pixels = empty(1, 3, config.image_size, config.image_size, dtype=dtype)
    return Stage(estimates.vision_bytes(config, dtype), counted(vision, lambda: vision(pixels), pixels))


@dataclass(frozen=True)
class Run:
    """A sampling run: its clip, what guides it, and how its passes run.

    Attributes:
        frames: Of the video, whose sound is as long.
        modalities: Of "video" and "audio".
        free_memory: What passes at once and kept text are chosen by; None for plenty.
        mask: "first frame" is kept, or "feathered" has each token at a level of its own; None generates all.
        appended: Tokens of a reference behind the video's.
    """

    width: int
    height: int
    frames: int
    guidance: Guidance = NEUTRAL
    modalities: tuple[str, ...] = ("video", "audio")
    passes_per_forward: int = 0
    free_memory: int | None = None
    mask: str | None = None
    appended: int = 0


def sampling(release: str, run: Run, dtype: torch.dtype, *, num_layers: int = 3) -> Stage:
    """The denoiser as a run makes it, and one step of it. What is kept of the text grows with the layers alone."""
    config = replace(released(release, "transformer", TransformerConfig), num_layers=num_layers)
    network = built(Transformer, config)
    widths = (config.cross_attention_dim, config.audio_cross_attention_dim)
    if config.caption_projection:
        widths = (config.caption_channels,) * 2
    context = Context(*(torch.zeros(1, 1, 1).expand(1, 1024, width) for width in widths))
    prompts = Prompts(context, context, run.guidance, run.guidance, run.passes_per_forward)
    states = _states(run)
    found: list[int] = []

    def call() -> None:
        options = {"device": META, "dtype": dtype, "free_memory": run.free_memory}
        denoiser = Denoiser(network, prompts, states, **options)
        found.append(estimates.forward_bytes(config, denoiser.forward, dtype))
        # The rest of a step is arithmetic on the CPU.
        inputs = [one.inputs(one.state.latent, 0.7, True) if one else None for one in denoiser.streams]
        video, audio = (run.guidance if state else None for state in states)
        network(*inputs, tuple(plan(video, audio).values()), denoiser.forward.at_once)

    bytes_counted = counted(network, call)
    return Stage(found[0], bytes_counted)


def _states(run: Run) -> tuple[TokenState | None, TokenState | None]:
    grid = (1 + (run.frames - 1) // 8, run.height // 32, run.width // 32)
    mask = None
    if run.mask == "first frame":
        mask = torch.ones(1, 1, *grid)
        mask[:, :, :1] = 0
    elif run.mask == "feathered":
        mask = (torch.arange(math.prod(grid)) % 256 / 255).view(1, 1, *grid)
    video = video_state(torch.zeros(1, 128, *grid), 24.0, mask)
    if run.appended:
        clean = torch.zeros(1, run.appended, 128)
        video = video.appended(clean, video.positions[:, :, : run.appended], 0.0)
    audio = audio_state(torch.zeros(1, 8, max(1, audio_latents(run.frames, 24.0)), 16))
    return tuple(state if name in run.modalities else None for name, state in (("video", video), ("audio", audio)))
