"""GGUF files, written by the gguf package: transformers, connectors and Gemma 3, packed and mapped; refusals."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ltx2.checkpoint.gguf import GGUFFile
from ltx2.checkpoint.reader import Checkpoint
from ltx2.errors import LTX2Error, ModelFileError
from ltx2.packages import Package
from ltx2.precision.packed import PackedLinear
from ltx2.recipe import TextEncoderRecipe, TransformerRecipe

gguf = pytest.importorskip("gguf", reason="needs gguf: pip install -e '.[dev]'")
Types = gguf.GGMLQuantizationType
TRANSFORMER = "model.diffusion_model."
CLOSE = {"atol": 1e-5, "rtol": 0}


def write(file, tensors, architecture="ltxv", **metadata):
    """`tensors`: {name: (numbers, type)}; returns {name: the numbers that are left}."""
    writer = gguf.GGUFWriter(file, architecture)
    left = {}
    for key, value in metadata.items():
        add = {str: writer.add_string, int: writer.add_uint32, float: writer.add_float32, list: writer.add_array}
        add[type(value)](key, value)
    for name, (numbers, kind) in tensors.items():
        data = gguf.quants.quantize(numbers.float().numpy(), kind)
        left[name] = torch.from_numpy(gguf.quants.dequantize(data, kind).reshape(numbers.shape).copy())
        writer.add_tensor(name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return left


def typed(tensors, kind, which):
    """{name: (numbers, type)}: `kind` for matrices of these names whose rows are whole blocks; others as they are."""
    plain = {torch.bfloat16: Types.BF16, torch.float32: Types.F32}
    block, _ = gguf.GGML_QUANT_SIZES[kind]
    return {
        key: (tensor, kind if which.search(key) and tensor.shape[-1] % block == 0 else plain[tensor.dtype])
        for key, tensor in tensors.items()
    }


@pytest.fixture(scope="module")
def tensors(tiny_models):
    return load_file(next((tiny_models("2.3") / "checkpoints").glob("*dev*")))


@pytest.fixture(scope="module")
def config(tiny_models):
    return Checkpoint.open(next((tiny_models("2.3") / "checkpoints").glob("*dev*"))).metadata["config"]


LINEARS = re.compile(r"(to_\w|to_out\.0|proj|net\.2|linear_\w|aggregate_embed)\.weight$")


@pytest.mark.parametrize("prefix", [TRANSFORMER, "diffusion_model.", ""])
@pytest.mark.parametrize("kind", [Types.Q8_0, Types.Q4_0, Types.Q5_1])
def test_transformers_compute_as_the_numbers_that_are_left(kind, prefix, tensors, config, tmp_path):
    own = {prefix + key[len(TRANSFORMER) :]: each for key, each in tensors.items() if key.startswith(TRANSFORMER)}
    left = write(tmp_path / "packed.gguf", typed(own, kind, LINEARS), config=config)
    save_file(
        {key: value.contiguous() for key, value in left.items()}, tmp_path / "plain.safetensors", {"config": config}
    )
    recipes = [TransformerRecipe.open(tmp_path / name) for name in ("packed.gguf", "plain.safetensors")]
    assert [recipe.release for recipe in recipes] == ["2.3", "2.3"]
    one, other = (recipe.build() for recipe in recipes)
    packed = [layer for layer in one.modules() if isinstance(layer, PackedLinear)]
    assert len(packed) > 40
    assert {layer.kept.format for layer in packed} == {kind.name}
    for name, layer in one.named_modules():
        if isinstance(layer, torch.nn.Linear):
            x = torch.randn(2, layer.in_features, generator=torch.Generator().manual_seed(0))
            torch.testing.assert_close(layer(x), other.get_submodule(name)(x), **CLOSE)
    for name, parameter in one.named_parameters():
        if name.rpartition(".")[2] not in ("weight", "bias"):
            assert torch.equal(parameter, other.get_parameter(name)), name


def test_connectors_lie_in_the_file_of_the_transformer(tensors, config, tmp_path, tiny_models):
    folder = next((tiny_models("2.3") / "text_encoders").iterdir())
    own = {key.removeprefix(TRANSFORMER): tensor for key, tensor in tensors.items() if key.startswith(TRANSFORMER)}
    own |= {key: tensor for key, tensor in tensors.items() if key.startswith("text_embedding_projection.")}
    left = write(tmp_path / "packed.gguf", typed(own, Types.Q8_0, LINEARS), config=config)
    save_file(
        {key: value.contiguous() for key, value in left.items()}, tmp_path / "plain.safetensors", {"config": config}
    )
    one, other = (TextEncoderRecipe.open(folder, tmp_path / f).build() for f in ("packed.gguf", "plain.safetensors"))
    assert isinstance(one.connectors.audio.blocks[0].feed_forward.linear_out, PackedLinear)
    assert TransformerRecipe.open(tmp_path / "packed.gguf").release == "2.3"
    with torch.no_grad():
        for a, b in zip(*(each("a fox", device=torch.device("cpu")) for each in (one, other)), strict=True):
            torch.testing.assert_close(a, b, **CLOSE)


#: llama.cpp's names of Gemma 3, as its converter writes them.
GEMMA = {
    **{"embed_tokens": "token_embd", "norm": "output_norm", "input_layernorm": "attn_norm", "o_proj": "attn_output"},
    **{f"{each}_proj": f"attn_{each}" for each in "qkv"},
    **{"q_norm": "attn_q_norm", "k_norm": "attn_k_norm", "post_attention_layernorm": "post_attention_norm"},
    **{"pre_feedforward_layernorm": "ffn_norm", "post_feedforward_layernorm": "post_ffw_norm"},
    **{f"{each}_proj": f"ffn_{each}" for each in ("gate", "up", "down")},
}


def test_gemma_under_the_names_of_llama_cpp(tiny_models, tmp_path):
    folder = next((tiny_models("2.3") / "text_encoders").iterdir())
    checkpoint = next((tiny_models("2.3") / "checkpoints").glob("*dev*"))
    weights = {}
    for shard in sorted(folder.glob("*.safetensors")):
        weights |= load_file(shard)
    prefix = "language_model.model."
    table = gguf.get_tensor_name_map(gguf.MODEL_ARCH.GEMMA3, 7)
    plain, named = {}, {}
    for key, tensor in weights.items():
        if key.startswith(prefix):
            name = table.get_name("model." + key[len(prefix) :], try_suffixes=(".weight",))
            assert name.split(".")[-2] == GEMMA[key.split(".")[-2]]
            is_norm = key.endswith("norm.weight")
            kind = Types.Q8_0 if tensor.dim() == 2 else Types.F32
            named[name] = (tensor.float() + 1 if is_norm else tensor, kind)
            plain[key] = name
    keys = {
        "embedding_length": 64,
        "feed_forward_length": 128,
        "block_count": 7,
        "attention.head_count": 4,
        "attention.head_count_kv": 2,
        "attention.key_length": 16,
        "attention.sliding_window": 1024,
        "rope.freq_base": 1_000_000.0,
        "attention.layer_norm_rms_epsilon": 1e-6,
    }
    words = {"tokenizer.ggml.tokens": ["a", "b"], "tokenizer.ggml.scores": [0.5, 1.5]}
    metadata = {f"gemma3.{key}": value for key, value in keys.items()}
    left = write(tmp_path / "gemma.gguf", named, architecture="gemma3", **metadata, **words)
    (tmp_path / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    numbers = {
        key: left[name] - 1 if key.endswith("norm.weight") else left[name].clone() for key, name in plain.items()
    }
    embeddings = prefix + "embed_tokens.weight"
    numbers[embeddings] = numbers[embeddings].bfloat16()  # the one large tensor that is expanded when it is loaded
    text = (folder / "config.json").read_text()
    save_file(numbers, tmp_path / "plain.safetensors", {"gemma_config": text})
    recipes = [TextEncoderRecipe.open(tmp_path / name, checkpoint) for name in ("gemma.gguf", "plain.safetensors")]
    one, other = (recipe.build() for recipe in recipes)
    assert sum(isinstance(layer, PackedLinear) for layer in one.gemma.modules()) == 7 * 7
    with torch.no_grad():
        for a, b in zip(*(each("a fox", device=torch.device("cpu")) for each in (one, other)), strict=True):
            torch.testing.assert_close(a, b, **CLOSE)


def test_tensors_are_mapped_and_metadata_read(tmp_path):
    matrix = torch.randn(4, 64)
    left = write(tmp_path / "a.gguf", {"x": (matrix, Types.Q8_0), "y": (matrix, Types.F32)}, note="hello", number=7)
    file = GGUFFile(tmp_path / "a.gguf")
    assert (file.metadata["note"], file.metadata["number"]) == ("hello", "7")
    assert file.read("x").shape == (4, 2 * 34)
    assert file.tensors["x"].shape == (4, 64)
    assert torch.equal(file.read("y"), left["y"])
    start = file.read("y").data_ptr() - file.tensors["y"].start
    assert file.read("x").data_ptr() - file.tensors["x"].start == start, "one map of the file"


def test_files_that_cannot_be_read_are_refused_in_words(tmp_path):
    whole = tmp_path / "whole.gguf"
    write(whole, {"x": (torch.randn(4, 64), Types.Q8_0)})
    data = whole.read_bytes()
    bad = tmp_path / "bad.gguf"
    for content, message in (
        (data[:-40], "must hold .* bytes; it holds .*: the download was cut off"),
        (data[:60], "must be a whole GGUF file; it is cut off, damaged"),
        (b"", "must be a whole GGUF file"),
        (b"<html>404</html>" * 9, "must be a whole GGUF file.* begins with b'<htm'"),
        (data[:4] + b"\x01" + data[5:], "version 1"),
    ):
        bad.write_bytes(content)
        with pytest.raises(ModelFileError, match=message):
            Checkpoint.open(bad)
    with pytest.raises(ModelFileError, match="there is no such file"):
        Checkpoint.open(tmp_path / "none.gguf")


def test_without_the_package_the_error_says_what_to_install(tmp_path, monkeypatch):
    write(tmp_path / "x.gguf", {"x": (torch.randn(4, 64), Types.Q8_0)})
    monkeypatch.setattr("ltx2.checkpoint.gguf.gguf", Package("gguf"))
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(LTX2Error, match="the package gguf must be there for model files in GGUF.* pip install .* gguf"):
        Checkpoint.open(tmp_path / "x.gguf")


def test_types_of_blocks_that_are_not_read_are_refused(tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "iq.gguf", "ltxv")
    writer.add_tensor("x", np.zeros((2, 98), dtype=np.uint8), raw_dtype=Types.IQ3_XXS)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ModelFileError, match="keeps x as IQ3_XXS; what is read is F64, .*Q6_K: choose a file"):
        Checkpoint.open(tmp_path / "iq.gguf")


def test_what_a_transformer_lacks_is_said(tensors, config, tmp_path, tiny_models):
    own = {key.removeprefix(TRANSFORMER): tensor for key, tensor in tensors.items() if key.startswith(TRANSFORMER)}
    del own["transformer_blocks.1.ff.net.2.weight"]
    write(tmp_path / "less.gguf", typed(own, Types.Q8_0, LINEARS), config=config)
    with pytest.raises(ModelFileError, match=r"1 missing: model.diffusion_model.transformer_blocks.1.ff.net.2.weight"):
        TransformerRecipe.open(tmp_path / "less.gguf")
    folder = next((tiny_models("2.3") / "text_encoders").iterdir())
    with pytest.raises(ModelFileError, match="must hold a text projection and connectors; it holds a transformer"):
        TextEncoderRecipe.open(folder, tmp_path / "less.gguf")
