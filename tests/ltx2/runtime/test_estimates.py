"""Estimates of memory against what is counted: every network at its released size, on the meta device."""

from __future__ import annotations

import pytest
import torch

TOLERANCE = 0.15
RELEASES = ("2.0", "2.3")
DTYPES = (torch.bfloat16, torch.float32)
NONE = (None, None, None)
STREAMED = ()
LONG, SQUARE = (80, 24), (768, 64)


def assert_close(stage):
    assert stage.estimated == pytest.approx(stage.counted, rel=TOLERANCE)


@pytest.fixture(params=RELEASES)
def release(request):
    return request.param


@pytest.fixture(params=DTYPES, ids=["bf16", "fp32"])
def dtype(request):
    return request.param


def tiling_of(stages, spans):
    return None if spans == NONE else stages.Tiling(*spans)


@pytest.mark.parametrize(
    ("size", "spans"),
    [
        ((25, 256, 384), NONE),
        ((121, 512, 768), NONE),
        ((121, 1088, 1920), NONE),
        ((1, 512, 768), NONE),
        ((1, 64, 64), NONE),
        ((9, 512, 768), NONE),
        ((25, 1088, 256), NONE),
        ((257, 512, 768), (LONG, None, None)),
        ((121, 1088, 1920), (LONG, SQUARE, SQUARE)),
        ((41, 512, 768), (None, (256, 64), (256, 64))),
        ((97, 512, 768), ((48, 24), None, (384, 64))),
        ((1, 512, 768), STREAMED),
        ((9, 512, 768), STREAMED),
        ((25, 512, 768), STREAMED),
        ((121, 512, 768), STREAMED),
        ((241, 256, 384), STREAMED),
        ((241, 1088, 1920), STREAMED),
        ((121, 2176, 3840), STREAMED),
        ((33, 1024, 1536), (None, SQUARE, SQUARE)),
    ],
)
def test_decoding_and_encoding_of_video(stages, release, dtype, size, spans):
    tiling = tiling_of(stages, spans)
    assert_close(stages.decoding(release, size, tiling, dtype))
    assert_close(stages.encoding(release, size, tiling, dtype))


@pytest.mark.parametrize(
    "run",
    [
        {"size": (384, 256, 25)},
        {"size": (768, 512, 121)},
        {"size": (1920, 1088, 121)},
        {"size": (512, 512, 1)},
        {"size": (1920, 1088, 121), "mask": "first frame"},
        {"size": (384, 256, 25), "mask": "feathered"},
        {"size": (768, 512, 121), "mask": "feathered"},
        {"size": (768, 512, 121), "appended": 3000},
        {"size": (768, 512, 121), "is_guided": True},
        {"size": (384, 256, 25), "is_guided": True},
        {"size": (768, 512, 121), "is_guided": True, "passes_per_forward": 1},
        {"size": (768, 512, 121), "is_guided": True, "passes_per_forward": 2},
        {"size": (768, 512, 121), "is_guided": True, "free_memory": 0},
        {"size": (1920, 1088, 121), "is_guided": True},
        {"size": (768, 512, 121), "modalities": ("video",)},
        {"size": (384, 256, 961), "modalities": ("audio",)},
        {"size": (384, 256, 241), "modalities": ("audio",), "is_guided": True},
    ],
    ids=lambda run: " ".join(map(str, run.values())),
)
def test_a_step_of_sampling(stages, release, dtype, run):
    options = {name: value for name, value in run.items() if name not in ("size", "is_guided")}
    if run.get("is_guided"):
        options["guidance"] = stages.FULL
    assert_close(stages.sampling(release, stages.Run(*run["size"], **options), dtype))


def test_kept_text_of_all_layers(stages):
    """2.0 makes keys and values of the text once, in all of its 48 layers."""
    assert_close(stages.sampling("2.0", stages.Run(768, 512, 121), torch.bfloat16, num_layers=48))


def test_memory_chooses_passes_that_fit(stages):
    """With what two passes take free, and something over, two run together, and that is what is then counted."""
    clip = (768, 512, 121, stages.FULL)
    needed = stages.sampling("2.3", stages.Run(*clip, passes_per_forward=2), torch.bfloat16).estimated
    chosen = stages.sampling("2.3", stages.Run(*clip, free_memory=int(needed / 0.84)), torch.bfloat16)
    assert chosen.estimated == needed
    assert_close(chosen)
    less = stages.sampling("2.3", stages.Run(*clip, free_memory=needed), torch.bfloat16)
    assert less.counted < 0.8 * chosen.counted


@pytest.mark.parametrize("seconds", [1, 20, 120])
def test_decoding_of_sound(stages, release, dtype, seconds):
    assert_close(stages.sound_decoding(release, seconds, dtype))


@pytest.mark.parametrize(("seconds", "rate"), [(1, 44100), (20, 16000), (120, 48000)])
def test_encoding_of_sound(stages, dtype, seconds, rate):
    assert_close(stages.sound_encoding(seconds, rate, dtype))


@pytest.mark.parametrize("kind", ["x2", "x2 rational", "x1.5 rational", "frames x2"])
@pytest.mark.parametrize("latents", [(4, 8, 12), (16, 17, 30), (1, 16, 16), (31, 34, 60)])
def test_upsampling(stages, dtype, kind, latents):
    assert_close(stages.upsampling(kind, latents, dtype))


@pytest.mark.parametrize("num_tokens", [2, 100, 1024])
def test_prompts(stages, release, dtype, num_tokens):
    assert_close(stages.prompt(release, num_tokens, dtype))


@pytest.mark.parametrize(("question", "answer"), [(800, 512), (1100, 2048)])
def test_answers(stages, dtype, question, answer):
    assert_close(stages.answering(question, answer, dtype))


def test_pictures(stages, dtype):
    assert_close(stages.seeing(dtype))


def test_tokens_of_a_text_before_there_is_a_tokenizer(stages):
    """Rather too many than too few: this prose has 44 tokens."""
    likely_tokens = stages.estimates.likely_tokens
    prose = "A red fox walks through fresh snow at dawn; its breath steams in the cold light. "
    assert likely_tokens("") == 2
    assert 44 <= likely_tokens(2 * prose) <= 66
    assert likely_tokens(10**4 * prose) == 1024
    assert likely_tokens(10**4 * prose, 8192) == 8192
