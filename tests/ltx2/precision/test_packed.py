"""Packed layers at full size: names, shapes and bytes of released models; files that stay on the disk."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ltx2.checkpoint.keys import TRANSFORMER, NameTable
from ltx2.checkpoint.load import InMemory, build, on_meta
from ltx2.checkpoint.weights import find_weights
from ltx2.config.section import parse
from ltx2.config.transformer import TransformerConfig
from ltx2.errors import ModelFileError
from ltx2.networks.transformer.model import Transformer
from ltx2.precision.matmul import multiply_in_fp8
from ltx2.precision.packed import expanded_bytes

BLOCK_LINEARS = re.compile(r"transformer_blocks\.\d+\..*\.(to_q|to_k|to_v|to_out\.0|net\.0\.proj|net\.2)\.weight$")


class Listed:
    """A checkpoint as a listing: names, dtypes and shapes."""

    name, metadata = "listed.safetensors", {}

    def __init__(self, entries):
        self._entries = entries

    def shapes(self):
        return {key: shape for key, (_, shape) in self._entries.items()}

    def stored_as(self, key):
        return self._entries[key][0]


def up(number, multiple):
    return -(-number // multiple) * multiple


def fp8(key, shape):
    return {key: ("F8_E4M3", shape), f"{key}_scale": ("F32", ()), key.replace("weight", "input_scale"): ("F32", ())}


def nvfp4(key, shape):
    rows, columns = shape
    scales = (up(rows, 128), up(columns // 16, 4))
    return {
        key: ("U8", (rows, columns // 2)),
        f"{key}_scale": ("F8_E4M3", scales),
        f"{key}_scale_2": ("F32", ()),
        key.replace("weight", "input_scale"): ("F32", ()),
    }


def int8(key, shape):
    return {key: ("I8", shape), f"{key}_scale": ("F32", (shape[0], 1))}


def q4_k(key, shape):
    return {key: ("Q4_K", shape)}


#: Bytes of the transformer against those of bf16, as much as its other layers and tables allow.
SHARES = {fp8: 0.52, nvfp4: 0.31, int8: 0.52}


@pytest.mark.parametrize("release", ["20", "23"])
@pytest.mark.parametrize("packed", [fp8, nvfp4, int8, q4_k])
def test_the_released_transformers_packed(golden_json, release, packed):
    raw = golden_json(f"config_{release}")["config"]["transformer"]
    network = on_meta(lambda: Transformer(parse(TransformerConfig, raw, "transformer")))
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    entries = {}
    for key, shape in golden_json(f"manifest_{release}")["transformer"].items():
        shape = tuple(shape)
        entries |= packed(key, shape) if BLOCK_LINEARS.search(key) else {key: ("BF16", shape)}
    weights = find_weights(expected, TRANSFORMER, Listed(entries))
    assert weights.keys() == expected.keys()
    kept = [weight for weight in weights.values() if weight.kept]
    assert len(kept) == 48 * (6 * 4 + 2 * 2)
    assert {len(weight.parts) for weight in kept} == {{fp8: 2, nvfp4: 3, int8: 1, q4_k: 0}[packed]}
    if packed in SHARES:
        sizes = {"F32": 4, "BF16": 2}
        num_bytes = sum(math.prod(shape) * sizes.get(dtype, 1) for dtype, shape in entries.values())
        assert num_bytes < SHARES[packed] * 2 * sum(math.prod(shape) for shape in expected.values())
    del entries[kept[100].key]
    with pytest.raises(ModelFileError, match="1 missing"):
        find_weights(expected, TRANSFORMER, Listed(entries))


TABLE = NameTable("network", "", ("",), keeps_other_names=True)


def test_room_for_the_largest_layer_that_is_expanded():
    sizes = ((32, 16), (64, 48))
    tensors = {}
    for number, (rows, columns) in enumerate(sizes):
        tensors[f"{number}.weight"] = torch.zeros(rows, columns).to(torch.float8_e4m3fn)
        tensors[f"{number}.weight_scale"] = torch.ones(())
    layers = [(columns, rows) for rows, columns in sizes]
    network = build(lambda: nn.Sequential(*(nn.Linear(*each, bias=False) for each in layers)), TABLE, InMemory(tensors))
    assert expanded_bytes(network) == 4 * 64 * 48
    multiply_in_fp8(network)
    assert expanded_bytes(network) == 0 == expanded_bytes(nn.Linear(3, 3))


MEASURE = """
class Network(nn.Module):
    def __init__(self, count, size):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(size, size, bias=False) for _ in range(count))

with torch.inference_mode():
    small = build(lambda: Network(1, 64), table, Checkpoint.open(sys.argv[3]))
    small.layers[0](torch.ones(1, 64))  # whatever the first use imports
    before = anonymous()
    network = build(lambda: Network(9, 8192), table, Checkpoint.open(sys.argv[2]))
    total = sum(int(layer.weight.view(torch.uint8)[:, ::64].max()) for layer in network.layers)  # every page is touched
print(anonymous() - before, total, type(network.layers[0]).__name__)
"""


def sparse_fp8(file, count, size):
    header, end = {}, 0
    for number in range(count):
        for name, dtype, shape, width in (("weight", "F8_E4M3", [size, size], 1), ("weight_scale", "F32", [], 4)):
            start, end = end, end + math.prod(shape) * width
            header[f"layers.{number}.{name}"] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    with file.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        stream.truncate(8 + len(text) + end)


def sparse_gguf(file, count, size):
    gguf = pytest.importorskip("gguf", reason="needs gguf: pip install -e '.[dev]'")
    kind = gguf.GGMLQuantizationType.Q8_0
    writer = gguf.GGUFWriter(file, "ltxv")
    for number in range(count):
        num_bytes = size * size // 32 * 34
        shape = (size, size // 32 * 34)
        writer.add_tensor_info(f"layers.{number}.weight", shape, np.dtype(np.uint8), num_bytes, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    with file.open("rb+") as stream:
        stream.truncate(file.stat().st_size + 64 + count * up(size * size // 32 * 34, 32))


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="counts memory as Linux does")
@pytest.mark.parametrize("write,suffix", [(sparse_fp8, "safetensors"), (sparse_gguf, "gguf")])
def test_packed_weights_stay_in_their_file(write, suffix, tmp_path, measured):
    large, small = tmp_path / f"large.{suffix}", tmp_path / f"small.{suffix}"
    write(large, 9, 8192)
    write(small, 1, 64)
    assert large.stat().st_size > 0.6e9
    growth, total, kind = measured(MEASURE, large, small)
    assert (int(total), kind) == (0, "PackedLinear")
    assert int(growth) <= 0.05 * large.stat().st_size
