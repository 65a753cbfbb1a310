"""The package ``ipykernel`` of a kernel: what libraries ask it, whether the real one is installed or not."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from kernels_by_hand import Started, write_connection
from support import Client, without_colours

if TYPE_CHECKING:
    from support import Kernel

#: What libraries import: modules, and what is in them.
NAMES = {
    "ipykernel": "__version__ version_info get_connection_file get_connection_info connect_qtconsole",
    "ipykernel._version": "__version__ version_info kernel_protocol_version kernel_protocol_version_info",
    "ipykernel.comm": "Comm CommManager",
    "ipykernel.comm.comm": "BaseComm Comm",
    "ipykernel.comm.manager": "CommManager",
    "ipykernel.compiler": "XCachingCompiler get_file_name get_tmp_directory get_tmp_hash_seed murmur2_x86",
    "ipykernel.connect": "connect_qtconsole get_connection_file get_connection_info write_connection_file",
    "ipykernel.displayhook": "ZMQShellDisplayHook",
    "ipykernel.eventloops": "enable_gui loop_map register_integration",
    "ipykernel.iostream": "BackgroundSocket IOPubThread OutStream",
    "ipykernel.ipkernel": "IPythonKernel KernelBase ZMQInteractiveShell",
    "ipykernel.jsonutil": "encode_images json_clean",
    "ipykernel.kernelapp": "IPKernelApp IPythonKernel ZMQInteractiveShell get_connection_file",
    "ipykernel.kernelbase": "Kernel",
    "ipykernel.pylab.backend_inline": "FigureCanvas flush_figures new_figure_manager show",
    "ipykernel.pylab.config": "InlineBackend",
    "ipykernel.zmqshell": "KernelMagics ZMQDisplayPublisher ZMQInteractiveShell",
}

#: The objects of a kernel, and what libraries know their classes as.
CLASSES = {
    "get_ipython()": "ipykernel.zmqshell:ZMQInteractiveShell",
    "get_ipython().parent": "ipykernel.kernelapp:IPKernelApp",
    "get_ipython().kernel": "ipykernel.ipkernel:IPythonKernel",
    "get_ipython().kernel.comm_manager": "ipykernel.comm.manager:CommManager",
    "get_ipython().display_pub": "ipykernel.zmqshell:ZMQDisplayPublisher",
    "get_ipython().displayhook": "ipykernel.displayhook:ZMQShellDisplayHook",
    "get_ipython().compile": "ipykernel.compiler:XCachingCompiler",
    "__import__('sys').stdout": "ipykernel.iostream:OutStream",
    "__import__('sys').stderr": "ipykernel.iostream:OutStream",
    "__import__('comm').create_comm('t', primary=False)": "ipykernel.comm.comm:Comm",
}


def value(client: Client, code: str) -> Any:
    """Runs a cell; what it prints, as JSON."""
    run = client.run(code)
    assert run.status == "ok", run.traceback
    return json.loads(run.stdout)


@pytest.mark.parametrize("module", NAMES)
def test_a_module_is_there_from_the_start_with_its_names(client: Client, module: str) -> None:
    assert client.run(f"import sys; {module!r} in sys.modules").result == "True"
    for name in NAMES[module].split():
        assert client.run(f"from {module} import {name}").status == "ok", name
    parent, _, last = module.rpartition(".")
    if parent:
        assert client.run(f"sys.modules[{parent!r}].{last} is sys.modules[{module!r}]").result == "True"


def test_none_of_them_is_the_installed_one(client: Client) -> None:
    client.run(
        "import sys\n"
        + "\n".join(f"from {module} import {names.replace(' ', ', ')}" for module, names in NAMES.items())
    )
    files = value(
        client,
        "import json\nprint(json.dumps({n: m.__file__ for n, m in sys.modules.items() if n.startswith('ipykernel')}))",
    )
    assert set(NAMES) <= set(files)
    # The binary has callboard's modules of the repository that it was built in.
    package = value(client, "import callboard\nprint(json.dumps(callboard.__file__))").removesuffix("__init__.py")
    assert {name: file for name, file in files.items() if not file.startswith(package)} == {}


@pytest.mark.parametrize("expression", CLASSES)
def test_an_object_is_of_the_class_that_ipykernel_has(client: Client, expression: str) -> None:
    module, _, name = CLASSES[expression].partition(":")
    client.run(f"import {module} as module\ncls = type({expression})")
    assert client.run(f"issubclass(cls, module.{name}) and isinstance({expression}, module.{name})").result == "True"
    assert client.run("cls.__module__").result == repr(module)
    # A class is found again by its name: pickle and autoreload do that.
    assert client.run("getattr(module, cls.__qualname__) is cls").result == "True"
    assert client.run("import pickle; pickle.loads(pickle.dumps(cls)) is cls").result == "True"


def test_the_socket_and_the_thread_of_iopub_are_those_of_ipykernel(client: Client) -> None:
    """ipyparallel and ``ipykernel.inprocess`` import the classes."""
    client.run("from ipykernel.iostream import BackgroundSocket, IOPubThread\nkernel = get_ipython().kernel")
    assert client.run("isinstance(kernel.iopub_socket, BackgroundSocket)").result == "True"
    assert client.run("isinstance(kernel.iopub_thread, IOPubThread)").result == "True"


@pytest.mark.parametrize("expression", CLASSES)
def test_the_source_of_a_class_is_found(client: Client, expression: str) -> None:
    client.run(f"import inspect\ncls = type({expression})")
    assert client.run("inspect.getsource(cls).startswith('class ' + cls.__name__)").result == "True"
    assert client.run("open(inspect.getsourcefile(cls)).read().count(inspect.getsource(cls))").result == "1"
    shown = client.ask("inspect_request", {"code": "cls", "cursor_pos": 3, "detail_level": 1})
    assert "\nclass " in without_colours(shown["data"]["text/plain"])


def test_the_package_looks_like_an_imported_one(client: Client) -> None:
    """pyspark joins ``__file__``; ``find_spec`` raises without a spec; IPython's completer asks for names."""
    assert client.run("import ipykernel, os; os.path.isfile(ipykernel.__file__)").result == "True"
    assert (
        client.run("from importlib.util import find_spec; find_spec('ipykernel') is ipykernel.__spec__").result
        == "True"
    )
    assert client.run("find_spec('ipykernel.zmqshell').name, ipykernel.zmqshell.__package__").result == (
        "('ipykernel.zmqshell', 'ipykernel')"
    )
    assert client.run("ipykernel.zmqshell").result.startswith("<module 'ipykernel.zmqshell' (")
    assert client.run("{'version_info', 'zmqshell', 'get_connection_file'} <= set(dir(ipykernel))").result == "True"
    assert client.run("hasattr(ipykernel, '__wrapped__'), hasattr(ipykernel, 'nothing')").result == "(False, False)"
    assert client.run("from ipykernel.nothing import x").error["ename"] == "ModuleNotFoundError"
    assert client.run("from ipykernel.iostream import nothing").error["ename"] == "ImportError"
    client.run("from ipykernel.comm import *\nfrom ipykernel.pylab.config import *")
    assert client.run("Comm.__name__, InlineBackend.__name__").result == "('Comm', 'InlineBackend')"


