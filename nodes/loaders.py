"""Loader nodes: they read headers only and hand on recipes."""

from __future__ import annotations

from typing import Any

from ..ltx2.recipe import (
    AudioVAERecipe,
    FileId,
    TextEncoderRecipe,
    TransformerRecipe,
    UpsamplerRecipe,
    VideoVAERecipe,
    VocoderRecipe,
)
from . import sockets
from .host import current
from .widgets import file_combo, find_file

io = current().io

CHECKPOINTS = ("checkpoints",)
TRANSFORMERS = ("diffusion_models", "checkpoints")
VAES = ("vae", "checkpoints")
TEXT_ENCODERS = ("text_encoders",)
UPSAMPLERS = ("latent_upscale_models",)

_TEXT_ENCODER_TOOLTIP = "Gemma 3 12B: a Hugging Face folder or a single file."


def _stamp(name: str, folders: tuple[str, ...]) -> Any:
    """What changes when the file behind a combo does."""
    return FileId.of(find_file(name, folders)).stamp


class LoadCheckpoint(io.ComfyNode):
    """Everything but the upsampler from a single-file LTX-2 or LTX-2.3 checkpoint and a Gemma text encoder."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_LoadCheckpoint",
            display_name="LTX-2 Load Checkpoint",
            category="LTX-2/loaders",
            description=cls.__doc__,
            inputs=[
                file_combo("checkpoint", CHECKPOINTS, "Single-file checkpoint (ltx-2-19b-..., ltx-2.3-22b-...)."),
                file_combo("text_encoder", TEXT_ENCODERS, _TEXT_ENCODER_TOOLTIP, with_folders=True),
            ],
            outputs=[
                sockets.Transformer.Output("transformer", display_name="transformer"),
                sockets.TextEncoder.Output("text_encoder", display_name="text encoder"),
                sockets.VideoVAE.Output("video_vae", display_name="video VAE"),
                sockets.AudioVAE.Output("audio_vae", display_name="audio VAE"),
                sockets.Vocoder.Output("vocoder", display_name="vocoder"),
            ],
        )

    @classmethod
    def execute(cls, checkpoint: str, text_encoder: str) -> Any:
        path = find_file(checkpoint, CHECKPOINTS)
        return io.NodeOutput(
            TransformerRecipe.open(path),
            TextEncoderRecipe.open(find_file(text_encoder, TEXT_ENCODERS), path),
            VideoVAERecipe.open(path),
            AudioVAERecipe.open(path),
            VocoderRecipe.open(path),
        )

    @classmethod
    def fingerprint_inputs(cls, checkpoint: str, text_encoder: str) -> Any:
        return _stamp(checkpoint, CHECKPOINTS), _stamp(text_encoder, TEXT_ENCODERS)


class LoadTransformer(io.ComfyNode):
    """The diffusion transformer alone, from its own file or from a single-file checkpoint."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_LoadTransformer",
            display_name="LTX-2 Load Transformer",
            category="LTX-2/loaders",
            description=cls.__doc__,
            inputs=[file_combo("file", TRANSFORMERS, "A transformer, or a checkpoint that holds one.")],
            outputs=[sockets.Transformer.Output("transformer", display_name="transformer")],
        )

    @classmethod
    def execute(cls, file: str) -> Any:
        return io.NodeOutput(TransformerRecipe.open(find_file(file, TRANSFORMERS)))

    @classmethod
    def fingerprint_inputs(cls, file: str) -> Any:
        return _stamp(file, TRANSFORMERS)


