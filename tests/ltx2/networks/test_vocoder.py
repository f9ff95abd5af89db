"""Vocoders 2.0 and 2.3: fixtures, released names, diffusers, float32 always, the clamp, and bad configs."""

import copy

import pytest
import torch
from diffusers.pipelines.ltx2.vocoder import LTX2Vocoder, LTX2VocoderWithBWE

from ltx2.checkpoint import keys
from ltx2.checkpoint.load import InMemory, audit, build, on_meta
from ltx2.config.section import parse
from ltx2.config.vocoder import VocoderConfig
from ltx2.errors import LTX2Error, ModelFileError
from ltx2.networks.vocoder.model import ExtendedVocoder, PlainVocoder, Vocoder

PLAIN = {
    "resblock": "1",
    "stereo": True,
    "upsample_initial_channel": 8,
    "upsample_rates": [3, 2],
    "upsample_kernel_sizes": [7, 4],
    "resblock_kernel_sizes": [3, 5],
    "resblock_dilation_sizes": [[1, 3], [2]],
    "output_sampling_rate": 24000,
}
SNAKE = {**PLAIN, "resblock": "AMP1", "activation": "snakebeta", "use_tanh_at_final": False, "use_bias_at_final": False}
EXTENDED = {
    "vocoder": {k: v for k, v in SNAKE.items() if k != "output_sampling_rate"},
    "bwe": {
        **SNAKE,
        "upsample_rates": [3, 2],
        "apply_final_activation": False,
        "n_fft": 16,
        "win_size": 16,
        "hop_length": 3,
        "num_mels": 64,
        "input_sampling_rate": 12000,
        "output_sampling_rate": 24000,
    },
}
THEIR_NAMES = (
    ("upsamplers.", "ups."),
    ("resnets.", "resblocks."),
    ("conv_in.", "conv_pre."),
    ("conv_out.", "conv_post."),
    ("act_out.", "act_post."),
    (".downsample.filter", ".downsample.lowpass.filter"),
)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def assert_close(actual: torch.Tensor, expected: torch.Tensor, tolerance: float) -> None:
    torch.testing.assert_close(actual, expected, atol=tolerance, rtol=0)


def filled(raw: dict, weights: dict[str, torch.Tensor]) -> Vocoder:
    config = parse(VocoderConfig, raw, "vocoder")
    return build(lambda: Vocoder(config), keys.VOCODER, InMemory(weights))


