"""LTX-2 in plain PyTorch: networks, checkpoints, sampling, guidance, conditioning and media. Knows no host."""