def test_frames_of_the_kernel_are_those_of_the_package(client: Client) -> None:
    """pyspark leaves out frames whose file is below the folder of ipykernel."""
    client.run("import os, traceback, ipykernel\nfolder = os.path.dirname(ipykernel.__file__)")
    assert client.run("any(folder in frame.filename for frame in traceback.extract_stack())").result == "True"


def test_other_modules_are_those_of_the_installed_package(client: Client, *, has_ipykernel: bool) -> None:
    run = client.run("import ipykernel.kernelspec, ipykernel.embed, ipykernel.inprocess\nlist(ipykernel.__path__)")
    if not has_ipykernel:
        assert run.error["ename"] == "ModuleNotFoundError"
        assert client.run("list(ipykernel.__path__), len(ipykernel.__path__)").result == "([], 0)"
        return
    assert run.status == "ok"
    folder = client.run("ipykernel.__path__[0]").result
    assert client.run("os = __import__('os'); os.path.dirname(ipykernel.kernelspec.__file__)").result == folder
    run = client.run("from ipykernel.inprocess.ipkernel import InProcessInteractiveShell, InProcessKernel")
    assert run.status == "ok", run.traceback
    # They work with the kernel that runs.
    assert client.run("ipykernel.embed.IPKernelApp is type(get_ipython().parent)").result == "True"