def random_weights(raw: dict, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    network = on_meta(lambda: Vocoder(parse(VocoderConfig, raw, "vocoder")))
    weights = {}
    for name, meta in network.state_dict().items():
        fan_in = max(1, meta[0].numel())
        weights[keys.VOCODER.to_theirs(name)] = torch.randn(meta.shape, generator=generator) / fan_in**0.5
    return weights


def released_names(theirs: torch.nn.Module) -> dict[str, torch.Tensor]:
    weights = {}
    for name, tensor in theirs.state_dict().items():
        for a, b in THEIR_NAMES:
            name = name.replace(a, b)
        weights[f"vocoder.{name}"] = tensor
    return weights


@pytest.fixture(scope="module")
def case_23(golden):
    return golden("vocoder_23")


@pytest.fixture(scope="module")
def extended(case_23) -> Vocoder:
    return filled(case_23.config["vocoder"], case_23.weights)


def test_fixture_20(golden):
    case = golden("vocoder_20")
    vocoder = filled(case.config["vocoder"], case.weights)
    assert isinstance(vocoder, PlainVocoder)
    assert vocoder.sample_rate == 24000
    assert_close(vocoder(case.inputs["mel"]), case.outputs["waveform"], 2e-5)


def test_fixture_23(case_23, extended):
    assert isinstance(extended, ExtendedVocoder)
    assert extended.sample_rate == 48000
    assert_close(extended(case_23.inputs["mel"]), case_23.outputs["waveform"], 2e-3)


def test_fixture_23_step_by_step(case_23, extended):
    outputs = case_23.outputs
    low = extended.vocoder(case_23.inputs["mel"])
    assert_close(low, outputs["waveform_16k"], 2e-5)
    padded = extended.pad(outputs["waveform_16k"])
    log_mel = extended.analyse(padded)
    assert_close(log_mel, outputs["bwe_mel"], 1e-3)
    assert_close(extended.residual(log_mel), outputs["bwe_residual"], 2e-3)
    assert_close(extended.skip(padded), outputs["bwe_skip"], 2e-5)


@pytest.mark.parametrize("version,rate", [("20", 24000), ("23", 48000)])
def test_released_names_and_shapes(golden_json, version, rate):
    config = parse(VocoderConfig, golden_json(f"config_{version}")["config"]["vocoder"], "vocoder")
    shapes = golden_json(f"manifest_{version}")["vocoder"]
    tensors = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    network = on_meta(lambda: Vocoder(config))
    assert network.sample_rate == rate
    assert sorted(audit(network, keys.VOCODER, InMemory(tensors)).values()) == sorted(shapes)


@torch.no_grad()
def test_parity_with_diffusers_20():
    torch.manual_seed(2)
    theirs = LTX2Vocoder(
        hidden_channels=8,
        upsample_kernel_sizes=[7, 4],
        upsample_factors=[3, 2],
        resnet_kernel_sizes=[3, 5],
        resnet_dilations=[[1, 3], [2]],
    )
    mel = torch.randn(2, 2, 7, 64)
    assert_close(filled(PLAIN, released_names(theirs))(mel), theirs(mel), 1e-5)


def diffusers_23(final: str | None) -> LTX2VocoderWithBWE:
    sizes = {
        "hidden_channels": 8,
        "upsample_kernel_sizes": [7, 4],
        "upsample_factors": [3, 2],
        "resnet_kernel_sizes": [3, 5],
        "resnet_dilations": [[1, 3], [2]],
    }
    theirs = LTX2VocoderWithBWE(
        **sizes,
        **{f"bwe_{name}": value for name, value in sizes.items()},
        final_act_fn=final,
        filter_length=16,
        window_length=16,
        hop_length=3,
        input_sampling_rate=12000,
        output_sampling_rate=24000,
    )
    generator = torch.Generator().manual_seed(3)
    for name, tensor in theirs.state_dict().items():
        if not name.endswith("filter"):
            scale = max(1, tensor[0].numel()) ** -0.5
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * scale)
    theirs.mel_stft.mel_basis.abs_()
    theirs.vocoder.conv_out.weight.mul_(4)  # beyond -1..1, so that the clamp does something
    return theirs


@torch.no_grad()
def test_parity_with_diffusers_23():
    theirs = diffusers_23("clamp")
    ours = filled(EXTENDED, released_names(theirs))
    mel = torch.randn(2, 2, 5, 64)
    assert ours(mel).shape == (2, 2, 60)
    # In float64: a log-mel in the middle of a random network makes 1e-5 of float32's rounding on either side.
    assert_close(ours.synthesise(mel.double()), theirs.double()(mel.double()), 1e-9)


@torch.no_grad()
def test_the_low_rate_waveform_is_limited_before_the_extension():
    mel = torch.randn(1, 2, 6, 64)
    unlimited = diffusers_23(None)
    ours = filled(EXTENDED, released_names(unlimited))
    assert unlimited.vocoder(mel).abs().max() > 1.2
    assert ours.vocoder(mel).abs().max() == 1
    assert (ours(mel) - unlimited(mel)).abs().max() > 1e-2
    with_tanh = copy.deepcopy(EXTENDED)
    with_tanh["vocoder"]["use_tanh_at_final"] = True
    bounded = filled(with_tanh, released_names(unlimited)).vocoder(mel)
    assert_close(bounded, torch.tanh(unlimited.vocoder(mel)), 1e-5)


@torch.no_grad()
def test_the_extension_itself_is_not_limited():
    weights = random_weights(EXTENDED)
    weights["vocoder.bwe_generator.conv_post.weight"] *= 50
    assert filled(EXTENDED, weights).residual(torch.randn(1, 2, 64, 4)).abs().max() > 1


