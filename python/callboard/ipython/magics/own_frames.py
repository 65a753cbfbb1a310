"""Ends tracebacks where the code of the cell has called a magic or a shell command."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ...processes import thread_job
from . import kernel_magics

if TYPE_CHECKING:
    from types import TracebackType

#: What awaits magics and runs commands, but not the magics themselves.
_FOLDERS = tuple(os.path.dirname(file) + os.sep for file in (__file__, str(thread_job.__file__)))
_MAGICS = kernel_magics.__file__


def cut_own_frames(traceback: TracebackType | None) -> None:
    """Takes the frames of these modules off the end of a traceback."""
    last = None
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        if file == _MAGICS or not file.startswith(_FOLDERS):
            last = traceback
        traceback = traceback.tb_next
    if last is not None:
        last.tb_next = None
