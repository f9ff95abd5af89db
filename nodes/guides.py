"""Images, clips and references that the result must follow; encoded where they are applied."""

from __future__ import annotations

import logging
from typing import Any

from torch import Tensor

from ..ltx2 import latents
from ..ltx2.conditioning.guides import ImageGuide, VideoGuide
from ..ltx2.conditioning.reference_guides import AudioReference, VideoReference
from ..ltx2.encoding import waveform_of
from ..ltx2.errors import LTX2Error
from ..ltx2.recipe import AudioVAERecipe, TransformerRecipe, VideoVAERecipe
from . import sockets
from .guide_encoding import with_pictures, with_voices
from .host import current

logger = logging.getLogger("ltx2")

io = current().io

_KINDS = (ImageGuide, VideoGuide, VideoReference, AudioReference)


def _require_guides(guides: Any) -> None:
    sockets.require(guides, tuple, "guides", "an LTX-2 guide node")
    for guide in guides:
        sockets.require(guide, _KINDS, "every guide", "an LTX-2 guide node")


def _chained(guides: Any, guide: Any) -> Any:
    """The chain with one more, as a node gives it."""
    _require_guides(guides if guides is not None else ())
    return io.NodeOutput((*(guides or ()), guide))


def _guides_input() -> Any:
    return sockets.Guides.Input("guides", optional=True, tooltip="Guides to add this one to.")


def _frame_input(tooltip: str) -> Any:
    return io.Int.Input("frame", default=0, min=-9999, max=9999, tooltip=tooltip)


def _strength_input() -> Any:
    return io.Float.Input(
        "strength", default=1.0, min=0.0, max=1.0, step=0.01, tooltip="0 (no effect) to 1 (kept as it is)."
    )


def _guides_output() -> Any:
    return sockets.Guides.Output("guides", display_name="guides")


class AddImageGuide(io.ComfyNode):
    """An image at a frame of the clip. Chain several; apply the chain before each sampling stage."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_ImageGuide",
            display_name="LTX-2 Image Guide",
            category="LTX-2/conditioning",
            description=cls.__doc__,
            inputs=[
                io.Image.Input("image", tooltip="One image of any size; it is scaled to cover the clip and cropped."),
                _guides_input(),
                _frame_input("Frame of the clip that shows the image; -1 is the last one."),
                _strength_input(),
                io.Int.Input(
                    "crf",
                    default=-1,
                    min=-1,
                    max=51,
                    tooltip="H.264 compression of the image, as the model knows it; -1 takes the release's, 0 none.",
                    extra_dict={"advanced": True},
                ),
                io.Boolean.Input(
                    "append",
                    default=False,
                    optional=True,
                    tooltip="At frame 0: show the image beside the clip, not in the place of its first latent, as for "
                    "interpolation between keyframes. At other frames it always is.",
                ),
            ],
            outputs=[_guides_output()],
        )

    @classmethod
    def execute(
        cls, image: Any, frame: int, strength: float, crf: int, guides: Any = None, append: bool = False
    ) -> Any:
        sockets.require_images(image, "image")
        if len(image) > 1:
            logger.warning("image guide: the first of %d images is shown; add a guide for each", len(image))
        return _chained(guides, ImageGuide(image[:1], frame, strength, None if crf < 0 else crf, append))


class AddVideoGuide(io.ComfyNode):
    """A short clip that the result shows from a frame on. Its frame rate is taken to be the result's."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_VideoGuide",
            display_name="LTX-2 Video Guide",
            category="LTX-2/conditioning",
            description=cls.__doc__,
            inputs=[
                io.Image.Input(
                    "images", tooltip="Frames of any size, scaled to cover the clip; the first 8n + 1 of them are used."
                ),
                _guides_input(),
                _frame_input(
                    "Frame at which it begins, rounded down to a multiple of 8; negative counts from the end (-9 for "
                    "the last 9 frames). At 0 it takes the place of the first latents, elsewhere it is shown beside."
                ),
                _strength_input(),
            ],
            outputs=[_guides_output()],
        )

    @classmethod
    def execute(cls, images: Any, frame: int, strength: float, guides: Any = None) -> Any:
        sockets.require_images(images, "images")
        return _chained(guides, VideoGuide(images, frame, strength))


