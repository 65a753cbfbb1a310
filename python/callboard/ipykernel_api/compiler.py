"""Names of files for the code of cells: the functions of ``ipykernel.compiler``."""

from __future__ import annotations

from .._core import cell_file
from ..ipython.compiler import folder_of_cells

_MASK = 0xFFFFFFFF


def murmur2_x86(data: str, seed: int) -> int:
    """Returns the hash MurmurHash2 (32 bits) of a text in UTF-8. Frontends compute it as well, to name breakpoints."""
    octets, multiplier = data.encode(), 0x5BD1E995
    value = (seed ^ len(octets)) & _MASK
    whole = len(octets) & ~3
    for start in range(0, whole, 4):
        block = int.from_bytes(octets[start : start + 4], "little") * multiplier & _MASK
        block = (block ^ block >> 24) * multiplier & _MASK
        value = value * multiplier & _MASK ^ block
    if len(octets) != whole:
        value = (value ^ int.from_bytes(octets[whole:], "little")) * multiplier & _MASK
    value = (value ^ value >> 13) * multiplier & _MASK
    return value ^ value >> 15


def get_tmp_hash_seed() -> int:
    """Returns the seed of the hash in the name of a file."""
    return 0xC70F6907


def get_tmp_directory() -> str:
    """Returns the folder of the files that the cells of this kernel are given as. It need not exist."""
    return folder_of_cells()


def get_file_name(code: str) -> str:
    """Returns the name of the file that a cell with this code is given as; ``IPYKERNEL_CELL_NAME`` if it is set."""
    return cell_file(get_tmp_directory(), code)
