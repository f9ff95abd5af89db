"""A step's predictions: which calls it makes, what it reuses, what holds at which noise level, how memory decides."""

from dataclasses import replace

import pytest
import torch

from ltx2.guidance.guidance import FOLLOWING, NEUTRAL, Guidance, GuidanceTable
from ltx2.runtime.estimates import forward_bytes
from ltx2.sampling.denoiser import Context, Denoiser, Prompts
from ltx2.sampling.memory import USED_SHARE, pass_bytes
from ltx2.sampling.res_2s import res_2s
from ltx2.sampling.sample import sample, start
from ltx2.sampling.solvers import Injection, euler, euler_cfg_pp
from ltx2.tokens import audio_state, video_state

FULL = Guidance(cfg=3.0, stg=1.0, stg_blocks=frozenset({1}), modality=3.0, rescale=0.7)
LATENTS = ((1, 16, 3, 2, 4), (1, 3, 7, 4))


@pytest.fixture(scope="module", params=["end_to_end_20", "end_to_end_23"])
def case(request, golden):
    return golden(request.param)


@pytest.fixture
def calls(network):
    """Per call of the transformer: the number of passes, and which streams were updated."""
    made = []

    def note(module, given, output):
        video, audio, passes, _ = given
        made.append((len(passes), tuple(bool(one and one.is_updated) for one in (video, audio))))

    handle = network.register_forward_hook(note)
    yield made
    handle.remove()


def denoiser(
    case, network, video=NEUTRAL, audio=NEUTRAL, *, frozen=None, batch=1, free_memory=None, has_negative=True, **options
):
    shapes = [(batch, *shape[1:]) for shape in LATENTS]
    masks = [torch.zeros(1) if frozen == name else None for name in ("video", "audio")]
    states = (video_state(torch.zeros(shapes[0]), 24.0, masks[0]), audio_state(torch.zeros(shapes[1]), masks[1]))
    noise = (case.inputs["video_noise"].expand(batch, -1, -1), case.inputs["audio_noise"].expand(batch, -1, -1))
    states = start(states, noise, 1.0)
    prompts = prompts_of(case, video, audio, has_negative=has_negative, **options)
    return Denoiser(network, prompts, states, free_memory=free_memory), states


def prompts_of(case, video=NEUTRAL, audio=NEUTRAL, *, has_negative=True, **options):
    positive = Context(case.inputs["video_context"], case.inputs["audio_context"])
    negative = Context(case.inputs["video_negative_context"], case.inputs["audio_negative_context"])
    return Prompts(positive, negative if has_negative else None, video, audio, **options)


def quiet_res_2s(denoise, x, sigmas, injection):
    """res_2s that injects nothing."""
    silence = Injection(lambda kind, step: tuple(map(torch.zeros_like, x)), injection.blend)
    return res_2s(denoise, x, sigmas, silence)


def latents(states):
    return tuple(state.latent for state in states)


@torch.no_grad()
def run(case, network, *guidance, sigmas=(1.0, 0.9, 0.6, 0.3, 0.0), solver=euler, **options):
    made, states = denoiser(case, network, *guidance, **options)
    return sample(made, states, torch.tensor(sigmas), solver)


def test_a_distilled_step_is_one_call_of_one_pass(case, network, calls):
    run(case, network)
    assert calls == [(1, (True, True))] * 4


def test_a_guided_step_is_one_call(case, network, calls):
    run(case, network, FULL, FULL)
    assert calls == [(4, (True, True))] * 4


def test_skipped_steps_update_nothing_of_that_modality(case, network, calls):
    """Video is predicted at steps 0 and 2, audio at 0 and 3; where both are skipped, nothing is called."""
    run(case, network, replace(FULL, skip_step=1), replace(FULL, skip_step=2), sigmas=(1.0, 0.9, 0.8, 0.5, 0.3, 0.0))
    assert calls == [(4, (True, True)), (4, (True, False)), (4, (False, True)), (4, (True, False))]


def test_both_predictions_of_a_res_2s_step_are_skipped_together(case, network, calls):
    """Steps 1 and 3 are: what is called is two predictions each of steps 0 and 2, and none where the run ends."""
    skipping = replace(FULL, skip_step=1)
    results = run(case, network, skipping, skipping, solver=quiet_res_2s)
    assert calls == [(4, (True, True))] * 4
    assert all(torch.isfinite(state.latent).all() for state in results)


