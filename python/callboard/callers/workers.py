"""The children of a Caller, and those that work for `Caller.to_thread`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .registry import registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..aio.pending import Pending
    from .lifecycle import LoopThread


def get_child(
    parent: LoopThread,
    name: str = "",
    backend: str | None = None,
    options: dict[str, Any] | None = None,
    no_debug: bool = False,
    is_worker: bool = False,
) -> Any:
    """Returns the child with this name, made if there is none; without a name a new one.

    Raises `RuntimeError` if the child runs on another backend, or if the parent is stopping."""
    use_uvloop = (options or {}).get("use_uvloop")
    while True:
        if parent.status.stopping.done():
            msg = f"the Caller {parent.status.name!r} is stopping: it takes no more children"
            raise RuntimeError(msg)
        actor, made = parent.actor.child(name or None, backend, use_uvloop, is_worker)
        child = registry.of(actor)
        if made:
            child.loop_thread.start(options, no_debug)
        if made or not child.stopping.done():
            return child
        # Found just before it was forgotten.
        parent.actor.forget(actor.id)


def call_in_worker(
    parent: LoopThread, backend: str | None, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Pending[Any]:
    """Runs the function in the thread of a worker with this event loop (None: that of the parent)."""
    worker = _worker(parent, backend)
    pen: Pending[Any] = worker.schedule_call(func, args, kwargs)
    pen.add_done_callback(worker.loop_thread.be_idle)
    return pen


def _worker(parent: LoopThread, backend: str | None) -> Any:
    while (actor := parent.actor.take_worker(backend)) is not None:
        worker = registry.of(actor)
        if not worker.stopping.done():
            return worker
    options = parent.options if backend in (None, parent.actor.backend) else None
    return get_child(parent, "", backend, options, is_worker=True)
