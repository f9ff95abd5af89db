"""Fused operations give what the plain ones give: in Triton's interpreter, for there is no GPU here."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from torch import nn

from ltx2.checkpoint.keys import TRANSFORMER
from ltx2.checkpoint.load import InMemory, build
from ltx2.config.section import parse
from ltx2.config.transformer import TransformerConfig
from ltx2.errors import LTX2Error
from ltx2.layers import fused
from ltx2.layers.fused import FUSED, check_fused, use_operations
from ltx2.layers.modulation import Levels
from ltx2.layers.norms import RMSNorm
from ltx2.layers.operations import PLAIN, Incoming, Place, Turned
from ltx2.layers.rope import rotary_table
from ltx2.networks.transformer.inputs import StreamInput
from ltx2.networks.transformer.model import Transformer
from ltx2.networks.transformer.passes import ISOLATED, Pass, Perturbation
from ltx2.precision.cast import cast_at_use
from ltx2.precision.low_rank import put_beside

CPU = torch.device("cpu")
# Widths are no powers of two: the last lanes of a kernel have nothing to do.
CLIPS, TOKENS, WIDTH, HEADS = 2, 40, 96, 3
LEVELS = {
    "one": torch.full((CLIPS, TOKENS), 0.7),
    "a clean frame": torch.full((CLIPS, TOKENS), 0.7).index_fill(1, torch.arange(8), 0.0),
    "a mask": torch.rand(CLIPS, TOKENS, generator=torch.Generator().manual_seed(5)),
}
TOLERANCES = {torch.float32: 1e-5, torch.bfloat16: 4e-2}  # the plain steps round to bf16 after each


pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="needs triton, which is made for Linux: pip install triton"
)


@pytest.fixture
def random():
    generator = torch.Generator().manual_seed(0)
    return lambda *shape: torch.randn(*shape, generator=generator)


def assert_near(found, expected):
    torch.testing.assert_close(found, expected, atol=TOLERANCES[expected.dtype], rtol=TOLERANCES[expected.dtype])


def rows_of(random, levels, count, dtype):
    """As a block has them: some of the rows that a call has, and its own table."""
    given = random(len(levels.values), count + 2, WIDTH).to(dtype)
    return given[:, 1 : 1 + count], random(count, WIDTH).to(dtype)


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("kind", LEVELS)
@pytest.mark.parametrize("passes", [1, 3])
def test_modulation(random, kind, dtype, passes):
    levels = Levels.of(LEVELS[kind])
    x, update = (random(passes * CLIPS, TOKENS, WIDTH).to(dtype) for _ in range(2))
    rows, gate = rows_of(random, levels, 4, dtype), (random(1, 1, WIDTH).to(dtype), random(1, WIDTH).to(dtype))
    before = x.clone()

    def steps(operations):
        own, incoming = operations.rows(*rows), Incoming(update, operations.rows(*gate))
        yield from operations.modulated(x, own, [Place(0, 1)], levels, 1e-6)
        yield from operations.modulated(x, own, [Place(1, 0), Place(3, 2)], levels, 1e-6)
        yield operations.added(x, update, own, 2, levels)
        yield from operations.added_modulated(x, incoming, own, Place(0, 1), levels, 1e-6)

    for found, expected in zip(steps(FUSED), steps(PLAIN), strict=True):
        assert_near(found, expected)
    assert torch.equal(x, before)


@pytest.mark.parametrize("clips", [1, CLIPS])
def test_the_text_is_shifted(random, clips):
    """By a level of each clip where they have their own: plainly, as there are so few."""
    context, rows = random(CLIPS, 7, WIDTH), (random(clips, 2, WIDTH), random(2, WIDTH))
    assert_near(*(step.shifted(context, step.rows(*rows), Place(0, 1)) for step in (FUSED, PLAIN)))


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("interleaved", [False, True])
def test_queries_and_keys_of_different_lengths(random, interleaved, dtype):
    inner = HEADS * 20

    def turned(tokens, clips):
        positions = torch.arange(tokens, dtype=torch.float32).expand(clips, 1, tokens) / 3
        options = {"dim": inner, "num_heads": HEADS, "theta": 10000.0, "interleaved": interleaved}
        norm = RMSNorm(inner, 1e-6)
        nn.init.normal_(norm.weight)
        return Turned(random(2 * CLIPS, tokens, inner).to(dtype), norm, rotary_table(positions, (20,), **options))

    several = [turned(TOKENS, 1), turned(11, CLIPS)]
    with torch.no_grad():
        copies = [one._replace(x=one.x.clone(), rotary=one.rotary.to(dtype)) for one in several]
        found = FUSED.heads([one._replace(rotary=one.rotary.to(dtype)) for one in several], HEADS)
        for one, got in zip(copies, found, strict=True):
            # The plain steps are given the tables of all clips of all passes.
            for part, turned_part in zip(one.x.split(CLIPS), got.split(CLIPS), strict=True):
                assert_near(turned_part, PLAIN.heads([one._replace(x=part)], HEADS)[0])


@pytest.mark.parametrize("layout", ["tokens first", "heads first"])
def test_gated_heads(random, layout):
    """Kernels of attention give either layout."""
    attended = random(CLIPS, TOKENS, HEADS, 20).transpose(1, 2)
    attended = attended if layout == "tokens first" else attended.contiguous()
    gate = random(CLIPS, TOKENS, HEADS)
    assert_near(FUSED.joined(attended, gate), PLAIN.joined(attended, gate))


def test_a_product_ends_in_the_right_gelu_or_not_at_all(random):
    """The CPU's ends in the one by the error function."""
    linear = nn.Linear(WIDTH, 3 * WIDTH)
    x = 4 * random(2, TOKENS, WIDTH)
    with torch.no_grad():
        assert_near(FUSED.activated(linear, x), PLAIN.activated(linear, x))
    found = torch._addmm_activation(linear.bias, x[0], linear.weight.t(), use_gelu=True)
    by_tanh = nn.functional.gelu(linear(x[0]), approximate="tanh")
    assert fused._product_ends_in_gelu(CPU) == torch.allclose(found, by_tanh, atol=1e-6)


