"""Our networks under ComfyUI's memory management: parts on the device, eviction both ways, /free, dtype flags."""

from __future__ import annotations

DISTILLED = "LTX-2 Text to Video Distilled"
RUNS = 10
#: What a process may keep of nine more runs: pieces that the C library does not give back.
KEPT_BYTES = 48 * 2**20
# The processor plays a device of its own, with a memory of `capacity` bytes in which only weights count.
SMALL_DEVICE = """
import torch
import comfy.model_management as management

def small_device(capacity):
    reserved = management.minimum_inference_memory()

    def free(device=None, torch_free_too=False):
        loaded = sum(each.model_loaded_memory() for each in management.current_loaded_models if each.model is not None)
        left = reserved + max(capacity() - loaded, 0)
        return (left, 0) if torch_free_too else left

    management.get_torch_device = lambda: torch.device("cpu", 0)
    management.is_device_cpu = lambda device: device == torch.device("cpu")
    management.lowvram_available = True
    management.vram_state = management.VRAMState.NORMAL_VRAM
    management.get_free_memory = free
"""


def test_ten_runs_with_free_between_are_equal_and_memory_returns(server, small_prompt):
    server.free()  # of what other tests ran
    start, prompt, clips, sizes = len(server.log()), small_prompt(DISTILLED, prefix="freed"), [], []
    for _ in range(RUNS):
        ran = server.run(prompt)
        assert ran.kept == set(), "every node ran"
        clips.append(ran.files[0].read_bytes())
        server.free()
        sizes.append(server.resident_bytes())
    assert clips == [clips[0]] * RUNS
    assert sizes[-1] - sizes[0] < KEPT_BYTES, [size >> 20 for size in sizes]
    assert "Traceback" not in server.log()[start:]


def test_flags_choose_the_dtype_of_each_part(in_comfyui):
    answer = in_comfyui("""
        from comfy.cli_args import args
        import comfy.model_management as management
        management.should_use_bf16 = lambda device: True  # as on a GPU
        device, found = torch.device("cuda"), []

        def dtypes():
            chosen = [host.compute_dtype(device, part) for part in ("transformer", "vae", "text")]
            return [str(dtype).removeprefix("torch.") for dtype in chosen]

        found.append(dtypes())
        for flag in ("fp32_unet", "fp32_vae", "fp32_text_enc", "bf16_vae", "fp16_unet", "force_fp32"):
            setattr(args, flag, True)
            found.append(dtypes())
            setattr(args, flag, False)
        management.should_use_bf16 = lambda device: False
        args.bf16_unet = True
        answer = [*found, dtypes()]
    """)
    bf16, fp32 = "bfloat16", "float32"
    assert answer == [
        [bf16, bf16, bf16],
        [fp32, bf16, bf16],
        [bf16, fp32, bf16],
        [bf16, bf16, fp32],
        [bf16, bf16, bf16],
        [bf16, bf16, bf16],
        [fp32, fp32, fp32],
        [bf16, fp32, fp32],
    ]


def test_vaes_compute_on_the_processor_where_the_user_says_so(in_comfyui):
    answer = in_comfyui("""
        from comfy.cli_args import args
        import comfy.model_management as management
        management.get_torch_device = lambda: torch.device("meta")
        management.get_free_memory = lambda device=None, torch_free_too=False: (1e12, 0) if torch_free_too else 1e12
        args.cpu_vae = True
        checkpoint = next((models / "checkpoints").glob("*distilled*"))
        recipes, computation = pack("ltx2.recipe"), pack("nodes.computation").Computation
        names = ("TransformerRecipe", "VideoVAERecipe", "AudioVAERecipe", "VocoderRecipe")
        of_parts = [getattr(recipes, name).open(checkpoint) for name in names]
        with torch.inference_mode():
            networks = pack("nodes.host.networks").borrow(*of_parts)
        answer = {
            "parts": [sorted({tensor.device.type for tensor in each.parameters()}) for each in networks],
            "computations": [computation(title).device.type for title in ("sample", "decode video", "upsample")],
            "dtype": str(computation("decode video").dtype),
        }
    """)
    assert answer == {
        "parts": [["meta"], ["cpu"], ["cpu"], ["cpu"]],
        "computations": ["meta", "cpu", "cpu"],
        "dtype": "torch.float32",
    }


