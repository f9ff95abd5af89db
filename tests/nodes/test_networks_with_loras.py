"""The cache of ready networks when only LoRAs differ: the one that is there is changed, and never left half changed."""

from __future__ import annotations

import gc
import logging
import weakref
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file


@pytest.fixture
def networks(pack, host):
    return pack("nodes.host.networks")


@pytest.fixture
def cache(networks):
    cache = networks.NetworkCache()
    yield cache
    cache.clear()


@pytest.fixture
def files(tiny_models):
    models = tiny_models("2.3")
    (dev,), (distilled,) = models.glob("checkpoints/*dev*"), models.glob("loras/*distilled*")
    (union,) = models.glob("loras/*union*")
    return {"dev": dev, "distilled": distilled, "union": union, "gemma": next(models.glob("text_encoders/*"))}


@pytest.fixture
def base(pack, files):
    return pack("ltx2.recipe").TransformerRecipe.open(files["dev"])


def tensors(network):
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}


def equal(network, other):
    one, two = tensors(network), tensors(other)
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def beside(network):
    return {name: module.scales for name, module in network.named_modules() if hasattr(module, "scales")}


def test_the_two_stages_share_one_network(cache, base, files):
    """Without and with the distilled LoRA, again and again, as in the shipped graph."""
    refined = base.with_lora(files["distilled"], 1.0)
    fresh = [base.build(), refined.build()]
    assert not equal(*fresh)
    (first,) = cache.borrow(base)
    for recipe, expected in [(refined, fresh[1]), (base, fresh[0]), (refined, fresh[1])]:
        (network,) = cache.borrow(recipe)
        assert network is first
        assert equal(network, expected)


def test_a_new_strength_replaces_the_weights_of_that_lora_alone(cache, base, files):
    one, other = (base.with_lora(files["distilled"], 1.0).with_lora(files["union"], each) for each in (1.0, 0.5))
    (network,) = cache.borrow(one)
    before = {name: weakref.ref(tensor) for name, tensor in tensors(network).items()}
    (changed,) = cache.borrow(other)
    assert changed is network
    replaced = {name for name, tensor in tensors(network).items() if before[name]() is not tensor}
    names = {key.partition(".lora_")[0] for key in load_file(files["union"])}
    assert len(replaced) == len(names) < len(before) / 4
    assert all(name.startswith("blocks.") and ".video." in name and "_attention." in name for name in replaced)
    gc.collect()
    assert not any(before[name]() for name in replaced), "nobody holds what was replaced"
    assert equal(network, other.build())


def test_a_new_strength_beside_the_weights_replaces_nothing(cache, base, files):
    one, other = (base.with_lora(files["distilled"], each, mode="runtime") for each in (1.0, 0.5))
    (network,) = cache.borrow(one)
    before, scales = tensors(network), beside(network)
    cache.borrow(other)
    assert all(before[name] is tensor for name, tensor in tensors(network).items())
    assert beside(network) == {name: tuple(scale / 2 for scale in each) for name, each in scales.items()}
    assert beside(network) == beside(other.build())


def test_from_merged_to_beside_and_away(cache, base, files):
    recipes = [base.with_lora(files["distilled"], 0.5, mode=mode) for mode in ("merge", "runtime")]
    (network,) = cache.borrow(recipes[0])
    for recipe in (recipes[1], base, recipes[1], recipes[0], base):
        assert cache.borrow(recipe) == (network,)
        fresh = recipe.build()
        assert equal(network, fresh)
        assert beside(network) == beside(fresh)
        assert [type(module) for module in network.modules()] == [type(module) for module in fresh.modules()]


def test_text_connectors(pack, cache, files, tmp_path):
    base = pack("ltx2.recipe").TextEncoderRecipe.open(files["gemma"], files["dev"])
    width = base.connectors.video_dim
    module = "diffusion_model.video_embeddings_connector.transformer_1d_blocks.0.attn1.to_q"
    halves = {f"{module}.lora_A.weight": torch.ones(1, width), f"{module}.lora_B.weight": torch.ones(width, 1)}
    save_file(halves, tmp_path / "connector.safetensors")
    (encoder,) = cache.borrow(base)
    language_model = list(encoder.gemma.parameters())
    for mode in ("merge", "runtime"):
        recipe = base.with_lora(tmp_path / "connector.safetensors", 0.25, mode=mode)
        assert cache.borrow(recipe) == (encoder,)
        assert equal(encoder, recipe.build())
        assert all(a is b for a, b in zip(encoder.gemma.parameters(), language_model, strict=True))


