"""Runs in parts: together they are one run, with masks and conditions; and what a run does to what must be kept."""

import logging

import pytest
import torch

from ltx2.conditioning.frames import AppendedFrames, ReplacedFrames
from ltx2.errors import LTX2Error
from ltx2.guidance.guidance import Guidance
from ltx2.latents import Clip, latents_of, states_of
from ltx2.sampling.denoiser import Context, Prompts
from ltx2.sampling.partial import at_start, unfinished
from ltx2.sampling.run import run
from ltx2.sampling.schedules import check_sigmas, slice_schedule
from ltx2.sampling.solvers import euler
from ltx2.sampling.table import SOLVERS

GRID, SOUND = (2, 2, 4), 9
SIGMAS = torch.tensor([1.0, 0.9, 0.6, 0.3, 0.0])
# What one part leaves for the next is all that these solvers know. Gradient estimation also looks back at the last
# velocity, which a new part does not have.
MEMORYLESS = sorted(set(SOLVERS) - {"gradient_estimation"})
MODALITIES = ("video", "audio", "both")
PARTS = [("video", "euler"), ("audio", "euler"), *(("both", solver) for solver in MEMORYLESS)]


@pytest.fixture(scope="module")
def case(golden):
    return golden("end_to_end_23")


@pytest.fixture(scope="module")
def sample(case, network):
    """`sample(latents, sigmas, ...)` does what LTX-2 Sample does: LATENTs in, LATENTs out."""
    inputs = case.inputs
    prompts = Prompts(
        Context(inputs["video_context"], inputs["audio_context"]),
        Context(inputs["video_negative_context"], inputs["audio_negative_context"]),
        Guidance(cfg=2.0),
        Guidance(cfg=2.0),
    )

    def sample(latents, sigmas=SIGMAS, solver="euler", *, seed=3, add_noise=True):
        sigmas = check_sigmas(sigmas)
        given = tuple(at_start(latent, add_noise) for latent in latents)
        settings = {"device": torch.device("cpu"), "dtype": torch.float32, "add_noise": add_noise}
        states = run(network, prompts, states_of(*given), latents, sigmas, SOLVERS[solver], seed, **settings).states
        results = latents_of(states, *latents)
        return unfinished(results, given, states, len(sigmas) - 1) if sigmas[-1] > 0 else results

    return sample


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def video(mask=None, conditions=()):
    latent = {"samples": random(1, 16, *GRID), "ltx2": Clip(24.0, conditions)}
    return latent if mask is None else {**latent, "noise_mask": mask}


def audio(mask=None):
    latent = {"samples": random(1, 3, SOUND, 4, seed=1), "ltx2": Clip(24.0)}
    return latent if mask is None else {**latent, "noise_mask": mask}


def masks(kind):
    """(video, audio) masks whose second half is generated."""
    if kind == "none":
        return None, None
    low = 0.4 if kind == "feathered" else 0.0
    picture, sound = torch.ones(1, 1, *GRID), torch.ones(1, 1, SOUND, 1)
    picture[:, :, :1], sound[:, :, :5] = low, low
    return picture, sound


def chosen(modality, picture, sound):
    return (None if modality == "audio" else picture), (None if modality == "video" else sound)


def samples(latents):
    return [latent["samples"] for latent in latents if latent is not None]


def parts(sample, latents, steps, **settings):
    """The result of runs over the steps between `steps`, each from where the last one stopped."""
    for number, (begin, end) in enumerate(zip(steps, steps[1:], strict=False)):
        latents = sample(latents, slice_schedule(SIGMAS, begin, end), add_noise=number == 0, **settings)
    return latents


