"""Predictions that are left out: when, for whom, how they are counted, and that nothing changes unless asked for."""

from dataclasses import replace

import pytest
import torch

from ltx2.checkpoint.keys import TRANSFORMER
from ltx2.checkpoint.load import InMemory, build
from ltx2.conditioning.frames import AppendedFrames, ReplacedFrames
from ltx2.errors import LTX2Error
from ltx2.guidance.guidance import NEUTRAL, Guidance
from ltx2.latents import Clip, states_of
from ltx2.networks.transformer.model import Transformer
from ltx2.sampling.denoiser import Context, Denoiser, Prompts
from ltx2.sampling.run import run
from ltx2.sampling.step_cache import StepCache, StepCaching, relative_change
from ltx2.sampling.table import SOLVERS
from ltx2.tokens import audio_state, video_state

STEPS = 16
SIGMAS = torch.linspace(1, 0, STEPS + 1)
FULL = Guidance(cfg=3.0, stg=1.0, stg_blocks=frozenset({1}), modality=3.0, rescale=0.7)
EVERYTHING = StepCaching(1e6, 1e6)
WINDOW = STEPS - EVERYTHING.first_steps - EVERYTHING.last_steps


@pytest.fixture(scope="module")
def case(golden):
    return golden("end_to_end_23")


@pytest.fixture
def calls(network):
    """Blocks of each call of the transformer: None for all."""
    made = []
    handle = network.register_forward_pre_hook(
        lambda module, args, given: made.append(given.get("num_blocks")), with_kwargs=True
    )
    yield made
    handle.remove()


def latents(**video):
    generator = torch.Generator().manual_seed(1)
    return (
        {"samples": torch.zeros(1, 16, 2, 2, 4), "ltx2": Clip(24.0, **video)},
        {"samples": torch.randn(1, 3, 9, 4, generator=generator), "ltx2": Clip(24.0)},
    )


@pytest.fixture
def sample(case, network):
    """`sample(caching, ...)` is a whole Run."""
    inputs = case.inputs
    positive = Context(inputs["video_context"], inputs["audio_context"])
    negative = Context(inputs["video_negative_context"], inputs["audio_negative_context"])

    def sample(caching=None, given=None, video=NEUTRAL, audio=NEUTRAL, *, solver="euler", sigmas=SIGMAS, **options):
        given = given or latents()
        prompts = Prompts(positive, negative, video, audio, caching=caching)
        settings = {"device": torch.device("cpu"), "dtype": torch.float32, **options}
        return run(network, prompts, states_of(*given), given, sigmas, SOLVERS[solver], 3, **settings)

    return sample


def assert_same(run, other):
    for one, two in zip(run.states, other.states, strict=True):
        assert (one is None) == (two is None)
        assert one is None or torch.equal(one.latent, two.latent)


def counts(run):
    (one,) = (each for each in run.lossy if each.kind == "step_cache")
    return one.counts


@pytest.mark.parametrize("caching", [StepCaching(0.0, 0.0), StepCaching(0.0, 5.0), StepCaching(5.0, 0.0)])
def test_a_threshold_of_0_is_exact_and_costs_nothing(sample, calls, caching):
    plain, own = sample(), sample(caching)
    assert_same(plain, own)
    assert own.passes == plain.passes == STEPS
    assert calls == [None] * 2 * STEPS
    assert plain.lossy == ()
    assert own.lossy[0].note == "off"
    assert counts(own)["saved"] == 0


def test_a_threshold_above_which_everything_is_computes_all(sample, calls):
    own = sample(StepCaching(1e-9, 1e-9))
    assert_same(sample(), own)
    assert counts(own) == {"saved": 0, "of": STEPS, "video": 0, "audio": 0}
    assert calls.count(1) == WINDOW + 1, "one look before the first step that may be left out, and one at each"


