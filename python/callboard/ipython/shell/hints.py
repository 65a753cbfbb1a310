"""Says what to do about errors whose text does not. Imported with the first ``SystemExit``."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType, TracebackType

#: Modules that read a command line, and leave if they do not understand it.
_PARSERS = {"argparse", "optparse", "click", "fire"}

#: The exit code for a command line that is not understood.
_USAGE = 2


def of_exit(error: SystemExit, traceback: TracebackType | None) -> str | None:
    """What to do where a parser has read the command line of the kernel instead of a program's."""
    if error.code != _USAGE or os.path.basename(sys.argv[0]) != "ipykernel_launcher.py":
        return None
    while traceback is not None:
        module = str(traceback.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
        if module in _PARSERS and _has_read_argv(traceback.tb_frame):
            return (
                f"{module} has read the command line of the kernel, which is no program's: pass the arguments, as in "
                'parse_args([]) or parse_args(["--option", "value"])'
            )
        traceback = traceback.tb_next
    return None


def _has_read_argv(frame: FrameType) -> bool:
    """Whether a function of a parser was called without arguments, or has those of the kernel."""
    if "args" in frame.f_locals and frame.f_locals["args"] is None:
        return True
    found = (frame.f_locals.get(name) for name in ("args", "argv"))
    return any(isinstance(args, list) and args and all(arg in sys.argv[1:] for arg in args) for args in found)
