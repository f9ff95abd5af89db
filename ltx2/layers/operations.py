"""What happens between the products of a block: norms, modulation, rotation, gates. Each is one step of an interface.

The plain steps below are torch's own and the definition of truth; layers.fused has the same as one kernel each.

Shapes: B batch, T tokens, D width of a stream, U unique noise levels, R rows, H heads, C features of a head, I = H C.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from ..packages import rearrange
from .modulation import Levels, add_scaled
from .norms import RMSNorm, rms_norm
from .rope import Rotary, rotate


class Rows(NamedTuple):
    """AdaLN rows of a branch (U, R, D); the block's own table (R, D) where that is still to be added to them."""

    given: Tensor
    table: Tensor | None

    @property
    def sums(self) -> Tensor:
        return self.given if self.table is None else self.given + self.table


class Place(NamedTuple):
    """Which of the rows are a modulation's shift and scale."""

    shift: int
    scale: int


class Incoming(NamedTuple):
    """What is still to be added to a stream: an update (B, T, D), and its gate (1 or B, D) as rows of one."""

    update: Tensor
    gate: Rows


class Turned(NamedTuple):
    """Queries or keys (B, T, I) on their way to the heads, and how they are normed and turned."""

    x: Tensor
    norm: RMSNorm
    rotary: Rotary | None


class Operations(Protocol):
    """The steps, in the order in which a block takes them."""

    def rows(self, given: Tensor, table: Tensor) -> Rows:
        """Rows (U, R, D) and a block's own table (R, D), as the other steps take them."""
        ...

    def modulated(self, x: Tensor, rows: Rows, places: Sequence[Place], levels: Levels, eps: float) -> list[Tensor]:
        """rms_norm(x) * (1 + scale) + shift for x (B, T, D), once for each place."""
        ...

    def added(self, x: Tensor, update: Tensor, rows: Rows, gate: int, levels: Levels) -> Tensor:
        """x + gate * update for x (B, T, D); `gate` is the row's number."""
        ...

    def added_modulated(
        self, x: Tensor, incoming: Incoming, rows: Rows, place: Place, levels: Levels, eps: float
    ) -> tuple[Tensor, Tensor]:
        """x + gate * update, and that modulated."""
        ...

    def shifted(self, x: Tensor, rows: Rows, place: Place) -> Tensor:
        """x * (1 + scale) + shift for x (B, S, D) and rows of each clip (1 or B, R, D)."""
        ...

    def heads(self, several: list[Turned], num_heads: int) -> list[Tensor]:
        """Each normed, dealt to the heads and turned: (B, H, T, C). The list is emptied, and what was in it used up."""
        ...

    def joined(self, attended: Tensor, gate: Tensor | None) -> Tensor:
        """What heads found (B, H, T, C) as (B, T, I), each head scaled by 2 sigmoid(gate) for gate (B, T, H)."""
        ...

    def activated(self, linear: nn.Linear, x: Tensor) -> Tensor:
        """gelu_tanh(linear(x))."""
        ...


class Plain:
    """The steps as torch has them, several kernels each."""

    def rows(self, given: Tensor, table: Tensor) -> Rows:
        return Rows(given + table, None)

    def modulated(self, x: Tensor, rows: Rows, places: Sequence[Place], levels: Levels, eps: float) -> list[Tensor]:
        x, sums = rms_norm(x, eps), rows.given
        return [add_scaled(sums[:, shift], x, 1 + sums[:, scale], levels) for shift, scale in places]

    def added(self, x: Tensor, update: Tensor, rows: Rows, gate: int, levels: Levels) -> Tensor:
        return add_scaled(x, update, rows.given[:, gate], levels)

    def added_modulated(
        self, x: Tensor, incoming: Incoming, rows: Rows, place: Place, levels: Levels, eps: float
    ) -> tuple[Tensor, Tensor]:
        x = torch.addcmul(x, incoming.update, incoming.gate.sums)
        return x, self.modulated(x, rows, [place], levels, eps)[0]

    def shifted(self, x: Tensor, rows: Rows, place: Place) -> Tensor:
        return torch.addcmul(rows.given[:, place.shift, None], x, 1 + rows.given[:, place.scale, None])

    def heads(self, several: list[Turned], num_heads: int) -> list[Tensor]:
        # What is made anew takes the place of what it was made of: each of these is as large as all hidden states.
        return [_headed(several.pop(0), num_heads) for _ in range(len(several))]

    def joined(self, attended: Tensor, gate: Tensor | None) -> Tensor:
        if gate is not None:
            attended = attended * rearrange(2 * torch.sigmoid(gate), "b t h -> b h t 1")
        return rearrange(attended, "b h t c -> b t (h c)")

    def activated(self, linear: nn.Linear, x: Tensor) -> Tensor:
        return torch.ops.aten.gelu_(linear(x), approximate="tanh")


def _headed(turned: Turned, num_heads: int) -> Tensor:
    x, norm, rotary = turned
    del turned
    x = rearrange(norm(x), "b t (h c) -> b h t c", h=num_heads)
    return x if rotary is None else rotate(x, rotary)


PLAIN: Operations = Plain()
