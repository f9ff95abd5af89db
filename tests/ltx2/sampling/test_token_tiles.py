"""Predictions in tiles: what each tile sees, how they are blended, what stays as it is, and what it takes."""

from dataclasses import replace

import pytest
import torch

from ltx2.conditioning.frames import AppendedFrames, ReplacedFrames
from ltx2.conditioning.references import ReferenceVideo
from ltx2.errors import LTX2Error
from ltx2.guidance.guidance import NEUTRAL, Guidance
from ltx2.latents import Clip, states_of
from ltx2.networks.transformer.passes import ALL_BLOCKS, Pass, Perturbation
from ltx2.sampling.denoiser import Context, Denoiser, Prompts
from ltx2.sampling.memory import pass_bytes
from ltx2.sampling.run import run
from ltx2.sampling.step_cache import StepCaching
from ltx2.sampling.table import SOLVERS
from ltx2.sampling.token_tiles import TokenTiling, largest, tiles_of
from ltx2.tokens import flatten_video, video_state

GRID = (2, 6, 8)
FOUR = TokenTiling(columns=2, rows=2, overlap=64)
SIGMAS = torch.tensor([1.0, 0.7, 0.4, 0.0])
FULL = Guidance(cfg=3.0, stg=1.0, stg_blocks=frozenset({1}), modality=3.0, rescale=0.7)
ALONE = Pass(perturbation=Perturbation(ALL_BLOCKS, ALL_BLOCKS, ALL_BLOCKS, ALL_BLOCKS))


@pytest.fixture(scope="module", params=["end_to_end_20", "end_to_end_23"])
def case(request, golden):
    return golden(request.param)


@pytest.fixture
def prompts(case):
    inputs = case.inputs
    return Prompts(
        Context(inputs["video_context"], inputs["audio_context"]),
        Context(inputs["video_negative_context"], inputs["audio_negative_context"]),
    )