@pytest.mark.parametrize("guided", ["video", "audio"])
def test_stg_works_on_every_release(case, network, guided):
    """Defect N4: with the release's own block it changes what it guides, for one more pass."""
    scales = {"video": NEUTRAL, "audio": NEUTRAL, guided: Guidance(stg=1.0).fitted(network.config)}
    plain, steady = run(case, network), run(case, network, **scales)
    number = ("video", "audio").index(guided)
    assert (plain[number].latent - steady[number].latent).abs().max() > 1e-3


def test_a_negative_prompt_that_no_noise_level_reads_is_not_missed(case, network):
    """The row holds from 0.9 up, and its cfg from 0.5 down: never."""
    never = GuidanceTable(((0.9, Guidance(cfg=3.0, cfg_sigmas=(0.0, 0.5))), (0.0, NEUTRAL)))
    for own, other in zip(run(case, network, never, never, has_negative=False), run(case, network), strict=True):
        assert torch.equal(own.latent, other.latent)


def test_a_skipped_modality_has_its_last_prediction_again(case, network):
    made, states = denoiser(case, network, replace(FULL, skip_step=1), FULL)
    with torch.no_grad():
        first = made(latents(states), 1.0, 0)
        second = made(latents(states), 0.9, 1)
        third = made(latents(states), 0.6, 2)
    for kind in ("x0", "uncond"):
        one, two, three = (getattr(prediction, kind) for prediction in (first, second, third))
        assert torch.equal(one[0], two[0])
        assert not torch.equal(one[1], two[1])
        assert not torch.equal(one[0], three[0])


def test_terms_of_a_skipped_modality_ask_for_no_pass(case, network, calls):
    run(case, network, replace(FULL, skip_step=10), NEUTRAL)
    assert [count for count, _ in calls] == [4, 1, 1, 1]


def test_a_frozen_modality_asks_for_no_pass_and_stays(case, network, calls):
    results = run(case, network, NEUTRAL, FULL, frozen="audio")
    assert [count for count, _ in calls] == [1, 1, 1, 1]
    assert torch.equal(results[1].latent, torch.zeros_like(results[1].latent))


def test_terms_hold_in_their_intervals_only(case, network, calls):
    early = replace(FULL, cfg_sigmas=(0.9, 1.0), stg_sigmas=(0.6, 1.0), modality_sigmas=(0.3, 0.3))
    run(case, network, early, early)
    assert [count for count, _ in calls] == [3, 3, 2, 2]


@pytest.mark.parametrize("name", ["cfg", "stg", "modality", "rescale", "skip_step", "eta", "momentum"])
def test_an_explicit_zero_for_audio_is_sampled_as_zero(case, network, name):
    """Defect 4, to the bit: 0 is 0, and what is not said is the video's."""
    video = replace(FULL, skip_step=1, method="apg", eta=0.5, momentum=-0.5)
    options = {"sigmas": (1.0, 0.8, 0.5, 0.2)}
    zero = run(case, network, video, replace(FOLLOWING, **{name: 0}), **options)
    said = run(case, network, video, replace(video, **{name: 0}), **options)
    follows = run(case, network, video, FOLLOWING, **options)
    assert all(torch.equal(one.latent, other.latent) for one, other in zip(zero, said, strict=True))
    assert not torch.equal(zero[1].latent, follows[1].latent)


def test_tables_choose_the_guidance_of_a_step(case, network, calls):
    table = GuidanceTable(((0.9, FULL), (0.6, Guidance(cfg=3.0)), (0.0, NEUTRAL)))
    run(case, network, table, table)
    assert [count for count, _ in calls] == [4, 4, 2, 1]


def test_uncond_is_of_each_modalitys_own_guidance(case, network):
    """CFG++ goes by it: where a modality has no cfg, at this sigma, it is the conditional prediction."""
    made, states = denoiser(case, network, replace(FULL, cfg_sigmas=(0.9, 1.0)), Guidance())
    with torch.no_grad():
        inside, outside = made(latents(states), 0.95), made(latents(states), 0.5)
        plain = {sigma: denoiser(case, network)[0](latents(states), sigma) for sigma in (0.95, 0.5)}
    assert not torch.allclose(inside.uncond[0], plain[0.95].x0[0], atol=1e-4)
    torch.testing.assert_close(inside.uncond[1], plain[0.95].x0[1], atol=1e-5, rtol=0)
    torch.testing.assert_close(outside.uncond[0], plain[0.5].x0[0], atol=1e-5, rtol=0)


