"""Folders that nothing escapes, images as ComfyUI reads them, videos as values, and where networks are."""

from __future__ import annotations

import re
import time
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from PIL import Image


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def test_the_host_answers_the_protocol(pack, host):
    protocol = pack("nodes.host.protocol").Host
    asked = [name for name in vars(protocol) if not name.startswith("_")] + ["name", "io", "ui"]
    assert [name for name in asked if not hasattr(host, name)] == []
    assert pack("nodes.host").current() is host
    assert host.name == "headless"


def test_model_files_are_listed_with_sub_folders(host, tmp_path):
    for name in ("loras/b.safetensors", "loras/sub/a.sft", "loras/c.ckpt", "unet/old.safetensors"):
        touch(tmp_path / "models" / name)
    touch(tmp_path / "models/diffusion_models/new.safetensors")
    assert host.model_files("loras") == ["b.safetensors", "sub/a.sft"]
    assert host.model_files("diffusion_models") == ["new.safetensors", "old.safetensors"]
    assert host.model_files("vae") == []
    assert host.model_path("loras", "sub/a.sft") == tmp_path / "models/loras/sub/a.sft"
    assert host.model_path("diffusion_models", "old.safetensors").is_file()


def test_model_folders_hold_a_config(host, tmp_path):
    touch(tmp_path / "models/text_encoders/gemma/config.json")
    touch(tmp_path / "models/text_encoders/google/gemma/config.json")
    touch(tmp_path / "models/text_encoders/empty/readme")
    assert host.model_folders("text_encoders") == ["gemma", "google/gemma"]


def test_a_missing_model_names_its_folder(host, tmp_path):
    with pytest.raises(ValueError, match=re.escape(str(tmp_path / "models" / "loras"))):
        host.model_path("loras", "none.safetensors")


def test_links_in_a_model_folder_may_point_anywhere_but_not_round(host, tmp_path):
    touch(tmp_path / "elsewhere/big.safetensors")
    folder = tmp_path / "models/checkpoints"
    folder.mkdir()
    (folder / "disk").symlink_to(tmp_path / "elsewhere")
    (folder / "loop").symlink_to(folder)
    assert host.model_files("checkpoints") == ["disk/big.safetensors"]


@pytest.mark.parametrize("name", ["/etc/passwd", "../secret", "a/../../b", "..\\b", "C:\\x", "\\\\host\\x", "", "a\0b"])
def test_names_stay_in_their_folder(host, name):
    for resolve in (lambda: host.model_path("loras", name), lambda: host.folders.input_path(name)):
        with pytest.raises(ValueError, match="must stay inside its folder"):
            resolve()


@pytest.mark.parametrize("prefix", ["/tmp/x", "../x", "a/../../x", ""])
def test_saved_files_stay_in_the_output_folder(host, prefix):
    with pytest.raises(ValueError, match="must stay inside its folder"):
        host.save_path(prefix, ".mp4", 8, 8)


def test_saved_files_are_counted(host, tmp_path):
    output = tmp_path / "output"
    first = (output / "clips" / "cat_00001_.mp4", "clips")
    assert host.save_path("clips/cat", ".mp4", 8, 8) == first
    assert host.save_path("clips/cat", ".mp4", 8, 8) == first, "nothing was written"
    touch(first[0])
    touch(output / "clips" / "cat_00007_.png")
    touch(output / "clips" / "cat_2_00009_.mp4")
    assert host.save_path("clips/cat", ".mp4", 8, 8)[0].name == "cat_00008_.mp4"
    assert host.save_path("dog", ".mp4", 8, 8) == (output / "dog_00001_.mp4", "")


def test_variables_in_prefixes(host):
    today = time.strftime("%Y-%m-%d")
    path, subfolder = host.save_path("%date:yyyy-MM-dd%/%width%x%height%_%year%", ".mp4", 64, 32)
    assert (subfolder, path.name) == (today, f"64x32_{today[:4]}_00001_.mp4")


