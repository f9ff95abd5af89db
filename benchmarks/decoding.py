"""Decoding of video: time beside diffusers (T4), and memory of the whole process on the way to a file (T5), on the CPU.

Both decoders are 2.0's with an eighth of its channels and random weights, in fp32. Times are of the process, not the
clock, the least of several turns taken one after the other. Memory is the highest that a process of its own reached
above what it had when its network was ready, the median of some processes; the frames go to an mp4 with silence.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch
from comfyui_ltx2.ltx2.checkpoint.load import on_meta
from comfyui_ltx2.ltx2.config.video_vae import VideoVAEConfig
from comfyui_ltx2.ltx2.decoding import decode_to_file
from comfyui_ltx2.ltx2.networks.video_vae import VideoVAE
from comfyui_ltx2.ltx2.runtime.tiled_vae import decode_video
from comfyui_ltx2.ltx2.runtime.tiling import Tiling
from peers import video_vae_twin
from report import HEAD, Row, line
from stages import released
from torch import Tensor, nn

NARROWER = 8
LATENT = (16, 18, 18)
FRAMES = (121, 481)
SIDE = 256
RATE, SAMPLE_RATE = 24.0, 24000
# Turns of each way to decode. The slow ways of the peer take one, or all would take minutes: they are far off.
TURNS = {"ours": 3, "full": 2, "tiled": 1, "bounded": 1}
# How far threads get ahead of each other moves ours by a quarter, and the peer's by nothing that matters.
PROCESSES = {"ours": 5, "theirs": 1}


def rows() -> Iterator[Row]:
    """T4, then T5."""
    yield from times()
    yield from memory()


@torch.no_grad()
def times() -> Iterator[Row]:
    """The seconds that a clip of 576x576x121 takes."""
    latent = torch.randn(1, 128, *LATENT, generator=torch.Generator().manual_seed(0))
    vae, twin = ours(), theirs()

    def set_up(*, tiled: bool, in_time: bool) -> Callable[[], object]:
        def run() -> object:
            twin.use_tiling, twin.use_framewise_decoding = tiled, in_time
            return twin.decode(latent, return_dict=False)

        return run

    ways = {
        "ours": lambda: [None for _ in decode_video(vae, latent, Tiling())],
        "full": set_up(tiled=False, in_time=False),
        "tiled": set_up(tiled=True, in_time=False),
        "bounded": set_up(tiled=True, in_time=True),
    }
    taken = least(ways)
    clip = "decode 576x576x121, an eighth of the width, streamed"
    yield Row("T4", f"{clip}; diffusers at once", "s", taken["ours"], taken["full"], 0.65, "ratio")
    yield Row("T4", f"{clip}; diffusers in tiles", "s", taken["ours"], taken["tiled"], 0.55, "ratio")
    yield Row(
        "T4", f"{clip}; diffusers in tiles and parts of time", "s", taken["ours"], taken["bounded"], 0.25, "ratio"
    )
    yield Row(
        "T4", f"{clip}: largest error beside decoding at once", "", largest_error(vae, latent), None, 1e-5, "ours"
    )


def memory() -> Iterator[Row]:
    """The MB that a clip on its way to a file takes."""
    taken = {(who, frames): _in_processes(who, frames) for who in ("ours", "theirs") for frames in FRAMES}
    what = f"latent to mp4, {SIDE}x{SIDE}, an eighth of the width"
    short, long = (taken["ours", frames] for frames in FRAMES)
    peer = taken["theirs", FRAMES[1]]
    yield Row("T5", f"{what}: 481 frames beside 121 frames", "MB", long, short, 1.15, "ratio")
    yield Row("T5", f"{what}, 481 frames; diffusers", "MB", long, peer, 0.3, "ratio")


def ours() -> VideoVAE:
    """Its encoder stays on the meta device: nothing asks for it."""
    config = released("2.0", "vae", VideoVAEConfig)
    vae = on_meta(lambda: VideoVAE(replace(config, decoder_base_channels=config.decoder_base_channels // NARROWER)))
    filled(vae.decoder)
    vae.statistics.to_empty(device="cpu")
    vae.statistics.mean.zero_()
    vae.statistics.std.fill_(1)
    return vae


def theirs() -> nn.Module:
    """diffusers' of the same width, as it is built: neither in tiles nor in parts."""
    twin = video_vae_twin("2.0", decoder_block_out_channels=tuple(width // NARROWER for width in (256, 512, 1024)))
    filled(twin.decoder)
    return twin.eval()


def filled(network: nn.Module) -> None:
    """Random weights that keep values at their scale."""
    network.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        scale = parameter[0].numel() ** -0.5 if parameter.dim() > 1 else 0.1
        parameter.detach().normal_(0, scale, generator=generator)


def least(ways: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Process seconds of each way; turns are taken one after the other, so that what else runs hits all of them."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(max(TURNS.values())):
        for name, way in ways.items():
            if turn < TURNS[name]:
                start = time.process_time()
                way()
                taken[name].append(time.process_time() - start)
    return {name: min(seconds) for name, seconds in taken.items()}


def largest_error(vae: VideoVAE, latent: Tensor) -> float:
    """Of the stream, beside the clip decoded at once."""
    whole, done, error = vae.decode(latent), 0, 0.0
    for run in decode_video(vae, latent, Tiling()):
        error = max(error, (run - whole[:, :, done : done + run.shape[2]]).abs().max().item())
        done += run.shape[2]
    return error


def _in_processes(who: str, frames: int) -> float:
    command = [sys.executable, __file__, who, str(frames)]
    outputs = (subprocess.run(command, check=True, capture_output=True, text=True) for _ in range(PROCESSES[who]))
    return median(float(one.stdout.split()[-1]) for one in outputs)


@torch.no_grad()
def to_file(who: str, frames: int) -> float:
    """MB that a clip of so many frames takes on its way to an mp4, beside its network."""
    torch.set_num_threads(1)
    latent = torch.randn(1, 128, 1 + (frames - 1) // 8, SIDE // 32, SIDE // 32)
    silence = torch.zeros(1, 2, round(frames / RATE * SAMPLE_RATE))
    network = {"ours": ours, "theirs": theirs}[who]()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        if who == "ours":
            sound = {"waveform": silence, "sample_rate": SAMPLE_RATE}
            work = lambda: decode_to_file(  # noqa: E731
                path, network, latent, RATE, sound, crf=19, tiling=Tiling(), on_step=None
            )
        else:
            from diffusers.utils.export_utils import encode_video
            from diffusers.video_processor import VideoProcessor

            def work() -> None:
                video = network.decode(latent, return_dict=False)[0]
                video = VideoProcessor(vae_scale_factor=32).postprocess_video(video, output_type="np")
                encode_video(video[0], int(RATE), str(path), audio=silence[0], audio_sample_rate=SAMPLE_RATE)

        before = _memory("VmRSS")
        work()
        assert path.stat().st_size
    return (_memory("VmHWM") - before) / 1e3


def _memory(name: str) -> int:
    """A line of what Linux says of this process, in kB."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text("ascii").splitlines())
    return int(lines[name].split()[0])


def main() -> None:
    if len(sys.argv) == 3:
        print(to_file(sys.argv[1], int(sys.argv[2])))
        return
    torch.set_num_threads(1)
    print(HEAD)
    for row in rows():
        print(line(row), flush=True)


if __name__ == "__main__":
    main()