@pytest.mark.parametrize("mode", ["streamed from RAM", "streamed from disk"])
def test_streamed_text_connectors_are_the_same(pack, cache, files, tmp_path, mode):
    base = pack("ltx2.recipe").TextEncoderRecipe.open(files["gemma"], files["dev"])
    width, generator = base.connectors.video_dim, torch.Generator().manual_seed(0)
    module = "diffusion_model.video_embeddings_connector.transformer_1d_blocks.0.attn1.to_v"
    down, up = (torch.randn(shape, generator=generator) for shape in ((2, width), (width, 2)))
    save_file({f"{module}.lora_A.weight": down, f"{module}.lora_B.weight": up}, tmp_path / "connector.safetensors")
    placement, device = pack("ltx2.placement").Placement(mode), torch.device("cpu")
    plain = base.build()("rain", device=device)
    for kind, strength in (("merge", 0.5), ("merge", 1.0), ("runtime", 0.5), ("runtime", 1.0)):
        recipe = base.with_lora(tmp_path / "connector.safetensors", strength, mode=kind)
        expected = recipe.build()("rain", device=device)
        (encoder,) = cache.borrow(replace(recipe, placement=placement))
        found = encoder("rain", device=device)
        assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
        assert not torch.equal(found[0], plain[0])


def test_another_base_file_is_built_anew(pack, cache, base, files):
    (network,) = cache.borrow(base)
    (other_file,) = files["dev"].parent.glob("*distilled*")
    other = pack("ltx2.recipe").TransformerRecipe.open(other_file).with_lora(files["union"], 1.0)
    gone = weakref.ref(network)
    del network
    (network,) = cache.borrow(other)
    gc.collect()
    assert gone() is None
    assert equal(network, other.build())


def test_a_lora_file_that_was_overwritten_is_no_ground_to_start_from(pack, cache, base, files, tmp_path):
    file = tmp_path / "mine.safetensors"
    save_file(load_file(files["distilled"]), file)
    first = base.with_lora(file, 1.0)
    cache.borrow(first)
    save_file(load_file(files["union"]), file)
    second = base.with_lora(file, 1.0)
    assert second != first
    (network,) = cache.borrow(second)
    assert equal(network, second.build())


def test_a_lora_that_is_gone_leaves_the_network_that_is_there(pack, cache, base, files, tmp_path):
    file = tmp_path / "mine.safetensors"
    save_file(load_file(files["distilled"]), file)
    refined = base.with_lora(file, 1.0)
    (network,) = cache.borrow(base)
    file.unlink()
    with pytest.raises(pack("ltx2.errors").ModelFileError, match="there is no such file"):
        cache.borrow(refined)
    assert cache.borrow(base) == (network,)
    assert equal(network, base.build())


def test_a_failure_between_two_weights_drops_the_network(pack, cache, base, files):
    refined = base.with_lora(files["distilled"], 1.0)
    (network,) = cache.borrow(base)
    read = []

    class Breaking(pack("ltx2.checkpoint.lora_stack").LoraStack):
        def __call__(self, name, weight):
            read.append(name)
            if len(read) == 5:
                raise MemoryError("no room")
            return super().__call__(name, weight)

    class Broken(type(refined)):
        def _stack(self):
            return Breaking(super()._stack().loras)

        def restack(self, built):
            return self._restack(built)

    fields = {name: getattr(refined, name) for name in ("file", "config", "release", "loras")}
    with pytest.raises(MemoryError):
        cache.borrow(Broken(**fields))
    assert not equal(network, base.build()), "it was half changed"
    assert not cache._residents
    assert equal(*cache.borrow(refined), refined.build())


def test_a_stack_that_nobody_holds_any_more_is_still_a_ground_to_start_from(cache, base, files):
    """When a strength changes, ComfyUI drops the old recipe before it makes the new one."""
    refined = base.with_lora(files["distilled"], 1.0)
    (network,) = cache.borrow(refined)
    del refined
    gc.collect()
    refined = base.with_lora(files["distilled"], 0.5)
    assert cache.borrow(refined) == (network,)
    gone = weakref.ref(network)
    del refined, network
    gc.collect()
    assert gone() is not None


