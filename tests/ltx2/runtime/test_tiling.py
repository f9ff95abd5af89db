"""Tiled decode and encode: the fixtures' blends, exactness away from seams, memory, and what is refused."""

from __future__ import annotations

import json
from collections import Counter

import pytest
import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ltx2.checkpoint.keys import VIDEO_VAE
from ltx2.checkpoint.load import InMemory, build
from ltx2.config.section import parse
from ltx2.config.video_vae import VideoVAEConfig
from ltx2.errors import LTX2Error
from ltx2.networks.video_vae import VideoVAE
from ltx2.runtime.tiled_vae import decode_tiles, decode_video, encode_video
from ltx2.runtime.tiling import Tiling, candidates, choose_tiling, decode_pieces, encode_pieces, intervals

COMPRESSION = (8, 32, 32)
EVERYWHERE = Tiling(frames=(24, 8), height=(96, 32), width=(64, 32))
ENCODE_EVERYWHERE = Tiling(frames=(32, 16), height=(96, 64), width=(128, 64))


def load(case) -> VideoVAE:
    config = parse(VideoVAEConfig, case.config["vae"], "vae")
    return build(lambda: VideoVAE(config), VIDEO_VAE, InMemory(case.weights))


def all_frames(chunks) -> torch.Tensor:
    return torch.cat(list(chunks), dim=2)


def without_side_taps(vae: VideoVAE, *, space: bool = False) -> VideoVAE:
    """A VAE whose convolutions see their own frame only (and, with `space`, their own pixel only)."""
    for module in vae.modules():
        if isinstance(module, nn.Conv3d):
            weight = torch.zeros_like(module.weight)
            here = slice(1, 2) if space else slice(None)
            own = 2 if module in set(vae.encoder.modules()) else 1  # the encoder is causal: its own frame is the last
            weight[:, :, own, here, here] = module.weight[:, :, own, here, here]
            module.weight = nn.Parameter(weight, requires_grad=False)
    return vae


