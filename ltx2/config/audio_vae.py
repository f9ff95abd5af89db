"""Configuration of the audio VAE and its mel front-end: the `audio_vae` section of the metadata's config."""

from __future__ import annotations

from dataclasses import dataclass

from .section import Section


@dataclass(frozen=True)
class AudioVAEConfig:
    """The audio VAE as released; all generations share it.

    Time and frequency are halved once between each two levels, so both ratios follow from `channel_multipliers`.
    """

    base_channels: int = 128
    channel_multipliers: tuple[int, ...] = (1, 2, 4)
    num_res_blocks: int = 2
    in_channels: int = 2
    out_channels: int = 2
    latent_channels: int = 8
    mel_bins: int = 64
    sampling_rate: int = 16000
    fft_length: int = 1024
    window_length: int = 1024
    hop_length: int = 160
    mel_min_hz: float = 0.0
    mel_max_hz: float = 8000.0

    @property
    def ratio(self) -> int:
        """Mel frames per latent frame, and mel bins per latent bin."""
        return 2 ** (len(self.channel_multipliers) - 1)

    @property
    def latent_bins(self) -> int:
        return self.mel_bins // self.ratio

    @property
    def token_channels(self) -> int:
        """Length of one latent frame as a token: channel * bins + bin."""
        return self.latent_channels * self.latent_bins

    @property
    def latents_per_second(self) -> float:
        return self.sampling_rate / self.hop_length / self.ratio

    def mel_frames(self, latent_frames: int) -> int:
        """Mel frames that `latent_frames` decode to: causal, so the first latent frame stands for one mel frame."""
        return self.ratio * (latent_frames - 1) + 1

    @classmethod
    def from_section(cls, section: Section) -> AudioVAEConfig:
        params = section.child("model").child("params")
        preprocessing = section.child("preprocessing")
        stft = preprocessing.child("stft")
        mel = preprocessing.child("mel")
        ddconfig = params.child("ddconfig")
        # `downsample_time` is false in released files and yet time is halved at every level, as frequency is.
        ddconfig.ignore("downsample_time", "resolution", "dropout")
        ddconfig.expect(double_z=True, norm_type="pixel", causality_axis="height", mid_block_add_attention=False)
        ddconfig.take("attn_resolutions", None, choices=((), None))
        stft.ignore("causal")  # it speaks of the vocoder's analysis; this front-end is centred
        config = cls(
            base_channels=ddconfig.take("ch", cls.base_channels, least=1),
            channel_multipliers=ddconfig.take("ch_mult", cls.channel_multipliers, least=1),
            num_res_blocks=ddconfig.take("num_res_blocks", cls.num_res_blocks, least=1),
            in_channels=ddconfig.take("in_channels", cls.in_channels, least=1),
            out_channels=ddconfig.take("out_ch", cls.out_channels, least=1),
            latent_channels=ddconfig.take("z_channels", cls.latent_channels, least=1),
            mel_bins=ddconfig.take("mel_bins", cls.mel_bins, least=1),
            sampling_rate=params.take("sampling_rate", cls.sampling_rate, least=1),
            fft_length=stft.take("filter_length", cls.fft_length, least=1),
            window_length=stft.take("win_length", cls.window_length, least=1),
            hop_length=stft.take("hop_length", cls.hop_length, least=1),
            mel_min_hz=mel.take("mel_fmin", cls.mel_min_hz),
            mel_max_hz=mel.take("mel_fmax", cls.mel_max_hz),
        )
        mel.expect(n_mel_channels=config.mel_bins)
        preprocessing.child("audio").expect(sampling_rate=config.sampling_rate)
        if config.mel_bins % config.ratio:
            section.problems.append(
                f"{ddconfig.path}.mel_bins must be a multiple of {config.ratio} (halved between each two levels of "
                f"ch_mult {list(config.channel_multipliers)}); got {config.mel_bins}"
            )
        return config
