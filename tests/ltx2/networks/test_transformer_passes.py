"""Passes that share work are the passes run one by one, bit for bit; what they share is planned as data."""

from dataclasses import replace

import pytest
import torch

from ltx2.checkpoint.keys import TRANSFORMER
from ltx2.checkpoint.load import InMemory, build
from ltx2.config.section import parse
from ltx2.config.transformer import TransformerConfig
from ltx2.layers.modulation import Levels
from ltx2.networks.transformer.inputs import StreamInput
from ltx2.networks.transformer.model import Transformer
from ltx2.networks.transformer.passes import EXCHANGE, ISOLATED, SELF, TEXT, Pass, Perturbation, origins, segments

COND, UNCOND = Pass(), Pass(prompts=(1, 1))
PERTURBED = Pass(perturbation=Perturbation(frozenset({1}), frozenset({1})))
ISOLATED_PASS = Pass(perturbation=ISOLATED)
FOUR = (COND, UNCOND, PERTURBED, ISOLATED_PASS)
# Each modality on its own terms: audio keeps its prompt, video alone is perturbed, in the first block too.
UNEVEN = (COND, Pass(prompts=(1, 0)), Pass(perturbation=Perturbation(frozenset({0, 1}))), ISOLATED_PASS, COND)


def part(block, kind):
    return 3 * block + kind


def test_where_the_passes_of_a_guided_step_part():
    perturbed = Pass(perturbation=Perturbation(frozenset({28}), frozenset({28})))
    found = origins((COND, UNCOND, perturbed, ISOLATED_PASS), 48)
    assert found == ((0, 0), (0, part(0, TEXT)), (0, part(28, SELF)), (0, part(0, EXCHANGE)))


def test_a_pass_starts_from_the_one_it_is_like_for_longest():
    one, other = (Pass(perturbation=Perturbation(frozenset(blocks))) for blocks in ({14}, {14, 19}))
    assert origins((COND, one, other), 48) == ((0, 0), (0, part(14, SELF)), (1, part(19, SELF)))
    assert origins((COND, COND), 48)[1] == (0, part(48, 0))


def test_segments_run_every_part_once_and_the_passes_in_batches():
    perturbed = Pass(perturbation=Perturbation(frozenset({28}), frozenset({28})))
    found = segments((COND, UNCOND, perturbed, ISOLATED_PASS), 48, 2)
    assert [one for segment in found for one in segment.parts] == list(range(3 * 48))
    assert [(segment.parts[0], segment.batches) for segment in found] == [
        (part(0, SELF), ((0,),)),
        (part(0, TEXT), ((0, 1),)),
        (part(0, EXCHANGE), ((0, 1), (3,))),
        (part(28, SELF), ((0, 1), (2, 3))),
        (part(29, SELF), ((0, 1), (2, 3))),
    ]


@pytest.fixture(scope="module", params=["transformer_20", "transformer_23", "transformer_25_static_prompt"])
def case(request, golden):
    return golden(request.param)


@pytest.fixture(scope="module")
def network(case):
    config = parse(TransformerConfig, case.config["transformer"], "transformer")
    return build(lambda: Transformer(config), TRANSFORMER, InMemory(case.weights))


class Strengths:
    """An attention bias of strengths (B or 1, T, T)."""

    def __init__(self, strengths):
        self.strengths = strengths

    def rows(self, start, stop, like):
        strengths = self.strengths[:, None, start:stop].to(like)
        return strengths.log().clamp_min(torch.finfo(like.dtype).min)


def streams(case, network, num_clips=2, **options):
    """(video, audio) of a step: one sigma and one place in time and space for all clips, two prompts."""
    found = []
    for name, sigma in (("video", 0.7), ("audio", 0.4)):
        inputs = {key.removeprefix(f"{name}_"): x for key, x in case.inputs.items() if key.startswith(name)}
        own, exchange = network.rotary(getattr(network.config, name), inputs["positions"][:1])
        mask = inputs["denoise_mask"][:num_clips, :, 0]
        found.append(
            StreamInput(
                latent=inputs["latent"][:num_clips],
                sigma=torch.tensor([sigma]),
                levels=Levels.of(mask if options.get("per_token") else torch.ones_like(mask)).scaled(sigma),
                contexts=tuple(inputs["context"].split(1)),
                rotary=own,
                exchange_rotary=exchange,
                attention_bias=options.get("bias") if name == "video" else None,
                is_updated=options.get("still") != name,
            )
        )
    absent = options.get("absent")
    return tuple(None if absent == name else one for name, one in zip(("video", "audio"), found, strict=True))


