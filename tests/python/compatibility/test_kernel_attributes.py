"""Attributes of ipykernel's kernel and application that libraries read."""

from __future__ import annotations

import inspect
import json
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from callboard.kernel.library_attributes import AppAttributes, KernelAttributes, LateAttribute

if TYPE_CHECKING:
    from collections.abc import Callable

    from support import Client, Kernel


def test_the_names_are_those_that_the_late_classes_define() -> None:
    named: dict[str, set[str]] = {}
    for holder in (KernelAttributes, AppAttributes):
        for name, late in vars(holder).items():
            if isinstance(late, LateAttribute):
                named.setdefault(late._where, set()).add(name)
    for where, names in named.items():
        module, _, cls = where.partition(":")
        defined = vars(getattr(import_module(module), cls))
        assert names == {name for name in defined if not name.startswith("__")}, where


def test_the_connection_file_is_found_everywhere(client: Client, kernel: Kernel) -> None:
    path = kernel.connection_file
    info = json.loads(Path(path).read_text())
    run = client.run(
        "import json\n"
        "from traitlets.config import Application\n"
        "app = Application.instance()\n"
        "print(json.dumps([get_ipython().config['IPKernelApp']['connection_file'],\n"
        "    get_ipython().kernel.config['IPKernelApp']['connection_file'], app.config['IPKernelApp']['connection_file'],\n"
        "    app.connection_file, app.abs_connection_file, app.connection_dir, app.ports, app.transport, app.ip,\n"
        "    [app.shell_port, app.iopub_port, app.stdin_port, app.control_port, app.hb_port],\n"
        "    app.get_connection_info()]))"
    )
    channels = ("shell", "iopub", "stdin", "control", "hb")
    ports = {name: info[f"{name}_port"] for name in channels}
    found = json.loads(run.stdout)
    assert found[:5] == [path] * 5
    assert found[5:9] == [str(Path(path).parent), ports, info["transport"], info["ip"]]
    assert found[9] == [*ports.values()]
    assert {name: value for name, value in found[10].items() if name in info} == {
        name: value for name, value in info.items() if name in found[10]
    }


def test_the_application_and_the_kernel_are_the_running_ones(client: Client) -> None:
    run = client.run(
        "from traitlets.config import Application\n"
        "import IPython\n"
        "app, kernel = Application.instance(), get_ipython().kernel\n"
        "print(IPython.Application.instance() is app, type(app).initialized(), app.kernel is kernel,\n"
        "      app.session is kernel.session, app.iopub_socket is kernel.iopub_socket, kernel.parent is app,\n"
        "      kernel.log is app.log, kernel.config is app.config, app.shell is kernel.shell)"
    )
    assert run.stdout == "True " * 8 + "True\n"


def test_the_kernel_s_facts_are_those_of_kernel_info(client: Client) -> None:
    info = client.ask("kernel_info_request")
    run = client.run(
        "import json\n"
        "k = get_ipython().kernel\n"
        "print(json.dumps([k.kernel_info, {name: getattr(k, name) for name in ('implementation',\n"
        "    'implementation_version', 'language_info', 'banner', 'help_links')}]))"
    )
    all_facts, single = json.loads(run.stdout)
    assert {"status": "ok", **all_facts} == info
    assert single == {name: info[name] for name in single}


def test_plain_attributes_have_the_values_of_a_kernel_that_is_well(client: Client) -> None:
    run = client.run(
        "k, shell = get_ipython().kernel, get_ipython()\n"
        "print(k.user_ns is shell.user_ns, k.user_module is shell.user_module, k.shell_class is type(shell),\n"
        "      k.profile_dir is shell.profile_dir, k.ident == k.core.session, k._topic('a') == f'kernel.{k.ident}.a'.encode())\n"
        "print(k._aborting, k.eventloop, k.debugpy_stream, k._allow_stdin, k.control_thread.is_alive(),\n"
        "      k.shell_streams == [k.shell_stream], k.execution_count > 0, k._parent_header == k.get_parent())"
    )
    assert run.stdout == "True True True True True True\nFalse None None True True True True True\n"


