"""The audio VAE: waveform to log-mel to latent, and latent back to log-mel."""
