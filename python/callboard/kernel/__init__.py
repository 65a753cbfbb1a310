"""The kernel: connects the parts of the Python side."""
