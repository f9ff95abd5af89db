"""Progress: what a websocket tells, what is told when it breaks, is silent or refused, and nothing is told twice."""

from __future__ import annotations

import importlib.util
import logging
import sys
import threading
import time
import uuid

import pytest


def graph(text="hello"):
    return {
        "1": {"class_type": "Text", "inputs": {"text": text, "size": 8}, "_meta": {"title": "My text"}},
        "2": {"class_type": "Save", "inputs": {"text": ["1", 0], "prefix": "a"}},
    }


def wait_until(is_so):
    end = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.fixture
def story(client, module, server):
    """`story(prompt, on_running)` runs a graph and returns its events; the function is called when it runs."""

    def follow(prompt, on_running=lambda: None):
        seen = []

        def progress(event):
            seen.append(event)
            if event == module.Status("running"):
                on_running()
                server.gate.set()

        server.gate.clear()
        module.run(prompt, server=client, progress=progress, output=server.folder / "here")
        return seen

    return follow


def kinds(events):
    return [type(event).__name__ for event in events]


def test_every_event_of_a_graph_arrives_in_order(story, module):
    events = story(graph())
    assert events[0] in (module.Status("pending"), module.Status("running"))
    start = events.index(module.NodeStarted("1", "My text"))
    picture = module.Preview("1", "My text", b"\xff\xd8\xff picture", "image/jpeg")
    steps = [each for step in (1, 2, 3) for each in (module.NodeProgress("1", "My text", step, 3), picture)]
    assert events[start + 1 : start + 8] == [*steps, module.NodeStarted("2", "Save")]
    executed, ended, finished = events[start + 8 :]
    (file,) = finished.files
    assert (executed.node_id, executed.title) == ("2", "Save")
    assert executed.output["images"][0]["filename"] == file.name
    assert ended == module.Status("ended")
    assert "picture" not in repr(picture)


def test_cached_nodes_are_told(story, module):
    story(graph())
    again = story(graph())
    assert module.NodeCached("1", "My text") in again
    assert module.NodeStarted("1", "My text") not in again
    assert module.NodeStarted("2", "Save") in again


def test_the_server_is_told_whose_graph_it_is_and_that_pictures_may_have_metadata(story, server):
    story(graph())
    ((client_id, (socket,)),) = server.sockets.items()
    assert server.posts == [client_id]
    assert socket.messages == [{"type": "feature_flags", "data": {"supports_preview_metadata": True}}]


def test_a_broken_websocket_is_opened_again_by_the_same_client(server, module):
    seen = []

    def progress(event):
        seen.append(event)
        if event == module.Status("running"):
            server.drop()
            threading.Timer(0.8, server.gate.set).start()

    server.gate.clear()
    module.run(graph(), server=server.url, progress=progress, output=server.folder / "here")
    ((_, sockets),) = server.sockets.items()
    assert len(sockets) == 2
    assert module.NodeProgress("1", "My text", 3, 3) in seen
    assert len(seen) == len(set(map(repr, seen))) + 2  # the same picture three times


def test_what_a_break_swallowed_is_told_from_the_history(story, server, module, client):
    story(graph())

    def breaks():
        server.websockets = "refused"
        server.drop()

    events = story(graph(), breaks)
    assert module.NodeCached("1", "My text") in events
    assert kinds(events)[-3:] == ["NodeExecuted", "Status", "Finished"]
    assert kinds(events).count("NodeExecuted") == kinds(events).count("NodeCached") == 1
    assert len(server.posts) == 2


def test_a_server_that_forgot_the_websocket_is_asked_after_a_while(story, server, pack, monkeypatch):
    monkeypatch.setattr(pack("client.following"), "QUIET", 0.1)
    server.websockets = "unheard"
    events = story(graph())
    assert kinds(events)[-3:] == ["NodeExecuted", "Status", "Finished"]
    assert "NodeProgress" not in kinds(events)


def test_a_silent_websocket_is_opened_anew(client, server, pack, monkeypatch):
    monkeypatch.setattr(pack("client.following"), "QUIET", 0.05)
    monkeypatch.setattr(pack("client.following"), "DEAF", 0.2)
    server.websockets = "unheard"
    server.gate.clear()
    prompt_id = client.queue(graph())
    thread = threading.Thread(target=client.wait, args=[prompt_id])
    thread.start()
    wait_until(lambda: len(server.sockets.get(prompt_id, ())) > 2)
    server.gate.set()
    thread.join()
    assert len(server.sockets[prompt_id]) > 2
    assert client.status(prompt_id).state == "ended"


