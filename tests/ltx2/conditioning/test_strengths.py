"""Attention strengths: rows in chunks, logarithms, and who sees whom."""

import pytest
import torch

from ltx2.conditioning.frames import AppendedFrames
from ltx2.conditioning.references import ReferenceSound, ReferenceVideo
from ltx2.conditioning.strengths import AttentionStrengths
from ltx2.errors import LTX2Error
from ltx2.tokens import audio_state, video_state

GRID = (2, 2, 2)


def state_with(*conditions):
    state = video_state(torch.zeros(1, 4, *GRID), 24.0)
    for condition in conditions:
        state = condition.apply(state, GRID, 24.0)
    return state


def reference(*strengths):
    return ReferenceVideo(torch.ones(1, 4, 2, 1, 1), spatial=2, attention=torch.tensor(strengths))


def weights(state, dtype=torch.float32):
    count = state.latent.shape[1]
    return state.attention.rows(0, count, torch.zeros(1, dtype=dtype))[0, 0].exp()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_rows_come_in_chunks_of_the_asked_dtype(dtype):
    attention = state_with(reference(0.25, 0.0), reference(0.5)).attention
    whole = attention.rows(0, 12, torch.zeros(1, dtype=dtype))
    chunks = [attention.rows(start, min(start + 5, 12), torch.zeros(1, dtype=dtype)) for start in range(0, 12, 5)]
    assert whole.shape == (1, 1, 12, 12)
    assert whole.dtype is dtype
    assert torch.isfinite(whole).all()
    assert torch.equal(torch.cat(chunks, 2), whole)


def test_a_weight_of_a_half_is_half_of_the_attention():
    state = state_with(reference(0.5))
    logits = state.attention.rows(0, 1, torch.zeros(1))[0, 0, 0]
    shares = logits.softmax(0)
    torch.testing.assert_close(shares[8:] / shares[:8].mean(), torch.full((2,), 0.5))


def test_references_see_the_clip_and_themselves_but_not_each_other():
    table = weights(state_with(reference(0.5, 0.25), reference(0.0)))
    assert torch.equal(table[:8, :8], torch.ones(8, 8))
    torch.testing.assert_close(table[:8, 8:], torch.tensor([[0.5, 0.25, 0.0, 0.0]]).expand(8, 4))
    torch.testing.assert_close(table[8:, :8], table[:8, 8:].T)
    assert torch.equal(table[8:, 8:], torch.block_diag(torch.ones(2, 2), torch.ones(2, 2)))


def test_what_stood_there_before_goes_on_seeing_each_other():
    frame = AppendedFrames(torch.ones(1, 4, 1, 2, 2), frame=8)
    table = weights(state_with(frame, frame, reference(0.5)))
    assert torch.equal(table[:16, :16], torch.ones(16, 16))
    assert not table[8:16, 16:].any()


def test_without_strengths_there_is_no_bias():
    plain = ReferenceVideo(torch.ones(1, 4, 2, 1, 1), spatial=2)
    assert state_with(plain, plain).attention is None


def test_what_is_kept_grows_with_the_tokens_and_not_with_their_square():
    attention = AttentionStrengths((0, 32_640), torch.ones(32_640)).appended(8_160, torch.full((8_160,), 0.5))
    assert attention.strengths.shape == (40_800,)
    assert attention.rows(32_600, 32_700, torch.zeros(1)).shape == (1, 1, 100, 40_800)


def test_a_reference_of_another_size_is_refused():
    with pytest.raises(LTX2Error, match=r"1/2 of the latent it is applied to, 2x2; it has 2x2: apply the guides again"):
        state_with(ReferenceVideo(torch.ones(1, 4, 2, 2, 2), spatial=2))


def test_references_hold_for_every_clip_of_a_batch():
    state = video_state(torch.zeros(3, 4, *GRID), 24.0)
    assert reference(0.5).apply(state, GRID, 24.0).clean[:, 8:].eq(1).all()
    sound = ReferenceSound(torch.ones(1, 2, 5, 3)).apply(audio_state(torch.zeros(3, 2, 7, 3)), (7,), 24.0)
    assert sound.clean[:, 7:].eq(1).all()
    assert sound.mask[:, 7:].eq(0).all()
    assert sound.positions[:, :, 7:].max() < 0