def test_cfg_pp_without_cfg_is_euler(case, network):
    for own, other in zip(run(case, network, solver=euler_cfg_pp), run(case, network), strict=True):
        torch.testing.assert_close(own.latent, other.latent, atol=1e-5, rtol=0)
    skipping = Guidance(cfg=3.0, skip_step=1)
    results = run(case, network, skipping, skipping, solver=euler_cfg_pp)
    assert all(torch.isfinite(state.latent).all() for state in results)


def test_momentum_lives_as_long_as_a_run(case, network):
    projected = Guidance(cfg=4.0, method="apg", eta=0.6, norm_threshold=5.0, momentum=-0.5)
    once, again = (run(case, network, projected, projected) for _ in range(2))
    without = run(case, network, replace(projected, momentum=1e-9), replace(projected, momentum=1e-9))
    assert torch.equal(once[0].latent, again[0].latent)
    assert not torch.allclose(once[0].latent, without[0].latent, atol=1e-4)


@pytest.mark.parametrize("passes_per_forward", [1, 2, 3, 4])
def test_how_many_passes_run_together_changes_nothing(case, network, passes_per_forward):
    options = {"sigmas": (1.0, 0.5), "batch": 2}
    apart = run(case, network, FULL, FULL, passes_per_forward=passes_per_forward, **options)
    for own, other in zip(apart, run(case, network, FULL, FULL, **options), strict=True):
        torch.testing.assert_close(own.latent, other.latent, atol=1e-4, rtol=0)


@pytest.mark.parametrize("method", ["cfg", "cfg_star", "apg"])
def test_a_clip_of_a_batch_is_guided_as_it_is_alone(case, network, method):
    guidance = replace(FULL, method=method, eta=0.5, norm_threshold=20.0, momentum=-0.5)
    both, states = denoiser(case, network, guidance, guidance, batch=2)
    x = tuple(latent * torch.tensor([1.0, 0.5])[:, None, None] for latent in latents(states))
    with torch.no_grad():
        pair = [both(x, sigma, step).x0 for step, sigma in enumerate((0.9, 0.5))]
        for clip in range(2):
            alone, _ = denoiser(case, network, guidance, guidance)
            for step, sigma in enumerate((0.9, 0.5)):
                single = alone(tuple(latent[clip : clip + 1] for latent in x), sigma, step).x0
                for together, one in zip(pair[step], single, strict=True):
                    torch.testing.assert_close(together[clip : clip + 1], one, atol=1e-4, rtol=0)


def test_memory_says_how_many_passes_run_together_and_whether_text_is_kept(case, network):
    plenty, _ = denoiser(case, network, FULL, FULL)
    keeps = not network.follows_sigma_in_text
    assert (plenty.forward.passes, plenty.forward.at_once, plenty.forward.prompts) == (4, 4, 2)
    for at_once in (1, 2, 3, 4):
        given = replace(plenty.forward, at_once=at_once, keeps_text=keeps)
        free = int(forward_bytes(network.config, given, torch.float32) / USED_SHARE) + 1
        made, _ = denoiser(case, network, FULL, FULL, free_memory=free)
        assert made.forward == given
        assert (made.streams[0].text is not None) == keeps
    none, _ = denoiser(case, network, FULL, FULL, free_memory=0)
    assert none.forward == replace(plenty.forward, at_once=1, keeps_text=False)
    assert denoiser(case, network, free_memory=0, passes_per_forward=4)[0].forward.at_once == 1
    assert denoiser(case, network, FULL, FULL, free_memory=0, passes_per_forward=4)[0].forward.at_once == 4


def test_room_is_asked_for_what_runs_at_the_least(case, network):
    made, states = denoiser(case, network, FULL, FULL, free_memory=0)
    prompts = prompts_of(case, FULL, FULL)
    assert pass_bytes(network.config, states, torch.float32, prompts) == forward_bytes(
        network.config, made.forward, torch.float32
    )
    together = pass_bytes(network.config, states, torch.float32, replace(prompts, passes_per_forward=4))
    assert together > pass_bytes(network.config, states, torch.float32, prompts)
    assert pass_bytes(network.config, states, torch.float32) < together


def test_fixed_text_is_made_once_a_run(case, network):
    made = []
    layer = network.blocks[0].video.text_attention.to_k
    handle = layer.register_forward_hook(lambda *_: made.append(1))
    run(case, network, FULL, FULL)
    handle.remove()
    assert len(made) == (2 * 4 if network.follows_sigma_in_text else 2)
