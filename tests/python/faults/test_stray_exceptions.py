"""Code of the user's that the event loop runs, or that runs in its frames, does not end the kernel, whatever it raises."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from loops import ON_EACH_LOOP
from support import parent_id

if TYPE_CHECKING:
    from support import Client, Kernel

pytestmark = ON_EACH_LOOP

ERRORS = ["ValueError", "KeyboardInterrupt", "SystemExit", "GeneratorExit", "MemoryError", "RecursionError"]

PRELUDE = """
import asyncio, gc, logging, os, signal, sys, threading, time, weakref
try:
    loop = asyncio.get_running_loop()
except RuntimeError:
    import trio
    token = trio.lowlevel.current_trio_token()
"""


@pytest.fixture
def client(client: Client) -> Client:
    assert client.run(PRELUDE).status == "ok"
    return client


def alive(client: Client) -> bool:
    """Whether the kernel runs cells, also ones that wait for its loop, and answers editors."""
    library = "trio" if client.run("'trio' in sys.modules and 'token' in globals()").result == "True" else "asyncio"
    run = client.run(f"import {library}\nawait {library}.sleep(0.001)\n'alive'")
    reply = client.ask("complete_request", {"code": "PRELUD", "cursor_pos": 6})
    return run.result == "'alive'" and reply["status"] == "ok"


def wait_stderr(client: Client, text: str, msg_id: str) -> None:
    client.wait_text(text, msg_id, "stderr")


# -- handlers of signals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", ERRORS)
def test_a_signal_handler_that_raises_when_the_cell_has_ended(client: Client, error: str) -> None:
    run = client.run(
        f"def late(*_): raise {error}('too late')\n"
        "before = signal.signal(signal.SIGALRM, late)\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.05);"
    )
    assert run.status == "ok"
    # Shown in the cell that has installed the handler, also when another one has run since.
    client.run("'another one'")
    wait_stderr(client, "sys.exit()" if error == "SystemExit" else f"{error}: too late", run.msg_id)
    assert alive(client)
    assert client.run("signal.signal(signal.SIGALRM, before) is late").result == "True"


def test_a_signal_handler_that_raises_again_and_again_between_cells(client: Client) -> None:
    client.run(
        "count = 0\n"
        "def late(*_):\n"
        "    global count\n"
        "    count += 1\n"
        "    raise TimeoutError('tick')\n"
        "before = signal.signal(signal.SIGALRM, late)\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005);"
    )
    # A cell may be hit, and end with the error; it is answered, and the next one runs.
    statuses = {client.run("1", timeout=20).status for _ in range(50)}
    assert statuses <= {"ok", "error"}
    while client.run("signal.setitimer(signal.ITIMER_REAL, 0); signal.signal(signal.SIGALRM, before)").status != "ok":
        pass
    assert alive(client)
    assert client.run("count > 0").result == "True"


def test_a_signal_handler_raises_in_the_code_of_a_cell(client: Client) -> None:
    run = client.run(
        "def late(*_): raise TimeoutError('in time')\n"
        "before = signal.signal(signal.SIGALRM, late)\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.05)\n"
        "try:\n"
        "    time.sleep(50)\n"
        "except TimeoutError as error:\n"
        "    print('caught', error)\n"
        "finally:\n"
        "    signal.signal(signal.SIGALRM, before)\n"
    )
    assert (run.status, run.stdout) == ("ok", "caught in time\n")


def test_a_signal_handler_raises_in_a_loop_inside_a_cell(client: Client) -> None:
    run = client.run(
        "def late(*_): raise TimeoutError('in time')\n"
        "before = signal.signal(signal.SIGALRM, late)\n"
        "async def wait():\n"
        "    signal.setitimer(signal.ITIMER_REAL, 0.05)\n"
        "    while True:\n"
        "        time.sleep(0.001)\n"
        "try:\n"
        "    asyncio.run(wait())\n"
        "finally:\n"
        "    signal.signal(signal.SIGALRM, before)\n"
    )
    assert run.error["ename"] == "TimeoutError"
    assert alive(client)


def test_a_signal_handler_that_raises_while_a_cell_awaits(client: Client, loop: str) -> None:
    library = "trio" if loop == "trio" else "asyncio"
    run = client.run(
        "def late(*_): raise TimeoutError('meanwhile')\n"
        "before = signal.signal(signal.SIGALRM, late)\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.05)\n"
        f"await {library}.sleep(0.3)\n"
        "signal.signal(signal.SIGALRM, before)\n"
        "'went on'"
    )
    assert run.result == "'went on'"
    wait_stderr(client, "TimeoutError: meanwhile", run.msg_id)


def test_handlers_are_those_that_were_set(client: Client) -> None:
    run = client.run(
        "def handler(*_): pass\n"
        "assert signal.signal(signal.SIGUSR1, handler) == signal.SIG_DFL\n"
        "assert signal.getsignal(signal.SIGUSR1) is handler\n"
        "assert signal.signal(signal.SIGUSR1, signal.SIG_IGN) is handler\n"
        "assert signal.signal(signal.SIGUSR1, signal.SIG_DFL) == signal.SIG_IGN\n"
        "kernels = signal.getsignal(signal.SIGINT)\n"
        "assert signal.signal(signal.SIGINT, signal.default_int_handler) is kernels\n"
        "assert signal.signal(signal.SIGINT, kernels) is signal.default_int_handler\n"
        "assert signal.getsignal(signal.SIGINT) == kernels\n"
    )
    assert run.status == "ok", run.traceback
    msg_id = client.start("print('started', flush=True)\ntime.sleep(100)")
    client.ask("interrupt_request", channel="control")
    assert client.finish(msg_id).error["ename"] == "KeyboardInterrupt"


def test_handlers_raise_in_forked_children(client: Client) -> None:
    run = client.run(
        "def late(*_): os._exit(7 if sys._getframe(1) else 0)\n"
        "before = signal.signal(signal.SIGUSR1, late)\n"
        "if not (pid := os.fork()):\n"
        "    try:\n"
        "        signal.signal(signal.SIGUSR1, lambda *_: 1 / 0)\n"
        "        os.kill(os.getpid(), signal.SIGUSR1)\n"
        "    except ZeroDivisionError:\n"
        "        os._exit(8)\n"
        "    os._exit(9)\n"
        "signal.signal(signal.SIGUSR1, before)\n"
        "os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])"
    )
    assert run.result == "8"


# -- callbacks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [*ERRORS, "asyncio.CancelledError"])
def test_a_callback_that_raises(client: Client, loop: str, error: str) -> None:
    fail = f"def fail(*_): raise {error}('from the callback')\n"
    if loop == "trio":
        # trio cannot go on after it, and is started anew.
        client.run(f"{fail}token.run_sync_soon(fail)")
    else:
        client.run(f"{fail}loop.call_soon(fail); loop.call_later(0.001, fail);")
        client.run(f"{fail}loop.call_soon_threadsafe(fail);")
        client.run(f"{fail}asyncio.ensure_future(asyncio.sleep(0)).add_done_callback(fail)")
    assert alive(client)


@pytest.mark.parametrize("error", ERRORS)
def test_a_task_that_raises(client: Client, loop: str, error: str) -> None:
    fail = f"async def fail(*_): raise {error}('from the task')\n"
    start = "trio.lowlevel.spawn_system_task(fail);" if loop == "trio" else "task = asyncio.create_task(fail())"
    client.run(fail + start)
    assert alive(client)


@pytest.mark.parametrize("error", ["ValueError", "KeyboardInterrupt", "SystemExit"])
def test_the_callback_of_a_descriptor_that_raises(client: Client, loop: str, error: str) -> None:
    if loop == "trio":
        pytest.skip("trio has no such callbacks")
    client.run(
        "r, w = os.pipe()\n"
        f"def fail(): os.read(r, 1); raise {error}('from the callback')\n"
        "loop.add_reader(r, fail); os.write(w, b'x');"
    )
    assert alive(client)
    client.run("loop.remove_reader(r); os.close(r); os.close(w)")


@pytest.mark.parametrize("error", ["ValueError", "KeyboardInterrupt", "SystemExit"])
def test_an_exception_handler_that_raises(client: Client, loop: str, error: str) -> None:
    if loop == "trio":
        pytest.skip("trio has no such handlers")
    client.run(
        f"def fail(*_): raise {error}('from the handler')\n"
        "loop.set_exception_handler(fail)\n"
        "loop.call_soon(lambda: 1 / 0);"
    )
    assert alive(client)
    client.run("loop.set_exception_handler(None)")


def test_an_exception_of_a_callback_is_shown_in_its_cell(client: Client, loop: str) -> None:
    if loop == "trio":
        pytest.skip("trio has no such callbacks")
    run = client.run("def fail(): raise KeyboardInterrupt('from the callback')\nloop.call_later(0.05, fail);")
    if loop == "asyncio":
        # uvloop does not tell which callback it was.
        client.run("'another one'")
    wait_stderr(client, "KeyboardInterrupt: from the callback", run.msg_id)


# -- hooks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hook", ["excepthook", "unraisablehook", "displayhook"])
def test_a_hook_that_exits(client: Client, hook: str) -> None:
    client.run(f"def leave(*_): raise SystemExit('from the hook')\nbefore = sys.{hook}\nsys.{hook} = leave")
    client.run("class Odd:\n    def __del__(self): raise SystemExit(1)\nodd = Odd()\ndel odd")
    client.run("1")
    client.run("1 / 0")
    client.run(f"sys.{hook} = before")
    assert alive(client)


@pytest.mark.parametrize("error", ["ValueError", "SystemExit"])
def test_finalizers_that_raise_while_the_loop_collects_garbage(client: Client, error: str) -> None:
    client.run(
        "class Odd:\n"
        f"    def __del__(self): raise {error}('from the finalizer')\n"
        f"def fail(*_): raise {error}('from the callback')\n"
        "for _ in range(100):\n"
        "    odd = Odd(); odd.me = odd\n"
        "    other = threading.Event(); other.me = other; other.ref = weakref.ref(other, fail)\n"
        "threshold = gc.get_threshold(); gc.set_threshold(1);"
    )
    assert alive(client)
    client.run("gc.set_threshold(*threshold)")


@pytest.mark.parametrize("error", ["ValueError", "SystemExit"])
def test_a_log_handler_that_raises(client: Client, loop: str, error: str) -> None:
    client.run(
        "class Odd(logging.Handler):\n"
        f"    def emit(self, record): raise {error}('from the handler')\n"
        "odd = Odd(); logging.getLogger().addHandler(odd)"
    )
    if loop != "trio":
        client.run("loop.call_soon(lambda: 1 / 0);")
    assert alive(client)
    client.run("logging.getLogger().removeHandler(odd)")


def test_streams_that_raise(client: Client) -> None:
    client.run(
        "streams = sys.stdout, sys.stderr\n"
        "class Odd:\n"
        "    def write(self, *_): raise SystemExit('from the stream')\n"
        "    flush = write\n"
        "def late(*_): raise TimeoutError\n"
        "before = signal.signal(signal.SIGALRM, late)\n"
        "sys.stdout = sys.stderr = Odd()"
    )
    client.run("signal.setitimer(signal.ITIMER_REAL, 0.02);")
    client.run("time.sleep(0.05)")
    client.run("print(1)")
    client.run("1 / 0")
    client.run("sys.stdout, sys.stderr = streams; signal.signal(signal.SIGALRM, before);")
    assert alive(client)


@pytest.mark.parametrize("error", ["ValueError", "SystemExit"])
def test_events_of_cells_that_raise(client: Client, error: str) -> None:
    for event in ("pre_execute", "pre_run_cell", "post_execute", "post_run_cell"):
        client.run(
            "def fail(*_):\n"
            f"    get_ipython().events.unregister('{event}', fail)\n"
            f"    raise {error}('from the event')\n"
            f"get_ipython().events.register('{event}', fail)"
        )
        assert client.run("1").reply["status"] in ("ok", "error")
        assert client.run("'alive'").result == "'alive'"
    assert alive(client)


def test_an_audit_hook_that_exits(client: Client) -> None:
    client.run(
        "def hook(event, _args):\n"
        "    if armed and event in ('compile', 'exec', 'sys._getframe', 'sys.set_asyncgen_hooks_firstiter'):\n"
        "        raise SystemExit('from the hook')\n"
        "armed = False\n"
        "sys.addaudithook(hook)"
    )
    client.run("timer = threading.Timer(0.3, lambda: globals().update(armed=False)); timer.start(); armed = True")
    client.run("1")
    while client.run("1").status != "ok":
        pass
    assert alive(client)


@pytest.mark.parametrize(("error", "first"), [("ValueError", 0), ("SystemExit", 1)])
def test_a_trace_function_that_raises_anywhere_in_the_kernel(client: Client, error: str, first: int) -> None:
    """Whichever function of the kernel's it hits, cells are answered, and the next ones run. (Python removes a function
    that raises. If it hits asyncio's own code, that loses a callback.)"""
    client.run(
        "def arm(n, set_function):\n"
        "    def fail(frame, event, arg):\n"
        "        nonlocal n\n"
        "        if 'callboard' not in frame.f_globals['__name__']: return\n"
        "        n -= event == 'call'\n"
        "        if n < 0:\n"
        f"            raise {error}('from the trace function')\n"
        "    set_function(fail)\n"
    )
    for n in range(first, 70, 2):
        client.run(f"arm({n}, sys.setprofile)", timeout=20)
        assert client.run("1", timeout=20).status in ("ok", "error")
    client.run("sys.setprofile(None)")
    assert alive(client)


