"""Prompt text to contexts through real files: folders, shards, single files; and the files that are refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from ltx2.checkpoint.gemma import check_fits, load_gemma, load_tokenizer, read_config, recognise
from ltx2.checkpoint.keys import GEMMA, TEXT
from ltx2.checkpoint.load import InMemory, build, on_meta
from ltx2.checkpoint.reader import Checkpoint
from ltx2.config.text import ConnectorsConfig, GemmaConfig
from ltx2.errors import ModelFileError
from ltx2.networks.text.connector import CONTEXT_LENGTH, TextConnectors
from ltx2.networks.text.encoder import encode_prompt
from ltx2.networks.text.gemma import Gemma3

RELEASED = "language_model.model."


@pytest.fixture(scope="module")
def case(golden):
    return golden("gemma3_hidden_states")


def _tokenizer_json() -> str:
    words = ["<pad>", "<eos>", "<bos>", "<unk>", *(f"w{index}" for index in range(92))]
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer.to_str()


def _folder(path: Path, case, *, shards: int = 3, dtype: torch.dtype = torch.float32) -> Path:
    """A Hugging Face folder of shards, with parts that are not read."""
    path.mkdir()
    tensors = {key: value.to(dtype) for key, value in case.weights.items()}
    tensors |= {
        "vision_tower.vision_model.post_layernorm.weight": torch.ones(3),
        "multi_modal_projector.x": torch.ones(2),
    }
    files = [f"model-{index + 1:05}-of-{shards:05}.safetensors" for index in range(shards)]
    places = {key: files[index % shards] for index, key in enumerate(sorted(tensors))}
    for file in files:
        save_file({key: tensors[key] for key in tensors if places[key] == file}, path / file)
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    (path / "config.json").write_text(case.metadata["gemma_config"])
    (path / "tokenizer.json").write_text(_tokenizer_json())
    return path


def _rows(case, row: int) -> torch.Tensor:
    return case.inputs["input_ids"][row][case.inputs["attention_mask"][row].bool()][None]


def _states(checkpoint: Checkpoint, tokens: torch.Tensor) -> torch.Tensor:
    return load_gemma(checkpoint, read_config(checkpoint))(tokens)


def test_a_sharded_folder_gives_the_fixtures_states(tmp_path, case):
    checkpoint = Checkpoint.open(_folder(tmp_path / "gemma", case))
    states = _states(checkpoint, _rows(case, 0))[0].permute(2, 0, 1)
    torch.testing.assert_close(states, case.outputs["valid_only.0"], atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("layout", GEMMA.prefixes)
@pytest.mark.parametrize("flat", [False, True])
def test_every_layout_of_a_single_file_is_read(tmp_path, case, layout, flat):
    raw = json.loads(case.metadata["gemma_config"])
    tensors = {layout + key.removeprefix(RELEASED): value for key, value in case.weights.items()}
    head = {RELEASED: "language_model.lm_head.weight"}.get(layout, "lm_head.weight")
    tensors |= {head: torch.ones(96, 32), "vision_model.x": torch.ones(1), "multi_modal_projector.x": torch.ones(1)}
    config = json.dumps(raw["text_config"] if flat else raw)
    save_file(tensors, tmp_path / "gemma.safetensors", metadata={"gemma_config": config})
    checkpoint = Checkpoint.open(tmp_path / "gemma.safetensors")
    states = _states(checkpoint, _rows(case, 1))[0].permute(2, 0, 1)
    torch.testing.assert_close(states, case.outputs["valid_only.1"], atol=2e-5, rtol=2e-5)


def test_bf16_weights_stay_bf16_and_compute_in_fp32(tmp_path, case):
    checkpoint = Checkpoint.open(_folder(tmp_path / "gemma", case, dtype=torch.bfloat16))
    gemma = load_gemma(checkpoint, read_config(checkpoint))
    states = gemma(_rows(case, 0))
    assert states.dtype == torch.float32
    assert {parameter.dtype for parameter in gemma.parameters()} == {torch.bfloat16}
    rounded = {key: value.bfloat16().float() for key, value in case.weights.items()}
    full = load_gemma(InMemory(rounded), read_config(checkpoint))(_rows(case, 0))
    # The scale of the embeddings is rounded to the weights' dtype too: sqrt(32) = 5.65685 is 5.65625 in bf16.
    torch.testing.assert_close(states[..., 0], full[..., 0] * (5.65625 / 32**0.5))
    torch.testing.assert_close(states, full, atol=0.05, rtol=0.01)


def _connectors(seed: int = 0) -> TextConnectors:
    config = ConnectorsConfig(
        hidden_size=32,
        num_text_states=8,
        has_separate_projections=True,
        num_heads=2,
        head_dim=24,
        audio_num_heads=2,
        audio_head_dim=16,
        is_gated=True,
    )
    empty = on_meta(lambda: TextConnectors(config))
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        TEXT.to_theirs(name): torch.randn(tensor.shape, generator=generator) * 0.1
        for name, tensor in empty.state_dict().items()
    }
    return build(lambda: TextConnectors(config), TEXT, InMemory(tensors))


def test_a_prompt_becomes_two_contexts(tmp_path, case):
    checkpoint = Checkpoint.open(_folder(tmp_path / "gemma", case))
    tokenizer = load_tokenizer(checkpoint)
    gemma, connectors = load_gemma(checkpoint, read_config(checkpoint)), _connectors()
    tokens = tokenizer(" w5 w17 w3 ")
    assert tokens.tolist() == [[2, 9, 21, 7]]
    video, audio = encode_prompt(gemma, connectors, tokens)
    assert video.shape == (1, CONTEXT_LENGTH, 48)
    assert audio.shape == (1, CONTEXT_LENGTH, 32)
    assert not video.requires_grad
    again, _ = encode_prompt(gemma, connectors, tokens)
    other, _ = encode_prompt(gemma, connectors, tokenizer("w5 w17 w4"))
    empty, _ = encode_prompt(gemma, connectors, tokenizer(""))
    assert torch.equal(video, again)
    assert not torch.allclose(video, other)
    assert torch.isfinite(empty).all()


def test_bf16_computes_close_to_fp32(tmp_path, case):
    checkpoint = Checkpoint.open(_folder(tmp_path / "gemma", case, dtype=torch.bfloat16))
    gemma, connectors = load_gemma(checkpoint, read_config(checkpoint)), _connectors()
    tokens = _rows(case, 0)
    exact, _ = encode_prompt(gemma, connectors, tokens)
    video, _ = encode_prompt(gemma, connectors, tokens, dtype=torch.bfloat16)
    assert video.dtype == torch.bfloat16
    assert (video.float() - exact).norm() < 0.05 * exact.norm()


def test_the_tokenizer_inside_or_beside_a_single_file(tmp_path, case):
    inside = torch.frombuffer(bytearray(_tokenizer_json().encode()), dtype=torch.uint8)
    save_file({"tokenizer_json": inside}, tmp_path / "with.safetensors")
    save_file({"x": torch.ones(1)}, tmp_path / "without.safetensors")
    assert load_tokenizer(Checkpoint.open(tmp_path / "with.safetensors"))("w0").tolist() == [[2, 4]]
    without = Checkpoint.open(tmp_path / "without.safetensors")
    with pytest.raises(ModelFileError, match=r"put the tokenizer\.json of google/gemma"):
        load_tokenizer(without)
    (tmp_path / "tokenizer.json").write_text(_tokenizer_json())
    assert load_tokenizer(without)("w0").tolist() == [[2, 4]]


def _full_size_shapes(config: GemmaConfig) -> dict[str, tuple[int, ...]]:
    gemma = on_meta(lambda: Gemma3(config))
    return {GEMMA.to_theirs(name): tuple(tensor.shape) for name, tensor in gemma.state_dict().items()}


def test_a_single_file_without_config_is_the_released_12b():
    shapes = _full_size_shapes(GemmaConfig(vocab_size=262144))
    assert len(shapes) == 48 * 13 + 2
    assert shapes[RELEASED + "layers.47.self_attn.q_proj.weight"] == (4096, 3840)
    assert shapes[RELEASED + "layers.0.mlp.down_proj.weight"] == (3840, 15360)
    assert 11.7e9 < sum(torch.Size(shape).numel() for shape in shapes.values()) < 11.8e9
    assert recognise(shapes, None, "gemma") == GemmaConfig(vocab_size=262144)


def test_a_single_file_of_another_size_is_refused():
    shapes = {RELEASED + f"layers.{layer}.self_attn.{p}_proj.weight": (8, 8) for layer in range(34) for p in "kv"}
    shapes[RELEASED + "embed_tokens.weight"] = (262208, 2560)
    with pytest.raises(ModelFileError, match=r"it is Gemma 3 4B \(hidden size 2560, 34 layers\).*choose Gemma 3 12B"):
        recognise(shapes, None, "gemma_4b.safetensors")


def test_gemma_4_is_recognised_and_refused():
    shapes = {f"model.layers.{layer}.self_attn.k_proj.weight": (8, 8) for layer in range(6)}
    shapes |= {f"model.layers.{layer}.self_attn.v_proj.weight": (8, 8) for layer in range(5)}
    shapes["model.embed_tokens.weight"] = (262144, 3840)
    with pytest.raises(ModelFileError, match=r"gemma4\.safetensors is Gemma 4, which belongs to LTX-2\.5"):
        recognise(shapes, None, "gemma4.safetensors")


def test_foreign_files_are_refused():
    with pytest.raises(ModelFileError, match="must hold the Gemma 3 language model"):
        recognise({"model.diffusion_model.patchify_proj.weight": (4096, 128)}, None, "ltx.safetensors")
    with pytest.raises(ModelFileError, match="says 'llama'"):
        recognise({"model.embed_tokens.weight": (32000, 4096)}, {"model_type": "llama"}, "llama")


def test_a_folder_without_config_is_refused(tmp_path, case):
    folder = _folder(tmp_path / "gemma", case)
    (folder / "config.json").unlink()
    with pytest.raises(ModelFileError, match=r"it has no config\.json"):
        read_config(Checkpoint.open(folder))


def test_the_projection_must_be_made_for_this_model():
    connectors = ConnectorsConfig()
    check_fits(GemmaConfig(), connectors, "gemma")
    with pytest.raises(ModelFileError, match=r"needs Gemma 3 12B \(hidden size 3840, 48 layers\); gemma is Gemma 3 4B"):
        check_fits(GemmaConfig(hidden_size=2560, num_layers=34), connectors, "gemma")
    with pytest.raises(ModelFileError, match="47 layers"):
        check_fits(GemmaConfig(num_layers=47), connectors, "gemma")


def test_both_spellings_of_a_config_mean_the_same(case):
    raw = json.loads(case.metadata["gemma_config"])
    old = raw["text_config"]
    new = {
        key: value for key, value in old.items() if key not in ("rope_theta", "rope_local_base_freq", "rope_scaling")
    }
    new["rope_parameters"] = {
        "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000000.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
    }
    config = GemmaConfig.from_huggingface(raw)
    assert config == GemmaConfig.from_huggingface(new)
    assert replace(config, num_layers=12).layer_types.count("full_attention") == 2
    with pytest.raises(ModelFileError, match="layer_types"):
        GemmaConfig.from_huggingface(old | {"layer_types": ["full_attention"] * 7})


def test_the_released_config_says_what_the_built_in_one_does():
    # What google/gemma-3-12b-it's config.json states; everything else is a default there.
    stated = {
        "model_type": "gemma3_text",
        "hidden_size": 3840,
        "intermediate_size": 15360,
        "num_attention_heads": 16,
        "num_hidden_layers": 48,
        "num_key_value_heads": 8,
        "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
        "sliding_window": 1024,
    }
    assert GemmaConfig.from_huggingface({"model_type": "gemma3", "text_config": stated}) == GemmaConfig()


CONFIGS = {
    "a list": ([], r"its config.json must be a JSON object \(it is a list\)"),
    "a text_config of words": ({"text_config": "big"}, "text_config in there must be JSON objects; got 'big'"),
    "no pattern": ({"sliding_window_pattern": 0}, "text_config.sliding_window_pattern must be at least 1; got 0"),
    "no heads": ({"num_attention_heads": 0}, "text_config.num_attention_heads must be at least 1; got 0"),
    "another family": ({"model_type": "llama"}, r"must be Gemma 3 12B .* says 'llama'"),
}


@pytest.mark.parametrize("what", CONFIGS)
def test_configs_that_cannot_be_used_name_the_folder(tmp_path, case, what):
    config, message = CONFIGS[what]
    folder = _folder(tmp_path / "gemma", case)
    text = json.dumps({"model_type": "gemma3_text", **config} if isinstance(config, dict) else config)
    (folder / "config.json").write_text(text)
    with pytest.raises(ModelFileError, match=f"(?s)gemma.*{message}"):
        read_config(Checkpoint.open(folder))


@pytest.mark.parametrize("text", ["{broken", "[]", "[" * 10**5])
def test_a_config_inside_a_single_file_that_is_no_object(tmp_path, case, text):
    save_file(case.weights, tmp_path / "one.safetensors", {"gemma_config": text})
    with pytest.raises(ModelFileError, match="one.safetensors: its gemma_config must be a JSON object .*again"):
        read_config(Checkpoint.open(tmp_path / "one.safetensors"))


def test_a_tokenizer_that_is_no_text(tmp_path, case):
    folder = _folder(tmp_path / "gemma", case)
    (folder / "tokenizer.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelFileError, match=r"tokenizer.json must be a text in UTF-8; .*download it again"):
        load_tokenizer(Checkpoint.open(folder))
