"""The names under which the models are released: what error messages and `ltx2 inspect` tell people to get."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

GEMMA_REPOSITORY = "google/gemma-3-12b-it-qat-q4_0-unquantized"
#: Folders of ComfyUI's models folder.
CHECKPOINTS, TEXT_ENCODERS, UPSCALERS, LORAS = "checkpoints", "text_encoders", "latent_upscale_models", "loras"


@dataclass(frozen=True)
class ReleasedFiles:
    """The files of one release; `spatial_upsampler` doubles the size between the two stages.

    Attributes:
        control_loras: some of its LoRAs that are trained to follow a reference or a camera.
    """

    dev: str
    distilled: str
    distilled_lora: str
    spatial_upsampler: str
    control_loras: tuple[str, ...]


RELEASED_FILES: Mapping[str, ReleasedFiles] = {
    "2.0": ReleasedFiles(
        "ltx-2-19b-dev.safetensors",
        "ltx-2-19b-distilled.safetensors",
        "ltx-2-19b-distilled-lora-384.safetensors",
        "ltx-2-spatial-upscaler-x2-1.0.safetensors",
        (
            "ltx-2-19b-ic-lora-canny-control.safetensors",
            "ltx-2-19b-lora-camera-control-dolly-in.safetensors",
        ),
    ),
    "2.3": ReleasedFiles(
        "ltx-2.3-22b-dev.safetensors",
        "ltx-2.3-22b-distilled-1.1.safetensors",
        "ltx-2.3-22b-distilled-lora-384-1.1.safetensors",
        "ltx-2.3-spatial-upscaler-x2-1.1.safetensors",
        (
            "ltx-2.3-22b-ic-lora-union-control-ref0.5.safetensors",
            "ltx-2.3-22b-ic-lora-dubit-0.9.safetensors",
        ),
    ),
}
