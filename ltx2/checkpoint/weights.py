"""How the weights of one component lie in a file: as plain numbers, or packed, with scales beside them.

Files say so in three ways, all of which are read: tensors `<layer>.comfy_quant` (a JSON text), the same texts in the
metadata (`_quantization_metadata`), or nothing but the scales and the dtype of the weight.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from ..errors import ModelFileError
from ..precision.formats import FORMATS, INPUT_SCALE, SCALE, SECOND_SCALE, Kept
from .keys import NameTable
from .reader import json_object

Shapes = Mapping[str, tuple[int, ...]]

#: What may stand beside a layer's weight in a file, by the last piece of its name, and what we call it.
_DECLARATION = "comfy_quant"
_BESIDE = {
    "weight_scale": SCALE,
    "scale_weight": SCALE,
    "weight_scale_2": SECOND_SCALE,
    "input_scale": INPUT_SCALE,
    "scale_input": INPUT_SCALE,
    "pre_quant_scale": "pre_quant_scale",
    _DECLARATION: _DECLARATION,
}
#: Says that a file has fp8 weights with scales; as a pair of numbers, that they are not to be multiplied in fp8.
_MARKER = "scaled_fp8"
_BY_DECLARATION = {"float8_e4m3fn": "fp8_e4m3", "float8_e5m2": "fp8_e5m2", "int8_tensorwise": "int8", "nvfp4": "nvfp4"}
_BY_DTYPE = {"F8_E4M3": "fp8_e4m3", "F8_E5M2": "fp8_e5m2", "I8": "int8", "U8": "nvfp4"}
_PLAIN_FLOAT8 = ("F8_E4M3", "F8_E5M2")
_LISTED = 6


class TensorSource(Protocol):
    """A checkpoint, or tensors in memory."""

    @property
    def name(self) -> str: ...

    @property
    def metadata(self) -> Mapping[str, str]: ...

    def shapes(self) -> Shapes:
        """The shape of every tensor by its name in the file."""
        ...

    def stored_as(self, key: str) -> str:
        """The dtype of a tensor in the file, as safetensors names it ("BF16"), or the type of its blocks ("Q4_K")."""
        ...

    def read(self, key: str) -> Tensor: ...


@dataclass(frozen=True)
class Weight:
    """One parameter or buffer in a file.

    Attributes:
        key: Its name there.
        kept: How it is packed; None for plain numbers.
        parts: {what stands beside it, as its layer calls it: the name in the file}.
    """

    key: str
    kept: Kept | None = None
    parts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Beside:
    """What stands beside the weights of a file.

    Attributes:
        parts: {the weight's key: {our name of the part: its key}}.
        stated: {the weight's key: what the file says of it}.
    """

    parts: Mapping[str, Mapping[str, str]]
    stated: Mapping[str, Mapping[str, Any]]


def find_weights(expected: Shapes, table: NameTable, source: TensorSource) -> dict[str, Weight]:
    """{our name: where it is} of all that is `expected` (our name: shape), which all must be in `source`.

    Raises:
        ModelFileError: names or shapes differ, in either direction, or scales are missing or of no known kind.
    """
    shapes = source.shapes()
    found, strangers, beside = _select(table, source, shapes)
    weights, misfits, unknown = {}, [], []
    for name, shape in expected.items():
        if name not in found:
            continue
        key = found[name]
        try:
            kept = _kept(key, shape, source, beside)
        except ValueError as error:
            unknown.append(f"{key} ({error})")
            continue
        there = beside.parts.get(key, {})
        parts = {part: there[part] for part in _read(kept) if part in there} if kept else {}
        weights[name] = Weight(key, kept, parts)
        misfits.extend(_misfits(weights[name], shape, shapes))
    problems = [
        *_listed("missing", [table.to_theirs(name) for name in expected if name not in found]),
        *_listed("not known", strangers + [found[name] for name in found if name not in expected]),
        *_listed("of another shape", misfits),
        *_listed("packed in a way that is not read", unknown),
        *_listed("in fp8 without the scale that others have", _lacking_scales(weights, expected, source)),
    ]
    if problems:
        raise ModelFileError(
            f"{source.name} does not fit as {table.component}:\n" + "\n".join(f"  - {problem}" for problem in problems)
        )
    return weights


def is_beside(key: str) -> bool:
    """Whether a tensor of this name is no weight, but says how others are packed."""
    last = key.rpartition(".")[2]
    return last in _BESIDE or last == _MARKER


def packed_names(table: NameTable, source: TensorSource) -> frozenset[str]:
    """Our names of the weights that are kept in fewer bits than 16, into which nothing can be merged."""
    found, _, beside = _select(table, source, source.shapes())
    packed = {*_PLAIN_FLOAT8, *FORMATS}
    return frozenset(name for name, key in found.items() if beside.parts.get(key) or source.stored_as(key) in packed)


def _select(table: NameTable, source: TensorSource, shapes: Shapes) -> tuple[dict[str, str], list[str], _Beside]:
    """({our name: file key}, strangers of the component, what stands beside)."""
    keys, layers, standing = [], {}, []
    for key in shapes:
        layer, _, last = key.rpartition(".")
        if last in _BESIDE and layer:
            layers.setdefault(f"{layer}.weight", {})[_BESIDE[last]] = key
            standing.append(key)
        elif last != _MARKER:
            keys.append(key)
    # A scale belongs to the component that its weight belongs to.
    found, strangers = table.select([*keys, *(key for key in layers if key not in shapes)])
    alone = {key for key in (*found.values(), *strangers) if key not in shapes}
    found = {name: key for name, key in found.items() if key in shapes}
    strangers = [key for key in strangers if key in shapes]
    strangers += [key for key in standing if f"{key.rpartition('.')[0]}.weight" in alone]
    return found, strangers, _Beside(layers, _statements(source, layers, set(found.values())))


def _statements(
    source: TensorSource, layers: Mapping[str, Mapping[str, str]], ours: set[str]
) -> dict[str, Mapping[str, Any]]:
    """What the file says of the weights with these keys. Raises ModelFileError where it is no JSON object."""
    if not layers:
        return {}
    plainly = any(source.shapes()[key] == (2,) for key in source.shapes() if key.rpartition(".")[2] == _MARKER)
    stated: dict[str, Mapping[str, Any]] = {
        key: {"full_precision_matrix_mult": True} for key in layers if plainly and key in ours
    }
    try:
        in_metadata = json_object(source.metadata.get("_quantization_metadata", "{}")).get("layers", {})
        stated |= {f"{layer}.weight": said for layer, said in in_metadata.items() if f"{layer}.weight" in ours}
        for key, parts in layers.items():
            if _DECLARATION in parts and key in ours:
                stated[key] = json_object(source.read(parts[_DECLARATION]).numpy().tobytes())
    except (ValueError, AttributeError, json.JSONDecodeError) as error:
        raise ModelFileError(
            f"{source.name}: what it says of its packed weights must be a JSON object ({error}); get the file anew"
        ) from error
    return stated


def _kept(key: str, shape: tuple[int, ...], source: TensorSource, beside: _Beside) -> Kept | None:
    """How the weight `key` is packed. Raises ValueError where that cannot be told, or is not known."""
    stored, parts, said = source.stored_as(key), beside.parts.get(key, {}), beside.stated.get(key, {})
    format = stored if stored in FORMATS else _BY_DTYPE.get(stored)
    has_scale = SCALE in parts or "format" in said
    if not has_scale and (format is None or stored in _PLAIN_FLOAT8):
        return None
    if "pre_quant_scale" in parts:
        raise ValueError("its input is scaled before it, pre_quant_scale")
    if (name := said.get("format")) is not None:
        if name not in _BY_DECLARATION:
            raise ValueError(f"{name}; known are {', '.join(_BY_DECLARATION)}")
        if format != _BY_DECLARATION[name]:
            raise ValueError(f"it is said to be {name} and is {stored}")
    if format is None:
        raise ValueError(f"{stored} with a scale")
    if len(shape) != 2:
        raise ValueError(f"{format} of what is no matrix")
    lacking = [part for part in FORMATS[format].scales(Kept(format, shape)) if part not in parts]
    if lacking:
        raise ValueError(f"{format} without {' and '.join(lacking)}")
    return Kept(format, shape, _rotation(said, shape), bool(said.get("full_precision_matrix_mult", False)))


def _rotation(said: Mapping[str, Any], shape: tuple[int, ...]) -> int:
    """So many columns were rotated together. Raises ValueError where they cannot have been."""
    options = said.get("params")
    options = {**(options if isinstance(options, Mapping) else {}), **said}
    if not options.get("convrot", False):
        return 0
    size = options.get("convrot_groupsize", 256)
    if size not in (4, 16, 64, 256, 1024) or shape[1] % size:
        raise ValueError(f"{size} of its {shape[1]} columns rotated together: no power of four that divides them")
    return size


def _read(kept: Kept) -> list[str]:
    format = FORMATS[kept.format]
    return [*format.scales(kept), *format.may_have]


def _misfits(weight: Weight, shape: tuple[int, ...], shapes: Shapes) -> list[str]:
    """What of a weight and of what stands beside it has another shape than it must have."""
    kept, there = weight.kept, tuple(shapes[weight.key])
    if kept is None:
        return [] if there == shape else [f"{weight.key} {list(there)}, not {list(shape)}"]
    format = FORMATS[kept.format]
    wrong = []
    if there not in format.packed_shapes(kept):
        wrong.append(f"{weight.key} {list(there)}, not {list(shape)} as {kept.format}")
    counts = {INPUT_SCALE: (1,), **format.scales(kept)}
    for part, key in weight.parts.items():
        count = 1
        for size in shapes[key]:
            count *= size
        if count not in counts[part]:
            wrong.append(f"{key} {list(shapes[key])}, not of {' or '.join(map(str, counts[part]))} numbers")
        elif count > 1 and part in format.by_row and shapes[key][0] != count:
            rows = f"[{count}] or [{count}, 1]"
            wrong.append(f"{key} {list(shapes[key])}, of blocks or columns and not one number for each row, {rows}")
    return wrong


def _lacking_scales(weights: Mapping[str, Weight], expected: Shapes, source: TensorSource) -> list[str]:
    """fp8 matrices without a scale where others have one: a file is all of one kind."""
    if not any(weight.kept and weight.kept.format.startswith("fp8") for weight in weights.values()):
        return []
    matrices = {name: weight for name, weight in weights.items() if len(expected[name]) == 2 and not weight.kept}
    return [
        weight.key
        for name, weight in matrices.items()
        if name.endswith(".weight") and source.stored_as(weight.key) in _PLAIN_FLOAT8
    ]


def _listed(what: str, names: Iterable[str]) -> list[str]:
    names = list(names)
    if not names:
        return []
    rest = f", and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return [f"{len(names)} {what}: {', '.join(names[:_LISTED])}{rest}"]
