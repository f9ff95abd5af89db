"""The client against a small server: what arrives, how often, what comes back, and what errors say."""

from __future__ import annotations

import json
import socket
import time
import uuid

import pytest


def graph(text="hello", size=8, prefix="clips/text"):
    return {
        "1": {"class_type": "Text", "inputs": {"text": text, "size": size}, "_meta": {"title": "My text"}},
        "2": {"class_type": "Save", "inputs": {"text": ["1", 0], "prefix": prefix}},
    }


def wait_until(is_so):
    end = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_graph_runs_and_its_file_arrives(client, tmp_path):
    prompt_id = client.queue(graph(), workflow={"nodes": [], "links": []})
    (file,) = client.wait(prompt_id)
    assert (file.subfolder, file.type) == ("clips", "output")
    path = client.fetch(file, tmp_path / "here")
    assert path == tmp_path / "here" / "clips" / "text_00001_.mp4"
    inputs, extra = json.loads(path.read_text())
    assert inputs == {"text": "hello", "size": 8}
    assert extra == {"extra_pnginfo": {"workflow": {"nodes": [], "links": []}}, "client_id": prompt_id}
    assert client.outputs(prompt_id) == [file]
    assert client.status(prompt_id).state == "ended"


def test_progress_tells_the_place_in_the_queue(client, module, server):
    server.gate.clear()
    first, second, third = (client.queue(graph(str(number))) for number in range(3))
    wait_until(lambda: client.status(first).state == "running")
    assert client.status(second) == module.Status("pending", ahead=1)
    seen = []

    def progress(status):
        seen.append(status)
        server.gate.set()

    client.wait(third, progress)
    assert (seen[0], seen[-2]) == (module.Status("pending", ahead=2), module.Status("ended"))


@pytest.mark.parametrize("fault", ["lose the answer", "lose the request", "bad gateway"])
def test_a_lost_answer_queues_once(client, server, fault):
    server.faults.append(fault)
    prompt_id = client.queue(graph())
    client.wait(prompt_id)
    arrived = 0 if fault == "lose the request" else 1
    assert server.posts == [prompt_id]
    assert arrived <= len(server.history) == 1
    assert not server.faults


def test_a_known_id_is_not_queued_again(client, server):
    prompt_id = str(uuid.uuid4())
    assert client.queue(graph(), prompt_id=prompt_id) == prompt_id
    client.wait(prompt_id)
    assert client.queue(graph(), prompt_id=prompt_id) == prompt_id
    assert server.posts == [prompt_id]


@pytest.mark.parametrize("prompt_id", ["7", str(uuid.uuid4()).upper()])
def test_ids_are_canonical_uuids(client, module, server, prompt_id):
    with pytest.raises(module.LTX2Error, match="prompt_id must be a UUID in lower case with hyphens; got"):
        client.queue(graph(), prompt_id=prompt_id)
    assert not server.posts


def test_a_refused_graph_names_every_node_and_input(client, module):
    prompt = graph(size=100)
    prompt["5"] = {"class_type": "Text", "inputs": {"text": "x", "size": 72}}
    with pytest.raises(module.LTX2Error) as error:
        client.queue(prompt)
    assert str(error.value).splitlines() == [
        "My text (node 1, Text): input 'size': Value 100 bigger than max of 64",
        "Text (node 5, Text): input 'size': Value 72 bigger than max of 64",
    ]


def test_what_a_node_says_of_itself_is_told_once(pack):
    def error(name, text):
        info = {"input_name": name}
        details = f"{name} - {text}"
        return {"type": "custom_validation_failed", "message": "Custom", "details": details, "extra_info": info}

    report = {"1": {"errors": [error("text", "too long"), error("size", "too long"), error("size", "odd")]}}
    assert pack("client.errors").node_problems(report, graph()) == [
        "My text (node 1, Text): inputs 'text', 'size': too long",
        "My text (node 1, Text): input 'size': odd",
    ]


def test_a_refusal_without_nodes_is_told(client, module):
    with pytest.raises(module.LTX2Error, match="the server refused the graph: Prompt has no outputs"):
        client.queue({"1": graph()["1"]})


def test_a_graph_that_would_run_in_part_is_refused_whole(client, module, server):
    server.gate.clear()
    prompt = graph()
    prompt["3"] = {"class_type": "Text", "inputs": {"text": "x", "size": 65}}
    prompt["4"] = {"class_type": "Save", "inputs": {"text": ["3", 0], "prefix": "b"}}
    with pytest.raises(module.LTX2Error, match=r"Text \(node 3, Text\): input 'size': Value 65"):
        client.queue(prompt)
    server.gate.set()
    wait_until(lambda: not server.running and not server.pending)
    assert not list((server.folder / "output").iterdir())


def test_a_failed_node_is_named(client, module):
    prompt_id = client.queue(graph("broken"))
    with pytest.raises(module.RunError) as error:
        client.wait(prompt_id)
    assert str(error.value) == "My text (node 1, Text): RuntimeError: it is broken"
    assert error.value.node_id == "1"