def test_the_temp_folder_goes_with_the_host(pack, tmp_path):
    with pack("nodes.host.headless.host").HeadlessHost(temp=tmp_path) as host:
        first, second = host.temp_file(".mp4"), host.temp_file(".mp4")
        assert first != second
        assert not first.exists()
        first.write_bytes(b"x")
    assert list(tmp_path.iterdir()) == []


def test_devices(pack):
    make = pack("nodes.host.headless.host").HeadlessHost
    host = make(device="cpu")
    assert host.device() == torch.device("cpu")
    assert host.compute_dtype(torch.device("cpu")) == torch.float32
    assert host.compute_dtype(torch.device("cuda")) == torch.bfloat16
    for device in ("tpu", "meta", "cuda:99"):
        with pytest.raises(ValueError, match="a device must"):
            make(device=device)


def test_a_network_goes_to_the_device_and_back(pack):
    memory = pack("nodes.host.headless.memory").DeviceMemory(torch.device("meta"))
    network = torch.nn.BatchNorm1d(2)
    held = pack("nodes.host.headless.memory").HeldNetwork(memory, network, 8)
    address = network.weight.data_ptr()
    with torch.inference_mode():
        held.load()
        held.load()
        assert {tensor.device.type for tensor in (*network.parameters(), *network.buffers())} == {"meta"}
        held.release()
    assert network.weight.data_ptr() == address, "the same memory, not a copy"
    assert memory.loaded == []


@pytest.fixture
def load_image(pack, host):
    """Runs LoadImage on a name."""
    core = pack("nodes.host.headless.core_nodes")
    return lambda name: core.LoadImage.execute(name).args


def test_an_image_is_upright_and_its_mask_transparent(load_image, tmp_path):
    pixels = np.zeros((2, 3, 4), np.uint8)
    pixels[0, 0] = (255, 0, 51, 255)
    Image.fromarray(pixels).save(tmp_path / "input/a.png")
    image, mask = load_image("a.png")
    assert (image.shape, mask.shape) == ((1, 2, 3, 3), (1, 2, 3))
    assert image[0, 0, 0].tolist() == pytest.approx([1, 0, 0.2])
    assert mask[0].tolist() == [[0, 1, 1], [1, 1, 1]]
    turned = Image.fromarray(pixels[..., :3])
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by a quarter
    turned.save(tmp_path / "input/b.png", exif=exif)
    image, mask = load_image("b.png [input]")
    assert (image.shape, mask.shape) == ((1, 3, 2, 3), (1, 64, 64))
    assert image[0, 0, 1].tolist() == pytest.approx([1, 0, 0.2])


def test_load_image_lists_checks_and_fingerprints(pack, host, tmp_path):
    node = pack("nodes.host.headless.core_nodes").LoadImage
    for name in ("b.png", "a.jpg", "text.txt"):
        touch(tmp_path / "input" / name)
    info = node.GET_NODE_INFO_V1()
    assert info["input"]["required"]["image"][1]["options"] == ["a.jpg", "b.png"]
    assert info["input"]["required"]["image"][1]["image_upload"] is True
    assert (info["output"], info["name"]) == (["IMAGE", "MASK"], "LoadImage")
    assert node.validate_inputs("a.jpg") is True
    assert "there is no 'c.png'" in node.validate_inputs("c.png")
    assert "must stay inside" in node.validate_inputs("/etc/passwd")
    before = node.fingerprint_inputs("a.jpg")
    (tmp_path / "input/a.jpg").write_bytes(b"other")
    assert node.fingerprint_inputs("a.jpg") != before
    with pytest.raises(ValueError, match="picture"):
        node.execute("text.txt")