def span_for(length: int, count: int, overlap: int, step: int) -> tuple[int, int]:
    """The span in pixels that makes `count` tiles of an axis of `length` latents."""
    size = -(-(length + (count - 1) * overlap) // count)
    return size * step, overlap * step


@pytest.mark.parametrize("name", ["video_vae_20", "video_vae_23"])
class TestFixtures:
    def test_sizes(self, golden, name):
        case = golden(name)
        vae, latent = load(case), case.inputs["latent_tiled"]
        for output in ("tiled_all", "tiled_time"):
            tiling = Tiling(**{axis: tuple(span) for axis, span in case.params[output].items()})
            pixels = all_frames(decode_video(vae, latent, tiling))
            assert pixels.shape == (1, 3, 33, 128, 96)
            torch.testing.assert_close(pixels[:, :, :, ::7, ::11], case.outputs[output], rtol=0, atol=2e-5)

    def test_counts(self, golden, name):
        case = golden(name)
        vae, latent = load(case), case.inputs["latent_tiled"]
        spans = {
            axis: span_for(length, *case.params["tiled_count"][axis], step)
            for axis, length, step in zip(("frames", "height", "width"), latent.shape[2:], COMPRESSION, strict=True)
        }
        pixels = all_frames(decode_video(vae, latent, Tiling(**spans)))
        torch.testing.assert_close(pixels[:, :, :, ::7, ::11], case.outputs["tiled_count"], rtol=0, atol=2e-5)


@pytest.mark.parametrize("name", ["video_vae_20", "video_vae_23"])
class TestFrameForFrame:
    """N1: nothing moves by a frame. Without temporal side taps a tile cannot differ from the whole clip."""

    def test_decode(self, golden, name):
        vae = without_side_taps(load(golden(name)))
        latent = torch.randn(1, vae.config.latent_channels, 7, 2, 3, generator=torch.Generator().manual_seed(5))
        whole = vae.decode(latent)
        for span in ((16, 8), (24, 8), (24, 16), (32, 24), (40, 8)):
            tiled = all_frames(decode_video(vae, latent, Tiling(frames=span)))
            torch.testing.assert_close(tiled, whole, rtol=0, atol=2e-5)
        assert (whole[:, :, 1:] - whole[:, :, :-1]).abs().amax(dim=(0, 1, 3, 4)).min() > 1e-2  # a shift would show

    def test_decode_without_any_side_taps(self, golden, name):
        vae = without_side_taps(load(golden(name)), space=True)
        latent = torch.randn(2, vae.config.latent_channels, 6, 5, 4, generator=torch.Generator().manual_seed(6))
        tiled = all_frames(decode_video(vae, latent, EVERYWHERE))
        torch.testing.assert_close(tiled, vae.decode(latent), rtol=0, atol=2e-5)

    def test_encode(self, golden, name):
        vae = without_side_taps(load(golden(name)))
        pixels = torch.rand(1, 3, 57, 64, 96, generator=torch.Generator().manual_seed(7)) * 2 - 1
        whole = vae.encode(pixels)
        for span in ((24, 16), (32, 16), (40, 24)):
            tiled = encode_video(vae, pixels, Tiling(frames=span))
            torch.testing.assert_close(tiled, whole, rtol=0, atol=2e-5)

    def test_encode_without_any_side_taps(self, golden, name):
        vae = without_side_taps(load(golden(name)), space=True)
        pixels = torch.rand(1, 3, 36, 160, 192, generator=torch.Generator().manual_seed(8)) * 2 - 1
        tiled = encode_video(vae, pixels, ENCODE_EVERYWHERE)
        torch.testing.assert_close(tiled, vae.encode(pixels), rtol=0, atol=2e-5)

    def test_encode_steps_end_with_all_done(self, golden, name):
        steps = []
        tiling = Tiling(frames=(24, 16), height=(96, 64))
        pixels = torch.zeros(1, 3, 33, 128, 32)
        encode_video(load(golden(name)), pixels, tiling, on_step=lambda *step: steps.append(step))
        assert steps == [(done, 6) for done in range(7)]  # three tiles in time, two rows each

    def test_encode_needs_more_overlap(self, golden, name):
        vae = load(golden(name))
        with pytest.raises(LTX2Error, match="at least 64 along width; got 32"):
            encode_video(vae, torch.zeros(1, 3, 9, 64, 256), Tiling(width=(128, 32)))
        for num_frames in (9, 73):  # streamed, and cut in time
            with pytest.raises(LTX2Error, match="at least 16 along frames; got 8"):
                encode_video(vae, torch.zeros(1, 3, num_frames, 64, 64), Tiling(frames=(64, 8)))

    def test_encode_and_decode_are_tiled_independently(self, golden, name):
        """Defect 2: a tiling is an argument of one call, so neither direction can read the other's."""
        vae = load(golden(name))
        pixels = torch.rand(1, 3, 1, 64, 192, generator=torch.Generator().manual_seed(9)) * 2 - 1
        latent = vae.encode(pixels)
        assert torch.equal(encode_video(vae, pixels), latent)
        assert not torch.equal(encode_video(vae, pixels, Tiling(width=(128, 64))), latent)
        assert torch.equal(all_frames(decode_video(vae, latent)), vae.decode(latent))
        assert not torch.equal(all_frames(decode_video(vae, latent, Tiling(width=(64, 32)))), vae.decode(latent))

    def test_seams_are_where_tiles_meet(self, golden, name):
        """Rows that lie in one tile, out of reach of its ends, are the untiled ones."""
        vae = load(golden(name))
        latent = torch.randn(1, vae.config.latent_channels, 1, 2, 40, generator=torch.Generator().manual_seed(10))
        tiled = all_frames(decode_video(vae, latent, Tiling(width=(30 * 32, 32))))
        difference = (tiled - vae.decode(latent)).abs().amax(dim=(0, 1, 2, 3))
        assert difference[: 10 * 32].max() < 2e-5
        assert difference[28 * 32 : 32 * 32].max() > 1e-4


class Recorder:
    """A decoder that repeats each latent over its pixels, and remembers the tiles it was given."""

    def __init__(self, compression=COMPRESSION) -> None:
        self.compression = compression
        self.shapes = []

    def __call__(self, latent):
        self.shapes.append(tuple(latent.shape[2:]))
        time, height, width = self.compression
        pixels = latent.repeat_interleave(height, 3).repeat_interleave(width, 4)
        return torch.cat([pixels[:, :, :1], pixels[:, :, 1:].repeat_interleave(time, 2)], dim=2)


def blank(latent):
    """A decoder that needs no memory but for its answer."""
    batch, _, frames, height, width = latent.shape
    return latent.new_zeros(batch, 3, 1 + (frames - 1) * 8, height * 32, width * 32)


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all storages that operations have made and that are still alive."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._live: dict[StorageWeakRef, int] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                self._live[StorageWeakRef(storage)] = storage.nbytes()
        self._live = {storage: size for storage, size in self._live.items() if not storage.expired()}
        self.peak = max(self.peak, sum(self._live.values()))
        return out


class TestStreaming:
    def test_chunks_come_as_soon_as_they_are_final(self):
        decoder = Recorder()
        latent = torch.randn(1, 3, 21, 4, 4)
        frames_after = Counter()
        for chunk in decode_tiles(decoder, latent, Tiling(frames=(40, 16), height=(96, 32)), COMPRESSION):
            frames_after[len(decoder.shapes)] += chunk.shape[2]
        # Tiles start at latents 0, 3 - 1, 6 - 1, ...; each pair of tiles (two rows) ends what lies before the next.
        assert frames_after == {2: 16, 4: 24, 6: 24, 8: 24, 10: 24, 12: 24, 14: 161 - 136}

    def test_what_was_handed_out_stays(self):
        latent = torch.randn(1, 3, 15, 2, 2)
        chunks, copies = [], []
        for chunk in decode_tiles(Recorder(), latent, Tiling(frames=(24, 16)), COMPRESSION):
            chunks.append(chunk)
            copies.append(chunk.clone())
        assert all(torch.equal(chunk, copy) for chunk, copy in zip(chunks, copies, strict=True))
        torch.testing.assert_close(torch.cat(chunks, dim=2), Recorder()(latent))

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    @pytest.mark.parametrize(("width", "bound"), [(None, 2.3), ((64, 32), 1.6)])
    def test_memory_is_bounded_by_a_tile(self, width, bound, dtype):
        """Decoded tile, sums and the run that is still held, in all: the length of the clip does not show."""
        tiling = Tiling(frames=(80, 24), width=width)
        frame = 3 * 32 * 192 * 4
        frames = 0
        with LiveBytes() as live:
            for chunk in decode_tiles(blank, torch.zeros(1, 3, 61, 1, 6, dtype=dtype), tiling, COMPRESSION):
                frames += chunk.shape[2]
                assert chunk.untyped_storage().nbytes() == chunk.nbytes
        assert frames == 481
        assert 81 * frame < live.peak <= bound * 80 * frame

    def test_one_tile_is_a_plain_decode(self):
        decoder, latent = Recorder(), torch.randn(1, 3, 3, 2, 2).bfloat16()
        (chunk,) = decode_tiles(decoder, latent, Tiling(frames=(80, 24)), COMPRESSION)
        assert torch.equal(chunk, Recorder()(latent))

    def test_dtype_is_the_decoders(self):
        latent = torch.randn(1, 3, 5, 4, 4).bfloat16()
        chunks = list(decode_tiles(Recorder(), latent, EVERYWHERE, COMPRESSION))
        assert {chunk.dtype for chunk in chunks} == {torch.bfloat16}
        torch.testing.assert_close(torch.cat(chunks, dim=2), Recorder()(latent))

    def test_steps_are_reported_before_each_tile_and_may_stop(self):
        steps, decoder = [], Recorder()

        def on_step(done, total):
            steps.append((done, total, len(decoder.shapes)))
            if done == 3:
                raise KeyboardInterrupt

        chunks = decode_tiles(decoder, torch.zeros(1, 3, 5, 4, 2), EVERYWHERE, COMPRESSION, on_step=on_step)
        with pytest.raises(KeyboardInterrupt):
            list(chunks)
        assert steps == [(0, 4, 0), (1, 4, 1), (2, 4, 2), (3, 4, 3)]

    def test_steps_end_with_all_done(self):
        steps = []
        list(
            decode_tiles(
                Recorder(), torch.zeros(1, 3, 5, 4, 2), EVERYWHERE, COMPRESSION, on_step=lambda *s: steps.append(s)
            )
        )
        assert steps == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]


