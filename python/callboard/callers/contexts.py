"""``async with`` of a Caller: it stops at the end of the last context, and the first context waits for that."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from ..aio.cancellation import current_task
from ..aio.pending import current_pending
from .registry import registry

if TYPE_CHECKING:
    from .lifecycle import LoopThread


async def enter(loop_thread: LoopThread) -> None:
    """Waits until the loop runs, and keeps the Caller from being stopped.

    Raises `RuntimeError` if it has been stopped."""
    loop_thread.is_protected = True
    status = loop_thread.status
    await status.started.wait(result=False)
    me = current_task()
    with registry.lock:
        if not status.stopping.done():
            if not loop_thread.open_contexts:
                loop_thread.first_context = me
            times, pen = loop_thread.open_contexts.get(me, (0, current_pending.get()))
            loop_thread.open_contexts[me] = times + 1, pen
            return
    if loop_thread.calls.ident != threading.get_ident():
        await status.stopped.wait(result=False)
    msg = f"the Caller {status.name!r} has been stopped: make another one"
    raise RuntimeError(msg)


async def leave(loop_thread: LoopThread) -> None:
    """Ends a context of the calling task, and what ends with it."""
    me = current_task()
    with registry.lock:
        contexts = loop_thread.open_contexts
        if me not in contexts:
            # It was entered in another task.
            me = next(iter(contexts))
        times, pen = contexts[me]
        if times > 1:
            contexts[me] = times - 1, pen
            return
        del contexts[me]
        others = [pen for _, pen in contexts.values() if pen is not None]
        is_last = not contexts
    pen = current_pending.get()
    is_here = loop_thread.calls.ident == threading.get_ident()
    is_first = me is loop_thread.first_context
    # The end waits for calls: a call cannot wait for the end.
    if is_first and is_here and pen is not None:
        calls = loop_thread.calls
        calls.told_to_stop.add(pen)
        try:
            for other in others:
                other.cancel(f"the first context of the Caller {loop_thread.status.name!r} has ended")
            for other in others:
                await other.wait(result=False, shield=True)
            loop_thread.stop()
        finally:
            calls.told_to_stop.discard(pen)
            if (call := calls.by_task.get(me)) is not None:
                # Takes effect if it goes on.
                call.task.cancel_soon()
        return
    if is_last:
        loop_thread.stop()
    if is_first and (not is_here or loop_thread.is_borrowed):
        await loop_thread.status.stopped.wait(result=False, shield=True)
