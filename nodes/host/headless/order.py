"""The order in which a graph's nodes run: whatever needs no network first, so that mistakes there cost no time.

Loaders read headers only. With them, sizes, images and empty latents come before the first prompt is encoded, and a
wrong file or size is refused at once, not after minutes of computing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from ..graph.schemas import ANY, NodeInfo

_LOADERS = "loaders"


def cheap_first(
    order: Iterable[str],
    info_of: Callable[[str], NodeInfo],
    sources_of: Callable[[str], Iterable[str]],
    infos: Mapping[str, NodeInfo],
) -> list[str]:
    """`order` (sources before consumers) with all that neither computes with a network nor depends on it moved ahead.

    A node computes with a network where it takes what loaders give and is no loader itself; loaders are the nodes of
    a category of that name. Within both halves the order stays, so sources still come before their consumers.
    """
    networks = {type for info in infos.values() if _is_loader(info) for type in info.outputs} - {ANY}
    late: set[str] = set()
    order = list(order)
    for node_id in order:
        if _computes(info_of(node_id), networks) or not late.isdisjoint(sources_of(node_id)):
            late.add(node_id)
    return sorted(order, key=late.__contains__)


def _is_loader(info: NodeInfo) -> bool:
    return info.category.rpartition("/")[2] == _LOADERS


def _computes(info: NodeInfo, networks: set[str]) -> bool:
    return not _is_loader(info) and any(each.type in networks for each in info.inputs.values())
