"""Bridges in a process of ComfyUI: our guider under its samplers, latents and prompts in its forms, its decoders on
our latents.

What ComfyUI 0.8 lacks is left out there: its model is 2.0's, and takes prompts after the connectors only.
"""

from __future__ import annotations

import textwrap

import pytest

_START = """
import logging
import comfy.samplers, comfy.sd, comfy.utils
from comfy.nested_tensor import NestedTensor
from comfy_extras import nodes_custom_sampler as custom
models = Path("{models}")
bridges, latents, recipes = pack("nodes.bridges"), pack("ltx2.latents"), pack("ltx2.recipe")
Context, Guider = pack("ltx2.sampling.denoiser").Context, pack("ltx2.sampling.guider").Guider
Guidance, frames = pack("ltx2.guidance.guidance").Guidance, pack("ltx2.conditioning.frames")
dev = next((models / "checkpoints").glob("*dev*"))
transformer = recipes.TransformerRecipe.open(dev)
config, seeded = transformer.config, torch.Generator().manual_seed(1)
inference = torch.inference_mode()  # as ComfyUI runs nodes
inference.__enter__()

def drawn(*shape):
    return torch.randn(shape, generator=seeded)

def prompt(length=128):
    widths = config.cross_attention_dim, config.audio_cross_attention_dim
    widths = (config.caption_channels,) * 2 if config.caption_projection else widths
    return Context(*(drawn(1, length, width) for width in widths))

video, audio = latents.empty(pack("ltx2.geometry").Canvas(128, 96, 17, 24.0), 1)
positive, negative = prompt(), prompt()
guided = Guider.of(transformer, positive, negative, Guidance(cfg=3.0), Guidance(cfg=5.0))
plain = Guider.of(transformer, positive)
whole, part = torch.tensor([1.0, 0.9, 0.6, 0.3, 0.0]), torch.tensor([0.8, 0.5, 0.2, 0.0])

def result(node, *inputs, **more):
    output = node.execute(*inputs, **more)
    return getattr(output, "result", None) or output.args

def ours(guider, sigmas, video, audio, solver="euler", **more):
    return result(pack("nodes.sampling").Sample, guider, sigmas, solver, 7, video, audio, **more)

def theirs(guider, sigmas, video, audio, sampler="euler", noise=None):
    guider, latent = result(bridges.GuiderToComfyUI, guider, video, audio)
    sampler = comfy.samplers.sampler_object(sampler)
    return result(custom.SamplerCustomAdvanced, noise or custom.Noise_RandomNoise(7), guider, sampler, sigmas, latent)

def streams(latent):
    return latent["samples"].unbind() if latent["samples"].is_nested else [latent["samples"]]

def difference(mine, latent):
    mine = [one["samples"] for one in mine if one is not None]
    return max(float((a - b).abs().max()) for a, b in zip(mine, streams(latent), strict=True))

noisy_video = {{**video, "samples": drawn(*video["samples"].shape)}}
noisy_audio = {{**audio, "samples": drawn(*audio["samples"].shape)}}
mask = torch.ones(1, 1, 3, 3, 4)
mask[:, :, 0], mask[:, :, 1] = 0, 0.4
kept_video = {{**noisy_video, "noise_mask": mask}}
kept_audio = {{**noisy_audio, "noise_mask": torch.ones(1, 1, audio["samples"].shape[2], 1)}}
kept_audio["noise_mask"][:, :, :5] = 0
"""


@pytest.fixture
def bridged(in_comfyui, tiny_models, second_device, tmp_path):
    """`bridged(code, release)` runs it where our latents, guiders and both ways of sampling have names.

    With `capacity` it does so on the stand-in for a GPU that has as many bytes.
    """

    def run(code: str, release: str = "2.3", capacity: int | None = None):
        device = ""
        if capacity is not None:
            (tmp_path / "capacity").write_text(str(capacity))
            device = second_device(tmp_path / "capacity") + "in_use = second_device.in_use()\nin_use.__enter__()\n"
        return in_comfyui(device + _START.format(models=tiny_models(release)) + textwrap.dedent(code))

    return run


