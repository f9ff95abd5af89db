"""Copies a finished video to its final name with other metadata, without encoding anything again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from .partial_file import explained_errors, partial_file, require_size
from .probe import open_video
from .writer import open_mp4


def remux(
    source: str | Path,
    target: str | Path,
    metadata: Mapping[str, str] | None = None,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Copy the video and audio packets of `source` into an mp4 at `target` whose tags are `metadata`.

    Picture and sound stay bit for bit. As with VideoWriter, `target` appears when it is complete (an existing file is
    replaced then), carries its tags in front, and nothing is left after an error or Ctrl-C. `check` is called before
    each packet; it may raise.

    Raises: LTX2Error where `source` is no readable video or `target` cannot be written.
    """
    target = Path(target)
    with open_video(Path(source)) as original, partial_file(target) as temporary:
        # The source's ticks, said to the muxer as not every PyAV copies them: others would round the frames' times.
        ticks = {"video_track_timescale": str(original.streams.video[0].time_base.denominator)}
        with open_mp4(target, temporary, ticks) as copy, explained_errors(target, temporary):
            copy.metadata.update(metadata or {})
            streams = [stream for stream in original.streams if stream.type in ("video", "audio")]
            # opaque: no encoder is opened for a copy; PyAV 14 would, and its header would not fit the packets.
            copies = {stream.index: copy.add_stream_from_template(stream, opaque=True) for stream in streams}
            num_bytes = 0
            for packet in original.demux(streams):
                check()
                if packet.dts is None:  # the empty packet at the end of a stream
                    continue
                num_bytes += packet.size
                packet.stream = copies[packet.stream.index]
                copy.mux(packet)
            copy.close()
        require_size(target, temporary, num_bytes)
