"""The packages that the pack runs on besides torch and numpy, each imported when it is first used.

One that is missing or broken takes along what needs it, and says so in words; the pack and its other nodes stay.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .errors import LTX2Error

#: {package: (what pip calls it, what it is for)}
_PACKAGES = {
    "av": ("av", "video and sound files"),
    "einops": ("einops", "the networks and for all that changes the layout of tensors"),
    "gguf": ("gguf", "model files in GGUF"),
    "PIL": ("Pillow", "images"),
    "safetensors": ("safetensors", "model files, and for saved latents and prompts"),
    "sentencepiece": ("sentencepiece", "text encoders in a single file"),
    "tokenizers": ("tokenizers", "prompts"),
    "transformers": ("transformers", "text encoders and for sound that is encoded"),
}


class PackageError(LTX2Error):
    """A package cannot be imported. `__cause__` is why."""


PackageError.__module__ = "ltx2"


class Package:
    """A package, or a module of one, that is imported when something of it is asked for.

    Raises:
        PackageError: it cannot be imported; says what it is for and what to install.
    """

    def __init__(self, name: str):
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        try:
            module = importlib.import_module(self._name)
        except Exception as error:
            raise self._broken(error) from error
        try:
            value = getattr(module, attribute)
        except AttributeError:  # there is no such thing in it: no fault of the package
            raise
        except Exception as error:  # a package may itself import its parts when they are asked for
            raise self._broken(error) from error
        # The next time Python finds it without coming here.
        self.__dict__[attribute] = value
        return value

    def _broken(self, error: Exception) -> PackageError:
        package = self._name.partition(".")[0]
        pip, purpose = _PACKAGES[package]
        return PackageError(
            f"the package {package} must be there for {purpose}; importing it failed ({type(error).__name__}: "
            f"{error}); install it into the Python that runs this: pip install --force-reinstall {pip}"
        )


if TYPE_CHECKING:
    import av as av
    import av.video.reformatter as reformatter
    import einops as einops
    import gguf as gguf
    import safetensors as safetensors
    import safetensors.torch as safetensors_torch
    import sentencepiece as sentencepiece
    import tokenizers as tokenizers
    import transformers as transformers
    import transformers.audio_utils as transformers_audio
    from einops import rearrange as rearrange
    from einops import reduce as reduce
    from einops import repeat as repeat
    from PIL import Image as Image
    from PIL import ImageCms as ImageCms
    from PIL import ImageOps as ImageOps
    from PIL import ImageSequence as ImageSequence
else:
    reformatter = Package("av.video.reformatter")
    av, einops, gguf, safetensors = Package("av"), Package("einops"), Package("gguf"), Package("safetensors")
    safetensors_torch = Package("safetensors.torch")
    sentencepiece, tokenizers, transformers = Package("sentencepiece"), Package("tokenizers"), Package("transformers")
    transformers_audio = Package("transformers.audio_utils")
    Image, ImageCms = Package("PIL.Image"), Package("PIL.ImageCms")
    ImageOps, ImageSequence = Package("PIL.ImageOps"), Package("PIL.ImageSequence")

    def rearrange(tensor, pattern, **sizes):
        return einops.rearrange(tensor, pattern, **sizes)

    def reduce(tensor, pattern, reduction, **sizes):
        return einops.reduce(tensor, pattern, reduction, **sizes)

    def repeat(tensor, pattern, **sizes):
        return einops.repeat(tensor, pattern, **sizes)
