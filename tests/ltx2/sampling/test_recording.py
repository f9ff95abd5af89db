"""Replayed calls are plain calls: on a tape of operations, which is to the CPU what a CUDA graph is to a GPU."""

from __future__ import annotations

import weakref
from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ltx2.checkpoint.load import on_meta
from ltx2.errors import LTX2Error
from ltx2.guidance.guidance import NEUTRAL, Guidance
from ltx2.layers.attention_backends import AUTOMATIC as AUTOMATIC_ATTENTION
from ltx2.networks.transformer.model import Transformer
from ltx2.networks.transformer.passes import ISOLATED, Pass, Perturbation
from ltx2.placement import AUTOMATIC, DISK, RAM, RESIDENT, Placement
from ltx2.recording import check_graphs, check_recorded, record_calls
from ltx2.sampling.denoiser import Context, Denoiser, Prompts
from ltx2.sampling.sample import sample, start
from ltx2.sampling.solvers import euler
from ltx2.sampling.token_tiles import TokenTiling
from ltx2.tokens import audio_state, video_state

FULL = Guidance(cfg=3.0, stg=1.0, stg_blocks=frozenset({1}), modality=3.0, rescale=0.7)
SIGMAS = (1.0, 0.9, 0.75, 0.6, 0.4, 0.2, 0.0)
#: Name -> (guidance, plain calls, recordings, replays) of a run of six steps; the first replay of each is its trial.
RUNS = {
    "one pass": ((NEUTRAL, NEUTRAL), 1, 1, 6),
    "four passes": ((FULL, FULL), 1, 1, 6),
    # Four passes at the first four steps, three at the last two.
    "guidance in an interval": ((replace(FULL, cfg_sigmas=(0.5, 1.0)),) * 2, 2, 2, 6),
    # Both are predicted at the first, third and fifth step, audio alone at the others.
    "video every other step": ((replace(FULL, skip_step=1), FULL), 2, 2, 6),
}


