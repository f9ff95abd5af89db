"""CUDA graphs: a forward call of the transformer is recorded once and then replayed, without Python between kernels.

A run calls its transformer with the same tensors but for the latents and their noise levels. A kind of call is what
else there is of it, by identity: its first call runs plainly; the second is recorded, and must give what the first gave
before it is replayed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import cache
from typing import Any, Protocol

import torch
from torch import Tensor

from .errors import OUT_OF_MEMORY, LTX2Error
from .layers.attention_backends import BACKENDS
from .networks.transformer.inputs import StreamInput
from .networks.transformer.model import Transformer
from .placement import RESIDENT, Placement

Streams = tuple[StreamInput | None, ...]
Velocities = tuple[Tensor | None, ...]
#: What is another one at each step. All else of a StreamInput stays what it is for as long as a run takes.
_CHANGING = ("latent", "sigma", "levels")
_CURE = "disable LTX-2 CUDA Graphs"
#: Of what a call gives, by its size: kernels may be chosen otherwise while a GPU records.
_LARGEST_ERROR = 1e-2


class Recorder(Protocol):
    """Turns calls into what repeats them; one for a run, so that what it recorded shares its memory."""

    def record(self, work: Callable[[], Velocities]) -> tuple[Velocities, Callable[[], None]]:
        """What `work` returns, and what fills that anew from what is then in the memory that `work` read."""
        ...


class CudaRecorder:
    """Records CUDA graphs on one device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._pool: Any = None

    def record(self, work: Callable[[], Velocities]) -> tuple[Velocities, Callable[[], None]]:
        graph, found = torch.cuda.CUDAGraph(), []
        problem: BaseException | None = None
        # Where a recording fails, torch stays on its stream: the outer `stream` goes back.
        with torch.cuda.device(self._device), torch.cuda.stream(torch.cuda.current_stream(self._device)):
            try:
                # Other threads may use the device meanwhile: a host that shows previews, say.
                with torch.cuda.graph(graph, self._pool, _stream(self._device), capture_error_mode="thread_local"):
                    try:
                        found.extend(work())
                    except BaseException as error:
                        problem = error
                        raise
            except RuntimeError:
                # The end of a recording fails too where work has, and would hide why, or that the user has cancelled.
                if problem is not None:
                    raise problem from None
                raise
            finally:
                problem = None  # else it and this frame would keep each other, and what the work has in hand
        self._pool = graph.pool()
        return tuple(found), graph.replay


@cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """One for all recordings: each stream gets memory of its own for cuBLAS."""
    return torch.cuda.Stream(device)


def record_calls(transformer: Transformer, recorder: Callable[[torch.device], Recorder] = CudaRecorder) -> None:
    """Let every run record its calls of this transformer."""
    transformer.recorder = recorder


def as_called(transformer: Transformer, device: torch.device, *, in_tiles: bool) -> Callable[..., Velocities]:
    """The transformer as one run on `device` calls it: recorded, where `record_calls` has said so.

    Raises:
        LTX2Error: it is called for tiles, each of which is another kind of call, or weights are elsewhere.
    """
    if transformer.recorder is None:
        return transformer
    if in_tiles:
        raise LTX2Error(f"CUDA graphs must have the whole clip in one call; got token tiles: {_CURE}, or the tiles")
    device = torch.empty(0, device=device).device  # with its number
    named = [*transformer.named_parameters(), *transformer.named_buffers()]
    beside = [name for name, tensor in named if tensor.device != device]
    if beside:
        # They would come for each use, and lie elsewhere when that is replayed.
        raise LTX2Error(
            f"CUDA graphs must have all weights on {device}; {len(beside)} are not, {beside[0]} among them: choose a "
            f"smaller file or precision, free memory, or {_CURE}"
        )
    return RecordedTransformer(transformer, transformer.recorder(device))


