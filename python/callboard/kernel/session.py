"""``kernel.session`` and the kernel's sockets, for libraries that send messages as they do on ipykernel."""

from __future__ import annotations

import copy
import getpass
import hashlib
import hmac
import itertools
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ..requests.comms import contiguous
from ..util.json import decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from .. import _core

#: Between the identities or topic of a message and its parts.
_DELIMITER = b"<IDS|MSG>"


class Channel:
    """Stands for one of the kernel's sockets, which Rust serves: ``kernel.iopub_socket``, ``kernel.shell_stream`` and
    so on. `Session.send` takes it."""

    closed = False

    def __init__(self, name: str, session: Session) -> None:
        #: ``iopub``, ``shell``, ``control`` or ``stdin``.
        self.name = name
        self._session = session

    def flush(self, *_args: Any, **_kwargs: Any) -> None:
        """Does nothing: messages leave at once."""

    def send_multipart(self, msg_parts: Sequence[Any], *_args: Any, **_kwargs: Any) -> None:
        """Sends a message that another `Session` has serialized, with its header. The signature is made anew."""
        frames = [bytes(getattr(part, "buffer", part)) for part in msg_parts]
        at = frames.index(_DELIMITER)
        header, parent, metadata, content, *buffers = frames[at + 2 :]
        msg_type = decode(header)["msg_type"]
        self._session.send_parts(self.name, msg_type, header, parent, content, metadata, buffers, frames[:at])

    def __getattr__(self, name: str) -> Any:
        msg = f"callboard's {self.name} channel is no zmq socket and has no {name}: send with kernel.session.send()"
        raise AttributeError(msg)

    def __repr__(self) -> str:
        return f"<Channel {self.name}>"


class IOPubThread(Channel):
    """``kernel.iopub_thread`` and ``sys.stdout.pub_thread``. There is no such thread: messages of all threads go into
    one queue, which Rust empties."""

    #: Functions that wait to be called in the thread.
    _events = ()

    @property
    def background_socket(self) -> Channel:
        """Where its messages go."""
        return self

    def schedule(self, f: Callable[[], object]) -> None:
        """Calls a function that sends messages, at once: any thread may send."""
        f()


