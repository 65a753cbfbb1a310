"""`Pending`: completed, failed or cancelled, and its callbacks."""

from __future__ import annotations

import contextlib
import contextvars
import gc
import inspect
import logging
import os
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from callboard.aio.pending import Pending, PendingCancelled, PendingNotDone, ProtectedPending
from other_threads import InThread, in_thread

if TYPE_CHECKING:
    from event_loops import Run


# -- what it is ----------------------------------------------------------------------------------------


def test_is_completed_once() -> None:
    pen = Pending[int]()
    assert inspect.isawaitable(pen)
    assert not pen.done()
    pen.set_result(1)
    pen.set_result(2)
    pen.set_exception(RuntimeError())
    assert pen.cancel() is False
    assert (pen.done(), pen.cancelled(), pen.result(), pen.exception()) == (True, False, 1, None)


def test_an_exception_is_raised_where_the_result_is_asked_for() -> None:
    pen = Pending()
    error = ValueError("no")
    error.__cause__ = cause = KeyError("why")
    pen.set_exception(error)
    pen.set_result(1)
    assert pen.exception() is error
    for _ in range(2):
        with pytest.raises(ValueError, match="no") as raised:
            pen.result()
        assert raised.value is error
        assert error.__cause__ is cause
        # Raising it repeatedly does not make its traceback longer.
        assert len(raised.traceback) == 1


def test_the_traceback_of_an_exception_is_kept() -> None:
    def fails() -> None:
        raise ValueError("no")

    pen = Pending()
    try:
        fails()
    except ValueError as error:
        pen.set_exception(error)
    with pytest.raises(ValueError, match="no") as raised:
        pen.result()
    assert [entry.name for entry in raised.traceback][1:] == [inspect.currentframe().f_code.co_name, "fails"]


@pytest.mark.parametrize("bad", [None, 1, "RuntimeError", int, object()])
def test_only_an_exception_can_be_set(bad: object) -> None:
    pen = Pending()
    with pytest.raises(TypeError, match="an exception is needed"):
        pen.set_exception(bad)
    assert not pen.done()
    pen.set_exception(KeyError)
    assert type(pen.exception()) is KeyError


def test_has_no_result_before_it_is_done() -> None:
    pen = Pending()
    for ask in pen.result, pen.exception:
        with pytest.raises(PendingNotDone, match="wait for it"):
            ask()
    assert issubclass(PendingNotDone, RuntimeError)


def test_cancelling_it_ends_it() -> None:
    pen = Pending()
    assert pen.cancel() is True
    assert (pen.done(), pen.cancelled()) == (True, True)
    for ask in pen.result, pen.exception:
        with pytest.raises(PendingCancelled):
            ask()
    assert pen.cancel("again") is True
    assert PendingCancelled.__module__ == "callboard"


def test_a_canceller_decides_when_it_ends() -> None:
    asked = []
    pen = Pending()
    pen.set_canceller(asked.append)
    assert pen.cancel()
    assert pen.cancel("one")
    assert pen.cancel(None)
    assert pen.cancel("two")
    assert asked == [None, "one", None, "one\ntwo"]
    assert (pen.done(), pen.cancelled()) == (False, True)
    with pytest.raises(PendingCancelled, match=r"^one\ntwo$"):
        pen.result()
    pen.set_result(1)
    assert pen.done()
    with pytest.raises(PendingCancelled):
        pen.result()
    pen.set_canceller(asked.append)
    assert len(asked) == 4


def test_a_late_canceller_learns_that_it_is_needed() -> None:
    asked = []
    pen = Pending()
    pen.set_canceller(lambda _: None)
    pen.cancel("why")
    pen.set_canceller(asked.append)
    assert asked == ["why"]


