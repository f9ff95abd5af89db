"""Clips in chunks: what comes out is what comes out of the whole clip, in memory that its length does not change."""

from __future__ import annotations

import importlib.util
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from ltx2.networks.video_vae import VideoVAE
from ltx2.networks.video_vae.past import Past
from ltx2.runtime.streaming import frames_at_once, slices, stream
from ltx2.runtime.tiled_vae import decode_video, encode_frames, encode_video
from ltx2.runtime.tiling import Tiling

VAES = {
    "2.0": ("2.0", {}),
    "2.3": ("2.3", {}),
    "2.0 timestep": ("2.0", {"timestep_conditioning": True}),
    "2.3 causal, mirrored": ("2.3", {"causal_decoder": True, "spatial_padding_mode": "reflect"}),
}
_SPEC = importlib.util.spec_from_file_location(
    "test_video_vae_of_networks", Path(__file__).resolve().parents[1] / "networks" / "test_video_vae.py"
)
_NETWORKS = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_NETWORKS)


@pytest.fixture(scope="module", params=VAES)
def vae(request) -> VideoVAE:
    """In float64, where what differs by more than rounding shows."""
    release, changes = VAES[request.param]
    return _NETWORKS.random_vae(_NETWORKS.tiny(release, **changes), seed=4).double().requires_grad_(False)


def latent_of(vae, frames: int, height: int = 2, width: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(frames)
    shape = (1, vae.config.latent_channels, frames, height, width)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def together(chunks) -> torch.Tensor:
    return torch.cat(list(chunks), dim=2)


def assert_same(actual, expected, atol=1e-12):
    torch.testing.assert_close(actual, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("frames", [1, 3, 12])
def test_decoding_in_chunks_is_decoding_the_whole(vae, frames):
    latent = latent_of(vae, frames)
    whole = vae.decoder(latent)
    for latents, most in ((1, 2), (5, 16)):
        runs = list(stream(vae.decoder.steps(latent), slices(latent, latents), most))
        assert_same(together(runs), whole)
        assert max(run.shape[2] for run in runs) <= most + 2


@pytest.mark.parametrize("frames", [1, 9, 33])
def test_encoding_in_chunks_is_encoding_the_whole(vae, frames):
    pixels = torch.rand(1, 3, frames, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(frames))
    whole = vae.encoder(pixels)
    for first, step in ((1, 8), (9, 16)):
        ends = [0, *range(first, frames, step), frames]
        chunks = (([pixels[:, :, start:stop]], stop == frames) for start, stop in pairwise(ends))
        assert_same(together(stream(vae.encoder.steps(), chunks)), whole)


def test_the_way_a_clip_is_taken_changes_nothing(vae):
    """The functions that nodes call: at once, streamed, with what is remembered elsewhere; noise is drawn once."""
    latent = latent_of(vae, 5)
    seeded = lambda: {"generator": torch.Generator().manual_seed(5)}  # noqa: E731
    whole = together(decode_video(vae, latent, **seeded()))
    assert_same(together(decode_video(vae, latent, Tiling(), **seeded())), whole)
    assert_same(together(decode_video(vae, latent, Tiling(waits_in_ram=True), **seeded())), whole)
    assert_same(together(decode_video(vae, latent, Tiling(frames=(40, 24)), **seeded())), whole)
    pixels = torch.rand(1, 3, 25, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(6))
    assert_same(encode_video(vae, pixels, Tiling()), vae.encode(pixels))
    assert_same(encode_video(vae, pixels, Tiling(waits_in_ram=True)), vae.encode(pixels))


def test_tiles_side_by_side_are_streamed_together(vae):
    """Planes of a stream are blended as those of the whole clip are, whose frames the blend does not mix."""
    latent = latent_of(vae, 3, 3, 5)
    tiling = Tiling(width=(96, 32), height=(64, 32))
    runs = list(decode_video(vae, latent, tiling, noise=latent))
    alone = [
        together(decode_video(vae, latent[..., rows, columns], noise=latent[..., rows, columns]))
        for rows, columns in ((slice(0, 2), slice(0, 3)), (slice(0, 2), slice(2, 5)))
    ]
    blended = together(runs)
    assert blended.shape == (1, 3, 17, 96, 160)
    assert_same(blended[..., :32, :64], alone[0][..., :32, :64].float().double(), atol=1e-6)
    assert_same(blended[..., :32, 96:], alone[1][..., :32, 32:].float().double(), atol=1e-6)


def test_pictures_are_read_as_they_are_needed(vae):
    read, steps = [], []

    def pictures():
        for number in range(57):
            read.append((number, len(steps)))
            yield torch.full((64, 64, 3), number * 4, dtype=torch.uint8)

    like = {"device": torch.device("cpu"), "dtype": torch.float64}
    latent = encode_frames(vae, pictures(), (57, 64, 64), Tiling(), **like, on_step=lambda *step: steps.append(step))
    assert latent.shape[2] == 8
    assert steps == [(0, 8), (4, 8), (7, 8), (8, 8)]
    assert [after for number, after in read if number in (24, 25, 48, 49, 56)] == [1, 2, 2, 3, 3]


def test_frames_come_while_latents_are_still_to_be_decoded(vae):
    """A decoder lags by what it sees ahead, and no more: a long clip is handed out in runs from then on."""
    latent, taken = latent_of(vae, 24), []

    def watched():
        for number, chunk in enumerate(slices(latent, 2)):
            taken.append(number)
            yield chunk

    first = next(stream(vae.decoder.steps(latent), watched(), 2))
    assert first.shape[2] <= 2
    assert len(taken) < 10, "of 12"


def test_what_a_layer_remembers_is_two_frames_of_its_own():
    layer, past = torch.nn.Identity(), Past()
    clip = torch.arange(7.0).view(1, 1, 7, 1, 1)
    assert past.swap(layer, clip[:, :, :0]) is None
    assert past.swap(layer, clip[:, :, :1]) is None
    assert past.swap(layer, clip[:, :, 1:2]).flatten().tolist() == [0, 0]
    assert past.swap(layer, clip[:, :, 2:6]).flatten().tolist() == [0, 1]
    kept = past._kept[layer]
    assert kept.flatten().tolist() == [4, 5]
    assert kept.untyped_storage().nbytes() == kept.nbytes, "a view would hold the chunk"
    past.is_last = True
    assert torch.equal(past.swap(layer, clip[:, :, 6:]), kept)
    assert past._kept == {}, "nothing is held after the end"


@pytest.mark.parametrize(
    ("size", "frames"),
    [
        ((64, 64), 24),
        ((256, 384), 24),
        ((512, 768), 16),
        ((1024, 1024), 12),
        ((1088, 1920), 6),
        ((2176, 3840), 2),
        ((9000, 9000), 2),
    ],
)
def test_frames_at_once(size, frames):
    assert frames_at_once(*size) == frames
