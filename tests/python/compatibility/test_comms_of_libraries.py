"""Comms of libraries that know ``ipykernel.comm``, and what would make all comms go nowhere."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support import Client, Run

#: What libraries import of ipykernel, and what importing the real package would do: replace ``comm.create_comm``.
IMPORTS = (
    "import ipykernel",
    "import ipykernel.kernelapp",
    "import ipykernel.ipkernel",
    "from ipykernel.ipkernel import IPythonKernel",
    "from ipykernel.kernelapp import IPKernelApp; IPKernelApp.instance()",
    "import ipykernel; ipykernel.get_connection_file()",
    "from ipykernel.connect import get_connection_info; get_connection_info()",
    "from ipykernel.comm import Comm; Comm('t')",
    "import importlib; importlib.import_module('ipykernel.ipkernel')",
    "__import__('ipykernel.ipkernel')",
    "import sys; del sys.modules['ipykernel.ipkernel']; import ipykernel.ipkernel",
    "import sys; [sys.modules.pop(m) for m in list(sys.modules) if m.startswith('ipykernel')]; import ipykernel.ipkernel",
    "import importlib, ipykernel.ipkernel; importlib.reload(ipykernel.ipkernel)",
    "import pkgutil; pkgutil.resolve_name('ipykernel.ipkernel:IPythonKernel')",
    "from traitlets.utils.importstring import import_item; import_item('ipykernel.ipkernel.IPythonKernel')",
)


def comm_types(run: Run) -> list[str]:
    return [each for each in run.types if each.startswith("comm_")]


@pytest.mark.parametrize("imports", IMPORTS)
def test_a_widget_speaks_after_other_libraries_have_asked(client: Client, imports: str) -> None:
    """mlflow, wandb, ipynbname and ipyparallel import the application or the kernel of ipykernel."""
    assert client.run(imports).status == "ok"
    run = client.run("import ipywidgets\nslider = ipywidgets.IntSlider()\nslider.value = 3")
    assert comm_types(run) == ["comm_open", "comm_open", "comm_open", "comm_msg"]
    assert client.run("import comm; comm.get_comm_manager() is get_ipython().kernel.comm_manager").result == "True"


#: The ways in which libraries make comms.
CALLS = (
    "Comm('t', {'a': 1})",
    "Comm('t', data={'a': 1})",
    "Comm(target_name='t', data={'a': 1})",
    "Comm('t', {'a': 1}, {'m': 1}, [b'x'])",
    "Comm('t', {'a': 1}, show_warning=False)",
    "Comm(target_name='t', data={'a': 1}, metadata={'m': 1}, buffers=[b'x'], comm_id='own')",
    "Comm(target_name='t', data={'a': 1}, target_module='module', topic=b'topic')",
    "Comm(target_name='t', data={'a': 1}, kernel=get_ipython().kernel, parent=get_ipython().kernel)",
    "Comm(target_name='t', data={'a': 1}, kernel=None, log=None, config=get_ipython().config)",
    "Derived('t', data={'a': 1})",
    "comm.create_comm(target_name='t', data={'a': 1})",
    "comm.create_comm('t', {'a': 1})",
    "BaseComm(target_name='t', data={'a': 1})",
    "sys.modules['ipykernel'].comm.comm.Comm('t', {'a': 1})",
)


@pytest.mark.parametrize("call", CALLS)
def test_a_comm_is_made_in_the_ways_that_libraries_know(client: Client, call: str) -> None:
    client.run(
        "import comm, sys\nfrom ipykernel.comm import Comm\nfrom ipykernel.comm.comm import BaseComm\n"
        "class Derived(Comm):\n    def __init__(self, *args, **kwargs):\n        super().__init__(*args, **kwargs)"
    )
    run = client.run(f"c = {call}\nc.send({{'b': 2}}, buffers=[b'y'])\nc.close()")
    assert run.status == "ok", run.traceback
    assert comm_types(run) == ["comm_open", "comm_msg", "comm_close"]
    opened, sent, _ = (m for m in run.messages if m["msg_type"].startswith("comm_"))
    assert (opened["content"]["target_name"], opened["content"]["data"]) == ("t", {"a": 1})
    assert (opened["metadata"], opened["buffers"]) == (({"m": 1}, [b"x"]) if "b'x'" in call else ({}, []))
    assert (sent["content"]["data"], sent["buffers"]) == ({"b": 2}, [b"y"])
    assert client.run("c.kernel is get_ipython().kernel, c.primary, c.target_name").result == "(True, True, 't')"
    assert client.run("isinstance(c, (BaseComm, comm.base_comm.BaseComm)), c._closed").result == "(True, True)"


@pytest.mark.parametrize("replaced", [False, True])
def test_a_comm_that_the_frontend_opens_is_one_of_ipykernel(client: Client, *, replaced: bool) -> None:
    """ipywidgets 7 checks the class. panel replaces ``create_comm`` by what sends nothing."""
    client.run(
        "import comm\nfrom ipykernel.comm import Comm\ncreate_comm = comm.create_comm\n"
        f"if {replaced}:\n    comm.create_comm = None\n"
        "get_ipython().kernel.comm_manager.register_target('t', lambda c, m: (globals().update(c=c), c.send({'hi': 1})))"
    )
    comm_id = uuid.uuid4().hex
    msg_id = client.send("comm_open", {"comm_id": comm_id, "target_name": "t", "data": {}})
    client.wait_idle(msg_id)
    sent = client.wait(lambda m: m["msg_type"] == "comm_msg" and m["content"]["comm_id"] == comm_id)
    assert sent["content"]["data"] == {"hi": 1}
    assert client.run("isinstance(c, Comm), c.comm_id, c.primary").result == f"(True, {comm_id!r}, False)"
    client.run("comm.create_comm = create_comm")


@pytest.mark.parametrize("failing", ["nothing", "raising"])
def test_a_comm_that_cannot_be_opened_is_closed(client: Client, failing: str) -> None:
    client.run("def fail(comm, message): 1 / 0\nget_ipython().kernel.comm_manager.register_target('raising', fail)")
    comm_id = uuid.uuid4().hex
    client.wait_idle(client.send("comm_open", {"comm_id": comm_id, "target_name": failing, "data": {}}))
    client.wait(lambda m: m["msg_type"] == "comm_close" and m["content"]["comm_id"] == comm_id)
    assert client.run(f"{comm_id!r} in get_ipython().kernel.comm_manager.comms").result == "False"


def test_a_kernel_set_in_the_class_is_not_that_of_other_comms(client: Client) -> None:
    """panel sets ``BaseComm.kernel`` to a kernel of its own."""
    run = client.run(
        "import comm\nfrom ipykernel.comm.comm import BaseComm\nfrom unittest.mock import Mock\n"
        "before, BaseComm.kernel = BaseComm.kernel, Mock()\n"
        "own = BaseComm(target_name='t')\nother = comm.create_comm(target_name='u')\nBaseComm.kernel = before\n"
        "(own.kernel is before, other.kernel is before)"
    )
    assert run.result == "(True, True)"
    assert [c["target_name"] for c in run.contents("comm_open")] == ["u"]


def test_matplotlib_draws_in_the_classic_notebook(client: Client) -> None:
    run = client.run("%matplotlib notebook\nimport matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()")
    assert run.status == "ok", run.traceback
    opened = run.contents("comm_open")[0]
    assert opened["target_name"] == "matplotlib"
    # Its data is text, not an object.
    for data in ({"type": "supports_binary", "value": True}, {"type": "draw"}):
        message = {"comm_id": opened["comm_id"], "data": json.dumps({**data, "figure_id": ""})}
        client.wait_idle(client.send("comm_msg", message))
    client.wait(lambda m: m["msg_type"] == "comm_msg" and [bytes(b)[:4] for b in m["buffers"]] == [b"\x89PNG"])
    client.run("plt.close('all')\n%matplotlib inline")
