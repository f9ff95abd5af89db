"""The node of precisions, and runs with packed weights: what is chosen, refused, and said of it afterwards."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

PRECISIONS = ["as stored", "fp8 cast", "fp8 scaled matmul"]
BOTH_DEVICES = ["cpu", "cuda:0"]


@pytest.fixture
def choose(pack, host):
    return lambda *values: pack("nodes.precision").SetPrecision.execute(*values).args[0]


@pytest.fixture
def fp8(checkpoint, tmp_path):
    """The tiny checkpoint with its blocks' query projections in fp8 with scales."""
    with safe_open(checkpoint, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(checkpoint)
    for key in [key for key in tensors if "transformer_blocks." in key and key.endswith(".to_q.weight")]:
        tensors[key] = (tensors[key].float() * 100).to(torch.float8_e4m3fn)
        tensors[f"{key}_scale"] = torch.tensor(0.01)
    save_file(tensors, tmp_path / "fp8.safetensors", metadata)
    return tmp_path / "fp8.safetensors"


def test_it_says_what_its_choices_are(pack, host):
    schema = pack("nodes.precision").SetPrecision.GET_SCHEMA()
    assert schema.node_id == "LTX2_Precision"
    transformer, precision = schema.inputs
    assert precision.options == PRECISIONS
    assert all(choice in precision.tooltip for choice in PRECISIONS)
    assert transformer.tooltip


def test_a_choice_is_another_recipe_and_the_input_stays(pack, choose, checkpoint):
    given = pack("ltx2.recipe").TransformerRecipe.open(checkpoint)
    cast = choose(given, "fp8 cast")
    assert (given.precision, cast.precision) == ("as stored", "fp8 cast")
    assert cast != given
    assert choose(cast, "as stored") == given
    assert cast.lease is given.lease


def test_what_cannot_be_had_is_refused(pack, choose, checkpoint, fp8, error):
    recipes = [pack("ltx2.recipe").TransformerRecipe.open(file) for file in (checkpoint, fp8)]
    with pytest.raises(error, match="takes a file with fp8 .e4m3. weights; got"):
        choose(recipes[0], "fp8 scaled matmul")
    with pytest.raises(error, match="takes a file with bf16, fp16 or fp32 weights; got"):
        choose(recipes[1], "fp8 cast")
    with pytest.raises(error, match="transformer must come from an LTX-2 loader"):
        choose(3, "fp8 cast")


def test_a_run_reports_in_what_weights_were_kept(pack, distilled, fp8):
    run, given = distilled
    recipe = pack("ltx2.recipe").TransformerRecipe.open(fp8)
    video = {"samples": torch.zeros(1, 128, 2, 2, 2), "ltx2": pack("ltx2.latents").Clip(24.0)}
    prompt = given["guider"].prompts.positive
    (guider,) = run("Guider", transformer=recipe, positive=prompt).args
    output = run("Sample", guider=guider, seed=3, video=video, solver="euler", sigmas=torch.tensor([1.0, 0.7, 0.0]))
    (report,) = output.ui["ltx2_report"]
    assert report["weights"] == {"fp8_e4m3": 12, "bfloat16": report["weights"]["bfloat16"]}


@pytest.fixture
def gguf_file(checkpoint, tmp_path):
    """The tiny transformer in GGUF, its matrices in Q8_0 where their rows are whole blocks."""
    gguf = pytest.importorskip("gguf", reason="needs gguf: pip install -e '.[dev]'")
    types, prefix = gguf.GGMLQuantizationType, "model.diffusion_model."
    with safe_open(checkpoint, "pt") as file:
        config = file.metadata()["config"]
    writer = gguf.GGUFWriter(tmp_path / "tiny.gguf", "ltxv")
    writer.add_string("config", config)
    for key, tensor in load_file(checkpoint).items():
        if key.startswith(prefix):
            whole = key.endswith(".weight") and tensor.dim() == 2 and tensor.shape[1] % 32 == 0
            kind = types.Q8_0 if whole else types.F32
            data = gguf.quants.quantize(tensor.float().numpy(), kind)
            writer.add_tensor(key.removeprefix(prefix), data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tmp_path / "tiny.gguf"


@pytest.mark.parametrize("device_name", BOTH_DEVICES, indirect=True)
@pytest.mark.parametrize("precision", [*PRECISIONS, "gguf"])
def test_a_sample_is_the_same_wherever_packed_weights_are(
    pack, distilled, fp8, checkpoint, gguf_file, tiny_models, precision
):
    run, given = distilled
    file = {"fp8 cast": checkpoint, "gguf": gguf_file}.get(precision, fp8)
    precision = "as stored" if precision == "gguf" else precision
    lora = next((tiny_models("2.3") / "loras").glob("*distilled*"))
    recipe = pack("ltx2.recipe").TransformerRecipe.open(file).with_lora(lora, 0.5).with_precision(precision)
    video = {"samples": torch.zeros(1, 128, 2, 2, 2), "ltx2": pack("ltx2.latents").Clip(24.0)}

    def sample(placement):
        (guider,) = run(
            "Guider", transformer=replace(recipe, placement=placement), positive=given["guider"].prompts.positive
        ).args
        return run("Sample", guider=guider, seed=3, video=video, solver="euler", sigmas=torch.tensor([1.0, 0.7, 0.0]))

    Placement = pack("ltx2.placement").Placement
    outputs = [
        sample(placement) for placement in (None, Placement("streamed from RAM"), Placement("streamed from disk"))
    ]
    pack("nodes.host.networks").CACHE.clear()
    first = outputs[0].args[0]["samples"]
    assert torch.isfinite(first).all()
    for output in outputs[1:]:
        assert torch.equal(output.args[0]["samples"], first)
        kept = [each.ui["ltx2_report"][0]["weights"] for each in (output, outputs[0])]
        # What is cast on its way to the device lies in bf16 in its file.
        assert (kept[0] == kept[1]) == (precision != "fp8 cast")


def test_gguf_files_are_listed_where_transformers_and_text_encoders_are(host, tmp_path):
    for folder in ("checkpoints", "diffusion_models", "unet", "text_encoders", "vae", "loras"):
        (tmp_path / "models" / folder / "deep").mkdir(parents=True)
        (tmp_path / "models" / folder / "deep" / f"{folder}.GGUF").touch()
    expected = {
        "checkpoints": ["deep/checkpoints.GGUF"],
        "diffusion_models": ["deep/diffusion_models.GGUF", "deep/unet.GGUF"],
        "text_encoders": ["deep/text_encoders.GGUF"],
        "vae": [],
    }
    assert {folder: host.model_files(folder) for folder in expected} == expected
