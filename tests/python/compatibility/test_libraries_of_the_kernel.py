"""Libraries that take ipykernel's running kernel apart: jupyter-ui-poll, ipyparallel, the Output widget."""

from __future__ import annotations

import json
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support import Client, Kernel, Run

#: Seconds for a cluster to start and answer.
CLUSTER = 120


@pytest.mark.skipif(find_spec("jupyter_ui_poll") is None, reason="jupyter-ui-poll is not installed")
def test_jupyter_ui_poll_waits_for_a_click(client: Client) -> None:
    """It replaces the handler of cells while its loop runs, and puts it back at the end of the cell."""
    msg_id = client.execute(
        "import asyncio\n"
        "from ipywidgets import Button\n"
        "from jupyter_ui_poll import ui_events\n"
        "clicks = []\n"
        "button = Button()\n"
        "button.on_click(clicks.append)\n"
        "async with ui_events() as poll:\n"
        "    print(f'started {button.comm.comm_id}', flush=True)\n"
        "    while not clicks:\n"
        "        await poll(5)\n"
        "        await asyncio.sleep(0.01)\n"
        "print('clicked', len(clicks))"
    )
    behind = client.execute("print('behind'); 1")
    comm_id = client.wait_text("\n", msg_id).split()[1]
    client.send("comm_msg", {"comm_id": comm_id, "data": {"method": "custom", "content": {"event": "click"}}})
    run = client.finish(msg_id)
    assert run.stdout == f"started {comm_id}\nclicked 1\n", run.stderr
    after = client.finish(behind)
    assert (after.stdout, after.result, after.stderr) == ("behind\n", "1", "")
    handlers = client.run("k = get_ipython().kernel; k.shell_handlers['execute_request'] == k.execute_request")
    assert handlers.result == "True"


def test_the_output_widget_takes_the_request_and_sends_errors(client: Client) -> None:
    run = client.run(
        "from ipywidgets import Output\n"
        "out = Output()\n"
        "with out:\n"
        "    print('inside', out.msg_id == get_ipython().kernel.get_parent()['header']['msg_id'])\n"
        "kernel = out.comm.kernel\n"
        "content = {'ename': 'Mine', 'evalue': 'e', 'traceback': ['t']}\n"
        "kernel.send_response(kernel.iopub_socket, 'error', content)"
    )
    assert run.stdout == "inside True\n"
    assert run.error["ename"] == "Mine"


@pytest.fixture
def cluster(client: Client, kernel: Kernel, *, has_ipykernel: bool) -> str:
    """The name of the view of a cluster with one engine, which the kernel has started."""
    if find_spec("ipyparallel") is None or not has_ipykernel:
        pytest.skip("ipyparallel is not installed, or ipykernel, which its engines need, is not")
    del kernel
    run = client.run(
        "import ipyparallel, json\n"
        "cluster = ipyparallel.Cluster(n=1, log_level=40)\n"
        "client = cluster.start_and_connect_sync(activate=True)\n"
        "json.dumps(client.ids)",
        CLUSTER,
    )
    assert run.reply["status"] == "ok", run.stderr
    assert json.loads(str(run.result).strip("'")) == [0]
    return "client"


@pytest.mark.usefixtures("cluster")
def test_ipyparallel_prints_into_the_cell_that_runs_on_the_engines(client: Client) -> None:
    # It prints, or displays what changes while the engines print.
    assert "of the engine 42" in shown(client.run("%px print('of the engine', 6 * 7)"))
    # All cells are sent to the engines.
    assert "enabled" in shown(client.run("%autopx"))
    assert "by itself 1" in shown(client.run("import os; x = 1; print('by itself', x)"))
    assert "disabled" in shown(client.run("%autopx"))
    assert client.run("'x' in globals()").result == "False"
    stopped = client.run("cluster.stop_cluster_sync()", CLUSTER)
    assert stopped.reply["status"] == "ok", stopped.stderr


def shown(run: Run) -> str:
    """What a cell has printed and displayed."""
    return run.stdout + "".join(content["data"]["text/plain"] for content in run.contents("display_data"))