@pytest.mark.parametrize("kind", ["plain", "cast", "beside a LoRA", "without a bias"])
def test_which_products_end_in_gelu(random, monkeypatch, kind):
    """As if the CPU's ended in the right one: those that are nothing but a product."""
    monkeypatch.setattr(fused, "_product_ends_in_gelu", lambda *_: True)
    linear, x = nn.Linear(WIDTH, 3 * WIDTH, bias=kind != "without a bias"), 4 * random(2, TOKENS, WIDTH)
    layer = nn.Sequential(linear)
    if kind in ("cast", "beside a LoRA"):
        cast_at_use(layer.to(torch.bfloat16))
    if kind == "beside a LoRA":
        put_beside(layer[0], [(random(2, WIDTH), random(3 * WIDTH, 2), 0.5)])
    with torch.no_grad():
        product, found = layer(x), FUSED.activated(layer[0], x)
    approximate = "none" if kind in ("plain", "cast") else "tanh"
    assert_near(found, nn.functional.gelu(product, approximate=approximate))
    assert not torch.equal(found, nn.functional.gelu(product, approximate="tanh" if approximate == "none" else "none"))


@pytest.mark.parametrize(
    ("name", "kind"),
    [("transformer_20", "one"), ("transformer_20_interleaved", "a mask"), ("transformer_23", "a clean frame")],
)
def test_a_guided_call(golden, name, kind):
    case = golden(name)
    config = parse(TransformerConfig, case.config["transformer"], "transformer")
    network = build(lambda: Transformer(config), TRANSFORMER, InMemory(case.weights))
    given = []
    for part in ("video", "audio"):
        inputs = {key.removeprefix(f"{part}_"): x for key, x in case.inputs.items() if key.startswith(part)}
        rotaries = network.rotary(getattr(config, part), inputs["positions"][:1])
        latent, contexts = inputs["latent"][:1], tuple(inputs["context"].split(1))
        levels = Levels.of(LEVELS[kind][:1].repeat(1, 100)[:, : latent.shape[1]])
        given.append(StreamInput(latent, torch.tensor([0.7]), levels, contexts, *rotaries))
    skipped = Perturbation(video_self_attention=frozenset({1}), audio_self_attention=frozenset({1}))
    passes = (Pass(), Pass((len(contexts) - 1,) * 2), Pass(perturbation=skipped), Pass(perturbation=ISOLATED))
    with torch.no_grad():
        expected = network(*given, passes)
        use_operations(network, FUSED)
        found = network(*given, passes)
        use_operations(network, PLAIN)
        again = network(*given, passes)
    for one, other, same in zip(found, expected, again, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
        assert not torch.equal(one, other), "nothing was fused"
        assert torch.equal(same, other)


def test_what_cannot_be_fused_is_refused():
    with pytest.raises(LTX2Error, match="they run on GPUs that torch calls cuda; this is cpu"):
        check_fused(CPU)


def test_a_kernel_that_does_not_start_says_why(monkeypatch):
    """Tried in the interpreter: on a GPU it is compiled, where a C compiler may be missing."""
    assert fused._why_none_starts(CPU) is None

    def fails():
        raise RuntimeError("Failed to find C compiler")

    monkeypatch.setattr(fused, "_ops", fails)
    assert fused._why_none_starts(CPU) == "its first kernel failed with RuntimeError: Failed to find C compiler"