# -- handlers of requests -----------------------------------------------------------------------------------


@pytest.mark.parametrize("error", ERRORS)
def test_a_comm_handler_that_raises(client: Client, error: str) -> None:
    client.run(
        f"def fail(*_): raise {error}('from the handler')\n"
        "get_ipython().kernel.comm_manager.register_target('odd', fail)"
    )
    msg_id = client.send("comm_open", {"comm_id": "1", "target_name": "odd", "data": {}})
    client.wait_idle(msg_id)
    assert alive(client)


@pytest.mark.parametrize("error", ERRORS)
def test_completion_that_raises(client: Client, error: str) -> None:
    client.run(
        f"def fail(*_): raise {error}('from the completer')\n"
        "completer = get_ipython().Completer\ncompleter.completions = fail"
    )
    try:
        reply = client.ask("complete_request", {"code": "a", "cursor_pos": 1})
        assert (reply["status"], reply["ename"]) == ("error", error)
    finally:
        client.run("del completer.completions")
    assert alive(client)


def test_nothing_is_answered_twice(kernel: Kernel, client: Client) -> None:
    """Each cell has one reply and one idle, whatever its callbacks raise."""
    cells = [client.execute("import asyncio\ndef fail(*_): raise SystemExit\ntry:\n"
                            "    asyncio.get_running_loop().call_soon(fail)\nexcept RuntimeError:\n    pass")
             for _ in range(10)]  # fmt: skip
    for msg_id in cells:
        client.finish(msg_id)
    assert alive(client)
    for msg_id in cells:
        assert sum(parent_id(reply) == msg_id for reply in client.replies()) == 1
        idles = [m for m in client.published(msg_id) if m["content"].get("execution_state") == "idle"]
        assert len(idles) == 1
