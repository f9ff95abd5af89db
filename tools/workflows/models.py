"""The released files that workflows name: where they lie, where they come from, and the note that says so."""

from __future__ import annotations

from dataclasses import dataclass

HUB = "https://huggingface.co/"
LICENCE = f"{HUB}Lightricks/LTX-2.3"


@dataclass(frozen=True)
class ModelFile:
    """One released file. `folder` is below ComfyUI's models folder; `size` is for people, where it is known."""

    name: str
    folder: str
    repository: str
    size: str = ""

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
UNION_CONTROL = ModelFile(
    "ltx-2.3-22b-ic-lora-union-control-ref0.5.safetensors",
    "loras",
    "Lightricks/LTX-2.3-22b-IC-LoRA-Union-Control",
)
DUBIT = ModelFile("ltx-2.3-22b-ic-lora-dubit-0.9.safetensors", "loras", "Lightricks/LTX-2.3-22b-IC-LoRA-DubIt")
DOLLY_IN = ModelFile(
    "ltx-2-19b-lora-camera-control-dolly-in.safetensors",
    "loras",
    "Lightricks/LTX-2-19b-LoRA-Camera-Control-Dolly-In",
)

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
            *_files(files),
            "## Text encoder",
            f"- [{GEMMA}]({HUB}{_GEMMA_REPOSITORY}): the whole folder, 24 GB, into `models/text_encoders/{GEMMA}`",
            "",
            "## First changes",
            *(f"- {hint}" for hint in hints),
            "",
            f"The weights have their own licence, the [LTX-2 Community License]({LICENCE}); Gemma has its own terms. "
            "The downloads ask you to accept them.",
        ]
    )


def _files(files: tuple[ModelFile, ...]) -> list[str]:
    """The files as the graph names them and, where each of them exists for LTX-2.0 too, those."""
    if all(file in OLDER for file in files):
        older = tuple(OLDER[file] for file in files)
        cure = "Choose them in the loaders; do not mix releases."
        return ["## Files for LTX-2.3", *_listed(files), "", "## Or for LTX-2.0", *_listed(older), "", cure, ""]
    release = "LTX-2.0" if set(files) & {*OLDER.values(), DOLLY_IN} else "LTX-2.3"
    return [f"## Files for {release}", *_listed(files), ""]


def _listed(files: tuple[ModelFile, ...]) -> list[str]:
    return [
        f"- [{file.name}]({file.url}): {f'{file.size}, ' if file.size else ''}into `models/{file.folder}`"
        for file in files
    ]