class TestIntervals:
    def test_cover_and_shorten_the_last(self):
        tiles = intervals(5, (2, 1), is_time=False)
        assert [(t.start, t.stop) for t in tiles] == [(0, 2), (1, 3), (2, 4), (3, 5)]
        tiles = intervals(7, (3, 1), is_time=True)
        assert [(t.start, t.stop, t.fade_in, t.fade_out) for t in tiles] == [(0, 3, 0, 1), (1, 5, 2, 1), (3, 7, 2, 0)]

    @pytest.mark.parametrize("is_time", [True, False])
    @pytest.mark.parametrize("pieces", [decode_pieces, encode_pieces])
    def test_weights_sum_to_one(self, pieces, is_time):
        for length in range(1, 24):
            for span in ((2, 1), (3, 1), (3, 2), (5, 2), (5, 4), (10, 3)):
                parts = pieces(length, span, 8, is_time=is_time)
                total = torch.zeros(parts[-1].target.stop)
                for part in parts:
                    total[part.target] += part.weights
                torch.testing.assert_close(total, torch.ones_like(total))
                assert all(part.target.stop > 0 and part.weights.min() >= 0 for part in parts)


class TestRefusals:
    @pytest.mark.parametrize(
        ("spans", "message"),
        [
            ({"width": (500, 64)}, r"tile size along width must be a multiple of 32; got 500 \(nearest: 480 or 512\)"),
            (
                {"height": (512, 40)},
                r"tile overlap along height must be a multiple of 32; got 40 \(nearest: 32",
            ),
            ({"frames": (81, 24)}, r"tile size along frames must be a multiple of 8; got 81 \(nearest: 80 or 88\)"),
            ({"frames": (80, 4)}, r"tile overlap along frames must be a multiple of 8; got 4 \(nearest: 8\)"),
        ],
    )
    def test_no_multiple_of_the_compression(self, spans, message):
        """N3: refused before anything is decoded."""
        with pytest.raises(LTX2Error, match=message):
            decode_tiles(Recorder(), torch.zeros(1, 3, 5, 40, 40), Tiling(**spans), COMPRESSION)

    @pytest.mark.parametrize("span", [(64, 0), (64, 64), (32, 64), (64, -32)])
    def test_overlap(self, span):
        with pytest.raises(LTX2Error, match="tiles must overlap, by less than their size"):
            Tiling(width=span)


