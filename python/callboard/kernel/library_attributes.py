"""The names that libraries take from ipykernel's kernel and application, by the class that defines them here.

The modules of these classes are loaded with the first use of one of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_OF_KERNEL = f"{__package__}.ipykernel_attributes"
_OF_APP = f"{__package__}.app_attributes"


class LateAttribute:
    """An attribute that another class defines: its property, method or value of the same name.

    A non-data descriptor: what is set on an object hides it, unless it is a property there with a setter.
    """

    __slots__ = "_name", "_where"

    def __init__(self, name: str, where: str) -> None:
        self._name = name
        #: ``package.module:Class``.
        self._where = where

    @property
    def member(self) -> Any:
        """What the other class defines."""
        module, _, name = self._where.partition(":")
        return vars(getattr(import_module(module), name))[self._name]

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            # traitlets asks for all attributes of a class when it is made.
            return self
        member = self.member
        bind = getattr(type(member), "__get__", None)
        return member if bind is None else bind(member, instance, owner)

    def __call__(self, instance: Any, *args: Any, **kwargs: Any) -> Any:
        """Calls a method that was taken from the class."""
        return self.__get__(instance, type(instance))(*args, **kwargs)


def late(names: str, where: str) -> dict[str, Any]:
    """Returns a late attribute for each of these names, for the namespace of a class."""
    return {name: LateAttribute(name, where) for name in names.split()}


class KernelAttributes:
    """What ipykernel's ``Kernel`` has beside what the kernel itself uses."""

    vars().update(
        late(
            "eventloop debugpy_stream debug_shell_socket shell_channel_thread int_id _aborting kernel_info ident "
            "implementation implementation_version language_info help_links banner profile_dir shell_class user_ns "
            "user_module processes",
            f"{_OF_KERNEL}:Facts",
        )
    )
    vars().update(
        late(
            "session iopub_socket iopub_thread shell_stream shell_streams control_stream stdin_socket io_loop "
            "control_thread _topic send_response _publish_status _publish_execute_input _send_abort_reply "
            "_parent_ident _parent_header _allow_stdin raw_input getpass",
            f"{_OF_KERNEL}:Messages",
        )
    )
    vars().update(
        late(
            "msg_types control_msg_types _handlers shell_handlers control_handlers execute_request complete_request "
            "inspect_request is_complete_request history_request _reply _answer kernel_info_request connect_request "
            "comm_info_request interrupt_request shutdown_request usage_request debug_request "
            "create_subshell_request delete_subshell_request list_subshell_request",
            f"{_OF_KERNEL}:Handling",
        )
    )
    vars().update(
        late(
            "do_complete do_inspect do_is_complete do_history do_clear do_shutdown do_debug_request do_apply",
            f"{_OF_KERNEL}:Answers",
        )
    )


class AppAttributes:
    """What ipykernel's ``IPKernelApp`` has beside what the start uses."""

    vars().update(
        late(
            "connection_dir abs_connection_file ports shell_port iopub_port stdin_port control_port hb_port transport "
            "ip session iopub_socket iopub_thread shell_socket control_socket stdin_socket control_thread "
            "get_connection_info kernel_class",
            f"{_OF_APP}:ConnectionAttributes",
        )
    )


def has_own_answer(kernel: Any, msg_type: str) -> bool:
    """Whether a library has replaced the method of the kernel or its class that answers requests of this type, such as
    ``do_complete``."""
    name = f"do_{msg_type.removesuffix('_request')}"
    return name in vars(kernel) or not isinstance(getattr(type(kernel), name, None), LateAttribute)
