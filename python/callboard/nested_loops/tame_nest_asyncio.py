"""Makes ``nest_asyncio.apply()`` harmless where it cannot work. Imported with nest_asyncio.

It makes asyncio's own loops such that they can be entered twice. Of uvloop's it says that it cannot do that. By then
it has replaced ``asyncio.run``, for all threads, by a function that enters the loop that runs.
"""

from __future__ import annotations

import asyncio
import functools
from asyncio import _get_running_loop
from typing import TYPE_CHECKING, Any

from .. import patches

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import ModuleType

_REENTERED = "uvloop:Loop.run_until_complete", "asyncio:BaseEventLoop.run_until_complete"


def tame(module: ModuleType) -> None:
    """Wraps ``apply`` of nest_asyncio or nest_asyncio2."""
    patches.wrap(f"{module.__name__}:apply", _tamed)


def _tamed(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def apply(loop: asyncio.AbstractEventLoop | None = None, *args: Any, **kwargs: Any) -> Any:
        patched = loop or _get_running_loop()
        if patched is not None and not isinstance(patched, asyncio.BaseEventLoop):
            # One is from the start of the kernel.
            if len(patches.applied(_REENTERED[0])) == 1:
                for target in _REENTERED:
                    patches.wrap(target, _in_another_loop)
            return None
        before = asyncio.run
        result = original(loop, *args, **kwargs)
        if asyncio.run is not before:
            patches.put("asyncio:run", _run_either(before, asyncio.run))
        return result

    return apply


def _run_either(kernels: Callable[..., Any], nests: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(kernels)
    def run(main: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        return (nests if _can_be_entered(_get_running_loop()) else kernels)(main, **kwargs)

    return run


def _can_be_entered(loop: asyncio.AbstractEventLoop | None) -> bool:
    """Whether nest_asyncio has changed the class of this loop."""
    return isinstance(loop, asyncio.BaseEventLoop) and "run_until_complete" in vars(type(loop))


def _in_another_loop(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps ``run_until_complete`` of loops that cannot be entered twice: the one that runs runs coroutines in another
    one."""

    @functools.wraps(original)
    def run_until_complete(self: asyncio.AbstractEventLoop, future: Awaitable[Any]) -> Any:
        __tracebackhide__ = True
        if _get_running_loop() is not self:
            return original(self, future)
        if asyncio.isfuture(future):
            msg = "this event loop is already running, and cannot be entered twice: await the future instead"
            raise RuntimeError(msg)

        async def main() -> Any:
            return await future

        return asyncio.run(main())

    return run_until_complete
