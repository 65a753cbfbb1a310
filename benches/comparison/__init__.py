"""The comparison of Jupyter kernels for Python: `scripts/bench` runs it, and it makes docs/benchmarks.md."""
