"""Cancelling under ComfyUI: real runs at random moments, and a load between two weights on their way to the device."""

from __future__ import annotations

import random
import time
from collections import Counter

DISTILLED = "LTX-2 Text to Video Distilled"
MOMENTS = 20
#: What the process may keep of twenty more runs: pieces that the C library does not give back.
KEPT_BYTES = 48 * 2**20


def test_a_server_works_after_twenty_interrupts(server, small_prompt):
    prompt = small_prompt(DISTILLED, prefix="interrupted")
    server.run(prompt)  # the first run of a server takes longer than all others
    server.free()
    began = time.monotonic()
    expected = server.run(prompt).files[0].read_bytes()
    duration = time.monotonic() - began
    server.free()
    before, start = server.resident_bytes(), len(server.log())
    chance, endings, nodes = random.Random(5), Counter(), Counter()
    for number in range(MOMENTS):
        # Another seed, or nothing would be left to do after a run that came to its end.
        changed = small_prompt(DISTILLED, "interrupted", {("Stage 1 Sample", "seed"): number})
        queued = server.queue(changed)
        time.sleep(chance.random() * duration)
        server.post("/interrupt", {})
        ending, data = server.finished(queued)["status"]["messages"][-1]
        endings[ending] += 1
        nodes[data.get("node_type")] += 1
        if number % 4 == 3:  # so that some come while networks are loaded
            server.post("/free", {"unload_models": True, "free_memory": True})
    assert set(endings) <= {"execution_interrupted", "execution_success"}
    assert endings["execution_interrupted"] > MOMENTS // 3, endings
    assert len(nodes) > 2, nodes
    server.run(small_prompt(DISTILLED, "interrupted", {("Stage 1 Sample", "seed"): MOMENTS}))
    server.free()
    again = server.run(prompt)
    assert again.kept == set(), "every node ran"
    assert again.files[0].read_bytes() == expected
    server.free()
    kept = server.resident_bytes() - before
    assert kept < KEPT_BYTES, f"{kept >> 20} MiB"
    assert not list(server.base.rglob("*.part"))
    assert "Traceback" not in server.log()[start:]


def test_a_load_that_is_cancelled_leaves_no_half_on_the_device(in_comfyui):
    """The meta device plays the part of a GPU."""
    answer = in_comfyui("""
        import comfy.model_management as management
        checkpoint = next((models / "checkpoints").glob("*distilled*"))
        memory = pack("nodes.host.comfyui.memory")
        management.get_torch_device = lambda: torch.device("meta")
        network = pack("ltx2.recipe").VideoVAERecipe.open(checkpoint).build()
        home = {name: tensor.data_ptr() for name, tensor in network.state_dict().items()}
        held = memory.HeldNetwork(network)
        management.get_free_memory = lambda device=None, torch_free_too=False: (1e12, 0) if torch_free_too else 1e12
        moved, check = [], management.throw_exception_if_processing_interrupted

        def cancel_at_the_fifth():
            moved.append(sum(tensor.is_meta for tensor in network.parameters()))
            if len(moved) == 5:
                management.interrupt_current_processing()
            check()

        management.throw_exception_if_processing_interrupted = cancel_at_the_fifth
        caught = False
        with torch.inference_mode():
            try:
                memory.load_together([held], 0)
            except management.InterruptProcessingException:
                caught = True
            after = {name: tensor.data_ptr() for name, tensor in network.state_dict().items()}
            size, listed = held.patcher.loaded_size(), len(management.current_loaded_models)
            memory.load_together([held], 0)
            there = all(tensor.is_meta for tensor in network.parameters())
        answer = {"caught": caught, "moved": moved[:5], "home": after == home, "size": size, "listed": listed}
        answer["there"] = there
    """)
    assert answer == {"caught": True, "moved": [0, 1, 2, 3, 4], "home": True, "size": 0, "listed": 0, "there": True}