class Session:
    """Makes and sends messages as ``jupyter_client.session.Session`` does, through the kernel's own queues and with its
    key. Receives nothing: Rust serves the sockets."""

    #: As in ``jupyter_client``: above these sizes ipyparallel sends data as buffers (bytes, items).
    buffer_threshold = 1024
    item_threshold = 64
    copy_threshold = 1 << 16

    def __init__(self, core: _core.Kernel) -> None:
        self._core = core
        connection = decode(core.connection)
        #: Signs messages.
        self.key: bytes = connection["key"].encode()
        self.signature_scheme: str = connection["signature_scheme"]
        #: The id in the headers of messages.
        self.session = core.session
        self._version = decode(core.kernel_info)["protocol_version"]
        try:
            self.username = getpass.getuser()
        except (OSError, KeyError):
            self.username = "username"
        self._numbers = itertools.count()
        #: Called with the id of the request when a reply is sent.
        self.on_reply: Callable[[str], object] | None = None

    @property
    def bsession(self) -> bytes:
        """`session`, as bytes."""
        return self.session.encode()

    @property
    def pid(self) -> int:
        """The process."""
        return os.getpid()

    @pid.setter
    def pid(self, pid: int) -> None:
        """Ignored: ipykernel sets it before it sends in a forked process."""

    @property
    def msg_id(self) -> str:
        """An id for a new message."""
        return f"{self.session}_{os.getpid()}_lib{next(self._numbers)}"

    def clone(self) -> Session:
        """A copy, which sends as the same session."""
        return copy.copy(self)

    def stream(self, name: str) -> _core.Stream:
        """The standard error of cells, or their standard output."""
        return self._core.stderr() if name == "stderr" else self._core.stdout()

    # -- making messages ----------------------------------------------------------------------------------

    def msg_header(self, msg_type: str) -> dict[str, Any]:
        """A header for a new message."""
        return {
            "msg_id": self.msg_id,
            "msg_type": msg_type,
            "username": self.username,
            "session": self.session,
            "date": datetime.now(UTC),
            "version": self._version,
        }

    def msg(
        self,
        msg_type: str,
        content: dict[str, Any] | None = None,
        parent: dict[str, Any] | None = None,
        header: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """A new message as nested dicts: what `send` takes."""
        header = self.msg_header(msg_type) if header is None else header
        return {
            "header": header,
            "msg_id": header["msg_id"],
            "msg_type": header["msg_type"],
            "parent_header": _header_of(parent),
            "content": {} if content is None else content,
            "metadata": {} if metadata is None else dict(metadata),
        }

    def sign(self, msg_list: Iterable[bytes]) -> bytes:
        """The signature of the serialized header, parent header, metadata and content."""
        if not self.key:
            return b""
        auth = hmac.new(self.key, digestmod=hashlib.sha256)
        for part in msg_list:
            auth.update(part)
        return auth.hexdigest().encode()

    def serialize(self, msg: dict[str, Any], ident: Any = None) -> list[bytes]:
        """The frames of a message, signed, without its buffers."""
        parts = [encode(msg[name]) for name in ("header", "parent_header", "metadata")]
        parts.append(_json_of(msg.get("content", {})))
        return [*_idents(ident), _DELIMITER, self.sign(parts), *parts]

    # -- sending --------------------------------------------------------------------------------------------

    def send(
        self,
        stream: Any,
        msg_or_type: str | dict[str, Any],
        content: dict[str, Any] | None = None,
        parent: dict[str, Any] | None = None,
        ident: bytes | list[bytes] | None = None,
        buffers: Sequence[Any] | None = None,
        track: bool = False,
        header: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> dict[str, Any] | None:
        """Sends a message on iopub (`ident` is its topic), or to the client with this `ident` on shell or control.

        Args:
            stream: One of the kernel's channels (``kernel.iopub_socket``), or any object with ``send_multipart``. None
                sends nothing.
            msg_or_type: The type of the message, or what `msg` returns.

        Returns the message. Raises `RuntimeError` for stdin, where only the kernel itself can take the answer."""
        if isinstance(msg_or_type, str):
            msg = self.msg(msg_or_type, content=content, parent=parent, header=header, metadata=metadata)
        else:
            msg = msg_or_type
            buffers = buffers or msg.get("buffers")
        channel = self._channel_of(stream)
        if channel is None:
            if stream is not None:
                stream.send_multipart([*self.serialize(msg, ident), *(contiguous(buffer) for buffer in buffers or ())])
            return msg
        if channel == "stdin":
            refusal = "callboard asks on stdin only by itself: call kernel.raw_input(prompt) or kernel.getpass(prompt)"
            raise RuntimeError(refusal)
        msg_type = msg["header"]["msg_type"]
        topic_or_client = _idents(ident)
        if channel == "iopub" and not topic_or_client:
            topic_or_client = _idents(f"kernel.{self.session}.{msg_type}")
        self.send_parts(
            channel,
            msg_type,
            encode(msg["header"]),
            encode(msg["parent_header"]),
            _json_of(msg["content"]),
            encode(msg["metadata"]),
            buffers or (),
            topic_or_client,
        )
        if channel != "iopub" and self.on_reply is not None and msg["parent_header"]:
            self.on_reply(msg["parent_header"]["msg_id"])
        msg["buffers"] = list(buffers or ())
        return msg

    def send_parts(
        self,
        channel: str,
        msg_type: str,
        header: bytes,
        parent: bytes,
        content: bytes,
        metadata: bytes,
        buffers: Iterable[Any],
        idents: Sequence[bytes],
    ) -> None:
        """Sends a message whose parts are JSON already."""
        frames = [contiguous(buffer) for buffer in buffers]
        self._core.send(channel, msg_type, header, parent, content, metadata, frames, idents)

    def _channel_of(self, stream: Any) -> str | None:
        return stream.name if isinstance(stream, Channel) else None


def _header_of(message: dict[str, Any] | None) -> dict[str, Any]:
    """The header of a message dict, which may be a header alone."""
    if not message:
        return {}
    header = message.get("header", message)
    return header if isinstance(header, dict) else dict(header)


def _json_of(content: Any) -> bytes:
    """Content as JSON, which it may be already."""
    return content if isinstance(content, bytes) else encode(content)


def _idents(ident: Any) -> list[bytes]:
    """Identities or a topic as frames."""
    if not ident:
        return []
    idents = ident if isinstance(ident, (list, tuple)) else [ident]
    return [each.encode(errors="replace") if isinstance(each, str) else bytes(each) for each in idents]
