"""``python -m callboard -f FILE``: how Jupyter starts the kernel."""

import sys

from .launch import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
