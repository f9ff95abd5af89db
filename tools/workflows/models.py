"""The released files that workflows name: where they lie, where they come from, and the note that says so."""

from __future__ import annotations

from dataclasses import dataclass

HUB = "https://huggingface.co/"
LICENCE = f"{HUB}Lightricks/LTX-2.3"


@dataclass(frozen=True)
class ModelFile:
    """One released file. `folder` is below ComfyUI's models folder; `size` is for people."""

    name: str
    folder: str
    repository: str
    size: str

    @property
    def url(self) -> str:
        return f"{HUB}{self.repository}/resolve/main/{self.name}"

    @property
    def as_property(self) -> dict[str, str]:
        """What makes ComfyUI offer the download, as an entry of `properties.models`."""
        return {"name": self.name, "url": self.url, "directory": self.folder}


DEV = ModelFile("ltx-2.3-22b-dev.safetensors", "checkpoints", "Lightricks/LTX-2.3", "46 GB")
DISTILLED = ModelFile("ltx-2.3-22b-distilled-1.1.safetensors", "checkpoints", "Lightricks/LTX-2.3", "46 GB")
UPSAMPLER = ModelFile(
    "ltx-2.3-spatial-upscaler-x2-1.1.safetensors", "latent_upscale_models", "Lightricks/LTX-2.3", "1.0 GB"
)
LORA = ModelFile("ltx-2.3-22b-distilled-lora-384-1.1.safetensors", "loras", "Lightricks/LTX-2.3", "7.4 GB")

OLDER = {
    DEV: ModelFile("ltx-2-19b-dev.safetensors", "checkpoints", "Lightricks/LTX-2", "43 GB"),
    DISTILLED: ModelFile("ltx-2-19b-distilled.safetensors", "checkpoints", "Lightricks/LTX-2", "43 GB"),
    UPSAMPLER: ModelFile(
        "ltx-2-spatial-upscaler-x2-1.0.safetensors", "latent_upscale_models", "Lightricks/LTX-2", "1.0 GB"
    ),
    LORA: ModelFile("ltx-2-19b-distilled-lora-384.safetensors", "loras", "Lightricks/LTX-2", "7.4 GB"),
}

GEMMA = "gemma-3-12b-it-qat-q4_0-unquantized"
_GEMMA_REPOSITORY = f"google/{GEMMA}"


def note(title: str, about: str, files: tuple[ModelFile, ...], hints: tuple[str, ...]) -> str:
    """The Markdown note of a workflow: what it does, which files go where for each release, what to change first."""
    return "\n".join(
        [
            f"# {title}",
            "",
            about,
            "",
            "## Files for LTX-2.3",
            *_listed(files),
            "",
            "## Or for LTX-2.0",
            *_listed(tuple(OLDER[file] for file in files)),
            "",
            "Choose them in the loaders; do not mix releases.",
            "",
            "## Text encoder, for both",
            f"- [{GEMMA}]({HUB}{_GEMMA_REPOSITORY}): the whole folder, 24 GB, into `models/text_encoders/{GEMMA}`",
            "",
            "## First changes",
            *(f"- {hint}" for hint in hints),
            "",
            f"The weights have their own licence, the [LTX-2 Community License]({LICENCE}); Gemma has its own terms. "
            "The downloads ask you to accept them.",
        ]
    )


def _listed(files: tuple[ModelFile, ...]) -> list[str]:
    return [f"- [{file.name}]({file.url}): {file.size}, into `models/{file.folder}`" for file in files]
