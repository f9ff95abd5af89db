"""A GPU for tests where there is none: tensors "on" it compute on the CPU, and what a GPU would not do is an error.

torch takes it for `cuda:0`. An operation on tensors of two devices fails, as it would there. Where the host has to wait
for results is noted, for that is what makes GPUs idle. Streams run nothing beside each other, but what they do must be
in an order that events and waits guarantee: two that touch the same bytes with nothing between them are a race.
"""

from __future__ import annotations

import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("cuda", 0)
_ROOT = Path(__file__).resolve().parent.parent
_PACK = tuple(str(_ROOT / part) for part in ("ltx2", "nodes"))
_ops = torch.ops.aten
_COPIES_INTO = {_ops.copy_.default, torch.Tensor.copy_}
_COPIES = {_ops._to_copy.default} | _COPIES_INTO
_WAITS = {_ops._local_scalar_dense.default, _ops.equal.default, _ops.allclose.default, _ops.nonzero.default}
_WAITS |= {_ops.masked_select.default, _ops._unique2.default, _ops.repeat_interleave.Tensor}
#: These ask for CUDA itself before they reach an operation.
_functional = torch.nn.functional
_INDEXED = {torch.Tensor.__getitem__, torch.Tensor.__setitem__}
_WRITES = {torch.Tensor.__setitem__, torch.Tensor.copy_}
_WHOLE = {getattr(_functional, f"conv{kind}{n}d") for kind in ("", "_transpose") for n in (1, 2, 3)}
_WHOLE |= {_functional.scaled_dot_product_attention} | _INDEXED | _WRITES
_MADE_FROM_DATA = {torch.tensor, torch.as_tensor}

Moment = dict[object, int]


class Order:
    """Vector clocks of streams and threads of the host, and who touched which storage last."""

    def __init__(self) -> None:
        self._known: dict[object, Moment] = defaultdict(dict)
        self._written: dict[int, tuple[object, int]] = {}
        self._read: dict[int, Moment] = defaultdict(dict)
        self._lock = threading.RLock()

    def moment(self, agent: object) -> Moment:
        """All that has happened before what `agent` does next."""
        with self._lock:
            return dict(self._known[agent])

    def learn(self, agent: object, moment: Moment) -> None:
        """What `agent` does next comes behind `moment`."""
        with self._lock:
            known = self._known[agent]
            for other, count in moment.items():
                known[other] = max(known.get(other, 0), count)

    def touch(self, agent: object, what: str, *, reads: set[int], writes: set[int], fresh: set[int]) -> None:
        """`agent` reads and writes these storages; `fresh` ones are allocated by it, and nobody has touched them.

        Raises:
            AssertionError: another one touched one of them, and nothing says that it was before.
        """
        with self._lock:
            known = self._known[agent]
            known[agent] = known.get(agent, 0) + 1
            for storage in fresh:
                self._read.pop(storage, None)
                self._written.pop(storage, None)
            for storage in reads | writes:
                others = [self._written[storage]] if storage in self._written else []
                if storage in writes:
                    others += self._read[storage].items()
                for other, count in others:
                    assert known.get(other, 0) >= count, f"race: {what} by {agent} with what {other} does to it"
            for storage in writes | fresh:
                self._written[storage] = agent, known[agent]
                self._read.pop(storage, None)
            for storage in reads:
                self._read[storage][agent] = known[agent]


class Stream:
    """What `torch.cuda.Stream` is to the library; made only while a device is `installed`."""

    device_of_tests: SecondDevice

    def __init__(self, device: torch.device | None = None) -> None:
        self._order = self.device_of_tests.order

    def record_event(self) -> Event:
        self._order.learn(self, self._order.moment(threading.current_thread()))
        return Event(self._order, self._order.moment(self))

    def wait_event(self, event: Event) -> None:
        self._order.learn(self, event.moment)

    def wait_stream(self, other: Stream) -> None:
        self.wait_event(other.record_event())

    def synchronize(self) -> None:
        self.record_event().synchronize()


class Event:
    def __init__(self, order: Order, moment: Moment) -> None:
        self._order, self.moment = order, moment

    def synchronize(self) -> None:
        self._order.learn(threading.current_thread(), self.moment)


