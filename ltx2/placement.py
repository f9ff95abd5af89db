"""Where the weights of a network are while it computes, as the user chose it."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import LTX2Error

AUTOMATIC, RESIDENT, RAM, DISK = MODES = ("automatic", "resident", "streamed from RAM", "streamed from disk")
MIN_SLOTS, MAX_SLOTS = 2, 3


@dataclass(frozen=True)
class Placement:
    """Whether a network's blocks stay on the device, or come one after the other while those before compute.

    Attributes:
        mode: one of MODES. "automatic" takes the first of the others that fits, and less where memory runs out all the
            same.
        slots: blocks on the device at once where they are streamed, 2 or 3.
        budget: bytes of the device that may be used, weights and computing together; None for all that are free.
    """

    mode: str = AUTOMATIC
    slots: int = MIN_SLOTS
    budget: int | None = None

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise LTX2Error(f"placement must be one of {', '.join(MODES)}; got {self.mode!r}")
        if not MIN_SLOTS <= self.slots <= MAX_SLOTS:
            raise LTX2Error(f"slots must be {MIN_SLOTS} or {MAX_SLOTS}; got {self.slots}")
        if self.budget is not None and self.budget <= 0:
            raise LTX2Error(f"a budget must be more than 0 bytes; got {self.budget}")

    def __repr__(self) -> str:
        budget = f" within {self.budget / 1e9:.1f} GB" if self.budget else ""
        return f"<{self.mode}{budget}>"

    @property
    def is_streamed(self) -> bool:
        """Whether it says so; what "automatic" comes to is not known here."""
        return self.mode in (RAM, DISK)