def test_a_long_load_is_told_to_the_browser(in_comfyui):
    """In the server's own words; what it hands on is kept here instead of sent."""
    answer = in_comfyui("""
        sys.modules.pop("utils", None)
        sys.path.insert(0, values["comfyui"])
        import utils.install_util  # as main.py does: later another utils is in front
        import comfy.model_management as management
        from comfy_execution.utils import CurrentNodeContext
        from server import BinaryEventTypes, PromptServer
        sent, PromptServer.instance = [], object.__new__(PromptServer)
        PromptServer.instance.send_sync = lambda event, data, sid=None: sent.append((event, data))
        management.get_torch_device = lambda: torch.device("meta")
        management.get_free_memory = lambda device=None, torch_free_too=False: (1e12, 0) if torch_free_too else 1e12
        long_load = pack("nodes.host.long_load")
        long_load._QUIET_SECONDS = long_load._SECONDS_BETWEEN = 0
        recipe = pack("ltx2.recipe").VideoVAERecipe.open(next((models / "checkpoints").glob("*distilled*")))
        borrow = pack("nodes.host.networks").borrow
        with torch.inference_mode():
            host.status("no node runs")
            with CurrentNodeContext("prompt", "7"):
                borrow(recipe)
        assert {event for event, _ in sent} == {BinaryEventTypes.TEXT}
        assert {data[:5] for _, data in sent} == {b"\\0\\0\\0\\x017"}
        answer = [data[5:].decode() for _, data in sent]
    """)
    assert answer[0].startswith("loading <LTX-2 video VAE ")
    assert answer[0].endswith(" 0 %")
    moving = [text for text in answer if text.startswith("moving VideoVAE to meta")]
    percents = [int(text.split()[-2]) for text in moving if text.endswith(" %")]
    assert percents == sorted(percents)
    assert percents[0] == 0
    assert 50 < percents[-1] <= 100
    assert moving[-1] == "moving VideoVAE to meta: 0 s"


def test_a_server_with_flags_runs(start_server, small_prompt):
    server = start_server("--bf16-unet", "--fp32-vae", "--bf16-text-enc", "--disable-smart-memory")
    ran = server.run(small_prompt(DISTILLED))
    assert ran.files[0].stat().st_size > 1000
    assert "Traceback" not in server.log()


def test_others_make_room_for_ours_and_ours_for_others(in_comfyui):
    answer = in_comfyui(f"""{SMALL_DEVICE}
import gc
from comfy.model_patcher import ModelPatcher
checkpoint = next((models / "checkpoints").glob("*distilled*"))
recipes = pack("ltx2.recipe")
ours = [recipes.VideoVAERecipe.open(checkpoint), recipes.AudioVAERecipe.open(checkpoint)]
networks = pack("nodes.host.networks")
small_device(lambda: 8_000_000)
foreign = ModelPatcher(torch.nn.Linear(1400, 1400), torch.device("cpu", 0), torch.device("cpu"))
loaded = lambda: [each.model.model.__class__.__name__ for each in management.current_loaded_models]
steps = []
with torch.inference_mode():
    management.load_models_gpu([foreign])
    steps.append(loaded())
    (vae,) = networks.borrow(ours[0])
    patcher = networks.CACHE._residents["video VAE"].handle.patcher
    at = lambda tensor: tensor.data_ptr()
    mapped = lambda: [key for key, place in patcher.home.items() if at(place.tensors[place.name]) == at(place.tensor)]
    steps.append((foreign.loaded_size() < foreign.model_size(), 0 < len(mapped()) < len(patcher.home)))
    management.load_models_gpu([foreign])
    steps.append((foreign.loaded_size() == foreign.model_size(), patcher.loaded_size() < patcher.model_size()))
    # What left the device is the mapped file's own memory again, and no copy.
    at_home = {{key.rpartition(".")[0] for key in mapped()}}
    away = {{name for name, module in vae.named_modules() if getattr(module, "comfy_patched_weights", False)}}
    steps.append((len(at_home) > 0, sorted(at_home & away)))
    latent = torch.randn(1, 128, 2, 4, 4, generator=torch.Generator().manual_seed(1))
    partly = vae.decode(latent)
    networks.borrow(*ours)
    whole = vae.decode(latent)
management.unload_all_models()
management.free_memory(1e30, torch.device("cpu", 0))
answer = {{
    "steps": steps, "equal": torch.equal(partly, whole), "left": len(management.current_loaded_models),
    "home": len(mapped()) == len(patcher.home),
}}
""")
    assert answer == {
        "steps": [["Linear"], [True, True], [True, True], [True, []]],
        "equal": True,
        "left": 0,
        "home": True,
    }


