"""Cancelling within a network: what it runs again and again looks first whether the user has cancelled.

Networks are pure, so the looking is put on them from outside, once, when they are built.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from . import current

#: What a network calls of its blocks outside of them: the keys and values of a prompt, for all blocks before the first.
_CALLED_BESIDE_BLOCKS = ("text_attention.to_v",)


def check_within(network: nn.Module) -> None:
    """Let every module of `network` that stands in a list (blocks, layers, levels) check before it runs."""
    for name, module in network.named_modules():
        if name.rpartition(".")[2].isdecimal() or name.endswith(_CALLED_BESIDE_BLOCKS):
            module.register_forward_pre_hook(_check)


def _check(_module: nn.Module, _inputs: Any) -> None:
    current().check_cancelled()