def alone(network, given, one):
    """A pass by itself, with its own prompts as the only ones."""
    chosen = [
        None if g is None else replace(g, contexts=(g.contexts[prompt],))
        for g, prompt in zip(given, one.prompts, strict=True)
    ]
    return network(*chosen, (Pass(perturbation=one.perturbation),))


def by_pass(network, given, passes, passes_per_batch):
    """(velocities of the shared passes, of the same passes alone), each present modality of each pass."""
    shared = network(*given, passes, passes_per_batch)
    for number, one in enumerate(passes):
        for together, plain in zip(shared, alone(network, given, one), strict=True):
            assert (together is None) == (plain is None)
            if together is not None:
                yield together.chunk(len(passes))[number], plain


OPTIONS = {
    "one clip": {"num_clips": 1},
    "two clips": {},
    "levels by token": {"per_token": True},
    "bias for all clips": {"bias": Strengths(torch.rand(1, 24, 24, generator=torch.Generator().manual_seed(0)))},
    "bias by clip": {"bias": Strengths(torch.rand(2, 24, 24, generator=torch.Generator().manual_seed(1)))},
    "no audio": {"absent": "audio"},
    "no video": {"absent": "video"},
    "audio stays as it is": {"still": "audio"},
    "video stays as it is": {"still": "video"},
}


@torch.no_grad()
@pytest.mark.parametrize("options", OPTIONS)
def test_shared_passes_equal_plain_ones_bit_for_bit(case, network, options):
    given = streams(case, network, **OPTIONS[options])
    for passes in (FOUR, UNEVEN):
        assert all(torch.equal(one, plain) for one, plain in by_pass(network, given, passes, 1))


@torch.no_grad()
@pytest.mark.parametrize(
    "options", ["two clips", "levels by token", "bias by clip", "no audio", "audio stays as it is"]
)
def test_passes_in_batches_differ_by_rounding_alone(case, network, options):
    """A matrix product of more rows may add up its terms in another order: the last bits may differ."""
    given = streams(case, network, **OPTIONS[options])
    for passes_per_batch in (2, 3, None):
        for one, plain in by_pass(network, given, FOUR, passes_per_batch):
            torch.testing.assert_close(one, plain, atol=2e-6, rtol=1e-5)


@torch.no_grad()
def test_passes_do_differ(case, network):
    video, audio = network(*streams(case, network), FOUR)
    for velocities in (video.chunk(4), audio.chunk(4)):
        assert all((velocities[0] - other).abs().max() > 1e-4 for other in velocities[1:])


@torch.no_grad()
def test_text_that_is_known_is_the_text_that_is_made(case, network):
    """Where no noise level enters it, once for a whole run."""
    given = streams(case, network)
    if network.follows_sigma_in_text:
        with pytest.raises(AssertionError):
            network.text(*(one.contexts for one in given))
        return
    text = network.text(*(one.contexts for one in given))
    known = [replace(one, contexts=(), text=keys_values) for one, keys_values in zip(given, text, strict=True)]
    for own, other in zip(network(*known, FOUR), network(*given, FOUR), strict=True):
        assert torch.equal(own, other)


@torch.no_grad()
def test_text_is_read_once_for_the_passes_of_a_prompt(case, network):
    """Of two prompts, in two blocks, for two modalities: eight times, however the passes are batched."""
    calls = []
    layers = [m.text_attention.to_k for block in network.blocks for m in (block.video, block.audio)]
    handles = [layer.register_forward_hook(lambda *_: calls.append(1)) for layer in layers]
    for passes_per_batch in (1, None):
        network(*streams(case, network), FOUR, passes_per_batch)
    for handle in handles:
        handle.remove()
    assert len(calls) == 2 * 8


@torch.no_grad()
@pytest.mark.parametrize("per_token", [False, True])
def test_nothing_that_is_given_changes(case, network, per_token):
    """Work in place stays with what the network has made itself."""
    given = streams(case, network, per_token=per_token)
    if not network.follows_sigma_in_text:
        text = network.text(*(one.contexts for one in given))
        given = [replace(one, text=known) for one, known in zip(given, text, strict=True)]
    tensors = [x for one in given for x in tensors_of(one)]
    before = [x.clone() for x in tensors]
    network(*given, FOUR, 1)
    assert len(tensors) > 10
    assert all(torch.equal(x, copy) for x, copy in zip(tensors, before, strict=True))


def tensors_of(value):
    """All tensors within a value, however deep."""
    if isinstance(value, torch.Tensor):
        return [value]
    parts = value if isinstance(value, tuple) else getattr(value, "__dict__", {}).values()
    return [x for part in parts for x in tensors_of(part)]