def assert_same(one, other):
    for a, b in zip(samples(one), samples(other), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("kind", ["none", "hard", "feathered"])
@pytest.mark.parametrize(
    "modality,solver", [("video", "euler"), ("audio", "euler"), *(("both", s) for s in MEMORYLESS)]
)
def test_parts_are_one_run(sample, solver, kind, modality):
    picture, sound = masks(kind)
    latents = chosen(modality, video(picture), audio(sound))
    whole = sample(latents, solver=solver)
    assert_same(parts(sample, latents, (0, 2, 4), solver=solver), whole)


@pytest.mark.parametrize("strength", [1.0, 0.6])
@pytest.mark.parametrize("kind", ["none", "feathered"])
def test_parts_with_guides_are_one_run(sample, kind, strength):
    """Guides stay with an unfinished clip, and their tokens go on from where they were."""
    first = ReplacedFrames(random(1, 16, 1, 2, 4, seed=5), strength=strength)
    last = AppendedFrames(random(1, 16, 1, 2, 4, seed=6), 8, strength=strength)
    picture, sound = masks(kind)
    latents = video(picture, (first, last)), audio(sound)
    whole = sample(latents)
    for steps in ((0, 1, 4), (0, 2, 4), (0, 3, 4), (0, 1, 2, 4)):
        assert_same(parts(sample, latents, steps), whole)
    assert whole[0]["ltx2"].conditions == ()


def test_gradient_estimation_starts_anew_in_each_part(sample):
    """Its first step is Euler's, for there is no velocity before it."""
    latents = (video(), None)
    whole = sample(latents, solver="gradient_estimation")
    halves = parts(sample, latents, (0, 2, 4), solver="gradient_estimation")
    assert not torch.equal(*samples(halves), *samples(whole))
    begin = sample(latents, SIGMAS[:3], "gradient_estimation")
    one_step = [sample(begin, SIGMAS[2:4], solver, add_noise=False) for solver in ("gradient_estimation", "euler")]
    torch.testing.assert_close(*(samples(each)[0] for each in one_step))


def test_only_a_run_that_stops_above_0_is_unfinished(sample):
    latents = video(masks("hard")[0]), None
    (stopped, absent), (ended, _) = sample(latents, SIGMAS[:3]), sample(latents)
    assert absent is None
    assert set(stopped) == {"samples", "ltx2", "ltx2_run", "noise_mask"}
    assert set(ended) == {"samples", "ltx2"}
    assert "after 2 steps" in repr(stopped["ltx2_run"])


def test_noise_is_added_only_where_it_is_asked_for(sample):
    given = random(1, 16, *GRID, seed=9)
    latents = ({"samples": given, "ltx2": Clip(24.0)}, None)
    results = [sample(latents, SIGMAS[2:], seed=seed, add_noise=False)[0]["samples"] for seed in (1, 2)]
    assert torch.equal(*results), "nothing is random without noise"
    noised = [sample(latents, SIGMAS[2:], seed=seed)[0]["samples"] for seed in (1, 2)]
    assert not torch.equal(*noised)
    assert not torch.equal(results[0], noised[0])


def test_noise_of_steps_is_not_repeated_by_the_next_part(sample):
    """With the seed of the first part, the second one draws what one run would have drawn."""
    latents = (video(), None)
    halves = parts(sample, latents, (0, 2, 4), solver="euler_ancestral")
    begin = sample(latents, SIGMAS[:3], "euler_ancestral")
    del begin[0]["ltx2_run"]
    repeated = sample(begin, SIGMAS[2:], "euler_ancestral", add_noise=False)
    assert not torch.equal(*samples(halves), *samples(repeated))


def test_a_guide_may_come_late(sample):
    """A guide that is applied to an unfinished clip is kept from there on."""
    begin = sample((video(), None), SIGMAS[:3])
    guide = ReplacedFrames(random(1, 16, 1, 2, 4, seed=5))
    late = {**begin[0], "ltx2": Clip(24.0, (guide, AppendedFrames(guide.latent, 8, strength=0.5)))}
    (result, _) = sample((late, None), SIGMAS[2:], add_noise=False)
    assert torch.equal(result["samples"][:, :, :1], guide.latent)
    assert torch.isfinite(result["samples"]).all()


def test_an_unfinished_clip_that_is_noised_again_begins_anew(sample):
    begin = sample((video(), None), SIGMAS[:3])
    plain = {"samples": begin[0]["samples"], "ltx2": Clip(24.0)}
    assert_same(sample(begin, SIGMAS[1:]), sample((plain, None), SIGMAS[1:]))
    assert sample(begin, SIGMAS[1:4])[0]["ltx2_run"].steps == 2


def test_what_an_unfinished_clip_must_keep(sample):
    guide = AppendedFrames(random(1, 16, 1, 2, 4, seed=6), 8)
    (begin, _) = sample((video(conditions=(guide,)), None), SIGMAS[:3])
    with pytest.raises(LTX2Error, match="a clip must keep its size until its run has ended; it began as .*: end"):
        sample(({**begin, "samples": begin["samples"][:, :, :1]}, None), SIGMAS[2:], add_noise=False)
    with pytest.raises(LTX2Error, match="a clip must keep its guides until its run has ended; .* 24 tokens and has 16"):
        sample(({**begin, "ltx2": Clip(24.0)}, None), SIGMAS[2:], add_noise=False)


@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize("solver", SOLVERS)
def test_every_solver_keeps_what_is_masked(sample, solver, modality):
    picture, sound = masks("hard")
    latents = chosen(modality, video(picture), audio(sound))
    results = sample(latents, solver=solver)
    for result, latent, axis_of_kept in zip(results, latents, (1, 5), strict=True):
        if latent is not None:
            kept = result["samples"][:, :, :axis_of_kept]
            assert torch.isfinite(result["samples"]).all()
            assert torch.equal(kept, latent["samples"][:, :, :axis_of_kept])
            assert not torch.equal(result["samples"], latent["samples"])
    assert_same(sample(latents, solver=solver), results)


def test_sigmas_that_repeat_change_nothing(sample, caplog):
    latents = (video(), audio())
    repeated = torch.tensor([1.0000001, 1.0, 0.9, 0.9, 0.6, 0.3, 0.0, 0.0])
    with caplog.at_level(logging.INFO, "ltx2"):
        assert_same(sample(latents, repeated, "res_2s"), sample(latents, SIGMAS, "res_2s"))
    assert "are taken once" in caplog.text


def test_every_solver_ends_at_0_from_however_near(sample):
    """ComfyUI's karras and exponential schedules come below the level where res_2s ends."""
    for solver in SOLVERS:
        near = sample((video(), None), torch.tensor([1.0, 0.5, 0.0011, 0.0008, 0.0]), solver)
        usual = sample((video(), None), torch.tensor([1.0, 0.5, 0.0]), solver)
        assert torch.isfinite(near[0]["samples"]).all()
        if solver == "res_2s":
            assert_same(near, usual)
    assert SOLVERS["euler"] is euler
