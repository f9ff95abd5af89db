"""Attention with a bias on its logits: a few queries at a time, the same as all at once."""

import torch
import torch.nn.functional as F

from ltx2.layers import attention
from ltx2.layers.attention import Attention


class DenseBias:
    """A bias (B or 1, 1, T, T) that notes what it is asked for."""

    def __init__(self, bias):
        self.bias = bias
        self.asked = []

    def rows(self, start, stop, like):
        self.asked.append((start, stop))
        return self.bias[:, :, start:stop].to(like)


def layer(**options):
    torch.manual_seed(0)
    network = Attention(16, 16, num_heads=2, head_dim=8, **options).requires_grad_(False)
    for norm in (network.query_norm, network.key_norm):  # made without values
        norm.weight.uniform_(0.5, 1.5)
    return network


def plain(attention, x, bias):
    """The same in one piece, from the layer's own parts."""
    split = lambda tensor: tensor.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)  # noqa: E731
    query = split(attention.query_norm(attention.to_q(x)))
    key = split(attention.key_norm(attention.to_k(x)))
    attended = F.scaled_dot_product_attention(query, key, split(attention.to_v(x)), attn_mask=bias)
    return attention.to_out(attended.transpose(1, 2).flatten(2))


def test_a_bias_is_asked_for_a_few_queries_at_a_time(monkeypatch):
    monkeypatch.setattr(attention, "_BIASED_QUERIES", 4)
    network, x = layer(), torch.randn(1, 10, 16)
    bias = DenseBias(torch.randn(1, 1, 10, 10))
    torch.testing.assert_close(network(x, bias=bias), plain(network, x, bias.bias), atol=1e-6, rtol=1e-6)
    assert bias.asked == [(0, 4), (4, 8), (8, 10)]


def test_the_clips_of_a_batch_recur_pass_after_pass():
    network, clips = layer(), torch.randn(2, 5, 16)
    bias = DenseBias(torch.randn(2, 1, 5, 5))
    both = network(clips.repeat(3, 1, 1), bias=bias).chunk(3)
    for one in both:
        torch.testing.assert_close(one, plain(network, clips, bias.bias), atol=1e-6, rtol=1e-6)


def test_a_bias_for_all_clips_serves_each():
    network, clips = layer(), torch.randn(2, 5, 16)
    bias = DenseBias(torch.randn(1, 1, 5, 5))
    torch.testing.assert_close(network(clips, bias=bias), plain(network, clips, bias.bias), atol=1e-6, rtol=1e-6)