@pytest.fixture
def clip(tmp_path):
    """Ten frames of 64x32 at 24000/1001 per second with 0.4 s of stereo sound."""
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w", options={"movflags": "use_metadata_tags"}) as container:
        container.metadata["prompt"] = "{}"
        video = container.add_stream("h264", rate=Fraction(24000, 1001))
        video.width, video.height, video.pix_fmt = 64, 32, "yuv420p"
        audio = container.add_stream("aac", rate=48000)
        for _ in range(10):
            frame = av.VideoFrame.from_ndarray(np.full((32, 64, 3), 128, np.uint8), format="rgb24")
            container.mux(video.encode(frame))
        container.mux(video.encode())
        sound = av.AudioFrame.from_ndarray(np.zeros((2, 19200), np.float32), format="fltp", layout="stereo")
        sound.sample_rate = 48000
        container.mux(audio.encode(sound))
        container.mux(audio.encode())
    return path


def test_a_video_value(host, clip):
    video = host.video_from_file(clip)
    assert video.get_stream_source() == str(clip)
    assert video.get_dimensions() == (64, 32)
    assert video.get_frame_count() == 10
    assert video.get_frame_rate() == Fraction(24000, 1001)
    assert video.get_duration() == pytest.approx(0.42, abs=0.03)
    assert "mp4" in video.get_container_format()
    components = video.get_components()
    assert components.images.shape == (10, 32, 64, 3)
    assert components.images.mean().item() == pytest.approx(0.5, abs=0.02)
    assert components.audio["sample_rate"] == 48000
    assert components.audio["waveform"].shape[:2] == (1, 2)
    assert components.audio["waveform"].shape[2] == pytest.approx(19200, abs=2048)


def test_a_video_is_copied_with_its_tags(host, clip, tmp_path):
    host.video_from_file(clip).save_to(tmp_path / "copy.mp4", metadata={"workflow": {"nodes": []}})
    copy = host.video_from_file(tmp_path / "copy.mp4")
    assert copy.get_components().metadata.items() >= {"prompt": "{}", "workflow": '{"nodes": []}'}.items()
    assert torch.equal(copy.get_components().images, host.video_from_file(clip).get_components().images)
    with pytest.raises(ValueError, match="choose auto"):
        copy.save_to(tmp_path / "x.webm", format="webm")


@pytest.mark.parametrize("prefix", ["note/clip", "note/deeper/clip"])
def test_a_prefix_through_a_file_is_refused(pack, host, tmp_path, prefix):
    touch(tmp_path / "output" / "note")
    with pytest.raises(pack("ltx2.errors").LTX2Error, match=f"'{prefix}' goes through .*note, which is a file; give"):
        host.save_path(prefix, ".mp4", 8, 8)


def test_names_that_no_file_system_takes_are_refused(pack, host, tmp_path):
    error = pack("ltx2.errors").LTX2Error
    with pytest.raises(error, match=r"may have 255 bytes; .*_00001_\.mp4' .* has 256; shorten the prefix"):
        host.save_path("x" * 245, ".mp4", 8, 8)
    assert len(host.save_path("x" * 244, ".mp4", 8, 8)[0].name) == 255
    with pytest.raises(error, match="may have 255 bytes; .* has 256; shorten"):
        host.save_path("\N{LATIN SMALL LETTER E WITH ACUTE}" * 128 + "/clip", ".mp4", 8, 8)
    with pytest.raises(error, match="cannot be made .*too long.*; check"):
        host.save_path("/".join(["x" * 200] * 30), ".mp4", 8, 8)
    assert list((tmp_path / "output").iterdir()) == []


def test_what_is_kept_lies_where_the_host_was_told_or_goes_with_it(pack, tmp_path):
    headless = pack("nodes.host.headless.host")
    with headless.HeadlessHost(temp=tmp_path / "temp", cache=tmp_path / "kept") as host:
        assert host.cache_folder() == tmp_path / "kept"
    with headless.HeadlessHost(temp=tmp_path / "temp") as host:
        host.cache_folder().mkdir()
    assert not list((tmp_path / "temp").iterdir())


def test_a_user_has_one_cache(pack, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    assert pack("nodes.host.headless.folders").user_cache() == tmp_path / "comfyui-ltx2"
