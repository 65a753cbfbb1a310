"""Attributes and methods that libraries take from ipykernel's kernel, and the kernel itself does not need.

`callboard.kernel.kernel.Kernel` has them all, by the names in `library_attributes`; this module is loaded with the
first of them that is used.
"""

from __future__ import annotations

import inspect
import threading
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..requests import introspection, stdin
from ..util.json import decode
from .io_loop import IOLoop
from .request_handlers import Handlers, RequestHandlers
from .session import Channel, IOPubThread, Session

if TYPE_CHECKING:
    from types import ModuleType

    from .. import _core
    from ..callers.caller import Caller
    from ..cells.run import CellRunner
    from ..interrupts.handler import Interrupts
    from ..ipython.shell.shell import ZMQInteractiveShell
    from .dispatch import Dispatcher

    Message = dict[str, Any]

    class Base:
        """What the attributes find in the kernel, and each other."""

        core: _core.Kernel
        interrupts: Interrupts
        shell: ZMQInteractiveShell
        main: Caller
        control: Caller
        _runner: CellRunner
        _dispatcher: Dispatcher

        def get_parent(self, channel: str | None = None) -> Message: ...
        def stop_soon(self) -> None: ...
        def __getattr__(self, name: str) -> Any: ...
else:
    Base = object

_making = threading.RLock()


class once(cached_property[Any]):  # noqa: N801 - a decorator
    """A property whose value is made once, by one thread, and may be set."""

    def __get__(self, instance: Any, owner: type[Any] | None = None) -> Any:
        with _making:
            name = self.attrname or ""
            if name not in vars(instance):
                vars(instance)[name] = self.func(instance)
            return vars(instance)[name]


class Facts(Base):
    """What the kernel is."""

    eventloop = None
    debugpy_stream = None
    debug_shell_socket = None
    shell_channel_thread = None
    int_id = -1
    _aborting = False

    @property
    def kernel_info(self) -> dict[str, Any]:
        """The content of the answer to a ``kernel_info_request``, but for its status."""
        info: dict[str, Any] = decode(self.core.kernel_info)
        del info["status"]
        return info

    @property
    def implementation(self) -> str:
        return str(self.kernel_info["implementation"])

    @property
    def implementation_version(self) -> str:
        return str(self.kernel_info["implementation_version"])

    @once
    def language_info(self) -> dict[str, Any]:
        return dict(self.kernel_info["language_info"])

    @once
    def help_links(self) -> list[dict[str, str]]:
        return list(self.kernel_info["help_links"])

    @property
    def banner(self) -> str:
        return str(self.kernel_info["banner"])

    @property
    def ident(self) -> str:
        """The id of the kernel in the topics on iopub."""
        return self.core.session

    @property
    def profile_dir(self) -> Any:
        return self.shell.profile_dir

    @property
    def shell_class(self) -> type:
        return type(self.shell)

    @property
    def user_ns(self) -> dict[str, Any]:
        return self.shell.user_ns  # type: ignore[no-any-return]

    @property
    def user_module(self) -> ModuleType:
        return self.shell.user_module  # type: ignore[no-any-return]

    @property
    def processes(self) -> dict[int, Any]:
        """ipykernel's record of child processes for ``usage_request``; Rust answers that here."""
        return {}


