"""Rotary tables at the real widths against the reference's."""

import pytest
import torch

from ltx2.layers.rope import Rotary, rotary_table, rotate

VIDEO = {"max_positions": (20, 2048, 2048), "dim": 4096, "num_heads": 32, "theta": 1e4}
AUDIO = {"max_positions": (20,), "dim": 2048, "num_heads": 32, "theta": 1e4}


@pytest.fixture(scope="module")
def case(golden):
    return golden("rope_tables")


SPLIT = [("split", stream, True) for stream in ("video", "audio", "video_cross", "audio_cross")]
SPLIT_FP32 = [("split_fp32", stream, False) for stream in ("video", "audio")]


@pytest.mark.parametrize(("layout", "stream", "float64"), SPLIT + SPLIT_FP32)
def test_split_tables(case, layout, stream, float64):
    middles = case.inputs[f"{stream.removesuffix('_cross')}_positions"].mean(dim=-1)
    options = VIDEO if stream == "video" else AUDIO
    table = rotary_table(middles[:, : len(options["max_positions"])], float64=float64, **options)
    for part in ("cos", "sin"):
        expected = case.outputs[f"{layout}.{stream}.{part}"]
        torch.testing.assert_close(getattr(table, part), expected, atol=1e-5, rtol=0)


def test_interleaved_table(case):
    table = rotary_table(case.inputs["audio_positions"].mean(dim=-1), interleaved=True, **AUDIO)
    for part in ("cos", "sin"):
        flat = getattr(table, part).transpose(1, 2).flatten(2).repeat_interleave(2, dim=-1)
        torch.testing.assert_close(flat, case.outputs[f"interleaved.audio.{part}"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("interleaved", [False, True])
def test_rotation_keeps_lengths_and_turns_pairs(interleaved):
    x = torch.randn(2, 3, 5, 8, generator=torch.Generator().manual_seed(0))
    angles = torch.rand(1, 3, 5, 4)
    turned = rotate(x, Rotary(angles.cos(), angles.sin(), interleaved))
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1), atol=1e-5, rtol=0)
    partner = 1 if interleaved else 4
    expected = x[..., 0] * angles[..., 0].cos() - x[..., partner] * angles[..., 0].sin()
    torch.testing.assert_close(turned[..., 0], expected, atol=1e-5, rtol=0)
