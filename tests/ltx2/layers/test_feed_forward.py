"""The feed-forward network a few tokens at a time: the same as all at once."""

import pytest
import torch
import torch.nn.functional as F

from ltx2.layers import feed_forward
from ltx2.layers.feed_forward import FeedForward


def network():
    torch.manual_seed(0)
    return FeedForward(8).requires_grad_(False)


def test_pieces_are_the_whole(monkeypatch):
    feed, x = network(), torch.randn(2, 7, 8)
    whole = feed(x)
    sizes = []
    feed.linear_in.register_forward_hook(lambda module, given, wide: sizes.append(wide.shape[-2]))
    monkeypatch.setattr(feed_forward, "FEED_ROWS", 4)
    pieces = feed(x)
    assert sizes == [4, 4, 4, 2]
    torch.testing.assert_close(pieces, whole, atol=1e-6, rtol=0)


def test_weights_that_are_elsewhere_come_once_for_all_pieces(monkeypatch):
    """meta stands for the device: nothing else is at hand beside the CPU."""
    feed, x = network(), torch.empty(3, 5, 8, device="meta")
    before = dict(feed.named_parameters())
    seen = []
    feed.linear_out.register_forward_pre_hook(lambda module, _: seen.append(module.weight))
    monkeypatch.setattr(feed_forward, "FEED_ROWS", 4)
    assert feed(x).shape == x.shape
    assert len(seen) == 4
    assert len(set(map(id, seen))) == 1
    assert seen[0].is_meta
    assert all(weight is before[name] for name, weight in feed.named_parameters())


def test_weights_are_back_where_they_were_when_something_fails(monkeypatch):
    feed = network()
    before = dict(feed.named_parameters())
    monkeypatch.setattr(feed_forward, "FEED_ROWS", 4)
    with pytest.raises(RuntimeError, match="same reduction dim"):
        feed(torch.empty(9, 7, device="meta"))
    assert all(weight is before[name] for name, weight in feed.named_parameters())


def test_it_is_gelu_between_two_layers_and_leaves_its_input():
    feed, x = network(), torch.randn(1, 5, 8)
    before = x.clone()
    expected = feed.linear_out(F.gelu(feed.linear_in(x), approximate="tanh"))
    torch.testing.assert_close(feed(x), expected, atol=1e-6, rtol=0)
    assert torch.equal(x, before)
