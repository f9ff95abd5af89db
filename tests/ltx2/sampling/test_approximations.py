"""What a run tells of what it left out: steps that guidance skips, terms that hold at some noise levels only."""

from dataclasses import replace

import pytest
import torch

from ltx2.conditioning.strengths import AttentionStrengths
from ltx2.guidance.guidance import FOLLOWING, NEUTRAL, Guidance, GuidanceTable
from ltx2.latents import Clip, states_of
from ltx2.layers.attention_backends import AUTOMATIC, BACKENDS, Backend, use_attention
from ltx2.sampling.approximations import FEW_STEPS, approximations
from ltx2.sampling.denoiser import Context, Denoiser, Prompts
from ltx2.sampling.run import run
from ltx2.sampling.table import SOLVERS

FULL = Guidance(cfg=3.0, stg=1.0, stg_blocks=frozenset({1}), modality=3.0)
SIGMAS = torch.tensor([1.0, 0.75, 0.5, 0.25, 0.0])
LATENTS = (
    {"samples": torch.zeros(1, 16, 2, 2, 4), "ltx2": Clip(24.0)},
    {"samples": torch.zeros(1, 3, 9, 4), "ltx2": Clip(24.0)},
)


@pytest.fixture(scope="module")
def case(golden):
    return golden("end_to_end_23")


@pytest.fixture
def told(case, network):
    """`told(video, audio, ...)` is (what is approximate in a run, how many passes it took)."""
    prompt = Context(case.inputs["video_context"], case.inputs["audio_context"])

    def told(video=NEUTRAL, audio=NEUTRAL, *, given=LATENTS, sigmas=SIGMAS, solver="euler"):
        settings = {"device": torch.device("cpu"), "dtype": torch.float32}
        prompts = Prompts(prompt, prompt, video, audio)
        done = run(network, prompts, states_of(*given), given, sigmas, SOLVERS[solver], 3, **settings)
        return done.lossy, done.passes

    return told


@pytest.mark.parametrize("guidance", [NEUTRAL, FULL])
def test_an_exact_run_has_nothing_to_tell(told, caplog, guidance):
    assert told(guidance, guidance)[0] == ()
    assert caplog.messages == []


@pytest.mark.parametrize("solver", ["euler", "res_2s"])
def test_steps_that_guidance_skips_are_counted(told, caplog, solver):
    (skipped,), passes = told(Guidance(skip_step=1), Guidance(skip_step=2), solver=solver)
    assert skipped.kind == "skip_step"
    assert skipped.counts == {"saved": 1, "of": 4, "video": 2, "audio": 2}, "video at 1 and 3, audio at 1 and 2"
    assert passes == 3 * (2 if solver == "res_2s" else 1) + (solver == "res_2s")
    assert skipped.note == "few_steps"
    (line,) = caplog.messages
    assert line.startswith(f"skip_step: it needs {FEW_STEPS} steps or more")


def test_enough_steps_are_no_reason_to_warn(told, caplog):
    (skipped,), passes = told(Guidance(skip_step=1), FOLLOWING, sigmas=torch.linspace(1, 0, FEW_STEPS + 1))
    assert (skipped.note, passes, caplog.messages) == (None, FEW_STEPS // 2, [])


def test_one_modality_alone_is_counted_alone(told):
    (skipped,), _ = told(NEUTRAL, Guidance(skip_step=1), given=(None, LATENTS[1]))
    assert skipped.counts == {"saved": 2, "of": 4, "video": None, "audio": 2}
    assert told(Guidance(skip_step=1), NEUTRAL, given=(None, LATENTS[1]))[0] == ()


def test_passes_that_intervals_save_are_counted(told):
    """cfg holds at two of four steps, stg at one."""
    early = replace(FULL, cfg_sigmas=(0.75, 1.0), stg_sigmas=(1.0, 1.0))
    (interval,), passes = told(early, FOLLOWING)
    assert (interval.kind, interval.note) == ("guidance_interval", None)
    assert interval.counts == {"saved": 5, "of": 16}
    assert passes == 11
    assert str(interval) == "guidance_interval 5 of 16"


def test_a_term_that_never_holds_is_told(told, caplog):
    (interval,), passes = told(replace(FULL, stg_sigmas=(0.3, 0.4)), NEUTRAL)
    assert (interval.note, passes) == ("never", 12)
    (line,) = caplog.messages
    assert line.startswith("guidance_interval: a term of guidance holds at no noise level of this run: widen")
    (neutral,), _ = told(replace(FULL, stg=0.0, stg_sigmas=(0.3, 0.4)), NEUTRAL)
    assert (neutral.note, neutral.counts["saved"]) == (None, 0), "a term at neutral is missed by nobody"


def test_intervals_of_a_table_count_where_its_rows_hold(told):
    table = GuidanceTable(((0.6, FULL), (0.0, replace(FULL, cfg_sigmas=(0.5, 1.0)))))
    (interval,), passes = told(table, FOLLOWING)
    assert (interval.counts["saved"], passes) == (1, 15)


@pytest.fixture
def chosen(network):
    """`chosen(name)` is the network with this attention, until the test ends."""

    def chosen(name):
        use_attention(network, name)
        return network

    yield chosen
    use_attention(network, AUTOMATIC)


@pytest.mark.parametrize("name", BACKENDS)
def test_attention_is_told_where_it_computes_in_fewer_bits(case, chosen, name):
    prompts = Prompts(Context(case.inputs["video_context"], case.inputs["audio_context"]))
    denoiser = Denoiser(chosen(name), prompts, states_of(*LATENTS))
    kinds = [one.kind for one in approximations(denoiser, prompts, SIGMAS)]
    assert kinds == (["low_bit_attention"] if name == "SageAttention" else [])


def test_layers_of_attention_in_fewer_bits_are_counted(told, chosen, monkeypatch):
    def rounded(query, key, value):
        return BACKENDS[AUTOMATIC].attend(*(part.bfloat16() for part in (query, key, value))).to(query)

    monkeypatch.setitem(BACKENDS, "rounded", Backend("in bf16", rounded, lambda *_: None, is_lossy=True))
    network = chosen("rounded")
    use_attention(network.blocks[0], AUTOMATIC)
    (attention,), passes = told()
    assert (attention.kind, attention.note, passes) == ("low_bit_attention", None, 4)
    each = attention.counts["of"] // len(network.blocks)
    assert each * len(network.blocks) == attention.counts["of"]
    assert attention.counts["layers"] == attention.counts["of"] - each
    assert str(attention) == f"low_bit_attention {attention.counts['layers']} of {attention.counts['of']}"


def test_layers_with_a_bias_are_not_counted(case, chosen):
    """Their kernel takes none, so torch's own runs there."""
    prompts = Prompts(Context(case.inputs["video_context"], case.inputs["audio_context"]))
    video, audio = states_of(*LATENTS)
    network, counts = chosen("SageAttention"), []
    for state in (video, replace(video, attention=AttentionStrengths.of(video))):
        (attention,) = approximations(Denoiser(network, prompts, (state, audio)), prompts, SIGMAS)
        counts.append(attention.counts["layers"])
    assert counts[0] - counts[1] == len(network.blocks)
