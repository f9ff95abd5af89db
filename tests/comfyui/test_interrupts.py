"""Cancelling under ComfyUI between two weights on their way to the device."""

from __future__ import annotations


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