class RecordedTransformer:
    """Calls a transformer as a run does, and records that. Holds what it recorded: its life is that of a run."""

    def __init__(self, transformer: Transformer, recorder: Recorder) -> None:
        self._transformer, self._recorder = transformer, recorder
        self._calls: dict[tuple[object, ...], _Call] = {}

    def __call__(self, video: StreamInput | None, audio: StreamInput | None, *rest: Any, **options: Any) -> Velocities:
        """As the transformer itself."""
        streams = (video, audio)
        kind = (*map(_constants, streams), rest, tuple(options.items()))
        if kind not in self._calls:
            transformer = self._transformer  # and not self: a cycle would keep recordings beyond the run
            self._calls[kind] = _Call(streams, lambda given: transformer(*given, *rest, **options))
            return self._calls[kind].first
        return self._calls[kind].repeated(streams, self._recorder)


class _Call:
    """Calls of one kind. It keeps all that they have in common, or others could come to have its identity."""

    def __init__(self, streams: Streams, call: Callable[[Streams], Velocities]) -> None:
        self._streams, self._call = streams, call
        self.first = call(streams)
        self._found: Velocities = ()
        self._replay: Callable[[], None] | None = None

    def repeated(self, streams: Streams, recorder: Recorder) -> Velocities:
        """The same with what has changed."""
        replay = self._replay or self._recorded(recorder)
        for own, given in zip(self._streams, streams, strict=True):
            for to, new in zip(_changing(own), _changing(given), strict=True):
                to.copy_(new)
        replay()
        # The next replay writes where this one did.
        return tuple(None if each is None else each.clone() for each in self._found)

    def _recorded(self, recorder: Recorder) -> Callable[[], None]:
        self._streams = tuple(map(_with_own_memory, self._streams))
        try:
            self._found, self._replay = recorder.record(lambda: self._call(self._streams))
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError) or any(word in str(error) for word in OUT_OF_MEMORY):
                raise
            raise LTX2Error(f"this call cannot be recorded as a CUDA graph: {error}; {_CURE} and restart") from error
        self._replay()
        if not all(map(_is_near, self._found, self.first)):
            raise LTX2Error(
                "a CUDA graph must give what it has recorded; this one gives something else, so a kernel of this "
                f"machine cannot be recorded: {_CURE}"
            )
        self.first = ()
        return self._replay


def _is_near(found: Tensor | None, expected: Tensor | None) -> bool:
    if found is None or expected is None:
        return found is expected
    # Not a number is near to nothing.
    return bool((found - expected).float().norm() <= _LARGEST_ERROR * expected.float().norm())


def _constants(stream: StreamInput | None) -> tuple[object, ...]:
    """By identity, all of a stream that a recording reads where it is; and the form of what changes."""
    if stream is None:
        return ()
    constant = [id(getattr(stream, each.name)) for each in fields(stream) if each.name not in _CHANGING]
    return (*constant, id(stream.levels.spans), *((one.shape, one.dtype, one.device) for one in _changing(stream)))


def _changing(stream: StreamInput | None) -> Sequence[Tensor]:
    return () if stream is None else (stream.latent, stream.sigma, stream.levels.values)


def _with_own_memory(stream: StreamInput | None) -> StreamInput | None:
    if stream is None:
        return None
    latent, sigma, values = (each.clone() for each in _changing(stream))
    return replace(stream, latent=latent, sigma=sigma, levels=replace(stream.levels, values=values))


def check_recorded(placement: Placement | None, attention: str) -> None:
    """Raise LTX2Error where calls of a transformer that is placed so, with this attention, cannot be recorded."""
    reason = None
    if placement is not None and placement.mode != RESIDENT:
        reason = f"blocks that stay on the device; got the placement '{placement.mode}': choose '{RESIDENT}'"
    elif not BACKENDS[attention].is_recordable:
        others = ", ".join(name for name, row in BACKENDS.items() if row.is_recordable)
        reason = f"attention that can be recorded; got {attention}: choose one of {others}"
    if reason:
        raise LTX2Error(f"CUDA graphs must have {reason}, or {_CURE}")


def check_graphs(device: torch.device) -> None:
    """Raise LTX2Error where `device` knows no CUDA graphs."""
    if device.type != "cuda":
        raise LTX2Error(f"CUDA graphs must have a device that torch calls cuda; got {device.type}: {_CURE}")
