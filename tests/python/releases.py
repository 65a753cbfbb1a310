"""Which release of a library is installed, for the messages of tests."""

from __future__ import annotations

import sys
from importlib import metadata

#: Distributions whose name is not that of their package.
DISTRIBUTIONS = {
    "IPython": "ipython",
    "pygments": "Pygments",
    "stack_data": "stack-data",
    "trio_asyncio": "trio-asyncio",
}


def release(module: str) -> str:
    """The library that a module belongs to, and its installed release."""
    package = module.partition(":")[0].partition(".")[0]
    if package in sys.stdlib_module_names:
        return f"Python {sys.version.split()[0]}"
    name = DISTRIBUTIONS.get(package, package)
    return f"{name} {metadata.version(name)}"
