"""Prompt nodes: what is kept on disk, and that a prompt that is kept needs no text encoder."""

from __future__ import annotations

import logging

import pytest
import torch


def encode(node, *arguments, **options):
    (context,) = node("LTX2_EncodePrompt").execute(*arguments, **options).args
    return context


@pytest.fixture
def messages():
    """The texts that the pack logs. No record goes further: it would keep a recipe alive, and that its network."""
    logger, texts = logging.getLogger("ltx2"), []
    level = logger.level

    def keep(record):
        texts.append(record.getMessage())
        return False

    logger.addFilter(keep)
    logger.setLevel(logging.INFO)
    yield texts
    logger.setLevel(level)
    logger.removeFilter(keep)


def loads(messages, kind="text encoder"):
    """How many networks of a kind were built so far."""
    return sum(text.startswith(f"loading <LTX-2 {kind}") for text in messages)


def test_the_second_run_of_a_prompt_needs_no_text_encoder(node, pack, text_encoder, messages):
    first = encode(node, text_encoder, "a red fox")
    assert loads(messages) == 1
    pack("nodes.host.networks").CACHE.clear()
    again = encode(node, text_encoder, "a red fox")
    assert loads(messages) == 1
    assert torch.equal(first.video, again.video)
    assert torch.equal(first.audio, again.audio)
    assert not again.is_empty
    other = encode(node, text_encoder, "a blue fox")
    assert loads(messages) == 2
    assert not torch.equal(first.video, other.video)


def test_without_the_cache_nothing_is_kept_or_found(node, pack, host, text_encoder, messages):
    first = encode(node, text_encoder, "a red fox", cache=False)
    assert not host.cache_folder().exists()
    encode(node, text_encoder, "a red fox")
    pack("nodes.host.networks").CACHE.clear()
    before = loads(messages)
    again = encode(node, text_encoder, "a red fox", cache=False)
    assert loads(messages) == before + 1
    assert torch.equal(first.video, again.video)


def test_files_that_changed_since_they_were_loaded_leave_nothing_wrong_behind(node, host, text_encoder, messages):
    from dataclasses import replace

    stamp = text_encoder.file.stamp
    old = replace(text_encoder, file=replace(text_encoder.file, stamp=((*stamp[0][:2], 1), *stamp[1:])))
    encode(node, old, "a red fox")
    assert not (host.cache_folder() / "prompts").exists()
    assert any("have changed since they were loaded" in text for text in messages)


def test_an_empty_prompt_stays_known_as_one(node, text_encoder):
    assert [encode(node, text_encoder, text).is_empty for text in ("", " \n", "", "fox")] == [True, True, True, False]


def test_the_prompt_is_not_on_disk(node, host, text_encoder):
    encode(node, text_encoder, "a secret fox")
    (file,) = (host.cache_folder() / "prompts").iterdir()
    assert b"secret" not in file.read_bytes()


def test_the_negative_prompt_starts_from_our_list(node, pack, text_encoder):
    (text,) = [each for each in node("LTX2_NegativePrompt").GET_SCHEMA().inputs if each.id == "text"]
    assert text.default == pack("ltx2.prompting.negative").NEGATIVE_PROMPT
    (context,) = node("LTX2_NegativePrompt").execute(text_encoder, text.default).args
    assert torch.equal(context.video, encode(node, text_encoder, text.default, cache=False).video)
    assert not context.is_empty


ANSWER = {"system_prompt": "", "max_tokens": 12, "temperature": 0.7, "seed": 1, "enabled": True}


def enhance(node, text_encoder, text="a red fox", **changes):
    (prompt,) = node("LTX2_EnhancePrompt").execute(text_encoder, text, **(ANSWER | changes)).args
    return prompt


def test_the_same_seed_enhances_alike(node, text_encoder):
    prompt = enhance(node, text_encoder)
    assert prompt == prompt.strip() != ""
    assert enhance(node, text_encoder) == prompt
    assert enhance(node, text_encoder, seed=2) != prompt
    greedy = enhance(node, text_encoder, temperature=0.0)
    assert greedy == enhance(node, text_encoder, temperature=0.0, seed=2)


def test_switched_off_it_passes_the_text_on_and_loads_nothing(node, text_encoder, messages):
    assert enhance(node, text_encoder, " a red fox ", enabled=False) == " a red fox "
    assert loads(messages) == 0


def test_encoding_after_enhancing_takes_the_same_network(node, text_encoder, messages):
    encode(node, text_encoder, enhance(node, text_encoder))
    assert loads(messages) == 1


def test_an_image_is_looked_at_and_the_eye_goes_again(node, text_encoder, messages):
    image = torch.rand(1, 40, 60, 3, generator=torch.Generator().manual_seed(0))
    before = image.clone()
    prompt = enhance(node, text_encoder, image=image)
    assert torch.equal(image, before)
    assert prompt != enhance(node, text_encoder)
    assert prompt != enhance(node, text_encoder, image=1 - image)
    assert enhance(node, text_encoder, "", image=image)
    assert loads(messages, "vision tower") == 3
    assert sum(text.startswith("freeing <LTX-2 vision tower") for text in messages) == 3


def test_a_file_without_an_eye_is_told_before_anything_is_loaded(node, pack, text_encoder, error, tmp_path, messages):
    from safetensors.torch import load_file, save_file

    folder = text_encoder.file.path
    tensors = {}
    for shard in folder.glob("*.safetensors"):
        tensors |= {key: tensor for key, tensor in load_file(shard).items() if key.startswith("language_model.")}
    config = (folder / "config.json").read_text()
    save_file(tensors, tmp_path / "blind.safetensors", metadata={"gemma_config": config})
    (tmp_path / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    blind = type(text_encoder).open(tmp_path / "blind.safetensors", text_encoder.checkpoint.path)
    with pytest.raises(error, match=r"blind\.safetensors has no Gemma 3 vision tower and no .*leave the image out"):
        enhance(node, blind, image=torch.zeros(1, 8, 8, 3))
    assert loads(messages) == 0
    assert enhance(node, blind) == enhance(node, text_encoder)


def test_cancelling_stops_between_tokens_and_the_next_run_is_whole(node, pack, host, text_encoder, monkeypatch):
    prompt = enhance(node, text_encoder)
    cancellation, checks = host.cancellation, []

    def cancel_at_the_sixth():
        checks.append(1)
        if len(checks) == 6:
            cancellation.request()
        type(cancellation).check(cancellation)

    monkeypatch.setattr(cancellation, "check", cancel_at_the_sixth)
    with pytest.raises(pack("nodes.host.headless.cancellation").Interrupted):
        enhance(node, text_encoder)
    assert len(checks) == 6
    monkeypatch.undo()
    cancellation.is_requested = False
    assert enhance(node, text_encoder) == prompt


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text": " "}, "must say something"),
        ({"image": torch.zeros(2, 8, 8, 3)}, "must be one RGB picture"),
        ({"image": "a.png"}, "must be one RGB picture"),
        ({"text": "fox " * 9000}, "at most 8192 tokens"),
        ({"max_tokens": 0}, "at least 1 token"),
        ({"temperature": -1.0}, "temperature must be 0"),
    ],
)
def test_what_cannot_be_enhanced(node, text_encoder, error, changes, message):
    with pytest.raises(error, match=message):
        enhance(node, text_encoder, **changes)


def test_only_a_text_encoder_enhances(node, error):
    with pytest.raises(error, match="text_encoder must come from an LTX-2 loader; got str"):
        enhance(node, "gemma")