class Operations(TorchDispatchMode):
    """Notes operations with what they were given and gave."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.found.append((func, args, kwargs or {}, result))
        return result


class Tape:
    """Records operations, and runs them again on the same memory: numbers that Python had then stay what they were."""

    made = ()

    def __init__(self, device):
        assert device == torch.device("cpu")
        self.recordings, self.replays = 0, 0
        type(self).made = (*self.made, weakref.ref(self))

    def record(self, work):
        self.recordings += 1
        with Operations() as operations:
            found = work()
        for each in tree_leaves(found):
            each.fill_(torch.nan)  # nothing is computed while a GPU records

        def replay():
            self.replays += 1
            for func, args, kwargs, result in operations.found:
                again = func(*args, **kwargs)
                for old, new in zip(tree_leaves(result), tree_leaves(again), strict=True):
                    if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                        old.copy_(new)

        return found, replay


@pytest.fixture(scope="module", params=["end_to_end_20", "end_to_end_23"])
def case(request, golden):
    return golden(request.param)


@pytest.fixture
def tapes():
    Tape.made = ()
    yield lambda: [tape() for tape in Tape.made]
    Tape.made = ()


@pytest.fixture
def recorded(network):
    """`recorded(recorder)` is the network, its calls recorded with it."""

    def put(recorder):
        record_calls(network, recorder)
        return network

    yield put
    network.recorder = None


@pytest.fixture
def plain_calls(network):
    """How often the network itself has run."""
    made = []
    handle = network.register_forward_hook(lambda *_: made.append(1))
    yield lambda: len(made)
    handle.remove()


def states_of(case, *, first_frame):
    mask = None
    if first_frame:
        mask = torch.ones(1, 1, 3, 1, 1)
        mask[:, :, 0] = 0.2
    states = (video_state(torch.zeros(1, 16, 3, 2, 4), 24.0, mask), audio_state(torch.zeros(1, 3, 7, 4)))
    return start(states, (case.inputs["video_noise"], case.inputs["audio_noise"]), 1.0)


def denoiser(case, network, guidance=(NEUTRAL, NEUTRAL), *, first_frame=False, device=None, **options):
    positive = Context(case.inputs["video_context"], case.inputs["audio_context"])
    negative = Context(case.inputs["video_negative_context"], case.inputs["audio_negative_context"])
    states = states_of(case, first_frame=first_frame)
    return Denoiser(network, Prompts(positive, negative, *guidance, **options), states, device=device), states


@torch.no_grad()
def run(case, network, guidance, **options):
    made, states = denoiser(case, network, guidance, **options)
    return [state.latent for state in sample(made, states, torch.tensor(SIGMAS), euler)], made


@pytest.mark.parametrize("first_frame", [False, True], ids=["one level", "two levels"])
@pytest.mark.parametrize("kind", RUNS)
def test_runs(case, network, recorded, plain_calls, tapes, kind, first_frame):
    guidance, plain, recordings, replays = RUNS[kind]
    expected, _ = run(case, network, guidance, first_frame=first_frame)
    before = plain_calls()
    found, made = run(case, recorded(Tape), guidance, first_frame=first_frame)
    assert all(map(torch.equal, found, expected))
    (tape,) = tapes()
    assert (tape.recordings, tape.replays) == (recordings, replays)
    assert plain_calls() - before == plain + recordings
    # What was recorded lives as long as what calls it, and no longer.
    del made, tape
    assert tapes() == [None]


def test_other_runs_are_other_calls(case, recorded, plain_calls, tapes):
    """Same sizes, other tables: addresses are not theirs."""
    network = recorded(Tape)
    for count in (1, 2):
        run(case, network, (FULL, FULL))
        assert plain_calls() == 2 * count


@torch.no_grad()
def test_a_call_needs_nothing_of_the_host(case, network, monkeypatch):
    """A graph holds what runs on the device: no number may be read back, and behind the first call nothing brought."""
    network = on_meta(lambda: Transformer(network.config))
    made, states = denoiser(case, network, (FULL, FULL), first_frame=True, device=torch.device("meta"))
    left_out = Perturbation(*[frozenset({1})] * 2)
    passes = (Pass(), Pass((1, 1)), Pass(perturbation=left_out), Pass(perturbation=ISOLATED))
    given = made._inputs(made.streams, [state.latent for state in states], 0.5, (True, True))
    network(*given, passes)
    monkeypatch.setattr(torch, "tensor", None)  # which no operation shows
    with Operations() as operations:
        network(*given, passes)
    assert any(func is torch.ops.aten.addmm.default for func, *_ in operations.found)
    tensors = [each for one in operations.found for each in tree_leaves(one[1:]) if isinstance(each, torch.Tensor)]
    assert not [each for each in tensors if each.dim() and not each.is_meta]
    assert not [func for func, *_ in operations.found if "_local_scalar_dense" in str(func)]


class Failing:
    """Cannot record."""

    def __init__(self, error):
        self.error = error

    def record(self, work):
        raise self.error


def test_what_cannot_be_recorded_is_said(case, recorded):
    error = RuntimeError("operation not permitted when stream is capturing")
    with pytest.raises(LTX2Error, match="recorded as a CUDA graph: operation not permitted .*; disable LTX-2 CUDA Gr"):
        run(case, recorded(lambda _: Failing(error)), (NEUTRAL, NEUTRAL))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
    ],
)
def test_memory_that_runs_out_stays_what_hosts_know(case, recorded, error):
    with pytest.raises(RuntimeError) as raised:
        run(case, recorded(lambda _: Failing(error)), (NEUTRAL, NEUTRAL))
    assert raised.value is error


@pytest.mark.parametrize("wrong", [float("nan"), 0.0])
def test_a_recording_that_computes_something_else_is_not_used(case, recorded, wrong):
    """As where kernels run on another stream, or on another device: without an error of CUDA."""

    class Empty:
        def record(self, work):
            found = work()
            return [each.fill_(wrong) for each in found], lambda: None

    with pytest.raises(LTX2Error, match="must give what it has recorded; .*: disable LTX-2 CUDA Graphs"):
        run(case, recorded(lambda _: Empty()), (NEUTRAL, NEUTRAL))


def test_weights_elsewhere_are_refused(case, recorded):
    network = recorded(Tape)
    layer = network.blocks[1].video.feed_forward.linear_in
    weight = layer._parameters["weight"]
    layer._parameters["weight"] = torch.nn.Parameter(weight.to("meta"), requires_grad=False)
    try:
        with pytest.raises(LTX2Error, match="all weights on cpu; 1 are not, blocks.1.video.feed_forward.linear_in"):
            denoiser(case, network)
    finally:
        layer._parameters["weight"] = weight


def test_tiles_are_refused(case, recorded):
    with pytest.raises(LTX2Error, match="the whole clip in one call; got token tiles"):
        denoiser(case, recorded(Tape), tiling=TokenTiling(columns=2, overlap=32))


def test_placements_that_move_weights_are_refused():
    for mode in (RAM, DISK, AUTOMATIC):
        with pytest.raises(LTX2Error, match=f"the placement '{mode}': choose '{RESIDENT}'"):
            check_recorded(Placement(mode), AUTOMATIC_ATTENTION)
    check_recorded(Placement(RESIDENT), "torch flash")
    check_recorded(None, AUTOMATIC_ATTENTION)


def test_attention_on_a_stream_of_its_own_is_refused():
    with pytest.raises(LTX2Error, match="attention that can be recorded; got SageAttention: choose one of automatic, "):
        check_recorded(None, "SageAttention")


def test_devices_without_graphs_are_refused():
    with pytest.raises(LTX2Error, match="a device that torch calls cuda; got cpu: disable LTX-2 CUDA Graphs"):
        check_graphs(torch.device("cpu"))
