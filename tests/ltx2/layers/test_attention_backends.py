"""Attention's kernels: each that runs here finds what torch's own choice finds, the others say why they do not."""

from __future__ import annotations

import pytest
import torch

from ltx2.errors import LTX2Error
from ltx2.layers import attention_backends
from ltx2.layers.attention import Attention
from ltx2.layers.attention_backends import AUTOMATIC, BACKENDS, check_backend, in_words, use_attention
from ltx2.layers.rope import rotary_table

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
HERE = [name for name, row in BACKENDS.items() if not row.fails_on(CPU, torch.float32)]


def layer():
    torch.manual_seed(0)
    network = Attention(32, 32, num_heads=2, head_dim=16, gated=True).requires_grad_(False)
    for norm in (network.query_norm, network.key_norm):  # made without values
        norm.weight.uniform_(0.5, 1.5)
    return network


def rotary(length):
    positions = torch.arange(length).float()[None, None]
    return rotary_table(positions, (20,), dim=32, num_heads=2, theta=1e4)


def test_what_has_run_here_is_what_the_table_says():
    assert [name for name, row in BACKENDS.items() if row.ran_on == "CPU"] == HERE
    assert len(HERE) == 3


@pytest.mark.parametrize("name", HERE)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_kernels_find_the_same(name, dtype):
    network, x, context = layer().to(dtype), torch.randn(2, 7, 32).to(dtype), torch.randn(2, 5, 32).to(dtype)
    expected = network(x, rotary=rotary(7).to(dtype)), network(x, network.keys_values(context))
    use_attention(network, name)
    found = network(x, rotary=rotary(7).to(dtype)), network(x, network.keys_values(context))
    tolerance = 1e-6 if dtype == torch.float32 else 2e-2
    for own, plain in zip(found, expected, strict=True):
        torch.testing.assert_close(own, plain, atol=tolerance, rtol=0)


def test_a_chosen_kernel_is_what_runs():
    network, x = layer(), torch.randn(1, 4, 32)
    use_attention(network, "torch math")
    assert network.kernel is BACKENDS["torch math"].attend
    use_attention(network, AUTOMATIC)
    torch.testing.assert_close(network(x), layer()(x), atol=0, rtol=0)


def test_a_bias_stays_with_torchs_choice():
    """No other kernel of the table is known to take one."""

    class NoBias:
        def rows(self, start, stop, like):
            return like.new_zeros(1, 1, stop - start, 4)

    def never(*_):
        raise AssertionError("a kernel without biases was asked")

    network, x = layer(), torch.randn(1, 4, 32)
    network.kernel = never
    torch.testing.assert_close(network(x, bias=NoBias()), layer()(x), atol=1e-6, rtol=0)


def test_packages_that_put_tokens_before_heads(tmp_path, monkeypatch):
    """A package of that form in plain torch, which gives its weights' sums, too."""
    package = tmp_path / "tokens_before_heads.py"
    package.write_text(
        "from torch.nn.functional import scaled_dot_product_attention as attend\n"
        "def found(*parts):\n"
        "    return attend(*(part.transpose(1, 2) for part in parts)).transpose(1, 2), None\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    network, x, context = layer(), torch.randn(2, 7, 32), torch.randn(2, 5, 32)
    expected = network(x, network.keys_values(context))
    network.kernel = attention_backends._tokens_first("tokens_before_heads", "found")
    torch.testing.assert_close(network(x, network.keys_values(context)), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", [name for name in BACKENDS if name not in HERE])
def test_what_does_not_run_here_says_why_and_what_does(name):
    with pytest.raises(
        LTX2Error, match=rf"cannot run with {name}: it runs on GPUs .* this is cpu\. Choose one of auto"
    ):
        check_backend(name, CPU, torch.float32)
    assert BACKENDS[name].ran_on is None
    assert f"{name}: {BACKENDS[name].words}" in in_words()


def test_reasons_of_a_gpu():
    for name in ("torch flash", "torch cuDNN", "FlashAttention 3", "SageAttention"):
        reason = BACKENDS[name].fails_on(CUDA, torch.float32)
        assert reason == "it takes bf16 and fp16; this computes in float32"
    assert BACKENDS["torch efficient"].fails_on(CUDA, torch.float32) is None


def test_names_are_those_of_the_table():
    with pytest.raises(LTX2Error, match="attention must be one of automatic, .*; got 'fastest'"):
        check_backend("fastest", CPU, torch.float32)


def test_words_warn_of_loss_and_of_what_nobody_has_run():
    assert "SageAttention: products in int8 and fp8; LOSSY; untested." in in_words()
    assert "torch flash: FlashAttention 2 as torch has it." in in_words()


def test_packages_that_are_not_there():
    assert not attention_backends._is_there("no_such_package")
    assert not attention_backends._is_there("no_such_package.inside")
    assert attention_backends._is_there("torch.nn")