def test_a_running_graph_is_interrupted_and_a_pending_one_removed(client, module, server):
    server.gate.clear()
    running, pending, other = (client.queue(graph(str(number))) for number in range(3))
    wait_until(lambda: client.status(running).state == "running")
    assert client.cancel(pending)
    assert client.status(pending).state == "unknown"
    assert client.cancel(running)
    with pytest.raises(module.RunError, match=r"cancelled in My text \(node 1, Text\)"):
        client.wait(running)
    server.gate.set()
    assert client.wait(other)
    assert not client.cancel(other)
    with pytest.raises(module.LTX2Error, match="must be in the server's history"):
        client.wait(pending)


def test_waiting_has_a_limit_and_the_graph_runs_on(client, module, server):
    server.gate.clear()
    prompt_id = client.queue(graph())
    with pytest.raises(module.LTX2Error, match=r"must end within 0\.05 s; .* is still"):
        client.wait(prompt_id, limit=0.05)
    server.gate.set()
    assert client.wait(prompt_id, limit=10)


def test_uploads_keep_their_bytes_and_what_was_there(client, server, tmp_path):
    content = bytes(range(256)) * 5000 + b"\r\n--x\r\n"
    file = tmp_path / 'a "b".png'
    file.write_bytes(content)
    assert client.upload(file) == 'a "b".png'
    assert (server.folder / "input" / file.name).read_bytes() == content
    assert client.upload(file) == 'a "b".png'
    file.write_bytes(b"other")
    assert client.upload(file) == 'a "b" (1).png'
    assert client.upload(file, "sub/folder") == 'sub/folder/a "b".png'
    assert (server.folder / "input" / "sub" / "folder" / file.name).read_bytes() == b"other"


def test_uploads_that_cannot_be(client, module, tmp_path):
    with pytest.raises(module.LTX2Error, match="an uploaded file must be readable"):
        client.upload(tmp_path / "none.png")
    (tmp_path / "a\nb").write_bytes(b"")
    with pytest.raises(module.LTX2Error, match="no control characters"):
        client.upload(tmp_path / "a\nb")


def test_fetching_again_keeps_what_is_there(client, tmp_path):
    (file,) = client.wait(client.queue(graph()))
    first = client.fetch(file, tmp_path)
    first.write_text("mine")
    assert client.fetch(file, tmp_path).name == "text_00001_ (2).mp4"
    assert first.read_text() == "mine"


def test_a_download_that_breaks_off_is_begun_again(client, server, tmp_path):
    (file,) = client.wait(client.queue(graph()))
    server.faults.append("cut the file")
    path = client.fetch(file, tmp_path / "here")
    assert path.read_bytes() == (server.folder / "output" / "clips" / file.name).read_bytes()
    server.faults += ["cut the file"] * 9
    with pytest.raises(ValueError, match="5 of .* bytes arrived"):
        client.fetch(file, tmp_path / "there")
    assert not list((tmp_path / "there" / "clips").iterdir())


@pytest.mark.parametrize("subfolder,name", [("..", "a"), ("", "../a"), ("/tmp", "a"), ("", ""), ("", "..\\a")])
def test_files_stay_in_their_folder(client, module, tmp_path, subfolder, name):
    with pytest.raises(module.LTX2Error, match="must be named within"):
        client.fetch(module.ServerFile(name, subfolder, "output"), tmp_path / "here")
    assert not list(tmp_path.rglob("a"))


def test_a_missing_file_is_told(client, module, tmp_path):
    with pytest.raises(module.LTX2Error, match="GET /view; .* answered HTTP 404"):
        client.fetch(module.ServerFile("none.mp4", "", "output"), tmp_path)
    assert not list(tmp_path.glob("*.mp4"))


def test_no_server_is_told(module):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    client = module.Client(address)
    text = f"the server must be reachable; http://{address} gave no answer .*; check that it runs"
    with pytest.raises(module.LTX2Error, match=text):
        client.status("1")
    with pytest.raises(module.NoAnswer, match="graph 1 may go on there, and can be waited for again$"):
        client.wait("1")
    with pytest.raises(
        module.NoAnswer, match=text + ".*; whether it has queued the graph is unknown, its id is .{36}$"
    ):
        client.queue(graph())


@pytest.mark.parametrize("url", ["", "ftp://a", "http://", "http://a?b=1"])
def test_addresses_are_checked(module, url):
    with pytest.raises(module.LTX2Error, match="a server is named as http://host:port; got"):
        module.Client(url)


def test_timeouts_are_above_zero(module):
    with pytest.raises(module.LTX2Error, match="timeout must be above 0 seconds; got 0"):
        module.Client("a", timeout=0)


def test_something_else_than_comfyui_is_told(module, pack, server):
    connection = pack("client.connection").Connection(server.url, 5)
    with pytest.raises(module.LTX2Error, match="the server must be ComfyUI; .* answers no JSON"):
        connection.get("/page")
