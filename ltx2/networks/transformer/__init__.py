"""The audio-video diffusion transformer: two streams written once, and the exchange between them."""