def test_an_error_of_a_canceller_is_raised_by_cancel() -> None:
    pen = Pending()
    pen.set_canceller(lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        pen.cancel()
    assert pen.cancelled()


def test_metadata_and_context() -> None:
    pen = Pending(a=1, context=2)
    assert pen.metadata == {"a": 1, "context": 2}
    pen.metadata["b"] = 3
    assert pen.metadata["b"] == 3
    assert pen.context is None
    with pytest.raises(AttributeError):
        pen.metadata = {}
    variable = contextvars.ContextVar("variable")
    context = contextvars.copy_context()
    context.run(variable.set, 1)
    pen = Pending(context)
    assert pen.context is not context
    assert pen.context[variable] == 1


def test_is_small_but_can_be_subclassed() -> None:
    class Mine(Pending[int]):
        def __init__(self, first: int, *, second: int) -> None:
            super().__init__(None, first=first)
            self.second = second

    mine = Mine(1, second=2)
    assert (mine.metadata, mine.second) == ({"first": 1}, 2)
    with pytest.raises(AttributeError):
        Pending().anything = None


def test_repr_says_how_it_is() -> None:
    pen = Pending(func=len, args=(1,), size="long " * 100)
    assert repr(pen).startswith("<Pending open func=<built-in function len> size='long long ")
    assert len(repr(pen)) < 200
    pen.set_canceller(lambda _: None)
    pen.cancel("why")
    assert repr(pen).startswith("<Pending cancelled='why' ending ")
    pen.set_result(None)
    assert repr(pen).startswith("<Pending cancelled='why' func=")
    pen = ProtectedPending()
    pen.set_exception(KeyError("k"))
    assert repr(pen).startswith("<ProtectedPending error=KeyError('k') at ")


def test_garbage_is_collected() -> None:
    class Thing:
        pass

    def make() -> tuple[weakref.ref, weakref.ref]:
        thing = Thing()
        pen = Pending(thing=thing)
        # A cycle through each of its references.
        pen.add_done_callback(lambda _: pen)
        pen.set_canceller(lambda _: pen)
        done = Pending()
        done.set_result((done, pen))
        failed = Pending()
        error = ValueError()
        error.args = (failed, done)
        failed.set_exception(error)
        return weakref.ref(pen), weakref.ref(thing)

    references = make()
    gc.collect()
    assert [reference() for reference in references] == [None, None]


# -- callbacks -----------------------------------------------------------------------------------------


def test_callbacks_run_first_come_first_in_the_thread_that_completes_it() -> None:
    pen = Pending()
    called = []
    for n in range(5):
        pen.add_done_callback(lambda p, n=n: called.append((n, p is pen, p.done(), threading.get_ident())))
    with InThread(lambda: (pen.set_result(1), threading.get_ident())) as thread:
        pass
    assert called == [(n, True, True, thread.result[1]) for n in range(5)]
    pen.add_done_callback(lambda _: called.append("at once"))
    assert called[-1] == "at once"


def test_callbacks_can_be_removed() -> None:
    class Counter:
        count = 0

        def add(self, _: object) -> None:
            self.count += 1

    counter, other = Counter(), Counter()
    pen = Pending()
    for callback in counter.add, other.add, counter.add:
        pen.add_done_callback(callback)
    assert pen.remove_done_callback(counter.add) == 2
    assert pen.remove_done_callback(counter.add) == 0
    pen.cancel()
    assert (counter.count, other.count) == (0, 1)
    assert pen.remove_done_callback(other.add) == 0


def test_a_callback_that_fails_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    called = []

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    pen = Pending()
    pen.add_done_callback(lambda _: 1 / 0)
    pen.add_done_callback(called.append)
    with caplog.at_level(logging.ERROR):
        pen.set_result(1)
    assert called == [pen]
    assert "ZeroDivisionError" in caplog.text

    pen = Pending()
    pen.add_done_callback(interrupt)
    pen.add_done_callback(called.append)
    with pytest.raises(KeyboardInterrupt):
        pen.set_result(1)
    assert pen in called


def test_callbacks_have_run_when_a_wait_ends(run: Run) -> None:
    async def main() -> None:
        for _ in range(50):
            done = []
            pen = Pending()
            pen.add_done_callback(done.append)
            pen.add_done_callback(lambda _: os.stat("."))
            pen.add_done_callback(done.append)
            in_thread(pen.set_result, 1)
            await pen
            assert len(done) == 2

    run(main)


def test_exactly_one_of_many_threads_completes_it() -> None:
    error = RuntimeError("set")
    with ThreadPoolExecutor(4) as pool:
        for _ in range(1000):
            pen = Pending()
            called = []
            pen.add_done_callback(called.append)
            actions = [
                pool.submit(pen.set_result, 1),
                pool.submit(pen.set_exception, error),
                pool.submit(pen.cancel),
                pool.submit(pen.add_done_callback, called.append),
            ]
            for action in actions:
                action.result()
            assert called == [pen, pen]
            with contextlib.suppress(PendingCancelled):
                assert pen.exception() is error or pen.result() == 1