@pytest.mark.parametrize("capacity", [None, 1_500_000, 10**9])
def test_samplers_walk_our_guider_to_what_our_own_solvers_find(bridged, capacity):
    """Latents of about 6: the order of additions differs, which guidance and the other solvers enlarge."""
    answer = bridged(
        """
        guide = frames.ReplacedFrames(drawn(1, 128, 1, 3, 4), 0, 0.7)
        beside = frames.AppendedFrames(drawn(1, 128, 1, 3, 4), 16, 0.8)
        guides = latents.with_conditions(noisy_video, (guide, beside))
        continued = {**noisy_video, "ltx2": latents.Clip(24.0, continues=True)}
        cases = {
            "video and sound": (guided, whole, video, audio),
            "video": (plain, whole, video, None),
            "sound": (plain, whole, None, audio),
            "masks": (plain, part, kept_video, kept_audio),
            "guides": (plain, part, guides, kept_audio),
            "a clip that continues": (plain, part, continued, None),
        }
        answer = {what: difference(ours(*case), theirs(*case)[0]) for what, case in cases.items()}
        case = guided, whole, video, audio
        answer["denoised output"] = difference(ours(*case), theirs(*case)[1])
        for solver in ("euler_cfg_pp", "gradient_estimation"):
            answer[solver] = difference(ours(*case, solver), theirs(*case, solver)[0])
    """,
        capacity=capacity,
    )
    assert len(answer) == 9
    solvers = [answer.pop(solver) for solver in ("euler_cfg_pp", "gradient_estimation")]
    assert max(answer.values()) <= 1e-5, answer
    assert max(solvers) <= 3e-5


def test_what_is_lossy_is_so_in_comfyui_as_well(bridged):
    """Predictions that are left out, and tiles: as LTX-2 Sample has them, and told in the log."""
    answer = bridged("""
        caching = pack("ltx2.sampling.step_cache").StepCaching(1e6, 1e6, 1, 1)
        tiling = pack("ltx2.sampling.token_tiles").TokenTiling(2, 1, 32)
        lossy = guided.with_caching(caching).with_tiling(tiling)
        lines, exact = [], ours(guided, whole, video, audio)
        logging.getLogger("ltx2").setLevel("INFO")
        logging.getLogger("ltx2").addHandler(type("Kept", (logging.Handler,), {
            "emit": lambda self, record: lines.append(record.getMessage())})())
        theirs_too = theirs(lossy, whole, video, audio)[0]
        answer = {"lines": list(lines), "difference": difference(ours(lossy, whole, video, audio), theirs_too)}
        answer["exact"] = difference(exact, theirs_too)
    """)
    assert answer["difference"] <= 1e-5
    assert answer["exact"] > 1e-3
    told = [line for line in answer["lines"] if line.startswith("lossy: ")]
    assert told == ["lossy: step_cache 2 of 4", "lossy: token_tiling 27 of 36"]


def test_passes_run_together_only_as_the_placements_budget_allows(bridged):
    answer = bridged("""
        import dataclasses
        module, Placement = pack("nodes.bridges_guider"), pack("ltx2.placement").Placement
        made, Denoiser = [], module.Denoiser

        class Kept(Denoiser):
            def __init__(self, *inputs, **more):
                super().__init__(*inputs, **more)
                made.append(self.forward.at_once)

        module.Denoiser = Kept
        budgeted = dataclasses.replace(transformer, placement=Placement("resident", budget=1))
        small = Guider.of(budgeted, positive, negative, Guidance(cfg=3.0), Guidance(cfg=5.0))
        found = [theirs(guider, whole, video, audio)[0] for guider in (guided, small)]
        answer = {"at_once": made, "difference": difference(ours(guided, whole, video, audio), found[1])}
    """)
    assert answer["at_once"] == [2, 1]
    assert answer["difference"] <= 1e-5