def refused(server, monkeypatch):
    server.websockets = "refused"
    return "HTTP 404"


def missing(server, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "websockets"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "websockets", None)
    return "the package websockets is missing: pip install 'comfyui-ltx2[client]'"


@pytest.mark.parametrize("obstacle", [refused, missing])
def test_without_a_websocket_the_server_is_asked_and_the_log_says_why_once(
    client, module, server, monkeypatch, caplog, obstacle
):
    reason = obstacle(server, monkeypatch)
    server.gate.clear()
    prompt_id = client.queue(graph())
    events = []
    with caplog.at_level(logging.WARNING, "ltx2"):
        for event in client.events(prompt_id):
            events.append(event)
            server.gate.set()
        assert client.wait(prompt_id) == client.wait(prompt_id) == list(events[-1].files)
    assert kinds(events)[-3:] == ["NodeExecuted", "Status", "Finished"]
    assert [record.message for record in caplog.records] == [
        f"{server.url}: no websocket is there ({reason}); the server is asked every 2 s"
    ]


@pytest.mark.parametrize("comes_back", [True, False])
def test_a_server_that_goes_away_is_waited_for(client, module, server, pack, monkeypatch, comes_back):
    following = pack("client.following")
    monkeypatch.setattr(following, "LONGEST_PAUSE", 0.05)
    monkeypatch.setattr(following, "PATIENCE", 60 if comes_back else 0.2)
    server.gate.clear()
    prompt_id = client.queue(graph())

    def come_back():
        server.is_away = False
        server.gate.set()

    def progress(event):
        if event == module.Status("running"):
            server.is_away = True
            server.drop()
            threading.Timer(0.5, come_back).start()

    if comes_back:
        assert client.wait(prompt_id, progress)
    else:
        with pytest.raises(module.NoAnswer, match=f"graph {prompt_id} may go on there, and can be waited for again"):
            client.wait(prompt_id, progress)
        wait_until(lambda: server.history)
        assert client.wait(prompt_id)


def test_a_restarted_server_does_not_know_the_graph(client, module, server):
    server.gate.clear()
    prompt_id = client.queue(graph())

    def progress(event):
        if event == module.Status("running"):
            server.restart()

    with pytest.raises(module.LTX2Error, match="the server was restarted since; queue it again"):
        client.wait(prompt_id, progress)


def test_events_of_a_failed_graph_end_in_its_error(client, module, server):
    prompt_id = client.queue(graph("broken"))
    seen = []
    with pytest.raises(module.RunError, match="My text .* it is broken"):
        seen.extend(client.events(prompt_id))
    assert seen[-1] == module.Status("ended")


@pytest.mark.parametrize("has_jobs", [True, False])
def test_cancelling_stops_this_graph_on_old_and_new_servers(client, module, server, has_jobs):
    server.has_jobs = has_jobs
    server.gate.clear()
    running, other = client.queue(graph("a")), client.queue(graph("b"))
    wait_until(lambda: client.status(running).state == "running")
    assert client.cancel(running)
    with pytest.raises(module.RunError, match="cancelled"):
        client.wait(running)
    server.gate.set()
    assert client.wait(other)
    assert ("/interrupt" in server.cancels) == (not has_jobs)
    assert all(running in path for path in server.cancels if path.startswith("/api/jobs"))


def test_the_pack_and_its_client_import_without_the_library(pack):
    assert importlib.util.find_spec("websockets"), "the development environment has it"
    for name in ("client.websocket", "client.following"):
        assert not [key for key in vars(pack(name)) if key.startswith("websockets")]


def test_a_graph_that_ends_before_the_first_look_is_told_in_full(server, pack, module):
    steps = pack("client.steps")
    connection = pack("client.connection").Connection(server.url, 5)
    tasks, prompt_id = pack("client.tasks").Tasks(connection), str(uuid.uuid4())

    def begin():
        yield from tasks.queue(graph(), None, prompt_id)
        yield steps.Ask(lambda: wait_until(lambda: prompt_id in server.history))

    events = list(steps.stream(pack("client.following").follow(tasks, prompt_id, begin()), connection))
    assert module.NodeStarted("1", "My text") in events
    assert kinds(events).count("Preview") == 3
    assert kinds(events)[-3:] == ["NodeExecuted", "Status", "Finished"]
