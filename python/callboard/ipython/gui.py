"""Event loops of GUI toolkits, as ``%gui`` and ``%matplotlib`` name them: ``ipykernel.eventloops``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

#: What runs an event loop, by the name of its toolkit; None where none is needed. Libraries add theirs.
loop_map: dict[str | None, Any] = dict.fromkeys(
    ("inline", "nbagg", "webagg", "notebook", "ipympl", "widget", "asyncio", None)
)


def register_integration(*toolkitnames: str) -> Callable[[Any], Any]:
    """Returns a decorator for the function of a library that runs an event loop; these are the names of its toolkit.
    The function gets an attribute ``exit``, a decorator for the function that ends the loop."""

    def decorator(function: Any) -> Any:
        def exit(end: Any) -> Any:
            function.exit_hook = end
            return end

        loop_map.update(dict.fromkeys(toolkitnames, function))
        function.exit_hook = lambda _kernel: None
        function.exit = exit
        return function

    return decorator


def enable_gui(gui: str | None, kernel: Any = None) -> None:
    """Does nothing for what needs no event loop. Raises `ValueError` for event loops of toolkits, which do not exist
    yet. Ignores `kernel`: a process has one."""
    if gui not in loop_map or loop_map[gui] is not None:
        names = ", ".join(repr(name) for name, loop in loop_map.items() if name and loop is None)
        msg = f"callboard has no event loop for {gui!r} yet. These need none: {names}"
        raise ValueError(msg)
