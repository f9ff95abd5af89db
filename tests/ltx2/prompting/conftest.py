"""The tiny Gemma folder, with transformers' model of it as the oracle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from ltx2.checkpoint.gemma import load_gemma, load_tokenizer, load_vision, read_config, read_vision_config
from ltx2.checkpoint.reader import Checkpoint
from ltx2.networks.text.encoder import TextEncoder
from ltx2.networks.text.gemma import Gemma3
from ltx2.networks.text.tokenizer import PromptTokenizer
from ltx2.networks.text.vision import GemmaVision
from ltx2.tiny.gemma import write_gemma


@dataclass(frozen=True)
class Tiny:
    """A folder and what is in it."""

    folder: Path
    gemma: Gemma3
    vision: GemmaVision
    tokenizer: PromptTokenizer

    @property
    def encoder(self) -> TextEncoder:
        """Without connectors, for they play no part in answers."""
        return TextEncoder(self.tokenizer, self.gemma, torch.nn.Identity())


@pytest.fixture(scope="session")
def tiny_gemma(tmp_path_factory) -> Tiny:
    folder = tmp_path_factory.mktemp("gemma")
    write_gemma(folder, "0")
    checkpoint = Checkpoint.open(folder)
    gemma = load_gemma(checkpoint, read_config(checkpoint))
    vision = load_vision(checkpoint, read_vision_config(checkpoint))
    return Tiny(folder, gemma, vision, load_tokenizer(checkpoint))


@pytest.fixture(scope="session")
def oracle(tiny_gemma) -> Any:
    """transformers' Gemma 3 with its eye, in fp32, from the same folder."""
    from transformers import Gemma3ForConditionalGeneration

    options: Any = {"dtype": torch.float32, "output_loading_info": True}
    loaded: Any = Gemma3ForConditionalGeneration.from_pretrained(tiny_gemma.folder, **options)
    model, report = loaded
    assert not any(report.values()), f"the tiny folder is not transformers' own: {report}"
    return model.eval()


@pytest.fixture(scope="session")
def pixels(tiny_gemma) -> torch.Tensor:
    """A picture as the vision tower reads it."""
    size = tiny_gemma.vision.projector.config.image_size
    return torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1