@pytest.mark.parametrize("guidance", [NEUTRAL, FULL])
def test_steps_at_either_end_are_computed_and_the_rest_may_rest(sample, calls, guidance):
    own = sample(EVERYTHING, video=guidance, audio=guidance)
    assert [blocks for blocks in calls if blocks is None] == [None] * (STEPS - WINDOW)
    assert calls[: EVERYTHING.first_steps - 1] == [None] * (EVERYTHING.first_steps - 1)
    assert calls[-EVERYTHING.last_steps :] == [None] * EVERYTHING.last_steps
    assert counts(own) == {"saved": WINDOW, "of": STEPS, "video": WINDOW, "audio": WINDOW}
    assert own.passes == (STEPS - WINDOW) * (1 if guidance is NEUTRAL else 4)
    plain = sample(video=guidance, audio=guidance)
    for one, two in zip(own.states, plain.states, strict=True):
        assert torch.isfinite(one.latent).all()
        assert not torch.equal(one.latent, two.latent), "what is left out shows: it is lossy"


def test_a_prediction_that_is_left_out_is_the_last_one(sample):
    seen = []
    sample(EVERYTHING, on_x0=lambda x0: seen.append(x0.clone()))
    same = [torch.equal(one, two) for one, two in zip(seen, seen[1:], strict=False)]
    first = EVERYTHING.first_steps - 1
    assert same == [False] * first + [True] * WINDOW + [False] * EVERYTHING.last_steps


def test_more_is_left_out_the_higher_the_threshold_and_the_error_grows(sample):
    plain, saved, errors = sample(), [], []
    for threshold in (0.05, 0.2, 1.0, 1e6):
        own = sample(StepCaching(threshold, threshold))
        saved.append(counts(own)["saved"])
        errors.append(float((own.states[0].latent - plain.states[0].latent).norm()))
    assert saved == sorted(saved)
    assert saved[-1] == WINDOW
    assert saved[0] < saved[-1]
    assert errors[0] < errors[-1]


def test_both_modalities_must_agree(sample):
    """Video would rest always; the sound never, or half of the time."""
    never = sample(StepCaching(1e6, 1e-9))
    assert counts(never) == {"saved": 0, "of": STEPS, "video": WINDOW, "audio": 0}
    some = counts(sample(StepCaching(1e6, 0.2)))
    assert some["saved"] == some["audio"] <= some["video"] == WINDOW


@pytest.mark.parametrize("alone", [0, 1])
def test_a_modality_that_is_absent_has_no_say(sample, alone):
    given = tuple(latent if n == alone else None for n, latent in enumerate(latents()))
    caching = StepCaching(1e6, 0.0) if alone == 0 else StepCaching(0.0, 1e6)
    found = counts(sample(caching, given))
    names = ("video", "audio")
    assert (found["saved"], found[names[alone]], found[names[1 - alone]]) == (WINDOW, WINDOW, None)


def test_a_modality_that_is_kept_has_no_say_and_stays(sample):
    video, audio = latents()
    own = sample(StepCaching(1e6, 0.0), (video, {**audio, "noise_mask": torch.zeros(1, 1, 9, 1)}))
    assert counts(own) == {"saved": WINDOW, "of": STEPS, "video": WINDOW, "audio": None}
    clean = audio_state(audio["samples"]).latent
    assert torch.equal(own.states[1].latent, clean)


def test_what_is_kept_stays_where_steps_are_left_out(sample):
    generator = torch.Generator().manual_seed(5)
    first, guide = (torch.randn(1, 16, 1, 2, 4, generator=generator) for _ in "ab")
    own = sample(EVERYTHING, latents(conditions=(ReplacedFrames(first), AppendedFrames(guide, 8, strength=0.7))))
    assert counts(own)["saved"] == WINDOW
    kept = video_state(first, 24.0).latent
    torch.testing.assert_close(own.states[0].latent[:, : kept.shape[1]], kept)


@pytest.mark.parametrize("solver", sorted(SOLVERS))
def test_every_solver_goes_on_where_steps_are_left_out(sample, solver):
    """res_2s asks twice a step and once where it ends; both of a step have its number."""
    own = sample(EVERYTHING, solver=solver)
    twice = 2 if solver == "res_2s" else 1
    found = counts(own)
    assert found["saved"] == WINDOW * twice
    assert found["of"] == STEPS * twice + (solver == "res_2s")
    assert all(torch.isfinite(state.latent).all() for state in own.states)
    assert_same(own, sample(EVERYTHING, solver=solver))