def test_attributes_may_be_set(client: Client) -> None:
    run = client.run(
        "k = get_ipython().kernel\nk.eventloop = k.shell_stream = 'mine'\nprint(k.eventloop, k.shell_stream)"
    )
    assert run.stdout == "mine mine\n"
    assert client.run("del k.eventloop, k.shell_stream\nk.eventloop, k.shell_stream.name").result == "(None, 'shell')"


def test_parents_are_known_by_channel(client: Client) -> None:
    on_control = client.execute("print('here')", channel="control")
    client.reply(on_control, "control")
    run = client.run(
        "k = get_ipython().kernel\n"
        "print(k.get_parent()['header']['msg_id'], k.get_parent('shell')['header']['msg_id'],\n"
        "      k.get_parent('control')['header']['msg_id'])\n"
        "print(all(type(ident) is bytes and ident for ident in k._parent_ident['shell']), len(k._parent_ident['control']))"
    )
    assert run.stdout == f"{run.msg_id} {run.msg_id} {on_control}\nTrue 1\n"


def test_the_status_is_published(client: Client) -> None:
    run = client.run(
        "k = get_ipython().kernel\nk._publish_status('busy', 'shell')\nk._publish_status('busy', k.get_parent())"
    )
    # Behind each of a library's comes the busy of the cell, which runs whatever the library says.
    assert [content["execution_state"] for content in run.contents("status")] == ["busy"] * 5 + ["idle"]


def test_the_kernel_answers_what_clients_ask(client: Client) -> None:
    run = client.run(
        "import json\n"
        "k = get_ipython().kernel\n"
        "my_name = 'abc'\n"
        "answers = [k.do_complete('my_na', 5), k.do_inspect('my_name', 3, 0, ()), k.do_is_complete('if x:'),\n"
        "           k.do_history('tail', output=False, raw=True, n=1)]\n"
        "for answer in answers: print(json.dumps(answer))"
    )
    complete, inspected, is_complete, history = map(json.loads, run.stdout.splitlines())
    assert (complete["status"], complete["matches"], complete["cursor_start"]) == ("ok", ["my_name"], 0)
    assert (inspected["status"], inspected["found"]) == ("ok", True)
    assert is_complete == {"status": "incomplete", "indent": "    "}
    assert history["status"] == "ok"
    assert len(history["history"]) == 1


def test_the_user_s_variables_are_cleared(client: Client) -> None:
    client.run("_to_clear = to_clear = 1")
    run = client.run("print(get_ipython().kernel.do_clear())")
    assert run.stdout == "{'status': 'ok'}\n"
    assert client.run("'to_clear' in globals()").result == "False"


def test_the_kernel_asks_for_lines_and_passwords(client: Client) -> None:
    msg_id = client.execute("k = get_ipython().kernel\nprint(k.raw_input('name: '), k.getpass('word: '))")
    prompts = client.prompts()
    for prompt, password in (("name: ", False), ("word: ", True)):
        asked = next(prompts)
        assert asked["content"] == {"prompt": prompt, "password": password}
        client.answer(prompt[0], asked)
    assert client.finish(msg_id).stdout == "n w\n"
    refused = client.run("k.raw_input()", allow_stdin=False)
    assert refused.error["ename"] == "StdinNotImplementedError"


def test_input_calls_what_a_library_has_put_in_the_place_of_raw_input(client: Client) -> None:
    run = client.run(
        "import getpass\n"
        "k = get_ipython().kernel\n"
        "k.raw_input, k.getpass = lambda prompt='': f'line for {prompt}', lambda prompt='', **_: f'secret for {prompt}'\n"
        "print(input('a'), getpass.getpass('b'))\n"
        "del k.raw_input, k.getpass"
    )
    assert run.stdout == "line for a secret for b\n"


# -- the io loop ------------------------------------------------------------------------------------------