def test_every_sampler_runs_and_leaves_what_is_kept_as_it_is(bridged):
    answer = bridged("""
        answer = {}
        for sampler in comfy.samplers.SAMPLER_NAMES:
            left = streams(theirs(plain, part, kept_video, kept_audio, sampler)[0])
            finite = all(bool(torch.isfinite(one).all()) for one in left)
            kept = torch.equal(left[0][:, :, 0], kept_video["samples"][:, :, 0])
            answer[sampler] = [finite, kept and torch.equal(left[1][:, :, :5], kept_audio["samples"][:, :, :5])]
    """)
    assert {"euler", "euler_ancestral", "dpmpp_2m_sde", "res_multistep", "uni_pc", "lcm"} <= set(answer)
    assert {name: both for name, both in answer.items() if both != [True, True]} == {}


def test_noise_is_comfyuis_for_the_seed_and_may_be_any(bridged):
    answer = bridged("""
        class Custom:
            seed = 7
            def generate_noise(self, latent):
                made = [torch.full_like(one, 0.5) for one in streams(latent)]
                return NestedTensor(made) if len(made) > 1 else made[0]
        beside = latents.with_conditions(video, (frames.AppendedFrames(drawn(1, 128, 1, 3, 4), 16, 0.8),))
        random, none = custom.Noise_RandomNoise(7), custom.Noise_EmptyNoise()
        by_seed = ours(plain, whole, beside, audio)
        by_noise = ours(plain, whole, beside, audio, noise=random)
        answer = {
            "seed": [torch.equal(a["samples"], b["samples"]) for a, b in zip(by_seed, by_noise)],
            "none": difference(ours(plain, part, kept_video, kept_audio, noise=none),
                               theirs(plain, part, kept_video, kept_audio, noise=none)[0]),
            "custom": difference(ours(plain, part, noisy_video, noisy_audio, noise=Custom()),
                                 theirs(plain, part, noisy_video, noisy_audio, noise=Custom())[0]),
        }
        many = [{**one, "samples": one["samples"].repeat(2, 1, *[1] * (one["samples"].ndim - 2)), "batch_index": [3, 1]}
                for one in (video, audio)]
        again = ours(plain, whole, *many, noise=random)
        answer["batch"] = difference(again, theirs(plain, whole, *many)[0])
        answer["differs"] = not torch.equal(again[0]["samples"][0], by_noise[0]["samples"][0])
    """)
    assert answer["seed"] == [True, True]
    assert answer["differs"]
    assert max(answer["none"], answer["custom"], answer["batch"]) <= 1e-5, answer


def test_runs_in_parts_previews_and_interrupts(bridged):
    answer = bridged("""
        import comfy.model_management as management
        try:
            theirs(plain, part[:3], kept_video, kept_audio)
        except pack("ltx2.errors").LTX2Error as error:
            refused = str(error)
        kept_video["noise_mask"] = mask.round()  # either kept or not: then a run may stop on its way
        guider, latent = result(bridges.GuiderToComfyUI, plain, kept_video, kept_audio)
        noise, euler = custom.Noise_RandomNoise(7), comfy.samplers.sampler_object("euler")
        once = result(custom.SamplerCustomAdvanced, noise, guider, euler, part, latent)[0]
        first = result(custom.SamplerCustomAdvanced, noise, guider, euler, part[:3], latent)[0]
        second = {**first, "samples": first["samples"]}
        none = type("None", (), {"seed": 0, "generate_noise": lambda self, given: NestedTensor(
            [torch.zeros_like(one) for one in streams(given)])})()
        whole_run = result(custom.SamplerCustomAdvanced, none, guider, euler, part[2:], second)[0]
        parts = difference([{"samples": one} for one in streams(once)], whole_run)
        answer = {"refused": refused, "parts": parts, "shown": []}

        def show(step, x0, x, total):
            shown = [list(one.shape) for one in (x0.unbind() if x0.is_nested else [x0])]
            answer["shown"].append([step, total, shown])
            if step == 1 and interrupts:
                management.interrupt_current_processing()

        interrupts = False
        inputs = noise.generate_noise(latent), latent["samples"], euler, part, latent["noise_mask"]
        guider.sample(*inputs, callback=show, seed=7)
        interrupts = True
        try:
            guider.sample(*inputs, callback=show, seed=7)
            answer["interrupted"] = "no"
        except management.InterruptProcessingException:
            answer["interrupted"] = "yes"
        again = result(custom.SamplerCustomAdvanced, noise, guider, euler, part, latent)[0]
        answer["again"] = all(torch.equal(a, b) for a, b in zip(streams(once), streams(again)))
        answer["nested"] = hasattr(NestedTensor, "cpu")
        answer["empty"] = guider.sample(*inputs[:3], torch.tensor([])) is latent["samples"]
    """)
    assert "sigmas must end at 0" in answer["refused"]
    assert answer["parts"] <= 1e-5
    length = answer["shown"][0][2][1][2] if answer["nested"] else 18
    expected = [[1, 128, 3, 3, 4], [1, 8, length, 16]] if answer["nested"] else [[1, 1, 128 * 36 + 128 * 18]]
    assert answer["shown"][:3] == [[step, 3, expected] for step in range(3)]
    assert len(answer["shown"]) == 5  # the second step of the second run asked to stop
    assert answer["interrupted"] == "yes"
    assert answer["again"]
    assert answer["empty"]