@pytest.mark.parametrize("raw", [PLAIN, EXTENDED], ids=["2.0", "2.3"])
@torch.no_grad()
def test_always_float32(raw):
    stored = {key: tensor.bfloat16() for key, tensor in random_weights(raw).items()}
    upcast = {key: tensor.float() for key, tensor in stored.items()}
    mel = torch.randn(1, 2, 5, 64).bfloat16()
    expected = filled(raw, upcast)(mel.float())
    vocoder = filled(raw, stored)
    waveform = vocoder(mel)
    assert waveform.dtype == torch.float32
    assert torch.equal(waveform, expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(vocoder(mel), expected)


@pytest.mark.parametrize(
    ("owner", "precision"),
    [(torch.backends.cudnn.conv, "tf32"), (torch.backends.cudnn.conv, "ieee"), (torch.backends, "ieee")],
    ids=["as torch has it", "convolutions exact", "all exact"],
)
@torch.no_grad()
def test_convolutions_are_not_rounded_to_tf32_whatever_was_set_before(request, owner, precision):
    conv = torch.backends.cudnn.conv
    vocoder, seen = filled(PLAIN, random_weights(PLAIN)), []
    next(m for m in vocoder.modules() if isinstance(m, torch.nn.Conv1d)).register_forward_hook(
        lambda *_: seen.append(conv.fp32_precision)
    )
    request.addfinalizer(lambda own=owner.fp32_precision: setattr(owner, "fp32_precision", own))
    owner.fp32_precision = precision
    before = torch.backends.fp32_precision, conv.fp32_precision
    vocoder(torch.randn(1, 2, 3, 64))
    assert set(seen) == {"ieee"}
    assert (torch.backends.fp32_precision, conv.fp32_precision) == before


@torch.no_grad()
def test_a_length_that_is_no_multiple_of_the_hop_is_padded_and_cropped():
    raw = copy.deepcopy(EXTENDED)
    raw["bwe"].update(hop_length=4, upsample_rates=[4, 2], upsample_kernel_sizes=[8, 4])
    vocoder = filled(raw, random_weights(raw))
    mel = torch.randn(1, 2, 3, 64)  # 18 samples at the low rate, 20 with the padding
    assert vocoder.pad(vocoder.vocoder(mel)).shape == (1, 2, 20)
    assert vocoder(mel).shape == (1, 2, 36)


@pytest.mark.parametrize("raw", [PLAIN, EXTENDED], ids=["2.0", "2.3"])
def test_every_parameter_matters(raw):
    weights = random_weights(raw)
    for key in weights:
        if "conv_post" in key:
            weights[key] *= 0.02  # stay inside the clamps
        elif "mel_basis" in key:
            weights[key].abs_()  # and above the floor of the logarithm
    vocoder = filled(raw, weights).requires_grad_(True)
    waveform = vocoder(torch.randn(1, 2, 6, 64))
    (waveform * torch.randn_like(waveform)).sum().backward()
    idle = [name for name, p in vocoder.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


def test_a_copy_works():
    vocoder = filled(EXTENDED, random_weights(EXTENDED))
    mel = torch.randn(1, 2, 2, 64)
    assert torch.equal(copy.deepcopy(vocoder)(mel), vocoder(mel))


def test_a_wrong_mel_is_answered():
    vocoder = Vocoder(parse(VocoderConfig, PLAIN, "vocoder"))
    with pytest.raises(LTX2Error, match=r"must be \(batch, 2, frames, 64\); got \(1, 2, 64, 9\); use the audio VAE"):
        vocoder(torch.zeros(1, 2, 64, 9))


@pytest.mark.parametrize(
    "change,message",
    [
        (
            {"upsample_rates": [3, 2, 2]},
            "vocoder: upsample_rates and upsample_kernel_sizes must have the same length; got 3 and 2",
        ),
        (
            {"resblock_kernel_sizes": [3]},
            "vocoder: resblock_kernel_sizes and resblock_dilation_sizes must have the same length; got 1 and 2",
        ),
        ({"resblock": "2"}, "vocoder.resblock = '2' is not supported (supported: '1', 'AMP1')"),
    ],
)
def test_lists_of_unequal_length_and_unknown_blocks(change, message):
    with pytest.raises(ModelFileError) as caught:
        parse(VocoderConfig, {**PLAIN, **change}, "vocoder")
    assert message in str(caught.value)


def test_problems_of_both_halves_are_reported_together():
    raw = {"vocoder": {**EXTENDED["vocoder"], "upsample_rates": [2]}, "bwe": {**EXTENDED["bwe"], "hop_length": 5}}
    with pytest.raises(ModelFileError) as caught:
        parse(VocoderConfig, raw, "vocoder")
    assert "vocoder.vocoder: upsample_rates and upsample_kernel_sizes" in str(caught.value)
    assert "vocoder.bwe: the product of upsample_rates [3, 2] must be" in str(caught.value)


def test_half_an_extended_config_is_refused():
    with pytest.raises(ModelFileError, match="vocoder.bwe is required beside its counterpart and absent"):
        parse(VocoderConfig, {"vocoder": EXTENDED["vocoder"]}, "vocoder")