def test_parts_that_stay_behind_work_with_inputs_on_the_device(in_comfyui):
    """The meta device plays the part of a GPU: to mix it with another is an error, wherever a cast is missing."""
    answer = in_comfyui("""
        import comfy.model_management as management
        management.get_torch_device = lambda: torch.device("meta")
        recipes, memory = pack("ltx2.recipe"), pack("nodes.host.comfyui.memory")
        checkpoint = next((models / "checkpoints").glob("*distilled*"))
        gemma = next((models / "text_encoders").iterdir())
        upsampler = next((models / "latent_upscale_models").glob("*spatial*"))
        text = recipes.TextEncoderRecipe.open(gemma, checkpoint)
        vision = pack("ltx2.prompting.vision").VisionRecipe.of(text)
        zeros = lambda *shape: torch.zeros(shape, device="meta")
        connectors, vocoder = text.connectors, recipes.VocoderRecipe.open(checkpoint)
        states = zeros(1, 4, connectors.hidden_size, connectors.num_text_states)
        hidden = zeros(1, 4, text.config.hidden_size)
        size, bins = vision.config.image_size, vocoder.config.generator.mel_bins
        runs = {
            "video decode": (recipes.VideoVAERecipe.open(checkpoint), lambda n: n.decode(zeros(1, 128, 2, 4, 4))),
            "video encode": (recipes.VideoVAERecipe.open(checkpoint), lambda n: n.encode(zeros(1, 3, 9, 64, 64))),
            "audio decode": (recipes.AudioVAERecipe.open(checkpoint), lambda n: n.decode(zeros(1, 8, 4, 16))),
            "vocoder": (vocoder, lambda n: n.synthesise(zeros(1, 2, 16, bins))),
            "upsampler": (recipes.UpsamplerRecipe.open(upsampler), lambda n: n(zeros(1, 128, 2, 4, 4))),
            "connectors": (text, lambda n: n.connectors(states)[0]),
            "gemma": (text, lambda n: n.gemma.model.layers[0].mlp(n.gemma.model.norm(hidden))),
            "vision": (vision, lambda n: n(zeros(1, 3, size, size))),
        }
        answer = {}
        for name, (recipe, run) in runs.items():
            for share in (0, 0.5):
                patcher = memory.HeldNetwork(recipe.build()).patcher
                with torch.inference_mode():
                    patcher.partially_load(torch.device("meta"), 1 + share * patcher.model_size())
                    patcher.move_the_rest()
                    result = run(patcher.model)
                answer[f"{name} {share}"] = [result.is_meta, patcher.loaded_size() < patcher.model_size()]
    """)
    assert len(answer) == 16
    assert set(map(tuple, answer.values())) == {(True, True)}
