"""Which files a tiny set has, and how all of them or none of them get into the folder."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from torch import nn

from ..checkpoint.keys import AUDIO_VAE, TEXT, TRANSFORMER, UPSAMPLER, VIDEO_VAE, VOCODER, NameTable
from ..checkpoint.load import on_meta
from ..checkpoint.release import RELEASES
from ..checkpoint.released_files import CHECKPOINTS, GEMMA_REPOSITORY, LORAS, RELEASED_FILES, TEXT_ENCODERS, UPSCALERS
from ..config.audio_vae import AudioVAEConfig
from ..config.section import parse
from ..config.text import ConnectorsConfig, GemmaConfig
from ..config.transformer import TransformerConfig
from ..config.upsampler import UpsamplerConfig
from ..config.video_vae import VideoVAEConfig
from ..config.vocoder import VocoderConfig
from ..errors import LTX2Error
from ..networks.audio_vae.model import AudioVAE
from ..networks.text.connector import TextConnectors
from ..networks.transformer.model import Transformer
from ..networks.upsampler import Upsampler
from ..networks.video_vae.model import VideoVAE
from ..networks.vocoder.model import Vocoder
from .archive import save
from .configs import GEMMA, UPSAMPLERS, checkpoint_config
from .gemma import write_gemma
from .values import Shape, value

_LORA_RANK, _CONTROL_RANK = 8, 4
#: What LoRAs that were trained with a smaller reference say of it.
_REFERENCES = {"ltx-2.3-22b-ic-lora-union-control-ref0.5.safetensors": {"reference_downscale_factor": "2"}}


def write(folder: Path, *, release: str = "2.3", seed: int = 0) -> list[Path]:
    """Write a complete tiny set of `release` into `folder`, laid out as ComfyUI's models folder; returns its files.

    The same release and seed give the same bytes. Other files in `folder` stay as they are.

    Raises:
        LTX2Error: the release is unknown, or one of the files exists (nothing is overwritten, nothing is written).
    """
    if release not in RELEASES:
        raise LTX2Error(f"the release must be one of {', '.join(RELEASES)}; got {release!r}")
    folder = Path(folder)
    parent = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    # Beside its destination, for a rename is atomic within a file system only.
    staging = Path(tempfile.mkdtemp(prefix=".ltx2-tiny-", dir=parent))
    try:
        files = [file.relative_to(staging) for file in _write_all(staging, release, str(seed))]
        existing = [str(folder / file) for file in files if (folder / file).exists()]
        if existing:
            raise LTX2Error(
                f"the tiny models must not replace other files; {len(existing)} exist, such as {existing[0]}: choose "
                "another folder"
            )
        return _moved(staging, folder, files)
    finally:
        shutil.rmtree(staging)


def _moved(staging: Path, folder: Path, files: list[Path]) -> list[Path]:
    moved: list[Path] = []
    try:
        for file in files:
            target = folder / file
            target.parent.mkdir(parents=True, exist_ok=True)
            os.rename(staging / file, target)
            moved.append(target)
    except BaseException:
        for target in moved:
            target.unlink()
        raise
    return moved


def _write_all(folder: Path, release: str, seed: str) -> list[Path]:
    names = RELEASED_FILES[release]
    shapes = _checkpoint_shapes(release)
    metadata = {"config": json.dumps(checkpoint_config(release)), "model_version": f"{release}.0"}
    files = write_gemma(folder / TEXT_ENCODERS / Path(GEMMA_REPOSITORY).name, seed)
    # As released: the transformers differ, all else is the same in both.
    for name, transformer_seed in ((names.dev, seed), (names.distilled, f"{seed}-distilled")):
        tensors = {
            key: value(key, shape, transformer_seed if "transformer_blocks." in key else seed)
            for key, shape in shapes.items()
        }
        save(file := folder / CHECKPOINTS / name, tensors, metadata)
        files.append(file)
    for name, config in UPSAMPLERS[release].items():
        upsampler = _shapes(lambda config=config: Upsampler(parse(UpsamplerConfig, config, "config")), UPSAMPLER)
        tensors = {key: value(key, shape, f"{seed}-{name}") for key, shape in upsampler.items()}
        save(file := folder / UPSCALERS / name, tensors, {"config": json.dumps(config)})
        files.append(file)
    for name in (names.distilled_lora, *names.control_loras):
        save(file := folder / LORAS / name, _lora(release, seed, name), {"format": "pt", **_REFERENCES.get(name, {})})
        files.append(file)
    return files


def _checkpoint_shapes(release: str) -> dict[str, Shape]:
    """{file key: shape} of the single-file checkpoint."""
    config = checkpoint_config(release)
    gemma = GemmaConfig.from_huggingface(GEMMA)
    connectors = parse(ConnectorsConfig, config["transformer"], "transformer")
    connectors = connectors.with_projection_width(gemma.hidden_size * gemma.num_states)
    transformer = parse(TransformerConfig, config["transformer"], "transformer")
    video_vae = parse(VideoVAEConfig, config["vae"], "vae")
    audio_vae = parse(AudioVAEConfig, config["audio_vae"], "audio_vae")
    vocoder = parse(VocoderConfig, config["vocoder"], "vocoder")
    return {
        **_shapes(lambda: Transformer(transformer), TRANSFORMER),
        **_shapes(lambda: TextConnectors(connectors), TEXT),
        **_shapes(lambda: VideoVAE(video_vae), VIDEO_VAE),
        **_shapes(lambda: AudioVAE(audio_vae), AUDIO_VAE),
        **_shapes(lambda: Vocoder(vocoder), VOCODER),
    }


def _shapes(factory: Callable[[], nn.Module], table: NameTable) -> dict[str, Shape]:
    state: Mapping[str, object] = on_meta(factory).state_dict()
    return {table.to_theirs(name): tuple(tensor.shape) for name, tensor in state.items()}  # type: ignore[attr-defined]


def _lora(release: str, seed: str, file: str) -> dict:
    """A low-rank change of linear layers of the transformer.

    Of all of them, video, audio and what lies between, for the distilled model and for dubbing; of the video stream's
    attention for what follows a picture or a camera.
    """
    transformer = parse(TransformerConfig, checkpoint_config(release)["transformer"], "transformer")
    is_distilled = file == RELEASED_FILES[release].distilled_lora
    rank, seed = (_LORA_RANK, seed) if is_distilled else (_CONTROL_RANK, f"{seed}-{file}")
    layers = "*" if is_distilled or "dubit" in file else "*transformer_blocks.*.attn*"
    tensors = {}
    for key, shape in _shapes(lambda: Transformer(transformer), TRANSFORMER).items():
        if not key.endswith(".weight") or len(shape) != 2 or not fnmatchcase(key, layers):
            continue
        module = key.removeprefix("model.").removesuffix(".weight")
        halves = {"lora_A": (rank, shape[1]), "lora_B": (shape[0], rank)}
        for half, half_shape in halves.items():
            name = f"{module}.{half}.weight"
            tensors[name] = value(name, half_shape, seed)
    return tensors