class Messages(Base):
    """Sending messages, and the loops that do it on ipykernel."""

    @once
    def session(self) -> Session:
        """Makes and sends messages."""
        return Session(self.core)

    @once
    def iopub_socket(self) -> Channel:
        return self.iopub_thread.background_socket  # type: ignore[no-any-return]

    @once
    def iopub_thread(self) -> IOPubThread:
        return IOPubThread("iopub", self.session)

    @once
    def shell_stream(self) -> Channel:
        return Channel("shell", self.session)

    @property
    def shell_streams(self) -> list[Channel]:
        return [self.shell_stream]

    @once
    def control_stream(self) -> Channel:
        return Channel("control", self.session)

    @once
    def stdin_socket(self) -> Channel:
        return Channel("stdin", self.session)

    @once
    def io_loop(self) -> IOLoop:
        """tornado's interface to the event loop of the main thread."""
        return IOLoop(self.main, self.stop_soon)

    @once
    def control_thread(self) -> threading.Thread:
        """The thread of the Caller `Control`, with an ``io_loop``."""
        thread: Any = self.control.thread
        thread.io_loop = IOLoop(self.control, self.stop_soon)
        return thread  # type: ignore[no-any-return]

    def _topic(self, topic: str) -> bytes:
        return f"kernel.{self.ident}.{topic}".encode()

    def send_response(
        self,
        stream: Any,
        msg_or_type: str | Message,
        content: Message | None = None,
        ident: bytes | list[bytes] | None = None,
        buffers: Any = None,
        track: bool = False,
        header: Message | None = None,
        metadata: Message | None = None,
        channel: str | None = None,
    ) -> Message | None:
        """Sends a message that belongs to the request that the calling code runs for: see `Session.send`."""
        parent = self.get_parent(channel)
        sent: Message | None = self.session.send(
            stream, msg_or_type, content, parent, ident, buffers, track, header, metadata
        )
        return sent

    def _publish_status(self, status: str, channel: Any = "shell", parent: Message | None = None) -> None:
        """Publishes the state of the kernel. Before ipykernel 6 the second argument was the parent."""
        if isinstance(channel, dict):
            channel, parent = "shell", channel
        content = {"execution_state": status}
        parent = parent or self.get_parent(channel)
        self.session.send(self.iopub_socket, "status", content, parent=parent, ident=self._topic("status"))

    def _publish_execute_input(self, code: str, parent: Message, execution_count: int) -> None:
        content = {"code": code, "execution_count": execution_count}
        topic = self._topic("execute_input")
        self.session.send(self.iopub_socket, "execute_input", content, parent=parent, ident=topic)

    def _send_abort_reply(self, stream: Any, msg: Message, idents: list[bytes]) -> None:
        reply_type = msg["header"]["msg_type"].rsplit("_", 1)[0] + "_reply"
        self.session.send(stream, reply_type, {"status": "aborted"}, parent=msg, ident=idents)

    @property
    def _parent_ident(self) -> dict[str, list[bytes]]:
        """The identities of the clients whose requests run, by channel."""
        shell, control = self.shell.parent_request, self._dispatcher.last_on_control
        return {
            "shell": [] if shell is None else shell.idents,
            "control": [] if control is None else control.idents,
        }

    @property
    def _parent_header(self) -> Message:
        return self.get_parent()

    @property
    def _allow_stdin(self) -> bool:
        """Whether the client whose request the calling code runs for answers prompts."""
        parent = self.shell.parent_request
        return parent is not None and parent.allow_stdin

    def raw_input(self, prompt: Any = "") -> str:
        """Asks for a line in the frontend."""
        return stdin.ask(self.core, self.shell, prompt, password=False)

    def getpass(self, prompt: str = "", stream: Any = None, *, echo_char: str | None = None) -> str:
        """Asks for a line in the frontend, which hides it."""
        return stdin.ask(self.core, self.shell, prompt, password=True)


class Handling(Base):
    """The handlers of requests. Each may be called by a handler that has replaced it."""

    msg_types = [
        *("execute_request", "complete_request", "inspect_request", "history_request", "is_complete_request"),
        *("kernel_info_request", "comm_info_request", "connect_request", "shutdown_request", "interrupt_request"),
    ]
    control_msg_types = [
        *msg_types,
        *("debug_request", "usage_request"),
        *("create_subshell_request", "delete_subshell_request", "list_subshell_request"),
    ]

    @once
    def _handlers(self) -> RequestHandlers:
        handlers = self._dispatcher.handlers = RequestHandlers(self, self._runner, self.interrupts)
        return handlers

    @property
    def shell_handlers(self) -> Handlers:
        """The handlers of requests on shell by type of message. One that a library puts there gets the requests."""
        return self._handlers.shell  # type: ignore[no-any-return]

    @property
    def control_handlers(self) -> Handlers:
        """The handlers of requests on control."""
        return self._handlers.control  # type: ignore[no-any-return]

    async def execute_request(self, stream: Any, ident: Any, parent: Message) -> None:
        """Runs a cell that a handler was given, also later."""
        await self._handlers.run_cell(parent)

    async def complete_request(self, stream: Any, ident: Any, parent: Message) -> None:
        content = parent["content"]
        await self._reply(stream, ident, parent, self.do_complete(content["code"], content.get("cursor_pos")))

    async def inspect_request(self, stream: Any, ident: Any, parent: Message) -> None:
        content = parent["content"]
        level, omitted = content.get("detail_level") or 0, set(content.get("omit_sections") or ())
        reply = self.do_inspect(content["code"], content.get("cursor_pos"), level, omitted)
        await self._reply(stream, ident, parent, reply)

    async def is_complete_request(self, stream: Any, ident: Any, parent: Message) -> None:
        await self._reply(stream, ident, parent, self.do_is_complete(parent["content"]["code"]))

    async def history_request(self, stream: Any, ident: Any, parent: Message) -> None:
        await self._reply(stream, ident, parent, self.do_history(**parent["content"]))

    async def _reply(self, stream: Any, ident: Any, parent: Message, content: Any) -> None:
        """Answers a request with what a method has returned."""
        if inspect.isawaitable(content):
            content = await content
        reply_type = parent["header"]["msg_type"].replace("_request", "_reply")
        self.session.send(stream, reply_type, content, parent, ident)

    async def _answer(self, stream: Any, ident: Any, parent: Message) -> None:
        """Answers a request that needs no Python."""
        self._handlers.answer(parent)

    kernel_info_request = connect_request = comm_info_request = _answer
    interrupt_request = shutdown_request = usage_request = debug_request = _answer
    create_subshell_request = delete_subshell_request = list_subshell_request = _answer


