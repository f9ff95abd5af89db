"""Networks whose LoRAs change while ComfyUI manages their memory."""

from __future__ import annotations


def test_a_network_is_changed_where_comfyui_keeps_it(in_comfyui):
    """One patcher, one loaded model, whatever the strength; nothing that ComfyUI takes for a leak."""
    answer = in_comfyui("""
        import comfy.model_management as management
        dev, lora = next((models / "checkpoints").glob("*dev*")), next((models / "loras").glob("*distilled*"))
        base = pack("ltx2.recipe").TransformerRecipe.open(dev)
        networks = pack("nodes.host.networks")
        same, loaded, one = [], [], None
        for strength, mode in ((1.0, "merge"), (0.5, "merge"), (0.5, "runtime"), (0.25, "runtime"), (1.0, "merge")):
            recipe = base.with_lora(lora, strength, mode=mode)
            with torch.inference_mode():
                (network,) = networks.borrow(recipe)
            one, fresh = one or network, recipe.build()
            pairs = [*zip(network.parameters(), fresh.parameters(), strict=True)]
            pairs += zip(network.buffers(), fresh.buffers(), strict=True)
            same.append(network is one and all(torch.equal(a, b) for a, b in pairs))
            management.cleanup_models_gc()
            loaded.append([model.is_dead() for model in management.current_loaded_models])
        answer = {"same": same, "loaded": loaded}
    """)
    assert answer == {"same": [True] * 5, "loaded": [[False]] * 5}


def test_weights_on_a_device_come_home_are_changed_and_go_back(in_comfyui):
    """The meta device plays the part of a GPU."""
    answer = in_comfyui("""
        import comfy.model_management as management
        dev, lora = next((models / "checkpoints").glob("*dev*")), next((models / "loras").glob("*distilled*"))
        base = pack("ltx2.recipe").TransformerRecipe.open(dev)
        refined = base.with_lora(lora, 1.0).with_lora(lora, 0.5, mode="runtime")
        memory = pack("nodes.host.comfyui.memory")
        management.get_torch_device = lambda: torch.device("meta")
        management.load_models_gpu = lambda patchers, **_: [each.patch_model(each.load_device) for each in patchers]

        def tensors(network):
            return {**dict(network.named_parameters()), **dict(network.named_buffers())}

        def there():
            return sorted({tensor.device.type for tensor in tensors(network).values()})

        network, fresh, places, equal = base.build(), tensors(refined.build()), [], []
        with torch.inference_mode():
            held = memory.HeldNetwork(network)
            memory.load_together([held], 0)
        places.append(there())
        held.change(refined.restack(base))
        equal.append(all(torch.equal(tensor, fresh[name]) for name, tensor in tensors(network).items()))
        with torch.inference_mode():
            memory.load_together([held], 0)
        places.append(there())
        held.release()
        equal.append(all(torch.equal(tensor, fresh[name]) for name, tensor in tensors(network).items()))
        held.change(base.restack(refined))
        plain = tensors(base.build())
        equal.append(all(torch.equal(tensor, plain[name]) for name, tensor in tensors(network).items()))
        answer = {"places": places, "equal": equal, "names": sorted(plain) == sorted(tensors(network))}
    """)
    assert answer == {"places": [["meta"], ["meta"]], "equal": [True, True, True], "names": True}
