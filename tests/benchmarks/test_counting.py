"""What benchmarks count with: operations, traffic and live bytes of calls whose cost is known."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

ROWS, WIDTH = 8, 16
BYTES = ROWS * WIDTH * 2  # of one (ROWS, WIDTH) in bf16


@pytest.fixture(scope="module")
def counting(benchmark_module):
    return benchmark_module("counting")


@pytest.fixture
def x():
    return torch.empty(ROWS, WIDTH, dtype=torch.bfloat16, device="meta")


def test_products_are_operations_without_elementwise_traffic(counting, x):
    weight = torch.empty(WIDTH, WIDTH, dtype=torch.bfloat16, device="meta")
    counted = counting.traffic(lambda: F.linear(x, weight))
    assert (counted.operations, counted.elementwise_bytes) == (1, 0)
    assert counting.flops(lambda: F.linear(x, weight)) == 2 * ROWS * WIDTH * WIDTH


def test_views_and_room_that_is_taken_launch_nothing(counting, x):
    counted = counting.traffic(lambda: (x.view(-1).unflatten(0, (WIDTH, ROWS)).transpose(0, 1), torch.empty_like(x)))
    assert (counted.operations, counted.elementwise_bytes) == (0, 0)


def test_elementwise_operations_read_and_write(counting, x):
    counted = counting.traffic(lambda: x.mul(2).add_(x))
    # Read and written by the product; two read and one written by the sum.
    assert (counted.operations, counted.elementwise_bytes) == (2, 5 * BYTES)


def test_what_is_expanded_is_read_once(counting, x):
    row = torch.empty(1, WIDTH, dtype=torch.bfloat16, device="meta").expand(ROWS, WIDTH)
    assert counting.traffic(lambda: x * row).elementwise_bytes == 2 * BYTES + BYTES // ROWS


def test_norms_and_attention_are_one_kernel_each(counting, x):
    weight = torch.empty(WIDTH, dtype=torch.bfloat16, device="meta")
    for given in (None, weight):
        norm = counting.traffic(lambda given=given: F.rms_norm(x, (WIDTH,), given))
        assert (norm.operations, norm.elementwise_bytes) == (1, 2 * BYTES + (0 if given is None else BYTES // ROWS))
    assert counting.traffic(lambda: F.rms_norm(x, (WIDTH,), weight=weight)).operations == 1
    heads = x.view(1, 1, ROWS, WIDTH)
    attention = counting.traffic(lambda: F.scaled_dot_product_attention(heads, heads, heads))
    assert (attention.operations, attention.elementwise_bytes) == (1, 0)


def test_peaks_leave_out_what_is_given_and_what_is_freed(counting, x):
    def call():
        first = x + 1
        second = first + 1
        del first
        return second + 1

    assert counting.peak_bytes(call, given=(x,)) == 2 * BYTES
    assert counting.peak_bytes(call, given=(x,), held=(torch.empty(ROWS, device="meta"),)) == 2 * BYTES + 4 * ROWS
