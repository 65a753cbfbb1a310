"""``sys.stdout`` and ``sys.stderr`` of cells."""

from __future__ import annotations

import codecs
import io
import os
import threading
from typing import TYPE_CHECKING, Any

from .._core import after_fork_in_child
from ..context import HasParent

if TYPE_CHECKING:
    from .._core import Stream

os.register_at_fork(after_in_child=after_fork_in_child)


class OutStream(HasParent, io.TextIOBase):
    """A text file whose text appears in the cell that writes it.

    ``fileno()`` is a real descriptor: output of child processes to it appears in the cell as well.
    """

    __module__ = "ipykernel.iostream"

    encoding = "UTF-8"
    errors = "backslashreplace"
    newlines = None
    mode = "w"

    def __init__(self, stream: Stream, name: str, fd: int) -> None:
        self._stream = stream
        self._fd = fd
        self.name = f"<{name}>"
        # print() calls the methods of the Rust object directly.
        self.write = stream.write  # type: ignore[method-assign]
        self.flush = stream.flush  # type: ignore[method-assign]
        self.buffer = _Bytes(self)

    def fileno(self) -> int:
        return self._fd

    def isatty(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def writelines(self, lines: Any) -> None:
        self.write("".join(lines))

    def close(self) -> None:
        """Flushes. The output of a notebook is never closed."""
        self.flush()

    def __reduce_ex__(self, _protocol: Any) -> tuple[Any, ...]:
        """Pickles it as the stream of that name, of whatever process reads the pickle."""
        return eval, (f"__import__('sys').{self.name.strip('<>')}",)

    def reconfigure(self, **_options: Any) -> None:
        """Does nothing: text reaches notebooks as it is, whatever encoding a program asks for."""


class _Bytes(io.BufferedIOBase):
    """The binary buffer of an `OutStream`. Decodes UTF-8 incrementally."""

    def __init__(self, text: OutStream) -> None:
        self._text = text
        self._lock = threading.Lock()
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self.raw = self
        self.name = text.name
        self.mode = "wb"

    def write(self, data: Any) -> int:
        with self._lock, memoryview(data) as view:
            self._text.write(self._decoder.decode(view.tobytes()))
            return view.nbytes

    def flush(self) -> None:
        self._text.flush()

    def fileno(self) -> int:
        return self._text.fileno()

    def isatty(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        self.flush()
