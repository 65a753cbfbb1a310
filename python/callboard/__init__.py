"""callboard: a Jupyter kernel for Python, written in Rust as a system of actors."""

from ._core import __version__

__all__ = ["__version__"]
