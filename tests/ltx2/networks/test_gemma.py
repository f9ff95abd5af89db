"""Gemma 3: hidden states equal the fixture's; built on the meta device it needs nothing but the file's tensors."""

from __future__ import annotations

import json

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ltx2.config.text import GemmaConfig
from ltx2.networks.text.gemma import Gemma3

PREFIX = "language_model.model."


def _load(config: GemmaConfig, weights: dict[str, torch.Tensor]) -> Gemma3:
    with torch.device("meta"):
        gemma = Gemma3(config)
    renamed = {"model." + key.removeprefix(PREFIX): value for key, value in weights.items()}
    gemma.load_state_dict(renamed, strict=True, assign=True)
    return gemma


@pytest.fixture(scope="module")
def case(golden):
    return golden("gemma3_hidden_states")


@pytest.fixture(scope="module")
def config(case) -> GemmaConfig:
    return GemmaConfig.from_huggingface(json.loads(case.metadata["gemma_config"]))


def _valid_tokens(case, row: int) -> torch.Tensor:
    return case.inputs["input_ids"][row][case.inputs["attention_mask"][row].bool()][None]


@pytest.mark.parametrize("row", [0, 1])
@torch.no_grad()
def test_states_of_real_tokens_equal_those_of_the_padded_batch(case, config, row):
    states = _load(config, case.weights)(_valid_tokens(case, row))[0].permute(2, 0, 1)
    padded = case.outputs["hidden_states"][:, row, case.inputs["attention_mask"][row].bool()]
    assert states.shape == case.outputs[f"valid_only.{row}"].shape
    torch.testing.assert_close(states, case.outputs[f"valid_only.{row}"], atol=2e-5, rtol=2e-5)
    torch.testing.assert_close(states, padded, atol=2e-5, rtol=2e-5)


def test_nothing_stays_on_the_meta_device(case, config):
    gemma = _load(config, case.weights)
    assert not [name for name, tensor in (*gemma.named_parameters(), *gemma.named_buffers()) if tensor.is_meta]
    buffers = {name: tensor for name, tensor in gemma.named_buffers() if name.endswith("inv_freq")}
    assert {tuple(tensor.tolist()) for tensor in buffers.values()} == {
        tuple(case.outputs["inv_freq_local"].tolist()),
        tuple(case.outputs["inv_freq_global"].tolist()),
    }


def test_state_dict_holds_the_files_tensors_only(case, config):
    with torch.device("meta"):
        gemma = Gemma3(config)
    shapes = {name: tuple(tensor.shape) for name, tensor in gemma.state_dict().items()}
    assert shapes == {"model." + k.removeprefix(PREFIX): tuple(v.shape) for k, v in case.weights.items()}


@torch.no_grad()
def test_at_full_size_a_token_of_an_answer_costs_one_pass_over_the_weights():
    config = GemmaConfig()
    with torch.device("meta"):
        gemma = Gemma3(config).to(torch.bfloat16)
        question = torch.empty(1, 1500, config.hidden_size, dtype=torch.bfloat16)
    cache = gemma.new_cache()
    logits = gemma.next_logits(question, cache, slice(600, 856))
    assert (tuple(logits.shape), logits.dtype) == ((config.vocab_size,), torch.float32)
    with FlopCounterMode(display=False) as counted:
        gemma.next_logits(question[:, :1], cache)
    num_weights = sum(parameter.numel() for parameter in gemma.parameters())
    assert counted.get_total_flops() < 1.01 * 2 * num_weights
    # Local layers, five of six, remember their window of 1024 only.
    remembered = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    assert remembered < 2 * 2 * config.num_key_value_heads * config.head_dim * (8 * 1501 + 40 * 1024)


@torch.no_grad()
def test_the_next_token_is_that_of_the_last_state(case, config):
    gemma = _load(config, case.weights)
    tokens = _valid_tokens(case, 0)
    states = gemma(tokens)[0, :, :, -1]
    cache = gemma.new_cache()
    for end in range(1, tokens.shape[1] + 1):
        logits = gemma.next_logits(gemma.embed(tokens[:, end - 1 : end], torch.float32), cache)
        expected = states[end - 1] @ case.weights[PREFIX + "embed_tokens.weight"].T
        torch.testing.assert_close(logits, expected, atol=2e-5, rtol=2e-5)