@pytest.mark.parametrize("how", ["del sys.modules['ipykernel.zmqshell']", "importlib.reload(ipykernel.zmqshell)"])
def test_a_module_is_the_same_when_it_is_imported_again(client: Client, how: str) -> None:
    client.run(f"import importlib, sys, ipykernel.zmqshell\n{how}\nimport ipykernel.zmqshell")
    assert client.run("ipykernel.zmqshell is sys.modules['ipykernel.zmqshell']").result == "True"
    assert client.run("ipykernel.zmqshell.ZMQInteractiveShell is type(get_ipython())").result == "True"


def test_the_version_is_one_that_libraries_accept(client: Client) -> None:
    """ipywidgets, ipyparallel and solara compare it."""
    assert client.run("import ipykernel; ipykernel.version_info[:2] >= (6, 18)").result == "True"
    assert client.run("tuple(map(int, ipykernel.__version__.split('.'))) == ipykernel.version_info").result == "True"


def test_importlib_metadata_knows_no_ipykernel_that_is_not_installed(client: Client, *, has_ipykernel: bool) -> None:
    run = client.run("import importlib.metadata; len(importlib.metadata.version('ipykernel')) > 0")
    assert run.result == "True" if has_ipykernel else run.error["ename"] == "PackageNotFoundError"


def test_the_connection_is_that_of_the_kernel(client: Client, kernel: Kernel) -> None:
    """mlflow, wandb, ipynbname and spyder ask for it."""
    info = json.loads(Path(kernel.connection_file).read_text())
    assert client.run("import ipykernel; ipykernel.get_connection_file()").result == repr(kernel.connection_file)
    assert value(client, "print(ipykernel.connect.get_connection_info())") == info
    client.run("info = ipykernel.get_connection_info(unpack=True)")
    assert client.run("info['key'], info['shell_port']").result == repr((info["key"].encode(), info["shell_port"]))
    named = client.run(f"ipykernel.get_connection_info({kernel.connection_file!r}, unpack=True) == info")
    assert named.result == "True"
    assert client.run("ipykernel.connect.write_connection_file.__module__").result == "'jupyter_client.connect'"


def test_the_connection_file_is_found_from_any_folder(way: str, tmp_path: Path) -> None:
    """With ipykernel, a kernel that was given a relative path cannot tell it any more."""
    file = write_connection(tmp_path)
    with Started(way, tmp_path, "-f", "connection.json") as started, Client(file, started.process) as client:
        client.subscribe()
        client.run("import os; os.chdir('/')")
        assert client.run("import ipykernel; ipykernel.get_connection_file()").result == repr(file)


def test_the_running_kernel_and_application_are_found(client: Client) -> None:
    """solara and ipyparallel ask for the kernel, snakeviz and wandb for the application."""
    client.run("from ipykernel.kernelbase import Kernel\nfrom ipykernel.ipkernel import IPythonKernel")
    client.run("from ipykernel.kernelapp import IPKernelApp\nkernel = get_ipython().kernel")
    for cls in ("Kernel", "IPythonKernel"):
        assert client.run(f"{cls}.initialized(), {cls}.instance() is kernel, {cls}._instance is kernel").result == (
            "(True, True, True)"
        )
    assert client.run("IPKernelApp.initialized(), IPKernelApp.instance().kernel is kernel").result == "(True, True)"
    assert client.run("kernel.parent is IPKernelApp.instance(), kernel.config is kernel.parent.config").result == (
        "(True, True)"
    )
    assert client.run("kernel.log is kernel.parent.log").result == "True"


