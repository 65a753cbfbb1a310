"""``sys.stdout`` and ``sys.stderr`` of cells."""

from __future__ import annotations

import codecs
import io
import os
import threading
from typing import TYPE_CHECKING, Any

from .._core import after_fork_in_child
from ..context import get_ipython, release_output
from ..ipython.publishing import Publishing

if TYPE_CHECKING:
    from typing import TextIO

    from .._core import Stream

os.register_at_fork(after_in_child=after_fork_in_child)


class OutStream(Publishing, io.TextIOBase):
    """A text file whose text appears in the cell that writes it.

    ``fileno()`` is a real descriptor: output of child processes to it appears in the cell as well.
    """

    __module__ = "ipykernel.iostream"

    encoding = "UTF-8"
    errors = "backslashreplace"
    newlines = None
    mode = "w"
    line_buffering = False
    write_through = False

    def __init__(
        self,
        session: Any,
        pub_thread: Any,
        name: str,
        pipe: Any = None,
        echo: TextIO | None = None,
        *,
        watchfd: bool = True,
        isatty: bool = False,
    ) -> None:
        """A further stream, as libraries make them with what ``sys.stdout`` has.

        Args:
            session: That of the kernel. The other one to name, `pub_thread`, is the kernel's as well.
            name: ``stderr``; the text of any other stream appears as that of ``stdout``.
            pipe: Ignored, as is `watchfd`: there is one capture of descriptors for all streams.
            echo: A file that gets all text as well.
            isatty: What `isatty` returns."""
        self._connect(session.stream(name), name, 2 if name == "stderr" else 1)
        self._isatty = isatty
        self.echo = echo

    @classmethod
    def standard(cls, stream: Stream, name: str, fd: int) -> OutStream:
        """``sys.stdout`` or ``sys.stderr``."""
        self = cls.__new__(cls)
        self._connect(stream, name, fd)
        return self

    def _connect(self, stream: Stream, name: str, fd: int) -> None:
        self._init_publishing()
        self._stream = stream
        self._fd = fd
        self._master_pid = os.getpid()
        self.name = name
        self._isatty = False
        self._echo: TextIO | None = None
        #: How many hooks are registered, in all threads.
        self._hooked = 0
        self._choose_write()
        self.buffer = _Bytes(self)

    # -- what libraries take from ipykernel's streams -----------------------------------------------------

    @property
    def topic(self) -> bytes:  # type: ignore[override]
        """The topic of what goes through hooks."""
        return f"stream.{self.name}".encode()

    @property
    def pub_thread(self) -> Any:
        """What `session` sends on."""
        return get_ipython().kernel.iopub_thread  # type: ignore[attr-defined]

    @property
    def echo(self) -> TextIO | None:
        """A file that gets all text as well."""
        return self._echo

    @echo.setter
    def echo(self, echo: TextIO | None) -> None:
        self._echo = echo
        self._choose_write()

    @property
    def _thread_to_parent(self) -> ThreadOutput:
        """Lets ipyparallel release the output of its thread."""
        return ThreadOutput()

    def _is_master_process(self) -> bool:
        """Whether this is the process of the kernel, and not one that a cell has forked."""
        return os.getpid() == self._master_pid

    def register_hook(self, hook: Any) -> None:
        """Calls `hook` with a ``stream`` message for each text that this thread writes; see `Publishing`."""
        super().register_hook(hook)
        self._hooked += 1
        self._choose_write()

    def unregister_hook(self, hook: Any) -> bool:
        """Removes a hook. Returns False if it was not registered on this thread."""
        is_removed = super().unregister_hook(hook)
        self._hooked -= is_removed
        self._choose_write()
        return is_removed

    def _choose_write(self) -> None:
        """Lets print() call the methods of the Rust object directly, unless there is more to do."""
        own, cls = vars(self), type(self)
        own.pop("write", None)
        if cls.write is OutStream.write and not self._hooked and self._echo is None:
            self.write = self._stream.write  # type: ignore[method-assign]
        if cls.flush is OutStream.flush:
            self.flush = self._stream.flush  # type: ignore[method-assign]

    # -- a text file --------------------------------------------------------------------------------------

    def write(self, text: str) -> int:
        """Writes text, also to hooks and the echo. Returns the number of characters."""
        if self._echo is not None and isinstance(text, str):
            self._echo.write(text)
        if not self._local.hooks or not isinstance(text, str):
            return self._stream.write(text)
        self.send("stream", {"name": self.name, "text": text})
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def fileno(self) -> int:
        return self._fd

    def isatty(self) -> bool:
        return self._isatty

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


class ThreadOutput:
    """ipykernel 6's record of which thread prints into which cell, as far as libraries change it."""

    def pop(self, ident: int, default: Any = None) -> Any:
        """Releases the output of the calling thread from the cell that has started it."""
        if ident == threading.get_ident():
            release_output()
        return default


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
