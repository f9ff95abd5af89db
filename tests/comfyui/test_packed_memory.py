"""Packed weights under ComfyUI's memory management: counted with their scales, moved with them, brought home mapped."""

from __future__ import annotations

from textwrap import dedent

PACKED = """
import comfy.model_management as management
from safetensors import safe_open
from safetensors.torch import load_file, save_file
checkpoint = next((models / "checkpoints").glob("*dev*"))
with safe_open(checkpoint, "pt") as file:
    metadata = file.metadata()
tensors = load_file(checkpoint)
generator = torch.Generator().manual_seed(0)
for key in list(tensors):
    layer = key.removesuffix(".weight")
    if "transformer_blocks." in key and key.endswith(".to_q.weight"):
        tensors[key] = (tensors[key].float() * 100).to(torch.float8_e4m3fn)
        tensors[layer + ".weight_scale"] = torch.tensor(0.01)
    elif "transformer_blocks." in key and key.endswith(".net.0.proj.weight"):
        rows, columns = tensors[key].shape
        tensors[key] = torch.randint(0, 256, (rows, columns // 2), generator=generator, dtype=torch.uint8)
        scales = -(-rows // 128) * 128, -(-columns // 64) * 4
        tensors[layer + ".weight_scale"] = torch.ones(scales).to(torch.float8_e4m3fn)
        tensors[layer + ".weight_scale_2"] = torch.tensor(0.01)
save_file(tensors, tmp / "packed.safetensors", metadata)
recipe = pack("ltx2.recipe").TransformerRecipe.open(tmp / "packed.safetensors")
memory = pack("nodes.host.comfyui.memory")
video = lambda network: network.blocks[1].video
def outputs(network, device="cpu"):
    x = torch.randn(3, 160, generator=torch.Generator().manual_seed(1)).to(device)
    with torch.inference_mode():
        return [video(network).feed_forward(x), video(network).self_attention.to_q(x)]
"""


def test_parts_on_the_device_give_the_same_bits_and_go_home(in_comfyui):
    answer = in_comfyui(
        PACKED
        + dedent("""
    device = torch.device("cpu", 0)
    management.get_torch_device = lambda: device
    management.is_device_cpu = lambda each: each == torch.device("cpu")
    network = recipe.build()
    expected, kept = outputs(network), sum(tensor.nbytes for tensor in network.state_dict().values())
    scale = video(network).self_attention.to_q.weight_scale
    patcher = memory.HeldNetwork(network).patcher
    at = {name: tensor.data_ptr() for name, tensor in network.state_dict().items()}
    steps = []
    for share in (0, 0.5, 1):
        patcher.partially_load(device, 1 + share * patcher.model_size())
        patcher.move_the_rest()
        steps.append([all(map(torch.equal, outputs(network), expected)), patcher.loaded_size() / patcher.model_size()])
        patcher.detach()
    home = {name: tensor.data_ptr() for name, tensor in network.state_dict().items()} == at
    answer = {"size": patcher.model_size() == kept, "steps": steps, "home": home}
    """)
    )
    assert answer["size"], "scales count"
    assert [equal for equal, _ in answer["steps"]] == [True] * 3
    assert answer["steps"][0][1] < 1
    assert answer["steps"][-1][1] == 1
    assert answer["home"]


def test_packed_weights_that_stay_behind_come_with_their_scales(in_comfyui):
    """The meta device plays a GPU: to mix it with another is an error, wherever a scale is left behind."""
    answer = in_comfyui(
        PACKED
        + dedent("""
    management.get_torch_device = lambda: torch.device("meta")
    answer = []
    for share in (0, 0.5, 1):
        patcher = memory.HeldNetwork(recipe.build()).patcher
        with torch.inference_mode():
            patcher.partially_load(torch.device("meta"), 1 + share * patcher.model_size())
            patcher.move_the_rest()
        answer.append([each.is_meta for each in outputs(patcher.model, "meta")])
    """)
    )
    assert answer == [[True, True]] * 3
