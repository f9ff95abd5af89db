"""Block streaming: a network computes on a device that never holds more than two or three of its blocks.

Applied to a built network from outside. A thread brings block after block to one of the slots (`sweep`), from pinned
memory or straight from the file (`reading`), while those before compute; `streaming` makes the network use them.
"""
