"""A clip's sound on its way to the encoder: checked, made stereo, cut or padded to the picture's duration.

Shapes:
    C T     channels, samples
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from ..errors import LTX2Error
from ..packages import av

AAC_FRAME = 1024
AAC_SAMPLE_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)


class SoundTrack:
    """The samples of one waveform, handed out in encoder frames as the picture advances.

    `waveform` is (C, T) in [-1, 1] with one or two channels; values beyond are clipped, one channel goes to both ears.

    Raises: LTX2Error for another shape, a rate that AAC does not have, or samples that are no finite numbers.
    """

    def __init__(self, waveform: Tensor, sample_rate: int, *, stage: str = "vocoder") -> None:
        if waveform.ndim != 2 or waveform.shape[0] not in (1, 2):
            raise LTX2Error(
                f"audio must be (channels, samples) with 1 or 2 channels; got {tuple(waveform.shape)}; "
                f"pass one clip of a batch, mixed down to stereo"
            )
        if sample_rate not in AAC_SAMPLE_RATES:
            rates = ", ".join(map(str, AAC_SAMPLE_RATES))
            raise LTX2Error(f"the sample rate must be one that AAC has ({rates}); got {sample_rate}; resample first")
        require_finite(waveform, stage)
        stereo = waveform.detach().to("cpu", torch.float32).clamp(-1.0, 1.0).expand(2, -1)
        self.sample_rate = sample_rate
        self._samples = stereo.numpy()
        self._next = 0

    def frames_before(self, seconds: Fraction) -> Iterator[av.AudioFrame]:
        """The whole encoder frames, not yet handed out, that end by `seconds`."""
        while self._next + AAC_FRAME <= seconds * self.sample_rate:
            yield self._frame(AAC_FRAME)

    def frames_to_end(self, seconds: Fraction) -> Iterator[av.AudioFrame]:
        """All that remains of a clip of `seconds`; what the waveform lacks is silence, what it has beyond is cut."""
        end = round(seconds * self.sample_rate)
        while self._next < end:
            yield self._frame(min(AAC_FRAME, end - self._next))

    def _frame(self, count: int) -> av.AudioFrame:
        samples = self._samples[:, self._next : self._next + count]
        samples = np.pad(samples, ((0, 0), (0, count - samples.shape[1])))
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
        frame.sample_rate, frame.time_base, frame.pts = self.sample_rate, Fraction(1, self.sample_rate), self._next
        self._next += count
        return frame


def require_finite(values: Tensor, stage: str, *, where: str = "") -> None:
    """Raise LTX2Error, naming the `stage` that made `values`, if one of them is NaN or infinite."""
    finite = torch.isfinite(values)
    if not bool(finite.all()):
        count = values.numel() - int(finite.sum())
        raise LTX2Error(
            f"every sample must be a finite number; {stage} produced {count} NaN or infinite values of "
            f"{values.numel()}{where}; run that stage in a wider precision, and check its model file and LoRAs"
        )
