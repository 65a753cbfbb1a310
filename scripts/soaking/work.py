"""Pieces of work: each sends requests and checks what comes of them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from soaking.client import expect

if TYPE_CHECKING:
    from soaking.client import Client

#: The first cell: defines what the pieces of work use.
SETUP = """
import asyncio
from IPython.display import HTML, display
from comm import get_comm_manager

def _target(comm, message):
    comm.on_msg(lambda message: comm.send(message["content"]["data"]))

get_comm_manager().register_target("soak", _target)

def _give_back():
    import ctypes, gc
    gc.collect()
    getattr(ctypes.CDLL(None), "malloc_trim", int)(0)
"""


def outputs(client: Client) -> None:
    """A cell with text, displays and a result."""
    cell = client.execute("for _ in range(100): print('soak')\ndisplay(HTML('<b>soak</b>'))\ndisplay(1)\n'x' * 1000")
    expect("status", client.reply(cell)["status"], "ok")
    expect("text", client.text(cell), "soak\n" * 100)
    expect("displays", len(client.contents(cell, "display_data")), 2)
    expect("result", client.contents(cell, "execute_result")[0]["data"]["text/plain"], repr("x" * 1000))
    client.forget(cell)


def large_output(client: Client) -> None:
    """A megabyte of text, and as much as one display."""
    cell = client.execute("print('x' * 1_000_000)\ndisplay({'text/plain': 'y' * 1_000_000}, raw=True)")
    expect("status", client.reply(cell)["status"], "ok")
    expect("text", len(client.text(cell)), 1_000_001)
    expect("display", len(client.contents(cell, "display_data")[0]["data"]["text/plain"]), 1_000_000)
    client.forget(cell)


def errors(client: Client) -> None:
    """A cell that fails while others wait behind it."""
    failing = client.execute("input()\nraise ValueError('soak')")
    behind = [client.execute("never = 1") for _ in range(3)]
    # When this is answered, the kernel has the cells.
    client.ask("kernel_info_request", {})
    client.answer("")
    expect("error", client.reply(failing)["ename"], "ValueError")
    for cell in behind:
        expect("status behind an error", client.reply(cell)["status"], "aborted")
    client.forget(failing, *behind)


def interrupt(client: Client) -> None:
    """A cell that is interrupted while another one waits."""
    endless = client.execute("print('started')\nwhile True: pass")
    client.wait_text("started", endless)
    behind = client.execute("never = 1")
    info = client.send("kernel_info_request", {})
    client.reply(info)
    interruption = client.send("interrupt_request", {}, "control")
    expect("interrupt", client.reply(interruption, "control")["status"], "ok")
    expect("interrupted", client.reply(endless)["ename"], "KeyboardInterrupt")
    expect("status behind an interrupt", client.reply(behind)["status"], "aborted")
    client.forget(endless, behind, info, interruption)


def comm(client: Client) -> None:
    """A comm: opened, used, looked for, closed."""
    comm_id = os.urandom(8).hex()
    sent = [client.send("comm_open", {"comm_id": comm_id, "target_name": "soak", "data": {}})]
    for n in range(3):
        msg_id = client.send("comm_msg", {"comm_id": comm_id, "data": {"n": n}})
        client.idle(msg_id)
        expect("echo", [m["data"] for m in client.contents(msg_id, "comm_msg")], [{"n": n}])
        sent.append(msg_id)
    client.idle(sent[0])
    asking = client.send("comm_info_request", {"target_name": "soak"})
    expect("open", comm_id in client.reply(asking)["comms"], True)
    client.idle(client.send("comm_close", {"comm_id": comm_id, "data": {}}))
    # Comm messages have no replies.
    client._counts["without reply"] += 5
    client.forget(*sent)


def language(client: Client) -> None:
    """Completion, inspection, history and kernel info, as editors ask for them."""
    expect("completion", "zip" in client.ask("complete_request", {"code": "zi", "cursor_pos": 2})["matches"], True)
    expect("inspection", client.ask("inspect_request", {"code": "zip", "cursor_pos": 3})["found"], True)
    expect("completeness", client.ask("is_complete_request", {"code": "if 1:"})["status"], "incomplete")
    history = client.ask("history_request", {"hist_access_type": "tail", "n": 3, "raw": True, "output": False})
    expect("history", history["status"], "ok")
    for channel in ("shell", "control"):
        expect("info", client.ask("kernel_info_request", {}, channel)["status"], "ok")
    expect("usage", client.ask("usage_request", {}, "control")["pid"] > 0, True)


def prompt(client: Client) -> None:
    """A question to the user."""
    cell = client.execute("input('soak? ')")
    client.answer("yes")
    expect("status", client.reply(cell)["status"], "ok")
    expect("answer", client.contents(cell, "execute_result")[0]["data"]["text/plain"], "'yes'")
    client.forget(cell)


def subshell(client: Client) -> None:
    """A subshell: made, used, deleted."""
    made = client.ask("create_subshell_request", {}, "control")
    header = {"subshell_id": made["subshell_id"]}
    cells = [client.execute("print('below')\nawait asyncio.sleep(0.001)", **header) for _ in range(3)]
    for cell in cells:
        expect("status in a subshell", client.reply(cell)["status"], "ok")
        expect("text in a subshell", client.text(cell), "below\n")
    expect("deletion", client.ask("delete_subshell_request", header, "control")["status"], "ok")


def tasks_and_threads(client: Client) -> None:
    """Cells beside the queue."""
    modes = ("task", "thread", "task", "thread name=Soak", "thread")
    cells = [client.execute(f"# {mode}\nawait asyncio.sleep(0.002)\nprint('beside')") for mode in modes]
    for cell in cells:
        expect("status beside", client.reply(cell)["status"], "ok")
        expect("text beside", client.text(cell), "beside\n")
    client.forget(*cells)


def command(client: Client) -> None:
    """A shell command, and a script."""
    cell = client.execute("!echo out; echo err >&2")
    expect("status of a command", client.reply(cell)["status"], "ok")
    expect("text of a command", (client.text(cell) + client.text(cell, "stderr")).split(), ["out", "err"])
    script = client.execute("%%bash\necho script")
    expect("status of a script", client.reply(script)["status"], "ok")
    expect("text of a script", client.text(script), "script\n")
    client.forget(cell, script)


SHARED = (outputs, comm, language, outputs, prompt, subshell, tasks_and_threads, command, large_output)
ALONE = (errors, interrupt)
