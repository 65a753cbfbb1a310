"""The request that code belongs to: prompts, comm handlers, parents set by hand, context variables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support import parent_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from support import Client, Kernel, Run


# -- questions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "start",
    [
        "threading.Thread(target=ask).start()",
        "callboard.Caller().to_thread(ask);",
        "from concurrent.futures import ThreadPoolExecutor\npool = ThreadPoolExecutor(); pool.submit(ask);",
    ],
)
def test_input_asks_the_client_of_its_cell(kernel: Kernel, client: Client, start: str) -> None:
    client.run(
        "import callboard, threading\ngo, answered = threading.Event(), callboard.Pending()\ndef ask():\n"
        "    go.wait()\n    answered.set_result(input('which? '))"
    )
    cell = client.run(start)
    with kernel.connect() as other:
        other.run("go.set()")
        prompt = next(client.prompts())
        assert parent_id(prompt) == cell.msg_id
        client.answer("mine", prompt)
        assert other.run("await answered.wait()").result == "'mine'"


# -- widgets -------------------------------------------------------------------------------------------


def test_the_handler_of_a_comm_message_has_that_message_as_its_parent(client: Client, backend: str) -> None:
    client.run(
        "import comm, callboard, threading\nheard = callboard.Pending()\n"
        "def on_open(c, message):\n"
        "    parent = get_ipython().kernel.get_parent()\n"
        "    print('opened', get_ipython().get_parent()['msg_type'], parent['header'] == message['header'])\n"
        "    c.on_msg(on_msg)\n"
        "def on_msg(message):\n    print('heard')\n    threading.Thread(target=lambda: print('thread')).start()\n"
        "    callboard.Caller().call_soon(lambda: (print('call'), heard.set_result(None)))\n"
        "comm.get_comm_manager().register_target('parents', on_open)"
    )
    opened = client.send("comm_open", {"comm_id": "p1", "target_name": "parents", "data": {}})
    client.wait_text("opened comm_open True\n", opened)
    sent = client.send("comm_msg", {"comm_id": "p1", "data": {}})
    for text in ("heard\n", "thread\n", "call\n"):
        client.wait_text(text, sent)
    assert client.run("await heard.wait()").stdout == ""


def test_a_button_prints_where_ipykernel_lets_it(client: Client) -> None:
    cell = client.run(
        "import ipywidgets\nbutton = ipywidgets.Button()\nbutton.on_click(lambda _: print('clicked'))\n"
        "output = ipywidgets.Output()\n@output.capture()\ndef captured(_): print('captured')\n"
        "second = ipywidgets.Button()\nsecond.on_click(captured)\n(button.comm.comm_id, second.comm.comm_id)"
    )
    first, second = eval(cell.result or "")
    click = {"method": "custom", "content": {"event": "click"}}
    sent = client.send("comm_msg", {"comm_id": first, "data": click})
    client.wait_text("clicked\n", sent)
    sent = client.send("comm_msg", {"comm_id": second, "data": click})
    client.wait_text("captured\n", sent)
    client.wait_idle(sent)
    ids = [
        m["content"]["data"]["state"]["msg_id"]
        for m in client.published(sent)
        if "msg_id" in m["content"].get("data", {}).get("state", {})
    ]
    assert ids == [sent, ""]
    assert "clicked" not in "".join(m["content"].get("text", "") for m in client.published(cell.msg_id))


# -- parents by hand -----------------------------------------------------------------------------------


def test_a_parent_can_be_set_and_reset(client: Client) -> None:
    first = client.run("kept = get_ipython().get_parent()\nkept['header']['msg_type']")
    assert first.result == "'execute_request'"
    run = client.run(
        "ip = get_ipython()\nbefore = ip.get_parent()\ntoken = ip.set_thread_parent(kept)\nprint('in the first')\n"
        "found = [ip.get_parent() == kept, ip.kernel.get_parent() is ip.get_parent()]\nip.reset_thread_parent(token)\n"
        "print('here')\nfound + [ip.get_parent() is before]"
    )
    assert (run.stdout, run.result) == ("here\n", "[True, True, True]")
    client.wait_text("in the first\n", first.msg_id)
    run = client.run("ip.set_parent(kept)\nprint('first again')")
    assert run.stdout == ""
    client.wait_text("first again\n", first.msg_id)
    # The next cell has its own parent.
    assert client.run("print('mine')").stdout == "mine\n"


@pytest.mark.parametrize(
    "thing", ["get_ipython()", "sys.stdout", "sys.stderr", "get_ipython().display_pub", "get_ipython().displayhook"]
)
def test_ipykernels_names_are_there(client: Client, thing: str) -> None:
    first = client.run("kept = get_ipython().get_parent()")
    code = (
        f"import sys\nthing = {thing}\n"
        "token = thing.set_thread_parent(kept)\n"
        "def msg_id(p): return p.get('header', p)['msg_id']\n"
        "inside = msg_id(thing.parent_header)\nprint('inside')\nthing.reset_thread_parent(token)\n"
        "outside = msg_id(thing.parent_header)\nthing.set_parent(kept['header'])\n"
        "after = msg_id(thing.parent_header)\nprint('after')\n"
        "thing.parent_header = thing.parent_header\n"
        "(inside, outside, after)"
    )
    run = client.run(code)
    client.wait_text("inside\nafter\n", first.msg_id)
    (shown,) = [m for m in client.published(first.msg_id) if m["msg_type"] == "execute_result"]
    assert eval(shown["content"]["data"]["text/plain"]) == (first.msg_id, run.msg_id, first.msg_id)


def test_kernel_set_parent(client: Client) -> None:
    first = client.run("kept = get_ipython().kernel.get_parent()")
    client.run("get_ipython().kernel.set_parent([], kept, 'shell')\nprint('there')")
    client.wait_text("there\n", first.msg_id)


def test_a_thread_without_context_uses_the_parent_it_sets(client: Client) -> None:
    client.run(
        "import _thread, callboard\nended, go = callboard.Pending(), callboard.Pending()\n"
        "def raw(parent):\n    go.wait_sync()\n    get_ipython().set_thread_parent(parent)\n    print('raw')\n"
        "    ended.set_result(None)"
    )
    cell = client.run("_thread.start_new_thread(raw, (get_ipython().get_parent(),));")
    client.run("go.set_result(None)\nawait ended.wait()")
    client.wait_text("raw\n", cell.msg_id)


# -- context variables ---------------------------------------------------------------------------------


def test_context_variables_go_from_cell_to_cell(client: Client) -> None:
    client.run("import contextvars, callboard\nvar = contextvars.ContextVar('var', default='unset')")
    client.run("token = var.set('one')")
    assert client.run("var.get()").result == "'one'"
    client.run("await callboard.Caller().call_soon(int)\ntoken = var.set('two')")
    assert client.run("var.get()").result == "'two'"
    client.run("token = var.set('before')\nawait callboard.Caller().call_soon(int)")
    assert client.run("var.get()").result == "'before'"
    # Also for a next cell that was queued meanwhile.
    client.run("gate = callboard.Pending()")
    first = client.start("print('started')\nawait gate\ntoken = var.set('late')")
    second = client.execute("var.get()")
    client.run("# task\ngate.set_result(None)")
    client.finish(first)
    assert client.finish(second).result == "'late'"
    assert client.run("1/0").status == "error"
    assert client.run("var.get()").result == "'late'"


def test_a_context_variable_can_be_reset_in_a_later_cell(client: Client) -> None:
    client.run(
        "import contextvars\nresettable = contextvars.ContextVar('resettable', default='unset')\n"
        "token = resettable.set(1)"
    )
    client.run("resettable.reset(token)")
    assert client.run("resettable.get()").result == "'unset'"


@pytest.mark.parametrize("mode", ["task", "thread", "thread name=variables"])
def test_tasks_and_threads_see_variables_and_keep_their_own(client: Client, mode: str) -> None:
    client.run(
        "import contextvars, callboard\nvar = contextvars.ContextVar('var', default='unset')\ntoken = var.set('main')"
    )
    assert client.run(f"# {mode}\nvar.get()").result == "'main'"
    assert (
        client.run(f"# {mode}\ntoken = var.set('own')\nawait callboard.Caller().call_soon(int)\nvar.get()").result
        == "'own'"
    )
    assert client.run("var.get()").result == "'main'"
    assert client.run(f"# {mode}\nvar.get()").result == "'main'"


def test_a_subshell_has_its_own_context_variables(client: Client) -> None:
    subshell = client.ask("create_subshell_request", channel="control")["subshell_id"]
    header = {"subshell_id": subshell}
    client.run(
        "import contextvars\nof_shell = contextvars.ContextVar('of_shell', default='unset')\n"
        "token = of_shell.set('main')"
    )
    client.run("token = of_shell.set('sub')", header=header)
    assert client.run("of_shell.get()", header=header).result == "'sub'"
    assert client.run("# task\nof_shell.get()", header=header).result == "'sub'"
    assert client.run("# thread\nof_shell.get()", header=header).result == "'sub'"
    assert client.run("of_shell.get()").result == "'main'"
    client.ask("delete_subshell_request", {"subshell_id": subshell}, channel="control")


# -- the kernel as code sees it ------------------------------------------------------------------------


def test_the_kernel_is_found(client: Client, backend: str) -> None:
    run = client.run(
        "import callboard, callboard.utils, threading\nkernel = get_ipython().kernel\n"
        "shell, control = kernel.callers['shell'], kernel.callers['control']\n"
        "(kernel is callboard.utils.get_kernel(), kernel.interface.backend, sorted(kernel.callers),"
        " kernel.shell is get_ipython(), kernel.subshells,"
        " shell is callboard.Caller() is callboard.Caller('MainThread') is kernel.caller,"
        " control.thread.name, shell.thread is threading.main_thread(), kernel.interface.callers == kernel.callers)"
    )
    assert eval(run.result or "") == (True, backend, ["control", "shell"], True, {}, True, "Control", True, True)


def test_the_callers_magic_prints_a_table(client: Client) -> None:
    client.run('# thread name="My thread"\n1')
    lines = client.run("%callers").stdout.splitlines()
    assert lines[0].split() == ["Name", "Running", "Protected", "Thread", "Caller"]
    assert set(lines[1]) == {"\u2500"}
    rows = {line.split("  ")[0]: line for line in lines[2:]}
    assert {"Shell", "Control", "My thread"} <= rows.keys()
    assert "\u2190 current" in rows["Shell"]
    assert "\u2190 current" not in rows["Control"] + rows["My thread"]
    assert "\U0001f510" in rows["Shell"]
    assert "\U0001f510" not in rows["My thread"]
    assert all("\u2713" in row for row in rows.values())
    assert "MainThread" in rows["Shell"]
    there = client.run('# thread name="My thread"\n%callers').stdout.splitlines()
    assert "\u2190 current" in next(line for line in there if line.startswith("My thread"))


def test_two_clients_get_what_is_theirs(start_kernel: Callable[..., Kernel]) -> None:
    kernel = start_kernel()
    with kernel.connect() as one, kernel.connect() as two:
        one.run("import callboard, threading\ngo = threading.Event()")

        def start(client: Client, name: str) -> Run:
            return client.run(f"threading.Thread(target=lambda: (go.wait(), print({name!r}))).start()")

        runs = {"one": start(one, "one"), "two": start(two, "two")}
        one.run("go.set()")
        for name, run in runs.items():
            one.wait_text(f"{name}\n", run.msg_id)