def test_the_io_loop_runs_callbacks_of_threads_on_the_main_thread(client: Client) -> None:
    run = client.run(
        "import asyncio, datetime, threading\n"
        "loop, done = get_ipython().kernel.io_loop, asyncio.Event()\n"
        "def show(*args, **kwargs):\n"
        "    print(args, kwargs, threading.current_thread() is threading.main_thread())\n"
        "async def last():\n"
        "    await asyncio.sleep(0)\n"
        "    done.set()\n"
        "def work():\n"
        "    loop.add_callback(show, 'callback', a=1)\n"
        "    loop.spawn_callback(show, 'spawned')\n"
        "    loop.add_callback_from_signal(show, 'signal')\n"
        "    loop.call_later(0.01, show, 'later')\n"
        "    loop.call_at(loop.time() + 0.02, show, 'at')\n"
        "    loop.add_timeout(datetime.timedelta(milliseconds=30), show, 'timeout')\n"
        "    loop.remove_timeout(loop.add_timeout(loop.time() + 0.001, show, 'never'))\n"
        "    loop.call_later(0.05, last)\n"
        "threading.Thread(target=work).start()\n"
        "await done.wait()"
    )
    words = ["'callback',) {'a': 1}", "'spawned',) {}", "'signal',) {}", "'later',) {}", "'at',) {}", "'timeout',) {}"]
    assert run.stdout == "".join(f"({word} True\n" for word in words)


def test_what_a_callback_raises_is_shown_in_the_cell_that_has_added_it(client: Client) -> None:
    msg_id = client.run("get_ipython().kernel.io_loop.add_callback(lambda: 1 / 0)").msg_id
    client.wait_text("ZeroDivisionError", msg_id, "stderr")


def test_the_io_loop_s_executors_and_futures(client: Client) -> None:
    run = client.run(
        "import asyncio, threading\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "loop, done = get_ipython().kernel.io_loop, asyncio.Event()\n"
        "print(await loop.run_in_executor(None, max, 1, 2))\n"
        "with ThreadPoolExecutor(1) as pool:\n"
        "    print(await loop.run_in_executor(pool, max, 3, 4))\n"
        "    loop.add_future(pool.submit(max, 5, 6), lambda future: (print(future.result()), done.set()))\n"
        "    await done.wait()\n"
        "print(loop.asyncio_loop is asyncio.get_running_loop(), hasattr(get_ipython().kernel.control_thread, 'io_loop'))"
    )
    assert run.stdout == "2\n4\n6\nTrue True\n"


# -- the end ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["get_ipython().kernel", "__import__('IPython').Application.instance().kernel"])
@pytest.mark.parametrize("restart", [True, False])
def test_code_ends_the_kernel(fresh_kernel: Kernel, fresh_client: Client, ending: str, restart: bool) -> None:
    run = fresh_client.run(f"print({ending}.do_shutdown({restart}))")
    assert run.stdout == str({"status": "ok", "restart": restart}) + "\n"
    payload = [{"source": "ask_exit", "keepkernel": None}]
    assert run.reply["payload"] == ([] if restart else payload)
    assert fresh_kernel.wait_end() == 0


def test_the_io_loop_s_stop_ends_the_kernel(fresh_kernel: Kernel, fresh_client: Client) -> None:
    assert fresh_client.run("get_ipython().kernel.io_loop.stop(); 'last'").result == "'last'"
    assert fresh_kernel.wait_end() == 0


def test_a_manager_that_restarts_kernels_restarts_one_that_asks_for_it(start_kernel: Callable[..., Kernel]) -> None:
    kernel = start_kernel()
    before = kernel.process.pid
    with kernel.connect() as client:
        client.run("get_ipython().kernel.do_shutdown(True)")
    kernel.wait_end()
    # What the restarter of jupyter_server does when the kernel has died.
    kernel.manager.restart_kernel(now=True)
    assert kernel.process.pid != before
    with kernel.connect() as client:
        assert client.run("'new'").result == "'new'"


def test_the_signatures_are_ipykernel_s() -> None:
    """Libraries call these by position and by name."""
    ipykernel: Any = pytest.importorskip("ipykernel.ipkernel")
    from callboard.kernel.kernel import IPythonKernel as Ours

    names = ["do_complete", "do_inspect", "do_is_complete", "do_history", "do_shutdown", "do_clear", "do_apply"]
    names += [
        "send_response",
        "get_parent",
        "set_parent",
        "execute_request",
        "complete_request",
        "raw_input",
        "getpass",
    ]
    for name in [*names, "do_execute"]:
        ours, theirs = (getattr(cls, name) for cls in (Ours, ipykernel.IPythonKernel))
        ours = ours.member if isinstance(ours, LateAttribute) else ours
        assert [*inspect.signature(ours).parameters] == [*inspect.signature(theirs).parameters], name
