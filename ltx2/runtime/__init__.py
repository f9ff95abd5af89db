"""What acts on any network from outside: tiling, placement, memory."""
