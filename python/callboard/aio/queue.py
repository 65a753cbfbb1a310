"""Queues that any thread fills and one task empties."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from .pending import Pending

T = TypeVar("T")


class SingleAsyncQueue(Generic[T]):
    """Iterate over it in one task; `append` and `stop` may be called from anywhere, also by a finalizer: nothing here
    takes a lock."""

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        #: Completed when there is something new, while the task waits for that.
        self._news: Pending[None] | None = None
        self.stopped = False

    def __len__(self) -> int:
        return len(self._items)

    def append(self, item: T) -> bool:
        """Adds an item. False if the queue has been stopped; an item that is added while it is may get lost."""
        if self.stopped:
            return False
        self._items.append(item)
        # In this order, and the task does the opposite: so one of the two sees the other.
        if (news := self._news) is not None:
            news.set_result(None)
        return True

    def stop(self) -> None:
        """Ends the iteration, and drops what has not been taken."""
        self.stopped = True
        self._items.clear()
        if (news := self._news) is not None:
            news.set_result(None)

    def __aiter__(self) -> SingleAsyncQueue[T]:
        return self

    async def __anext__(self) -> T:
        while True:
            if self.stopped:
                raise StopAsyncIteration
            if self._items:
                try:
                    return self._items.popleft()
                except IndexError:  # it is being stopped
                    continue
            news: Pending[None] = Pending()
            self._news = news
            if not self._items and not self.stopped:
                await news.wait(result=False)
            self._news = None
