"""Ends tracebacks where the code of the cell has called a magic or a shell command."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import IPython

from ...processes import thread_job
from . import kernel_magics

if TYPE_CHECKING:
    from types import TracebackType

#: What awaits magics and runs commands, but not the magics themselves.
_FOLDERS = tuple(os.path.dirname(file) + os.sep for file in (__file__, str(thread_job.__file__)))
_MAGICS = kernel_magics.__file__


#: IPython leaves its own frames out of tracebacks: those of a magic that has failed.
_IPYTHON = os.path.dirname(str(IPython.__file__)) + os.sep


def cut_own_frames(traceback: TracebackType | None) -> None:
    """Takes the frames of these modules off the end of a traceback, also where only IPython's follow."""
    last, has_own = None, False
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        is_own = file != _MAGICS and file.startswith(_FOLDERS)
        if is_own:
            has_own = True
        elif not file.startswith(_IPYTHON):
            last, has_own = traceback, False
        traceback = traceback.tb_next
    if last is not None and has_own:
        last.tb_next = None
