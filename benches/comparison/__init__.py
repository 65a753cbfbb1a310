"""The comparison of Jupyter kernels for Python: what `scripts/bench` runs, and how docs/benchmarks.md is made."""