class Answers(Base):
    """What the kernel answers, as methods: with the content of the reply."""

    def do_complete(self, code: str, cursor_pos: int | None = None) -> Message:
        """Completes the code at the cursor."""
        return introspection.complete(self.shell, {"code": code, "cursor_pos": cursor_pos})

    def do_inspect(
        self, code: str, cursor_pos: int | None = None, detail_level: int = 0, omit_sections: Any = ()
    ) -> Message:
        """Describes the object at the cursor."""
        content = {"code": code, "cursor_pos": cursor_pos, "detail_level": detail_level, "omit_sections": omit_sections}
        return introspection.inspect(self.shell, content)

    def do_is_complete(self, code: str) -> Message:
        """Tells whether code is complete."""
        return introspection.is_complete(self.shell, {"code": code})

    def do_history(
        self,
        hist_access_type: str,
        output: bool = False,
        raw: bool = True,
        session: int | None = None,
        start: int | None = None,
        stop: int | None = None,
        n: int | None = None,
        pattern: str | None = None,
        unique: bool = False,
    ) -> Message:
        """Returns earlier inputs."""
        content = {"hist_access_type": hist_access_type, "output": output, "raw": raw, "unique": unique}
        more = {"session": session, "start": start, "stop": stop, "n": n, "pattern": pattern}
        return introspection.history(self.shell, {**content, **more})

    def do_clear(self) -> Message:
        """Deletes the user's variables."""
        self.shell.reset(new_session=False)  # type: ignore[no-untyped-call]
        return {"status": "ok"}

    def do_shutdown(self, restart: bool) -> Message:
        """Ends the kernel when the cell that runs has been answered. Who has started it starts it again; without
        `restart`, frontends that `exit` ends the kernel for do not."""
        if restart:
            self.stop_soon()
        else:
            self.shell.ask_exit()
        return {"status": "ok", "restart": restart}

    async def do_debug_request(self, msg: Message) -> Message:
        """Refuses: there is no debugger yet."""
        refusal = "callboard has no debugger yet"
        raise NotImplementedError(refusal)

    def do_apply(
        self, content: Message, bufs: list[Any], msg_id: str, reply_metadata: Message
    ) -> tuple[Message, list[Any]]:
        """Calls a function that ipyparallel has serialized. Returns the reply, and the result as buffers."""
        serialize: Any = import_module("ipyparallel.serialize")
        every: Any = self
        shell = self.shell
        try:
            function, args, kwargs = serialize.unpack_apply_message(bufs, shell.user_ns, copy=False)
            result = function(*args, **kwargs)
            session = every.session
            buffers = serialize.serialize_object(result, session.buffer_threshold, session.item_threshold)
        except BaseException as error:  # noqa: BLE001 - goes to whoever has sent the function
            shell.showtraceback()
            reply = {"status": "error", "ename": type(error).__name__, "evalue": str(error)}
            return {**reply, "traceback": shell._last_traceback or []}, []
        return {"status": "ok"}, buffers
