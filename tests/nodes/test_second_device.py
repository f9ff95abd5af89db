"""Runs on a device that is not the CPU, as GPUs are: where tensors meet, what the host waits for, in what order."""

from __future__ import annotations

import pytest
import torch
from second_device import DEVICE
from small_graphs import settings, write_inputs


def test_tensors_of_two_devices_do_not_meet(second_device):
    there, here = torch.ones(2, 3).to(DEVICE), torch.ones(2, 3)
    assert (there.device, there.is_cuda) == (DEVICE, True)
    with pytest.raises(AssertionError, match="tensors of two devices"):
        there + here
    assert torch.equal((there * 2 + torch.tensor(1.0)).cpu(), here * 3)


def test_waiting_is_noticed(second_device):
    there = torch.ones(3, device=DEVICE).mul_(2)
    assert not second_device.waits
    assert there.sum().item() == 6
    there.cpu()
    torch.ones(3).to(DEVICE)
    there[there > 1] = 3
    assert len(second_device.waits) == 4
    assert there[there.new_zeros(2, dtype=torch.long)].shape == (2,)
    assert len(second_device.waits) == 4, "indexes say how many"


@pytest.fixture
def copied_beside(second_device):
    """`copied_beside(waits_for_copy=..., waits_for_use=...)` reads a buffer that another stream fills, twice."""
    pinned, runtime, made = torch.ones(3), torch.cuda.cudart(), []

    def run(*, waits_for_copy, waits_for_use):
        beside, here, buffer = torch.cuda.Stream(), torch.cuda.current_stream(), torch.zeros(3, device=DEVICE)
        made.append(beside)
        beside.wait_stream(here)
        for _ in range(2):
            with torch.cuda.stream(beside):
                buffer.copy_(pinned, non_blocking=True)
            if waits_for_copy:
                here.wait_event(beside.record_event())
            found = buffer + 1
            if waits_for_use:
                beside.wait_event(here.record_event())
        return found

    assert runtime.cudaHostRegister(pinned.data_ptr(), pinned.nbytes, 0) == 0
    yield run
    for stream in made:
        stream.synchronize()
    runtime.cudaHostUnregister(pinned.data_ptr())


def test_races_are_noticed(second_device, copied_beside):
    assert torch.equal(copied_beside(waits_for_copy=True, waits_for_use=True).cpu(), torch.full((3,), 2.0))
    del second_device.waits[:]
    for waits_for_copy in (True, False):
        with pytest.raises(AssertionError, match="race"):
            copied_beside(waits_for_copy=waits_for_copy, waits_for_use=not waits_for_copy)
    assert not second_device.waits


@pytest.fixture
def in_brain_floats(pack, monkeypatch):
    """Hosts compute as they do on GPUs, on the CPU as well: results can be compared."""
    host = pack("nodes.host.headless.host").HeadlessHost
    monkeypatch.setattr(host, "compute_dtype", lambda self, device, part="": torch.bfloat16)


@pytest.fixture
def made(pack, tiny_models, tmp_path, api_prompt, in_brain_floats):
    """`made(name, device)`: bytes of the file that a shipped graph, made small, writes on that device."""
    sessions, networks = pack("nodes.host.headless.session"), pack("nodes.host.networks")

    def run(name, device):
        prompt = api_prompt(name)
        for (title, key), value in settings(name).items():
            (node,) = [node for node in prompt.values() if node["_meta"]["title"] == title]
            node["inputs"][key] = value
        folders = [tmp_path / device / folder for folder in ("input", "output", "temp")]
        folders[0].mkdir(parents=True)
        write_inputs(folders[0])
        networks.CACHE.clear()
        with sessions.session(tiny_models("2.3"), *folders[:2], device=device, temp=folders[2]) as executor:
            result = executor.run(prompt)
        networks.CACHE.clear()
        return sessions.saved_files(result, folders[1])[-1].read_bytes()

    return run


@pytest.mark.parametrize("name", ["LTX-2 Text to Video", "LTX-2 Image to Video Distilled", "LTX-2 Dub"])
def test_a_graph_gives_the_same_file_on_either_device(made, second_device, name):
    assert made(name, "cuda:0") == made(name, "cpu")


@pytest.mark.parametrize("device_name", ["cuda:0"], indirect=True)
def test_steps_behind_the_first_wait_for_nothing_but_what_enters_and_leaves_them(second_device, distilled):
    run, given = distilled
    prompt = given["guider"].prompts.positive
    (guidance,) = run("Guidance", cfg=3.0, stg=1.0, modality=3.0, rescale=0.7).args
    transformer = given["guider"].transformer
    (guider,) = run("Guider", transformer=transformer, positive=prompt, negative=prompt, video_guidance=guidance).args
    (video,) = run("SetFrameRate", latent={"samples": torch.zeros(1, 128, 2, 2, 2)}, frame_rate=24.0).args
    sigmas = torch.tensor([1.0, 0.8, 0.5, 0.0])
    run("Sample", guider=guider, seed=3, sigmas=sigmas, solver="euler", video=video)
    waits = [wait[0] for wait in second_device.waits if "sample.denoise" in wait]
    step = ["denoiser.inputs", "denoiser.inputs", "denoiser.x0"]  # the latent and its noise level; the prediction
    assert waits[-2 * len(step) :] == step * 2
    assert len(waits) < 4 * len(step), "nor does the first for much more"


@pytest.mark.parametrize("name", ["cuda", "cuda:0"])
def test_a_device_is_named_as_its_tensors_name_it(pack, second_device, tmp_path, name):
    with pack("nodes.host.headless.host").HeadlessHost(tmp_path, tmp_path, tmp_path, device=name) as host:
        assert host.device() == torch.ones(1, device=DEVICE).device