class AddVideoReference(io.ComfyNode):
    """A control video (depth, poses, edges, a clip) for an IC-LoRA: the model sees it and does not show it."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_VideoReference",
            display_name="LTX-2 Video Reference",
            category="LTX-2/conditioning",
            description=cls.__doc__,
            inputs=[
                io.Image.Input("images", tooltip="The control video, frame by frame; what lasts longer is cut."),
                sockets.Transformer.Input(
                    "transformer",
                    optional=True,
                    tooltip="With the IC-LoRA: its file says how small its references are.",
                ),
                _guides_input(),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Where the reference counts, times attention_strength: one picture, or one for each frame.",
                ),
                _strength_input(),
                io.Float.Input(
                    "attention_strength",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="How strongly the clip looks at the reference; below 1 attention takes longer.",
                ),
                *(
                    io.Int.Input(
                        f"{axis}_factor",
                        default=0,
                        min=0,
                        max=16,
                        tooltip=f"{rule}; 0 takes the IC-LoRA's.",
                        extra_dict={"advanced": True},
                    )
                    for axis, rule in (
                        ("spatial", "How many times smaller than the clip the reference is"),
                        ("temporal", "Of how many frames the reference has one"),
                    )
                ),
            ],
            outputs=[_guides_output()],
        )

    @classmethod
    def execute(
        cls,
        images: Any,
        strength: float,
        attention_strength: float,
        spatial_factor: int,
        temporal_factor: int,
        transformer: Any = None,
        guides: Any = None,
        mask: Any = None,
    ) -> Any:
        sockets.require_images(images, "images")
        sockets.require(mask, (Tensor, type(None)), "mask", "a node that gives masks")
        sockets.require(transformer, (TransformerRecipe, type(None)), "transformer", "an LTX-2 loader")
        spatial, temporal = _factors(transformer, spatial_factor, temporal_factor)
        reference = VideoReference(images, strength, attention_strength, mask, spatial, temporal)
        return _chained(guides, reference)


def _factors(transformer: TransformerRecipe | None, spatial: int, temporal: int) -> tuple[int, int]:
    """The (spatial, temporal) factors: those that are set, else those of the transformer's IC-LoRA."""
    stated = None if transformer is None else transformer.reference_scale
    if transformer is not None and transformer.loras and stated is None:
        # As the reference takes IC-LoRAs that state nothing, the oldest ones among them.
        stated = (1, 1)
        logger.warning("reference video: no LoRA of this transformer states its size, it is taken at the clip's own")
    if stated is None and not (spatial and temporal):
        unset = "temporal_factor" if spatial else "spatial_factor"
        raise LTX2Error(
            f"the size of a reference must be known; got {unset} 0 and no IC-LoRA: connect the transformer with its "
            "IC-LoRA, or set both factors (1 is the clip's own)"
        )
    factors = (spatial or stated[0], temporal or stated[1]) if stated else (spatial, temporal)
    if stated is not None and factors != stated:
        logger.warning("reference video: factors %s are set, the IC-LoRA was trained with %s", factors, stated)
    elif transformer is not None and not transformer.loras:
        logger.warning("reference video: this transformer has no LoRA; without an IC-LoRA a reference does little")
    return factors


class AddAudioReference(io.ComfyNode):
    """The sound of a voice that the result shall have, for LoRAs that were trained on it (dubbing)."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_AudioReference",
            display_name="LTX-2 Audio Reference",
            category="LTX-2/conditioning",
            description=cls.__doc__,
            inputs=[
                io.MultiType.Input(
                    "audio", [io.Audio, io.Latent], tooltip="A sound, or an audio latent that is taken as it is."
                ),
                _guides_input(),
            ],
            outputs=[_guides_output()],
        )

    @classmethod
    def execute(cls, audio: Any, guides: Any = None) -> Any:
        if isinstance(audio, dict) and "samples" in audio:
            latents.samples_of(audio, "audio")
        else:
            waveform_of(audio)
        return _chained(guides, AudioReference(audio))


class ApplyGuides(io.ComfyNode):
    """Encode guides at the size of a video latent and attach them to it, and voices to an audio latent."""

    @classmethod
    def define_schema(cls) -> Any:
        return current().schema(
            node_id="LTX2_ApplyGuides",
            display_name="LTX-2 Apply Guides",
            category="LTX-2/conditioning",
            description=cls.__doc__,
            inputs=[
                io.Latent.Input("video", tooltip="The video latent that is sampled next."),
                sockets.Guides.Input("guides", tooltip="From the guide and reference nodes."),
                sockets.VideoVAE.Input("video_vae", tooltip="Encodes the images."),
                io.Latent.Input(
                    "audio", optional=True, tooltip="The audio latent that is sampled next; needed for voices."
                ),
                sockets.AudioVAE.Input("audio_vae", optional=True, tooltip="Encodes voices that are no latents yet."),
            ],
            outputs=[
                io.Latent.Output("video", display_name="video"),
                io.Latent.Output("audio", display_name="audio", tooltip="As it came in, but for the voices."),
            ],
        )

    @classmethod
    def execute(cls, video: Any, guides: Any, video_vae: Any, audio: Any = None, audio_vae: Any = None) -> Any:
        _require_guides(guides)
        sockets.require(video_vae, VideoVAERecipe, "video_vae", "an LTX-2 loader")
        sockets.require(audio_vae, (AudioVAERecipe, type(None)), "audio_vae", "an LTX-2 loader")
        voices = tuple(guide for guide in guides if isinstance(guide, AudioReference))
        pictures = tuple(guide for guide in guides if not isinstance(guide, AudioReference))
        _check_voices(voices, audio, audio_vae)
        video = with_pictures(video, pictures, video_vae)
        return io.NodeOutput(video, with_voices(audio, voices, audio_vae) if voices else audio)


def _check_voices(voices: tuple[AudioReference, ...], audio: Any, audio_vae: Any) -> None:
    if audio is not None:
        latents.samples_of(audio, "audio")
    elif voices:
        raise LTX2Error(
            "a reference sound must have an audio latent that it is for; got none: connect audio to LTX-2 Apply Guides"
        )
    if audio_vae is None and not all(voice.is_encoded for voice in voices):
        raise LTX2Error("a reference sound must be encoded; got no audio_vae: connect it to LTX-2 Apply Guides")


NODES = [AddImageGuide, AddVideoGuide, AddVideoReference, AddAudioReference, ApplyGuides]
