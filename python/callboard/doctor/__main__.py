"""``python -m callboard.doctor``: the same as ``callboard doctor``, for a Python that is not on the PATH."""

import sys

from .command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
