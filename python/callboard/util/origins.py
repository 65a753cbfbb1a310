"""Where code comes from: the kernel, a library, or the user."""

from __future__ import annotations

import os
import site

#: The folder of callboard.
OWN = os.path.dirname(os.path.dirname(__file__)) + os.sep
#: The standard library.
STANDARD = os.path.dirname(os.__file__) + os.sep
#: Installed packages. From site, which is loaded: sysconfig would have to be imported.
PACKAGES = tuple(folder + os.sep for folder in (*site.getsitepackages(), site.USER_SITE) if folder)

#: Packages that run the user's code for a cell.
_OF_CELLS = (OWN, *(folder + "IPython" + os.sep for folder in PACKAGES))


def is_of_library(filename: str) -> bool:
    """Whether a file is part of the standard library or of an installed package, other than IPython and callboard."""
    return filename.startswith((STANDARD, *PACKAGES)) and not filename.startswith(_OF_CELLS)
