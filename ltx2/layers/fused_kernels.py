"""Triton's kernels of layers.fused: one program a token, in fp32 whatever the tokens are stored in.

Importing this needs the package triton.
"""

# pyright: reportMissingImports=false, reportUnknownMemberType=false
from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _row(given, stride, which, table, column, mask):
    """A row that the noise level says, and the block's own, added."""
    said = tl.load(given + which * stride + column, mask=mask, other=0.0).to(tl.float32)
    return said + tl.load(table + column, mask=mask, other=0.0).to(tl.float32)


@triton.jit
def _modulated(x, shift, scale, shift_table, scale_table, out, at, stride, which, column, mask):
    factor = 1.0 + _row(scale, stride, which, scale_table, column, mask)
    result = x * factor + _row(shift, stride, which, shift_table, column, mask)
    tl.store(out + at, result.to(out.dtype.element_ty), mask=mask)


@triton.jit
def modulate(
    x,
    update,
    gate,
    gate_table,
    gate_stride,
    gate_index,
    shift_0,
    scale_0,
    shift_table_0,
    scale_table_0,
    shift_1,
    scale_1,
    shift_table_1,
    scale_table_1,
    stride,
    index,
    num_index,
    added,
    out_0,
    out_1,
    width,
    eps,
    ADDS: tl.constexpr,
    GATE_INDEXED: tl.constexpr,
    INDEXED: tl.constexpr,
    OUTS: tl.constexpr,
    NORMS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """x + gate * update into `added`; its RMS norm, modulated, into `out_0` and `out_1`. Each may be left out."""
    token = tl.program_id(0)
    column = tl.arange(0, BLOCK)
    mask = column < width
    at = token.to(tl.int64) * width + column
    value = tl.load(x + at, mask=mask, other=0.0).to(tl.float32)
    if ADDS:
        which = tl.load(gate_index + token % num_index).to(tl.int64) if GATE_INDEXED else 0
        strength = _row(gate, gate_stride, which, gate_table, column, mask)
        value += strength * tl.load(update + at, mask=mask, other=0.0).to(tl.float32)
        rounded = value.to(added.dtype.element_ty)
        tl.store(added + at, rounded, mask=mask)
        value = rounded.to(tl.float32)
    if OUTS > 0:
        if NORMS:
            value = value * tl.rsqrt(tl.sum(value * value, 0) / width + eps)
        level = tl.load(index + token % num_index).to(tl.int64) if INDEXED else 0
        _modulated(value, shift_0, scale_0, shift_table_0, scale_table_0, out_0, at, stride, level, column, mask)
        if OUTS > 1:
            _modulated(value, shift_1, scale_1, shift_table_1, scale_table_1, out_1, at, stride, level, column, mask)


@triton.jit
def _turn_one(
    x,
    weight,
    tables,
    strides,
    token,
    num_tokens,
    width,
    pairs,
    eps,
    INTERLEAVED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    pair = tl.arange(0, BLOCK)
    mask = pair < width // 2
    head, inside = pair // pairs, pair % pairs
    first = pair * 2 if INTERLEAVED else head * (2 * pairs) + inside
    second = first + 1 if INTERLEAVED else first + pairs
    at = token.to(tl.int64) * width
    a = tl.load(x + at + first, mask=mask, other=0.0).to(tl.float32)
    b = tl.load(x + at + second, mask=mask, other=0.0).to(tl.float32)
    scale = tl.rsqrt((tl.sum(a * a, 0) + tl.sum(b * b, 0)) / width + eps)
    a = a * scale * tl.load(weight + first, mask=mask, other=0.0).to(tl.float32)
    b = b * scale * tl.load(weight + second, mask=mask, other=0.0).to(tl.float32)
    cos, sin, num_tables = tables
    table_stride, head_stride, token_stride = strides
    table = (token // num_tokens % num_tables).to(tl.int64) * table_stride + head * head_stride
    table += (token % num_tokens).to(tl.int64) * token_stride + inside
    c = tl.load(cos + table, mask=mask, other=0.0).to(tl.float32)
    s = tl.load(sin + table, mask=mask, other=0.0).to(tl.float32)
    tl.store(x + at + first, (a * c - b * s).to(x.dtype.element_ty), mask=mask)
    tl.store(x + at + second, (b * c + a * s).to(x.dtype.element_ty), mask=mask)


@triton.jit
def turn(
    query,
    query_weight,
    query_cos,
    query_sin,
    query_rows,
    query_tokens,
    query_tables,
    query_table_stride,
    query_head_stride,
    query_token_stride,
    key,
    key_weight,
    key_cos,
    key_sin,
    key_tokens,
    key_tables,
    key_table_stride,
    key_head_stride,
    key_token_stride,
    width,
    pairs,
    eps,
    INTERLEAVED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """RMS norm over all heads, then rotation, in place; queries first, and then keys, which have their own tables."""
    token = tl.program_id(0)
    if token < query_rows:
        strides = (query_table_stride, query_head_stride, query_token_stride)
        tables = (query_cos, query_sin, query_tables)
        _turn_one(query, query_weight, tables, strides, token, query_tokens, width, pairs, eps, INTERLEAVED, BLOCK)
    else:
        strides = (key_table_stride, key_head_stride, key_token_stride)
        tables = (key_cos, key_sin, key_tables)
        row = token - query_rows
        _turn_one(key, key_weight, tables, strides, row, key_tokens, width, pairs, eps, INTERLEAVED, BLOCK)


@triton.jit
def join(
    attended,
    gate,
    out,
    num_tokens,
    batch_stride,
    head_stride,
    token_stride,
    num_heads,
    features,
    BLOCK: tl.constexpr,
):
    """What heads found, each times 2 sigmoid(its gate), side by side."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    mask = column < num_heads * features
    head = column // features
    at = (row // num_tokens) * batch_stride + (row % num_tokens) * token_stride + head * head_stride
    value = tl.load(attended + at + column % features, mask=mask, other=0.0).to(tl.float32)
    opened = 2.0 * tl.sigmoid(tl.load(gate + row * num_heads + head, mask=mask, other=0.0).to(tl.float32))
    out_at = row * num_heads * features + column
    tl.store(out + out_at, (value * opened).to(out.dtype.element_ty), mask=mask)