def test_latents_there_and_back_are_the_same(bridged):
    answer = bridged("""
        there = result(bridges.LatentsToComfyUI, kept_video, kept_audio)[0]
        video_back, audio_back = result(bridges.LatentsFromComfyUI, {**there, "type": "audio"}, 0.0)
        pairs = [(kept_video, video_back), (kept_audio, audio_back)]
        alone = result(bridges.LatentsToComfyUI, None, noisy_audio)[0]
        answer = {
            "nested": isinstance(there["samples"], NestedTensor) and isinstance(there["noise_mask"], NestedTensor),
            "same": [torch.equal(a["samples"], b["samples"]) for a, b in pairs],
            "masks": [float((a["noise_mask"] - b["noise_mask"]).abs().max()) < 1 / 255 for a, b in pairs],
            "rate": video_back["ltx2"].frame_rate,
            "keys": [sorted(video_back), sorted(audio_back)],
            "alone": torch.equal(alone["samples"], noisy_audio["samples"]),
        }
    """)
    assert answer.pop("rate") == 24.0
    assert answer.pop("keys") == [["ltx2", "noise_mask", "samples"]] * 2
    assert answer == {"nested": True, "same": [True, True], "masks": [True, True], "alone": True}


def test_comfyuis_model_reads_our_prompts_in_both_forms(bridged):
    """Its own model of the same file, silent: there it computes what ours does. With sound 0.33 differs from 0.8."""
    answer = bridged(
        """
        model = comfy.sd.load_checkpoint_guess_config(str(dev), output_vae=False, output_clip=False)[0]
        encoder = recipes.TextEncoderRecipe.open(next((models / "text_encoders").iterdir()), dev)
        text = "a red boat on a lake"
        context = result(pack("nodes.prompts").EncodePrompt, encoder, text, False)[0]
        forms = {"after": result(bridges.ConditioningToComfyUI, context, 24.0)[0]}
        takes_features = hasattr(model.model.diffusion_model, "preprocess_text_embeds")
        try:
            forms["before"] = result(bridges.EncodePromptForComfyUI, encoder, text, 24.0)[0]
        except pack("ltx2.errors").LTX2Error as error:
            assert not takes_features and "update ComfyUI" in str(error)
        answer = {"forms": list(forms), "takes features": takes_features}
        silent = ours(Guider.of(transformer, context), whole, video, None)
        for form, conditioning in forms.items():
            guider = comfy.samplers.CFGGuider(model)
            guider.set_conds(conditioning, conditioning)
            euler = comfy.samplers.sampler_object("euler")
            for with_sound in (False, True):
                latent = result(bridges.LatentsToComfyUI, video, audio if with_sound else None)[0]
                inputs = custom.Noise_RandomNoise(7), guider, euler, whole, latent
                done = result(custom.SamplerCustomAdvanced, *inputs)[0]
                mine = ours(Guider.of(transformer, context), whole, video, audio) if with_sound else silent
                answer[f"{form} {'av' if with_sound else 'silent'}"] = difference(mine, done)
            back, rate = result(bridges.ConditioningFromComfyUI, conditioning, encoder)
            answer[f"{form} back"] = torch.equal(back.video, context.video) and torch.equal(back.audio, context.audio)
            answer[f"{form} rate"] = rate
        """,
        release="2.0",
    )
    assert answer["forms"] == (["after", "before"] if answer["takes features"] else ["after"])
    for form in answer["forms"]:
        assert answer[f"{form} silent"] <= 3e-5, answer  # attention of two libraries, in another order
        # 0.33 shows the sound a picture that has heard it already; 0.8 computes both ways at once, as ours does.
        assert answer[f"{form} av"] <= (0.5 if answer["takes features"] else 3e-5), answer
        assert answer[f"{form} back"]
        assert answer[f"{form} rate"] == 24.0