class LoadTextEncoder(io.ComfyNode):
    """Gemma, with the projection and connectors that an LTX-2 checkpoint adds to it."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_LoadTextEncoder",
            display_name="LTX-2 Load Text Encoder",
            category="LTX-2/loaders",
            description=cls.__doc__,
            inputs=[
                file_combo("text_encoder", TEXT_ENCODERS, _TEXT_ENCODER_TOOLTIP, with_folders=True),
                file_combo("checkpoint", TRANSFORMERS, "Holds the text projection and the connectors."),
            ],
            outputs=[sockets.TextEncoder.Output("text_encoder", display_name="text encoder")],
        )

    @classmethod
    def execute(cls, text_encoder: str, checkpoint: str) -> Any:
        encoder = find_file(text_encoder, TEXT_ENCODERS)
        return io.NodeOutput(TextEncoderRecipe.open(encoder, find_file(checkpoint, TRANSFORMERS)))

    @classmethod
    def fingerprint_inputs(cls, text_encoder: str, checkpoint: str) -> Any:
        return _stamp(text_encoder, TEXT_ENCODERS), _stamp(checkpoint, TRANSFORMERS)


class LoadVideoVAE(io.ComfyNode):
    """The video VAE alone, from its own file or from a single-file checkpoint."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_LoadVideoVAE",
            display_name="LTX-2 Load Video VAE",
            category="LTX-2/loaders",
            description=cls.__doc__,
            inputs=[file_combo("file", VAES, "A video VAE, or a checkpoint that holds one.")],
            outputs=[sockets.VideoVAE.Output("video_vae", display_name="video VAE")],
        )

    @classmethod
    def execute(cls, file: str) -> Any:
        return io.NodeOutput(VideoVAERecipe.open(find_file(file, VAES)))

    @classmethod
    def fingerprint_inputs(cls, file: str) -> Any:
        return _stamp(file, VAES)


class LoadAudioVAE(io.ComfyNode):
    """The audio VAE alone, from its own file or from a single-file checkpoint."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_LoadAudioVAE",
            display_name="LTX-2 Load Audio VAE",
            category="LTX-2/loaders",
            description=cls.__doc__,
            inputs=[file_combo("file", VAES, "An audio VAE, or a checkpoint that holds one.")],
            outputs=[sockets.AudioVAE.Output("audio_vae", display_name="audio VAE")],
        )

    @classmethod
    def execute(cls, file: str) -> Any:
        return io.NodeOutput(AudioVAERecipe.open(find_file(file, VAES)))

    @classmethod
    def fingerprint_inputs(cls, file: str) -> Any:
        return _stamp(file, VAES)


class LoadVocoder(io.ComfyNode):
    """The vocoder alone, from an audio VAE file or from a single-file checkpoint."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_LoadVocoder",
            display_name="LTX-2 Load Vocoder",
            category="LTX-2/loaders",
            description=cls.__doc__,
            inputs=[file_combo("file", VAES, "A file that holds the vocoder: an audio VAE file, or a checkpoint.")],
            outputs=[sockets.Vocoder.Output("vocoder", display_name="vocoder")],
        )

    @classmethod
    def execute(cls, file: str) -> Any:
        return io.NodeOutput(VocoderRecipe.open(find_file(file, VAES)))

    @classmethod
    def fingerprint_inputs(cls, file: str) -> Any:
        return _stamp(file, VAES)


class LoadUpsampler(io.ComfyNode):
    """A latent upsampler: twice (or 1.5 times) the size, or twice the frames."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_LoadUpsampler",
            display_name="LTX-2 Load Upsampler",
            category="LTX-2/loaders",
            description=cls.__doc__,
            inputs=[file_combo("file", UPSAMPLERS, "A latent upscaler (ltx-2-spatial-upscaler-x2-...).")],
            outputs=[sockets.Upsampler.Output("upsampler", display_name="upsampler")],
        )

    @classmethod
    def execute(cls, file: str) -> Any:
        return io.NodeOutput(UpsamplerRecipe.open(find_file(file, UPSAMPLERS)))

    @classmethod
    def fingerprint_inputs(cls, file: str) -> Any:
        return _stamp(file, UPSAMPLERS)


NODES = [
    LoadCheckpoint,
    LoadTransformer,
    LoadTextEncoder,
    LoadVideoVAE,
    LoadAudioVAE,
    LoadVocoder,
    LoadUpsampler,
]
