"""The vocoder: log-mel to waveform, for generations 2.0 and 2.3."""