class TestChoice:
    """N2: time is never cut by itself; space is where nothing else fits."""

    def test_what_fits_is_streamed(self):
        for size in ((121, 512, 768), (1, 2048, 2048), (1001, 1088, 1920)):
            assert choose_tiling(size, lambda tiling: True) == Tiling()

    def test_what_is_exact_comes_first(self):
        size = (121, 1088, 1920)
        assert choose_tiling(size, lambda tiling: tiling.waits_in_ram) == Tiling(waits_in_ram=True)
        sides = []
        for most in (1000, 600, 400, 300):
            tiling = choose_tiling(size, lambda one, most=most: one.height is not None and one.height[0] <= most)
            assert tiling == Tiling(None, tiling.height, tiling.height, waits_in_ram=True)
            sides.append(tiling.height)
        assert sides == [(768, 64), (512, 64), (384, 64), (256, 64)]
        assert choose_tiling((121, 512, 1024), lambda one: one.width is not None).height is None

    def test_the_smallest_where_nothing_fits(self):
        smallest = choose_tiling((121, 1088, 1920), lambda tiling: False)
        assert smallest == Tiling(None, (256, 64), (256, 64), waits_in_ram=True)

    def test_always_legal_for_both_directions(self):
        for size in ((9, 4096, 4096), (121, 1088, 1920), (2001, 64, 64), (33, 544, 960)):
            for tiling in candidates(size):
                assert len(tiling.in_latents(COMPRESSION, (16, 64, 64))) == 3
                assert json.dumps([tiling.frames, tiling.height, tiling.width])