def test_comfyuis_decoders_and_upsampler_take_our_latents(bridged):
    answer = bridged(
        """
        import importlib, inspect, nodes
        import comfy.ldm.lightricks.vae.causal_video_autoencoder as vae_module
        from comfy_extras.nodes_hunyuan import LatentUpscaleModelLoader
        from comfy_extras.nodes_lt_audio import LTXVAudioVAEDecode, LTXVAudioVAELoader
        from comfy_extras.nodes_lt_upsampler import LTXVLatentUpsampler
        decoder = vae_module.Decoder.__init__
        if "decoder_base_channels" not in inspect.getsource(vae_module):
            # ComfyUI 0.8 reads every size but this one from the file: it has only the released one.
            decoder.__defaults__ = tuple(8 if value == 128 else value for value in decoder.__defaults__)
        (file,) = (models / "latent_upscale_models").iterdir()
        for path in (file, dev):
            folder_paths.add_model_folder_path(path.parent.name, str(path.parent))
        weights, metadata = comfy.utils.load_torch_file(str(dev), return_metadata=True)
        weights = comfy.utils.state_dict_prefix_replace(weights, {"vae.": ""}, filter_keys=True)
        vae = comfy.sd.VAE(sd=weights, metadata=metadata)
        own_vae = recipes.VideoVAERecipe.open(dev)
        decoding, answer = pack("nodes.decoding"), {}
        images = result(decoding.DecodeImages, noisy_video, own_vae, "off", 512, 64)[0]
        both = result(bridges.LatentsToComfyUI, noisy_video, noisy_audio)[0]
        for what, latent in (("video", noisy_video), ("nested video", both)):
            answer[what] = float((nodes.VAEDecode().decode(vae, latent)[0] - images).abs().max())
        parts = recipes.AudioVAERecipe.open(dev), recipes.VocoderRecipe.open(dev)
        sound = result(decoding.DecodeAudio, noisy_audio, *parts)[0]["waveform"]
        audio_vae = result(LTXVAudioVAELoader, dev.name)[0]
        for what, latent in (("sound", noisy_audio), ("nested sound", both)):
            answer[what] = float((result(LTXVAudioVAEDecode, latent, audio_vae)[0]["waveform"] - sound).abs().max())
        upsampler = recipes.UpsamplerRecipe.open(file)
        larger = result(pack("nodes.latents").UpsampleLatent, noisy_video, upsampler, own_vae)[0]
        if hasattr(LatentUpscaleModelLoader, "execute"):
            upscaler = result(LatentUpscaleModelLoader, file.name)[0]
        else:
            (upscaler,) = LatentUpscaleModelLoader().load_model(file.name)
        if hasattr(LTXVLatentUpsampler, "execute"):
            made = result(LTXVLatentUpsampler, noisy_video, upscaler, vae)[0]
        else:
            (made,) = LTXVLatentUpsampler().upsample_latent(noisy_video, upscaler, vae)
        answer["upsampler"] = difference([larger], made)
        answer["rate"] = made["ltx2"].frame_rate
        """,
        release="2.0",
    )
    assert answer.pop("rate") == 24.0
    assert len(answer) == 5
    assert max(answer.values()) <= 1e-5, answer