def test_the_network_goes_with_the_last_recipe_of_its_files(pack, cache, files):
    recipe = pack("ltx2.recipe").TransformerRecipe.open(files["dev"])
    cache.borrow(recipe)
    recipe = recipe.with_lora(files["distilled"], 1.0)
    (network,) = cache.borrow(recipe)
    gone = weakref.ref(network)
    del network
    gc.collect()
    assert gone() is not None
    del recipe
    gc.collect()
    assert gone() is None
    assert not cache._residents


def test_weights_on_a_device_come_home_and_go_back_changed(pack, base, files):
    """The meta device plays the part of a GPU."""
    memory = pack("nodes.host.headless.memory")
    refined = base.with_lora(files["distilled"], 1.0, mode="runtime").with_lora(files["union"], 1.0)
    network, fresh = base.build(), refined.build()
    device = memory.DeviceMemory(torch.device("meta"))
    held = memory.HeldNetwork(device, network, sum(tensor.nbytes for tensor in network.state_dict().values()))
    in_ram = tensors(network)
    device.load([held], 0)
    there = tensors(network)
    assert all(tensor.is_meta for tensor in there.values())
    held.change(refined.restack(base))
    assert equal(network, fresh)
    replaced = {name for name, tensor in in_ram.items() if tensors(network)[name] is not tensor}
    assert 0 < len(replaced) < len(in_ram) / 2
    assert held.missing_bytes == sum(in_ram[name].nbytes for name in replaced), "the others are there still"
    device.load([held], 0)
    assert held.missing_bytes == 0
    assert all(tensor.is_meta for tensor in tensors(network).values())
    assert {name for name, tensor in there.items() if tensors(network)[name] is not tensor} == replaced
    held.unload()
    assert equal(network, fresh)


def test_hosts_make_room_for_what_is_beside_the_weights(pack, cache, host, base, files):
    asked = []
    load = host.load
    host.load = lambda handles, activation_bytes: (asked.append(activation_bytes), load(handles, activation_bytes))
    cache.borrow(base, activation_bytes=1000)
    cache.borrow(base.with_lora(files["distilled"], 1.0, mode="runtime"), activation_bytes=1000)
    halves = sum(half.nbytes for half in load_file(files["distilled"]).values())
    assert asked == [1000, 1000 + halves]


def test_a_new_strength_in_a_graph_loads_no_checkpoint(pack, host, make_node, tiny_models, tmp_path, files, caplog):
    headless, sockets = pack("nodes.host.headless.io"), pack("nodes.sockets")
    for folder in ("checkpoints", "loras"):
        (tmp_path / "models" / folder).symlink_to(tiny_models("2.3") / folder)
    weights = {}

    def keep(cls, transformer):
        (network,) = pack("nodes.host.networks").borrow(transformer)
        weights[transformer.loras[0].strength] = network.video.patchify.weight.clone()
        return headless.NodeOutput()

    use = make_node("Use", [sockets.Transformer.Input("transformer")], function=keep, is_output_node=True)
    classes = [pack("nodes.loaders").LoadTransformer, pack("nodes.lora").Lora, use]
    executor = pack("nodes.host.headless.executor").Executor(host, classes)
    with caplog.at_level(logging.INFO, "ltx2"):
        for strength in (1.0, 0.5, 0.25):
            lora = {"transformer": ["1", 0], "lora": files["distilled"].name, "strength": strength}
            executor.run(
                {
                    "1": {"class_type": "LTX2_LoadTransformer", "inputs": {"file": files["dev"].name}},
                    "2": {"class_type": "LTX2_Lora", "inputs": lora},
                    "3": {"class_type": "Use", "inputs": {"transformer": ["2", 0]}},
                }
            )
    said = [record.message.split(" <")[0] for record in caplog.records]
    pack("nodes.host.networks").CACHE.clear()
    assert [words for words in said if words in ("loading", "changing", "freeing")] == [
        "loading",
        "changing",
        "changing",
    ]
    assert len({weight.sum().item() for weight in weights.values()}) == 3