class There(torch.Tensor):
    """A tensor on the device; `here` holds its values."""

    here: torch.Tensor

    @staticmethod
    def __new__(cls, here: torch.Tensor) -> There:
        return torch.Tensor._make_wrapper_subclass(
            cls, here.shape, here.stride(), here.storage_offset(), dtype=here.dtype, device=DEVICE
        )

    def __init__(self, here: torch.Tensor) -> None:
        self.here = here

    def __repr__(self) -> str:  # the inherited one would wait for its values
        return f"There({tuple(self.shape)}, {self.dtype})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(f"{func} on {DEVICE} outside `SecondDevice.in_use`")


class SecondDevice:
    """The device.

    Attributes:
        waits: For each time that the host waited for results: the functions of the pack on the stack, innermost first.
        pinned: Addresses of memory that is registered for copies.
        refuses_pins: Whether no more can be; CUDA's error then lies in wait for the next operation, as it does there.
    """

    def __init__(self, free_memory: int) -> None:
        self.free_memory = free_memory
        self.waits: list[tuple[str, ...]] = []
        self.pinned: set[int] = set()
        self.refuses_pins = False
        self._error: str | None = None
        self.order = Order()
        self._local = threading.local()

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """In it, this thread's tensors may be there."""
        with _Operations(self), _Functions(self):
            yield

    def installed(self, monkeypatch: Any, reader: Any = None) -> None:
        """Have `torch.cuda` speak of this device, new threads use it, and the class `reader` tell what it fills."""
        start, run = threading.Thread.start, threading.Thread.run

        def start_later(thread: threading.Thread) -> None:
            self.order.learn(thread, self.order.moment(threading.current_thread()))
            start(thread)

        def run_here(thread: threading.Thread) -> None:
            with self.in_use():
                run(thread)

        def fill_and_tell(one: Any, layout: Any, buffer: torch.Tensor) -> None:
            agent = threading.current_thread()
            self.order.touch(agent, "reading a file", reads=set(), writes={_storage(buffer)}, fresh=set())
            fill(one, layout, buffer)

        if reader:
            fill = reader.fill
            monkeypatch.setattr(reader, "fill", fill_and_tell)
        # A parameter that only exchanges its data would stay no `There`.
        monkeypatch.setattr(torch.__future__, "_overwrite_module_params_on_conversion", True)
        monkeypatch.setattr(threading.Thread, "start", start_later)
        monkeypatch.setattr(threading.Thread, "run", run_here)
        monkeypatch.setattr(Stream, "device_of_tests", self, raising=False)
        self._default = Stream()
        for name, value in {
            "_lazy_init": lambda: None,
            "device_count": lambda: 1,
            "mem_get_info": lambda device=None: (self.free_memory, self.free_memory),
            "empty_cache": lambda: None,
            "synchronize": lambda device=None: self.stream.synchronize(),
            "max_memory_allocated": lambda device=None: 0,
            "reset_peak_memory_stats": lambda device=None: None,
            "Stream": Stream,
            "current_stream": lambda device=None: self.stream,
            "stream": self._on,
            "device": lambda device: nullcontext(),
            "cudart": lambda: self,
        }.items():
            monkeypatch.setattr(torch.cuda, name, value)

    @property
    def stream(self) -> Stream:
        """The current one of this thread."""
        return getattr(self._local, "stream", self._default)

    @contextmanager
    def _on(self, stream: Stream) -> Iterator[None]:
        before, self._local.stream = self.stream, stream
        try:
            yield
        finally:
            self._local.stream = before

    def cudaHostRegister(self, address: int, size: int, flags: int) -> int:  # noqa: N802 - CUDA's name
        if self.refuses_pins:
            self._error = "CUDA error: out of memory"
            return 2
        self.pinned.add(address)
        return 0

    def cudaHostUnregister(self, address: int) -> int:  # noqa: N802
        self.pinned.remove(address)
        self.order.touch(threading.current_thread(), "unpinning", reads=set(), writes={address}, fresh=set())
        return 0

    def call(self, func: Any, args: Any, kwargs: dict[str, Any], *, is_view: bool, written: list[Any]) -> Any:
        """Compute on the CPU what is asked of the device, and note what comes of it."""
        if self._error is not None:
            error, self._error = self._error, None
            raise RuntimeError(error)
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        device = kwargs.get("device")
        is_there = any(isinstance(tensor, There) for tensor in given) if device is None else _is_there(device)
        is_copy = func in _COPIES
        if func in _COPIES_INTO:
            is_there = isinstance(args[0], There)
        if not is_copy:
            strangers = [tensor for tensor in given if not isinstance(tensor, There) and tensor.dim()]
            assert not strangers or not is_there, f"{func} on tensors of two devices: {given}"
        arguments, options = tree_map(_values, (args, kwargs))
        if device is not None:
            options["device"] = torch.device("cpu")
        with torch._C.DisableTorchFunction(), _disable_current_modes():
            found = func(*arguments, **options)
        if not is_view:
            self._touched(str(func), given, written, found)
        is_across = is_copy and {isinstance(tensor, There) for tensor in given} != {is_there}
        # How many rows a mask takes is known on the device alone.
        is_masked = func in _INDEXED and any(leaf.dtype == torch.bool for leaf in _indexes(args))
        if func in _WAITS or is_masked or (is_across and not self._is_beside(args, kwargs)):
            self.waits.append(_where())
            self.stream.synchronize()
        own = {id(_values(tensor)): tensor for tensor in given}
        return tree_map(lambda leaf: own.get(id(leaf), There(leaf)) if _is_new(leaf) and is_there else leaf, found)

    def _is_beside(self, args: Any, kwargs: dict[str, Any]) -> bool:
        """Whether a copy runs beside the host: asked for, and from or to memory that is registered for it."""
        asked = kwargs.get("non_blocking") or args[2:] == (True,)
        memory = [_storage(leaf) for leaf in args[:2] if _is_new(leaf)]
        return bool(asked and memory and self.pinned.issuperset(memory))

    def _touched(self, what: str, given: list[torch.Tensor], written: list[Any], found: Any) -> None:
        stream = self.stream
        self.order.learn(stream, self.order.moment(threading.current_thread()))
        writes = {_storage(leaf) for leaf in tree_leaves(written) if isinstance(leaf, torch.Tensor)}
        reads = {_storage(tensor) for tensor in given} - writes
        results = {_storage(leaf) for leaf in tree_leaves(found) if isinstance(leaf, torch.Tensor)}
        self.order.touch(stream, what, reads=reads, writes=writes, fresh=results - reads - writes)


