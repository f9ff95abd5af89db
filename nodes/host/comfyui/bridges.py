"""ComfyUI's classes for values of its LTX-2 model, and what its samplers look at beside the guider that they walk."""

from __future__ import annotations

from typing import Any

import comfy.latent_formats
import comfy.ldm.lightricks.av_model
import comfy.model_management as management
import comfy.model_sampling
import comfy.supported_models
from comfy.nested_tensor import NestedTensor
from torch import Tensor

from ....ltx2.errors import LTX2Error
from ....ltx2.latents import AUDIO_CHANNELS


def nested(tensors: tuple[Tensor, ...]) -> Any:
    return tensors[0] if len(tensors) == 1 else NestedTensor(tensors)


def shows_nested() -> bool:
    """Newer versions unpack what samplers walk before they call back, and their values can go to the CPU for it."""
    return hasattr(NestedTensor, "cpu")


def takes_features() -> bool:
    return hasattr(comfy.ldm.lightricks.av_model.LTXAVModel, "preprocess_text_embeds")


def sampling_model(has_video: bool) -> SamplingPatcher:
    return SamplingPatcher(SamplingModel(has_video))


class RectifiedFlow(comfy.model_sampling.ModelSamplingFlux, comfy.model_sampling.CONST):
    """Noise levels as ComfyUI's own LTX-2 model has them."""


class SoundFormat(comfy.latent_formats.LatentFormat):
    """A sound alone, which ComfyUI must neither make a picture of nor show as one."""

    latent_channels = AUDIO_CHANNELS


class SamplingModel:
    """What samplers read of a model: its noise levels and what its latents mean. It has no network."""

    def __init__(self, has_video: bool):
        self.model_sampling = RectifiedFlow(comfy.supported_models.LTXAV)
        self.latent_format = comfy.latent_formats.LTXAV() if has_video else SoundFormat()

    def process_latent_in(self, latent: Any) -> Any:
        """The transformer's latents are those of LATENTs."""
        return latent

    def process_latent_out(self, latent: Any) -> Any:
        return latent

    def scale_latent_inpaint(self, *, latent_image: Any, **_: Any) -> Any:
        return latent_image


class SamplingPatcher:
    """Stands where ComfyUI's guiders have a ModelPatcher: for questions, not for loading."""

    def __init__(self, model: SamplingModel):
        self.model = model
        self.load_device = management.get_torch_device()
        self.offload_device = management.unet_offload_device()
        self.model_options: dict[str, Any] = {"transformer_options": {}}

    def get_model_object(self, name: str) -> Any:
        """An attribute of the model by its name. Raises LTX2Error for one that only ComfyUI's own models have."""
        if not hasattr(self.model, name):
            raise LTX2Error(
                f"a sampler must do without a model's {name}, which LTX-2 Guider to ComfyUI has not: choose another "
                "sampler, or sample with ComfyUI's own model"
            )
        return getattr(self.model, name)
