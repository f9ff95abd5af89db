"""One flat frozen dataclass per network, read from checkpoint metadata. Defaults live here and nowhere else."""