class _Operations(TorchDispatchMode):
    def __init__(self, device: SecondDevice) -> None:
        super().__init__()
        self._device = device

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not any(isinstance(leaf, There) or _is_there(leaf) for leaf in tree_leaves((args, kwargs))):
            return func(*args, **kwargs)
        with _Operations(self._device):  # those that are made of others arrive whole where tensors are for inference
            found = func.decompose(*args, **kwargs)
        if found is not NotImplemented:
            return found
        arguments = func._schema.arguments
        values = [*args, *(kwargs.get(each.name) for each in arguments[len(args) :])]
        aliased = [each.alias_info for each in arguments]
        written = [value for value, alias in zip(values, aliased, strict=True) if alias and alias.is_write]
        is_view = any(alias and not alias.is_write for alias in aliased)
        return self._device.call(func, args, kwargs, is_view=is_view, written=written)


class _Functions(TorchFunctionMode):
    def __init__(self, device: SecondDevice) -> None:
        super().__init__()
        self._device = device

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _MADE_FROM_DATA and _is_there(kwargs.get("device")):
            return func(*args, **{**kwargs, "device": None}).to(DEVICE)
        is_there = any(isinstance(leaf, There) for leaf in tree_leaves((args, kwargs)))
        if func not in _WHOLE or not is_there:
            try:
                return func(*args, **kwargs)
            except RuntimeError as error:  # so do some others, in some cases; each build of torch has its own words
                if not is_there or "cuda" not in str(error).lower():
                    raise
        written = [args[0]] if func in _WRITES else []
        is_view = func is torch.Tensor.__getitem__ and not _indexes(args)
        return self._device.call(func, args, kwargs, is_view=is_view, written=written)


def _indexes(args: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(args[1]) if isinstance(leaf, torch.Tensor)]


def _is_there(leaf: object) -> bool:
    return isinstance(leaf, torch.device | str) and str(leaf).startswith("cuda")


def _is_new(leaf: object) -> bool:
    return isinstance(leaf, torch.Tensor) and not isinstance(leaf, There)


def _values(leaf: Any) -> Any:
    return leaf.here if isinstance(leaf, There) else leaf


def _storage(tensor: torch.Tensor) -> int:
    return _values(tensor).untyped_storage().data_ptr()


def _where() -> tuple[str, ...]:
    frame, found = sys._getframe(), []
    while frame is not None:
        if frame.f_code.co_filename.startswith(_PACK):
            found.append(f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_name}")
        frame = frame.f_back
    return tuple(found)