def random(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def latents(*conditions, mask=None):
    video = {"samples": random(1, 16, *GRID), "ltx2": Clip(24.0, conditions)}
    audio = {"samples": random(1, 3, 9, 4), "ltx2": Clip(24.0)}
    return ({**video, **({} if mask is None else {"noise_mask": mask})}, audio)


def sampled(network, prompts, given, solver="euler", sigmas=SIGMAS):
    settings = {"device": torch.device("cpu"), "dtype": torch.float32}
    return run(network, prompts, states_of(*given), given, sigmas, SOLVERS[solver], 3, **settings)


@torch.no_grad()
def predicted(network, prompts, states, *passes):
    made = Denoiser(network, prompts, states)
    return made.predictions(tuple(state.latent for state in states), 0.7, {str(n): one for n, one in enumerate(passes)})


def test_one_tile_is_the_exact_run(network, prompts):
    plain, own = (sampled(network, replace(prompts, tiling=tiling), latents()) for tiling in (None, TokenTiling()))
    assert all(torch.equal(one.latent, other.latent) for one, other in zip(plain.states, own.states, strict=True))
    assert own.lossy == ()


@pytest.mark.parametrize("tiling", [FOUR, TokenTiling(3, 1, 32), TokenTiling(1, 2, 96)])
def test_shares_add_up_to_one(tiling):
    given = latents(AppendedFrames(random(1, 16, 1, 6, 8), 8))
    state = states_of(*given)[0]
    tiles = tiles_of(state, tiling)
    assert len(tiles) == tiling.columns * tiling.rows
    total = torch.zeros(state.latent.shape[1], 1)
    for tile in tiles:
        assert len(tile.index) < len(total)
        assert (tile.weights > 0).all()
        assert torch.equal(tile.index, tile.index.sort().values)
        total.index_add_(0, tile.index, tile.weights)
    torch.testing.assert_close(total, torch.ones_like(total))


def test_tiles_overlap_by_what_is_asked_for_and_fade_there():
    """6 rows in two tiles that share two rows: each has four, and the shared ones fade from one to the other."""
    state = video_state(torch.zeros(1, 16, 1, 6, 1), 24.0)
    first, second = tiles_of(state, TokenTiling(1, 2, 64))
    assert (first.index.tolist(), second.index.tolist()) == ([0, 1, 2, 3], [2, 3, 4, 5])
    torch.testing.assert_close(first.weights.flatten(), torch.tensor([1.0, 1.0, 0.75, 0.25]))
    torch.testing.assert_close(second.weights.flatten(), torch.tensor([0.25, 0.75, 1.0, 1.0]))


def test_where_tokens_do_not_see_each_other_tiles_are_exact(network, prompts):
    states = states_of(*latents(AppendedFrames(random(1, 16, 1, 6, 8), 8, strength=0.5)))
    whole, tiled = (predicted(network, replace(prompts, tiling=one), states, ALONE)[0]["0"] for one in (None, FOUR))
    torch.testing.assert_close(tiled, whole, atol=1e-5, rtol=0)


def test_a_tile_is_predicted_as_a_clip_at_its_place(network, prompts):
    """Where one tile alone says something, it is what a clip of its tokens would be."""
    states = states_of(*latents())
    tile = tiles_of(states[0], FOUR)[3]
    alone = predicted(network, prompts, (tile.of(states[0]), states[1]), Pass())[0]["0"]
    tiled = predicted(network, replace(prompts, tiling=FOUR), states, Pass())[0]["0"]
    own = tile.weights[:, 0] == 1
    assert 0 < own.sum() < len(own)
    torch.testing.assert_close(tiled[:, tile.index[own]], alone[:, own], atol=1e-6, rtol=0)


def test_places_count_by_their_differences_alone(network, prompts):
    """A tile's picture is the same at the origin, but for the rounding of angles: no token knows its own place."""
    states = states_of(*latents())
    part = tiles_of(states[0], FOUR)[3].of(states[0])
    corner = part.positions.clone()
    corner[:, 1:] -= corner[:, 1:].amin((2, 3), keepdim=True)
    there, here = (
        predicted(network, prompts, (one, states[1]), Pass())[0]["0"] for one in (part, replace(part, positions=corner))
    )
    torch.testing.assert_close(there, here, atol=1e-3, rtol=0)


def test_the_sound_is_the_mean_of_what_tiles_say(network, prompts):
    states = states_of(*latents())
    tiles = tiles_of(states[0], FOUR)
    each = [predicted(network, prompts, (tile.of(states[0]), states[1]), Pass())[1]["0"] for tile in tiles]
    tiled = predicted(network, replace(prompts, tiling=FOUR), states, Pass())[1]["0"]
    torch.testing.assert_close(tiled, torch.stack(each).mean(0), atol=1e-6, rtol=0)


def test_conditions_go_with_the_tiles_that_they_lie_in():
    """A reference at half the size covers the plane with a quarter of the tokens; a guide has as many as a frame."""
    guide = AppendedFrames(random(1, 16, 1, 6, 8), 8)
    reference = ReferenceVideo(random(1, 16, 2, 3, 4, seed=2), spatial=2, strength=0.5)
    state = states_of(*latents(guide, reference))[0]
    for tile in tiles_of(state, FOUR):
        part = tile.of(state)
        assert part.num_targets == 2 * 4 * 5
        bounds = [part.positions[0, 1:, : part.num_targets, side] for side in (0, 1)]
        low, high = bounds[0].amin(1), bounds[1].amax(1)
        appended = part.positions[0, 1:, part.num_targets :]
        assert appended.shape[1] == 4 * 5 + 2 * 2 * 3
        assert (appended[..., 0] < high[:, None]).all()
        assert (appended[..., 1] > low[:, None]).all()


def test_strengths_between_conditions_go_with_their_tokens():
    guide = AppendedFrames(random(1, 16, 1, 6, 8), 8)
    reference = ReferenceVideo(random(1, 16, 2, 6, 8, seed=2), attention=torch.rand(96))
    state = states_of(*latents(guide, reference))[0]
    like = torch.empty(1)
    whole = state.attention.rows(0, state.latent.shape[1], like)[0, 0]
    for tile in tiles_of(state, FOUR):
        own = tile.of(state).attention.rows(0, len(tile.index), like)[0, 0]
        assert torch.equal(own, whole[tile.index][:, tile.index])


@pytest.mark.parametrize("solver", ["euler", "euler_ancestral", "res_2s"])
@pytest.mark.parametrize("guidance", [NEUTRAL, FULL])
def test_what_is_kept_stays_and_runs_are_repeatable(network, prompts, solver, guidance):
    first = random(1, 16, 1, 6, 8, seed=4)
    mask = torch.ones(1, 1, *GRID)
    mask[..., :4] = 0  # the left half is kept: whole tiles have nothing to generate
    given = latents(ReplacedFrames(first), AppendedFrames(first, 8, strength=0.5), mask=mask)
    tiled = replace(prompts, tiling=TokenTiling(2, 1, 32), video=guidance, audio=guidance)
    one, two = (sampled(network, tiled, given, solver) for _ in range(2))
    for a, b in zip(one.states, two.states, strict=True):
        assert torch.isfinite(a.latent).all()
        assert torch.equal(a.latent, b.latent)
    found = one.states[0].latent[:, : 2 * 6 * 8]
    kept = torch.cat((first, given[0]["samples"][:, :, 1:]), 2)
    still = torch.ones(1, 1, *GRID)
    still[:, :, 1:, :, 4:] = 0
    still = flatten_video(still)[..., 0] > 0
    torch.testing.assert_close(found[still], flatten_video(kept)[still])


def test_the_report_and_the_log_tell_of_tiles(network, prompts, caplog):
    done = sampled(network, replace(prompts, tiling=FOUR), latents())
    (tiling,) = done.lossy
    assert (tiling.kind, tiling.note) == ("token_tiling", "few_tokens")
    assert tiling.counts == {"most": 40, "of": 96, "tiles": 4}
    assert str(tiling) == "token_tiling 40 of 96"
    assert done.passes == 3
    assert caplog.messages == ["token_tiling: no tiles are needed up to 1920x1088x121: take the node out"]


def test_memory_follows_the_largest_tile(network, prompts):
    states = states_of(*latents())
    tiled = replace(prompts, tiling=FOUR)
    config, dtype = network.config, torch.float32
    part = largest(states, FOUR)
    assert pass_bytes(config, states, dtype, tiled) == pass_bytes(config, part, dtype, prompts)
    assert pass_bytes(config, states, dtype, tiled) < pass_bytes(config, states, dtype, prompts)
    assert Denoiser(network, tiled, states).forward.tokens == (40, 9)
    assert Denoiser(network, tiled, states).streams == (), "tables of the whole clip are not made"


def test_a_cache_of_steps_looks_at_all_tiles(network, prompts):
    tiled = replace(prompts, tiling=FOUR, caching=StepCaching(1e6, 1e6, 1, 1))
    done = sampled(network, tiled, latents(), sigmas=torch.linspace(1, 0, 7))
    assert done.lossy[0].counts == {"saved": 4, "of": 6, "video": 4, "audio": 4}


def test_what_makes_no_sense_is_refused():
    with pytest.raises(LTX2Error, match="columns must be 1 or more; got 0"):
        TokenTiling(columns=0)
    with pytest.raises(LTX2Error, match="overlap must be a multiple of 32 pixels above 0; got 40"):
        TokenTiling(overlap=40)
    state = video_state(torch.zeros(1, 16, 1, 6, 8), 24.0)
    with pytest.raises(LTX2Error, match="2 rows must each add to what they overlap by; got 192 pixels with an overlap"):
        tiles_of(state, TokenTiling(1, 2, 160))
    with pytest.raises(LTX2Error, match="token tiling must have a video to tile; got sound alone"):
        tiles_of(None, FOUR)