def test_guidance_that_changes_is_computed(sample):
    """Terms that hold down to 0.5: the step behind is made anew, however little moves."""
    early = replace(FULL, cfg_sigmas=(0.5, 1.0), stg_sigmas=(0.5, 1.0), modality_sigmas=(0.5, 1.0))
    own = sample(EVERYTHING, video=early, audio=early)
    assert counts(own)["saved"] == WINDOW - 1
    assert own.passes == EVERYTHING.first_steps * 4 + 1 + EVERYTHING.last_steps


def test_with_skip_step_each_leaves_out_its_own(sample):
    skipping = Guidance(skip_step=1)
    own = sample(EVERYTHING, video=skipping, audio=skipping)
    cache, skip = own.lossy
    assert (cache.kind, skip.kind) == ("step_cache", "skip_step")
    assert skip.counts == {"saved": STEPS // 2, "of": STEPS, "video": STEPS // 2, "audio": STEPS // 2}
    assert cache.counts["of"] == STEPS // 2
    assert own.passes == cache.counts["of"] - cache.counts["saved"]


def test_a_run_that_was_stopped_leaves_nothing_behind(sample):
    class Stop(Exception):
        pass

    def stop(done, total):
        if done == 8:
            raise Stop

    whole = sample(EVERYTHING)
    with pytest.raises(Stop):
        sample(EVERYTHING, on_step=stop)
    again = sample(EVERYTHING)
    assert_same(whole, again)
    assert counts(whole) == counts(again)


@pytest.mark.parametrize(
    ("caching", "steps", "note"),
    [(StepCaching(1.0, 1.0), 8, "few_steps"), (StepCaching(1.0, 1.0), 6, "no_steps"), (EVERYTHING, 16, None)],
)
def test_what_cannot_help_is_said(sample, caplog, caching, steps, note):
    own = sample(caching, sigmas=torch.linspace(1, 0, steps + 1))
    assert own.lossy[0].note == note
    lines = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(lines) == (note is not None)
    assert all(line.startswith("step_cache: ") for line in lines)


def test_a_change_is_that_of_generated_tokens_of_the_clip_that_changes_most():
    before = torch.ones(2, 4, 3)
    now = before.clone()
    now[0, 0] = 100.0  # kept
    now[0, 1] = 1.3
    now[1, 2] = 1.6
    mask = torch.ones(2, 4, 1, dtype=torch.bool)
    mask[:, 0] = False
    assert relative_change(now, before, mask) == pytest.approx(0.2)
    assert relative_change(before, before, mask) == 0


def test_nothing_is_left_out_once_a_prediction_is_not_finite():
    state = video_state(torch.zeros(1, 16, 2, 2, 4), 24.0)
    cache = StepCache(EVERYTHING, (state, None), 16)
    broken = torch.full_like(state.latent, torch.nan)
    hits = [cache.holds(step, None, lambda: (broken, None)) for step in range(16)]
    assert not any(hits)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"video": -0.1}, "the video threshold must be 0 .off. or more; got -0.1: try"),
        ({"audio": float("nan")}, "the audio threshold must be 0 .off. or more; got nan: try"),
        ({"first_steps": 0}, "first_steps must be 1 or more; got 0"),
        ({"last_steps": 0}, "last_steps must be 1 or more; got 0"),
    ],
)
def test_what_makes_no_sense_is_refused(values, message):
    with pytest.raises(LTX2Error, match=message):
        StepCaching(**{"video": 0.1, "audio": 0.1, **values})


def test_the_first_block_says_what_a_network_of_one_block_would(case, network):
    config = replace(network.config, num_layers=1)
    weights = {name: tensor for name, tensor in case.weights.items() if "transformer_blocks.1." not in name}
    shallow = build(lambda: Transformer(config), TRANSFORMER, InMemory(weights))
    states = states_of(*latents())
    prompt = Context(case.inputs["video_context"], case.inputs["audio_context"])
    found = []
    for one, options in ((network, {"num_blocks": 1}), (shallow, {})):
        streams = Denoiser(one, Prompts(prompt), states).streams
        with torch.no_grad():
            found.append(one(*(stream.inputs(stream.state.latent, 0.7, True) for stream in streams), **options))
    assert all(torch.equal(early, whole) for early, whole in zip(*found, strict=True))
