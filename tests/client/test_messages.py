"""What is read from a server's messages, and that anything else in them does no harm."""

from __future__ import annotations

import io
import json
import struct

import pytest

PROMPT = {"5": {"class_type": "Sampler", "inputs": {}, "_meta": {"title": "Stage 1"}}}
JPEG, PNG = b"\xff\xd8\xff rest", b"\x89PNG rest"


@pytest.fixture
def read(pack):
    """`read(*messages)` are the events of graph "a" in them; dicts are sent as JSON."""

    def events(*messages):
        reader = pack("client.events").Reader("a")
        reader.prompt = PROMPT
        texts = [json.dumps(each) if isinstance(each, dict) else each for each in messages]
        return [event for text in texts for event in reader.read(text)]

    return events


def message(kind, **data):
    return {"type": kind, "data": data}


def test_other_graphs_and_strange_messages_say_nothing(read):
    assert not read(
        message("executing", node="5", prompt_id="b"),
        message("progress", node="5", value=1, max=2, prompt_id="b"),
        message("execution_success", prompt_id="b"),
        message("progress_state", nodes={}, prompt_id="a"),
        message("executed", node="5", output=None, prompt_id="a"),
        {"type": "executing"},
        {"type": "executing", "data": [1]},
        "[]",
        "no JSON",
        b"",
        b"\0\0\0\4",
        struct.pack(">II", 4, 99) + b"{}",
        struct.pack(">II", 4, 2) + b"[]" + JPEG,
        struct.pack(">II", 1, 1) + b"another format",
        struct.pack(">I", 3) + b"text",
    )


def test_a_node_that_expands_is_shown_under_its_own_title(read, module):
    started = read(message("executing", node="5.0.1", display_node="5", prompt_id="a"))
    assert started == [module.NodeStarted("5.0.1", "Stage 1")]
    assert read(message("executing", node="9", display_node="9", prompt_id="a")) == [module.NodeStarted("9", "9")]


def test_who_connects_again_is_told_of_a_node_once(read, module):
    news = read(message("executing", node="5", prompt_id="a"), message("executing", node="5"))
    assert news == [module.NodeStarted("5", "Stage 1")]


def test_pictures_of_either_kind(read, module):
    about = json.dumps({"node_id": "5", "display_node_id": "5", "prompt_id": "a"}).encode()
    other = about.replace(b'"a"', b'"b"')
    pictures = read(
        struct.pack(">II", 4, len(about)) + about + JPEG,
        struct.pack(">II", 4, len(other)) + other + JPEG,
        message("executing", node="5", prompt_id="a"),
        struct.pack(">II", 1, 2) + PNG,
    )
    assert pictures == [
        module.Preview("5", "Stage 1", JPEG, "image/jpeg"),
        module.NodeStarted("5", "Stage 1"),
        module.Preview("5", "Stage 1", PNG, "image/png"),
    ]


def test_the_end_in_each_form(read, pack):
    ended = pack("client.events").News(has_ended=True)
    kinds = ("execution_success", "execution_error", "execution_interrupted")
    assert read(*(message(kind, prompt_id="a") for kind in kinds)) == [ended] * 3
    assert read(message("executing", node=None, prompt_id="a")) == [ended]
    assert read(message("status", status={})) == [pack("client.events").News(has_ended=False)]


STEPS = "\r\x1b[K    Stage 1  1/8\r\x1b[K    Stage 1  2/8\n"


@pytest.mark.parametrize("is_terminal,steps", [(False, ""), (True, STEPS)])
def test_what_the_command_shows(pack, module, is_terminal, steps):
    stream = io.StringIO()
    stream.isatty = lambda: is_terminal
    lines = pack("cli_server").Lines("URL", stream)
    for event in (
        module.Status("pending", 2),
        module.Status("running"),
        module.NodeStarted("5", "Stage 1"),
        module.NodeProgress("5", "Stage 1", 1, 8.0),
        module.NodeProgress("5", "Stage 1", 2.0, 8),
        module.NodeStarted("6", "Save"),
    ):
        lines.show(event)
    assert stream.getvalue() == f"URL: pending, 2 ahead\nURL: running\n    Stage 1\n{steps}    Save\n"
