"""The file that ``sys.argv[0]`` of a kernel names, because programs look for this name to know that they run in one.

Starts a kernel, for programs that start themselves again: ``os.execv(sys.executable, [sys.executable, *sys.argv])``.
"""

import sys

if __name__ == "__main__":
    # The folder of this file, whose modules are none of the top level.
    del sys.path[0]
    from callboard.launch import main

    sys.exit(main(sys.argv[1:]))