def test_kernels_of_libraries_can_be_made(client: Client) -> None:
    """panel, solara and metakernel derive classes, and make objects of them beside the kernel that runs."""
    run = client.run(
        "import logging\n"
        "from ipykernel.kernelbase import Kernel\n"
        "from ipykernel.comm import CommManager\n"
        "from traitlets import Any, Dict\n"
        "class Session:\n"
        "    sent = []\n"
        "    def send(self, stream, msg_type, content=None, parent=None, ident=None, buffers=None, **keys):\n"
        "        self.sent.append((stream, msg_type, content, parent))\n"
        "class Own(Kernel):\n"
        "    implementation, implementation_version, banner = 'own', '1', 'b'\n"
        "    shell_stream = Any('shell', allow_none=True)\n"
        "    settings = Dict(dict(backend='inline')).tag(config=True)\n"
        "    def __init__(self, **options):\n"
        "        super().__init__(**options)\n"
        "        assert self.log is None\n"
        "        self.session, self.iopub_socket, self.shell = Session(), 'iopub', None\n"
        "        self.log = logging.getLogger('own')\n"
        "        self.comm_manager = CommManager(parent=self, kernel=self)\n"
        "        for name in ('comm_open', 'comm_msg', 'comm_close'):\n"
        "            self.shell_handlers[name] = getattr(self.comm_manager, name)\n"
        "    def set_parent(self, ident, parent, channel='shell'):\n"
        "        super().set_parent(ident, parent, channel)\n"
        "own = Own()\n"
    )
    assert run.status == "ok", run.traceback
    assert client.run("Kernel.instance() is get_ipython().kernel is not own").result == "True"
    client.run("own.set_parent(None, {'header': {'msg_id': 'm'}}); own.send_response('s', 'stream', {'name': 'x'})")
    assert client.run("own.session.sent.pop()").result == "('s', 'stream', {'name': 'x'}, {'header': {'msg_id': 'm'}})"
    # Its comms are not those of the kernel that runs.
    run = client.run("from ipykernel.comm import Comm\nc = Comm('t', data={'a': 1}, kernel=own)\nc.kernel is own")
    assert run.result == "True"
    assert "comm_open" not in run.types
    assert client.run("[(stream, name, content['data']) for stream, name, content, _ in own.session.sent]").result == (
        "[('iopub', 'comm_open', {'a': 1})]"
    )


#: A message that a library's kernel gets from its own frontend, serialized.
DISPATCH = """
import zmq
from jupyter_client.session import Session
class Recorder(Session):
    sent = []
    def send(self, stream, msg_or_type, content=None, parent=None, ident=None, buffers=None, **keys):
        self.sent.append((msg_or_type, content, parent["header"]["msg_type"]))
recorder = Recorder(key=b"k")
own.session = recorder
opened = []
own.comm_manager.register_target("t", lambda comm, message: opened.append(comm))
for msg_type, content in (
    ("comm_open", {"comm_id": "c", "target_name": "t", "data": {}}),
    ("comm_info_request", {"target_name": "t"}),
    ("kernel_info_request", {}),
):
    frames = recorder.serialize(recorder.msg(msg_type, content))
    await own.dispatch_shell([zmq.Frame(frame) for frame in frames])
"""


def test_a_kernel_of_a_library_handles_messages_of_its_own_frontends(client: Client) -> None:
    """ipywidgets_bokeh passes them to ``dispatch_shell``."""
    client.run("import logging\nfrom ipykernel.kernelbase import Kernel\nfrom ipykernel.comm import CommManager")
    client.run("own = Kernel(log=logging.getLogger('own'))\nown.comm_manager = CommManager(kernel=own)")
    client.run("own.shell_handlers['comm_open'] = own.comm_manager.comm_open")
    run = client.run(DISPATCH)
    assert run.status == "ok", run.traceback
    assert client.run("opened[0].kernel is own").result == "True"
    assert client.run("' '.join(name for name, _, _ in recorder.sent)").result == (
        "'status status status comm_info_reply status status kernel_info_reply status'"
    )
    assert client.run("recorder.sent[3][1]['comms']").result == "{'c': {'target_name': 't'}}"


def test_messages_are_sent_as_they_are(client: Client) -> None:
    """ipyparallel cleans what it sends."""
    client.run("from ipykernel.jsonutil import json_clean, encode_images")
    assert client.run("json_clean({'a': (1, 2)}), encode_images({'image/png': b'x'})").result == (
        "({'a': (1, 2)}, {'image/png': b'x'})"
    )


