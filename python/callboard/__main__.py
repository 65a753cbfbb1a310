"""``python -m callboard -f FILE``: the command that Jupyter starts the kernel with."""

import sys

from .launch import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
