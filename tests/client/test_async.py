"""The asyncio client: the same graphs, events and errors, and what cancelling its tasks does."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from pathlib import Path

import pytest


def graph(text="hello", size=8):
    return {
        "1": {"class_type": "Text", "inputs": {"text": text, "size": size}, "_meta": {"title": "My text"}},
        "2": {"class_type": "Save", "inputs": {"text": ["1", 0], "prefix": "a"}},
    }


@pytest.fixture
def aclient(module, server):
    return module.AsyncClient(server.url, timeout=5)


async def until(is_so):
    end = time.monotonic() + 10
    while not await is_so():
        assert time.monotonic() < end
        await asyncio.sleep(0.005)


def test_it_has_the_methods_of_the_blocking_client(module):
    def public(cls):
        return {name for name in vars(cls) if not name.startswith("_")}

    assert public(module.AsyncClient) == public(module.Client)


def test_a_graph_runs_and_its_file_arrives(module, aclient, tmp_path):
    async def main():
        seen = []
        prepared = await aclient.prepare(graph(), {"My text.text": "rain"})
        (path,) = await aclient.run(prepared, tmp_path, tmp_path / "input", seen.append)
        return path, seen

    path, seen = asyncio.run(main())
    assert json.loads(path.read_text())[0]["text"] == "rain"
    assert module.NodeProgress("1", "My text", 3, 3) in seen
    assert isinstance(seen[-1], module.Finished)


def test_each_step_can_be_done_by_itself(module, aclient, server, tmp_path):
    (tmp_path / "a.png").write_bytes(b"ours")

    async def main():
        assert await aclient.upload(tmp_path / "a.png") == "a.png"
        prompt_id = await aclient.queue(graph(), {"nodes": []})
        events = [event async for event in aclient.events(prompt_id)]
        assert (await aclient.status(prompt_id)).state == "ended"
        (file,) = await aclient.outputs(prompt_id)
        assert await aclient.wait(prompt_id) == [file] == list(events[-1].files)
        assert not await aclient.cancel(prompt_id)
        return await aclient.fetch(file, tmp_path)

    assert asyncio.run(main()).name == "a_00001_.mp4"


def test_many_graphs_are_followed_at_once(aclient, server, tmp_path):
    async def main():
        prepared = [await aclient.prepare(graph(str(number))) for number in range(8)]
        return await asyncio.gather(*(aclient.run(each, tmp_path) for each in prepared))

    files = asyncio.run(main())
    assert {json.loads(path.read_text())[0]["text"] for (path,) in files} == {str(number) for number in range(8)}
    assert len(server.posts) == len(set(server.posts)) == 8


@pytest.mark.parametrize("fault", ["lose the answer", "lose the request", "bad gateway"])
def test_a_lost_answer_queues_once(aclient, server, fault):
    server.faults.append(fault)

    async def main():
        return await aclient.queue(graph())

    prompt_id = asyncio.run(main())
    assert server.posts == [prompt_id]


def test_a_broken_websocket_is_opened_again(module, aclient, server):
    server.gate.clear()

    async def main():
        prompt_id = await aclient.queue(graph())
        seen = []
        async for event in aclient.events(prompt_id):
            seen.append(event)
            if event == module.Status("running"):
                server.drop()
                asyncio.get_running_loop().call_later(0.8, server.gate.set)
        return prompt_id, seen

    prompt_id, seen = asyncio.run(main())
    assert len(server.sockets[prompt_id]) == 2
    assert module.NodeProgress("1", "My text", 3, 3) in seen


def test_cancelling_the_task_cancels_the_graph_and_no_other(module, aclient, server, tmp_path):
    server.gate.clear()

    async def main():
        other = await aclient.queue(graph("other"))
        waiting = asyncio.create_task(aclient.run(await aclient.prepare(graph("waiting")), tmp_path))
        await until(lambda: asyncio.to_thread(lambda: len(server.posts) == 2))
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert (await aclient.status(other)).state == "running"
        assert (await aclient.status(server.posts[1])).state == "unknown"
        running = asyncio.create_task(module.arun(graph("running"), server=aclient, output=tmp_path))
        await until(lambda: asyncio.to_thread(lambda: len(server.posts) == 3))
        server.gate.set()
        await aclient.wait(other)
        assert len(await running) == 1

    asyncio.run(main())
    assert server.interrupts == 0


def test_leaving_the_events_leaves_the_graph(aclient, server):
    server.gate.clear()

    async def main():
        prompt_id = await aclient.queue(graph())
        events = aclient.events(prompt_id)
        await anext(events)
        await events.aclose()
        server.gate.set()
        assert await aclient.wait(prompt_id)

    asyncio.run(main())


def test_errors_are_those_of_the_blocking_client(module, aclient):
    async def main():
        with pytest.raises(module.LTX2Error, match=r"My text \(node 1, Text\): input 'size': Value 65"):
            await aclient.queue(graph(size=65))
        with pytest.raises(module.RunError, match="it is broken"):
            await aclient.wait(await aclient.queue(graph("broken")))
        with pytest.raises(module.LTX2Error, match="did you mean 'My text'"):
            await aclient.prepare(graph(), {"Mytext.text": "a"})
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            gone = module.AsyncClient(f"127.0.0.1:{free.getsockname()[1]}")
            with pytest.raises(module.NoAnswer, match="can be waited for again$"):
                await gone.wait("1")

    asyncio.run(main())


def test_without_a_server_it_runs_here_beside_the_loop(module, own_nodes, workflow):
    async def main():
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)

        ticking = asyncio.create_task(tick())
        (path,) = await module.arun(workflow, {"My text.text": "rain"}, output="out")
        ticking.cancel()
        return path, ticks

    path, ticks = asyncio.run(main())
    assert path == Path("out/a_00001_.mp4")
    assert json.loads(path.read_text())[0] == "rain 16"
    assert ticks > 1


def test_cancelling_a_run_here_stops_it_at_its_next_step(module, own_nodes, workflow):
    async def main():
        task = asyncio.create_task(module.arun(workflow, {"My text.text": "slow"}, output="out"))
        await until(lambda: asyncio.to_thread(own_nodes.is_set))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert not list(Path("out").rglob("*.mp4"))
