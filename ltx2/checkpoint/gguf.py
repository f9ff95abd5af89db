"""GGUF files: their header at once, tensors memory-mapped as they lie there.

Names of transformers are those of the released checkpoints, with or without their prefix. Those of Gemma 3 are
llama.cpp's own, and become the released ones; its norms, which llama.cpp keeps with 1 added, lose that when they are
read.
"""

from __future__ import annotations

import math
import mmap
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import ModelFileError
from ..packages import gguf
from ..precision.gguf_blocks import GGUF_BLOCKS

SUFFIX = ".gguf"
_MAGIC = b"GGUF"
_STRING, _ARRAY = 8, 9
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_PLAIN = {
    **{"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16},
    **{"I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8},
}
_GEMMA = "gemma3"
_GEMMA_LAYER = re.compile(r"^blk\.(\d+)\.(.+)\.weight$")
_GEMMA_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "post_ffw_norm": "post_feedforward_layernorm",
}


@dataclass(frozen=True)
class GGUFTensor:
    """One tensor as the header describes it.

    Attributes:
        shape: Of the numbers, the slowest axis first.
        type: "F32", "BF16", ..., or the type of its blocks, "Q4_K".
        start, num_bytes: Where it lies in the file.
        lifted: Whether 1 was added to its numbers.
    """

    shape: tuple[int, ...]
    type: str
    start: int
    num_bytes: int
    lifted: bool = False


class GGUFFile:
    """A GGUF file: `metadata` (its texts and numbers as texts, no lists) and `tensors` by name.

    Raises:
        ModelFileError: it is missing, cut off, or something else; says what to do.
        PackageError: the package gguf is not there.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        try:
            with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
                self.size = len(data)
                self.metadata, self.tensors = _header(_Cursor(data), file.name)
        except FileNotFoundError as error:
            raise ModelFileError(f"{file.name}: there is no such file ({file})") from error
        except OSError as error:
            raise ModelFileError(f"{file.name}: cannot be read ({error.strerror}); check its permissions") from error
        except (struct.error, UnicodeDecodeError, ValueError) as error:
            raise ModelFileError(
                f"{file.name} must be a whole GGUF file; it is cut off, damaged or something else ({error}): download "
                "it again"
            ) from error
        expected = max((each.start + each.num_bytes for each in self.tensors.values()), default=0)
        if self.size < expected:
            raise ModelFileError(
                f"{file.name} must hold {expected:,} bytes; it holds {self.size:,}: the download was cut off, get it "
                "again"
            )
        self._bytes: Tensor | None = None

    def read(self, name: str) -> Tensor:
        """The tensor `name`, mapped: plain numbers in its shape, blocks as (rows, bytes)."""
        if self._bytes is None:
            # Mapped for this process alone: nothing is copied, and nothing reaches the file.
            self._bytes = torch.from_file(str(self.file), shared=False, size=self.size, dtype=torch.uint8)
        entry = self.tensors[name]
        raw = self._bytes[entry.start : entry.start + entry.num_bytes]
        if entry.type in _PLAIN:
            numbers = raw.view(_PLAIN[entry.type]).view(entry.shape)
            return numbers - 1 if entry.lifted else numbers
        return raw.view(math.prod(entry.shape[:-1]), -1)


class _Cursor:
    """Reads a header from front to back."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self.place = 0

    def take(self, format: str) -> tuple[Any, ...]:
        values = struct.unpack_from(f"<{format}", self._data, self.place)
        self.place += struct.calcsize(f"<{format}")
        return values

    def bytes(self, count: int) -> bytes:
        taken = self._data[self.place : self.place + count]
        if len(taken) != count:
            raise ValueError("its header has no end")
        self.place += count
        return taken

    def pass_strings(self, count: int) -> None:
        """Pass over so many texts: a vocabulary has a quarter of a million."""
        length_at, data, place = struct.Struct("<Q").unpack_from, self._data, self.place
        for _ in range(count):
            place += 8 + length_at(data, place)[0]
        self.place = place

    def string(self) -> str:
        (length,) = self.take("Q")
        return self.bytes(length).decode("utf-8")


def _header(cursor: _Cursor, name: str) -> tuple[dict[str, str], dict[str, GGUFTensor]]:
    magic, version, num_tensors, num_values = cursor.bytes(4), *cursor.take("IQQ")
    if magic != _MAGIC or version not in (2, 3):
        raise ValueError(f"it begins with {magic!r}, version {version}")
    metadata = {}
    for _ in range(num_values):
        key = cursor.string()
        value = _value(cursor, *cursor.take("I"))
        if value is not None:
            metadata[key] = str(value)
    entries = []
    for _ in range(num_tensors):
        key = cursor.string()
        (num_axes,) = cursor.take("I")
        shape, (type, offset) = cursor.take(f"{num_axes}Q"), cursor.take("IQ")
        entries.append((key, shape[::-1], type, offset))
    alignment = int(metadata.get("general.alignment", 32))
    start = -(-cursor.place // alignment) * alignment
    is_gemma = metadata.get("general.architecture") == _GEMMA
    tensors = {}
    for key, shape, type, offset in entries:
        name_of_type, num_bytes = _stored(key, shape, type, name)
        lifted = is_gemma and key.endswith("norm.weight")
        entry = GGUFTensor(shape, name_of_type, start + offset, num_bytes, lifted)
        tensors[_released_name(key) if is_gemma else key] = entry
    return metadata, tensors


def _value(cursor: _Cursor, kind: int) -> Any:
    """One value of the metadata; None for a list, which is passed over."""
    if kind == _STRING:
        return cursor.string()
    if kind != _ARRAY:
        return cursor.take(_SCALARS[kind])[0]
    inner, count = cursor.take("IQ")
    if inner in _SCALARS:
        cursor.bytes(struct.calcsize(f"<{_SCALARS[inner]}") * count)
    elif inner == _STRING:
        cursor.pass_strings(count)
    else:
        for _ in range(count):
            _value(cursor, inner)
    return None


def _stored(key: str, shape: tuple[int, ...], type: int, name: str) -> tuple[str, int]:
    """(name of the type, bytes) of a tensor. Raises ModelFileError where nothing here reads it."""
    kind = gguf.GGMLQuantizationType(type)
    if kind.name not in _PLAIN and kind.name not in GGUF_BLOCKS:
        raise ModelFileError(
            f"{name} keeps {key} as {kind.name}; what is read is {', '.join((*_PLAIN, *GGUF_BLOCKS))}: choose a file "
            "of one of these"
        )
    numbers, num_bytes = gguf.GGML_QUANT_SIZES[kind]
    if math.prod(shape) % numbers or (shape and shape[-1] % numbers):
        raise ValueError(f"{key} is no whole number of blocks")
    return kind.name, math.prod(shape) // numbers * num_bytes


def _released_name(key: str) -> str:
    if match := _GEMMA_LAYER.match(key):
        return f"model.layers.{match[1]}.{_GEMMA_NAMES.get(match[2], match[2])}.weight"
    return _GEMMA_NAMES.get(key, key)


def gemma_config(metadata: Mapping[str, str]) -> dict[str, Any] | None:
    """The config.json that a Gemma 3 in a GGUF file stands for; None where its metadata are of something else."""
    if metadata.get("general.architecture") != _GEMMA:
        return None

    def number(name: str, default: float) -> float:
        return float(metadata.get(f"{_GEMMA}.{name}", default))

    heads, width = int(number("attention.head_count", 16)), int(number("attention.key_length", 256))
    return {
        "model_type": "gemma3_text",
        "hidden_size": int(number("embedding_length", 3840)),
        "intermediate_size": int(number("feed_forward_length", 15360)),
        "num_hidden_layers": int(number("block_count", 48)),
        "num_attention_heads": heads,
        "num_key_value_heads": int(number("attention.head_count_kv", 8)),
        "head_dim": width,
        "query_pre_attn_scalar": width,
        "sliding_window": int(number("attention.sliding_window", 1024)),
        "max_position_embeddings": int(number("context_length", 131072)),
        "rope_theta": number("rope.freq_base", 1_000_000.0),
        # Files of early converters do not state it; of all sizes but 1B it is this.
        "rope_scaling": {"rope_type": "linear", "factor": number("rope.scaling.factor", 8.0)},
        "rms_norm_eps": number("attention.layer_norm_rms_epsilon", 1e-6),
    }
