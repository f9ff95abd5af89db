"""The networks: mathematics only; precision, placement and tiling are applied from outside."""