def test_names_of_cells_as_files_are_those_of_ipykernel(client: Client, kernel: Kernel) -> None:
    """ipytest compares file names with the folder of cells, debuggers compute the hash."""
    client.run("import os, tempfile\nfrom ipykernel.compiler import get_file_name, get_tmp_directory, murmur2_x86")
    folder = client.run("os.path.join(tempfile.gettempdir(), f'ipykernel_{os.getpid()}')").result
    assert client.run("get_tmp_directory()").result == folder
    hashes = {"": 3990065800, "a": 2167009006, "x = 1": 3427300630, "é🎭 abc": 3762510823}
    assert value(client, f"print([murmur2_x86(text, 0xC70F6907) for text in {list(hashes)}])") == list(hashes.values())
    assert client.run("get_file_name('x = 1') == os.path.join(get_tmp_directory(), '3427300630.py')").result == "True"
    client.run("os.environ['IPYKERNEL_CELL_NAME'] = 'cell'")
    assert client.run("get_file_name('x = 1')").result == "'cell'"
    client.run("del os.environ['IPYKERNEL_CELL_NAME']")


def test_the_inline_backend_is_that_of_matplotlib_inline(client: Client) -> None:
    """holoviews and older settings of matplotlib name it."""
    client.run("import matplotlib_inline.backend_inline, ipykernel.pylab.backend_inline as backend")
    assert client.run("backend.show is matplotlib_inline.backend_inline.show").result == "True"
    client.run("import matplotlib; matplotlib.use('module://ipykernel.pylab.backend_inline')")
    run = client.run("import matplotlib.pyplot as plt\nplt.plot([1, 2]); plt.show()")
    assert "image/png" in run.contents("display_data")[0]["data"]


def test_nothing_is_there_in_a_program_that_only_imports_callboard(python: str) -> None:
    code = "import sys, callboard\nfrom callboard import Caller, Pending\nprint([m for m in sys.modules if 'ipykernel' in m])"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_configuration_files_find_it(python: str, start_kernel: Any, tmp_path: Path) -> None:
    folder = tmp_path / "kernel0" / "ipython" / "profile_default"
    folder.mkdir(parents=True)
    (folder / "ipython_kernel_config.py").write_text(
        "import sys, ipykernel.zmqshell\n"
        "c.InteractiveShellApp.exec_lines = ['found = ' + repr(ipykernel.zmqshell.__file__)]\n"
        "c.IPythonKernel._execute_sleep = 0.1\nc.Kernel.stop_on_error_timeout = 1.0\n"
    )
    kernel = start_kernel()
    with kernel.connect() as client:
        client.run("import os, callboard")
        assert (
            client.run("os.path.relpath(found, os.path.dirname(callboard.__file__))").result
            == "'ipython/shell/shell.py'"
        )
    assert "not recognized" not in kernel.terminal
    assert python


#: What would start another kernel in the process, as libraries and users do in other programs.
SECOND_KERNELS = (
    "from IPython import embed_kernel; embed_kernel()",
    "import ipykernel.embed; ipykernel.embed.embed_kernel()",
    "from ipykernel.kernelapp import IPKernelApp; IPKernelApp.launch_instance([])",
    "from ipykernel.kernelapp import IPKernelApp; IPKernelApp.instance().initialize([])",
    "from ipykernel.kernelapp import IPKernelApp; IPKernelApp.instance().start()",
    "from ipykernel.ipkernel import IPythonKernel; IPythonKernel(user_ns={})",
)


@pytest.mark.parametrize("start", SECOND_KERNELS)
def test_a_second_kernel_in_the_process_is_refused(client: Client, start: str, *, has_ipykernel: bool) -> None:
    """With ipykernel it fails as well, later."""
    if "embed" in start and not has_ipykernel:
        pytest.skip("it is in the package that is not installed")
    run = client.run(start)
    assert (run.error["ename"], run.error["evalue"]) == (
        "RuntimeError",
        "this process has a kernel, which runs: another one needs a process of its own",
    )
    assert client.run("print('still here')").stdout == "still here\n"
    assert client.run("1 / 0").error["ename"] == "ZeroDivisionError"
