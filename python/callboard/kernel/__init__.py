"""The kernel: puts the Python side together."""
