"""Lazy imports and lazily created attributes."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support import Client, Kernel


def run(code: str) -> str:
    """Runs a program; returns what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_kernel_has_not_loaded_ssl_until_a_cell_asks_for_something_of_it(
    start_kernel: Callable[..., Kernel], tmp_path: Path
) -> None:
    # uvloop loads ssl.
    (tmp_path / "uvloop.py").write_text("raise ImportError('not here')")
    path = os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", "")))
    with start_kernel(PYTHONPATH=path).connect() as client:
        assert (
            client.run("import sys; print('_ssl' in sys.modules, '_hashlib' in sys.modules)").stdout == "False False\n"
        )
        assert client.run("import ssl; print('_ssl' in sys.modules)").stdout == "False\n"
        code = """
            import types, asyncio.base_events
            print(type(ssl.create_default_context()).__name__, '_ssl' in sys.modules)
            print(type(ssl) is types.ModuleType, asyncio.base_events.ssl is ssl)
            """
        assert client.run(code).stdout == "SSLContext True\nTrue True\n"


def test_asyncio_speaks_tls_in_a_cell(client: Client) -> None:
    code = """
        import asyncio, ssl
        async def main():
            clients = []
            server = await asyncio.start_server(lambda *streams: clients.append(streams), "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]
            try:
                # It gets as far as the handshake, which the server does not answer.
                await asyncio.open_connection("127.0.0.1", port, ssl=True, ssl_handshake_timeout=0.05)
            except ConnectionAbortedError as error:
                print(error)
            server.close()
        await main()
        """
    assert "SSL handshake is taking longer than 0.05 seconds" in client.run(code).stdout


def test_a_cells_code_has_the_name_that_ipykernel_gives_it(client: Client) -> None:
    run = client.run("import sys; print(sys._getframe().f_code.co_filename)")
    code = """
        from ipykernel.compiler import get_file_name
        cells = get_ipython().history_manager.input_hist_raw
        print(get_file_name(cells[-2]))
        """
    assert client.run(code).stdout == run.stdout


def test_threads_that_ask_at_the_same_time_all_find_the_whole_module() -> None:
    code = """
        import threading, sys
        from callboard.util import lazy_import
        lazy_import.install()
        import ssl
        assert "_ssl" not in sys.modules
        start, found = threading.Barrier(16), []
        def ask():
            start.wait()
            # The last name that the module defines.
            found.append(ssl.get_server_certificate)
        threads = [threading.Thread(target=ask) for _ in range(16)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        print(len(found), len(set(found)))
        """
    assert run(code) == "16 1\n"


def test_an_attribute_set_before_its_module_is_loaded_stays() -> None:
    code = """
        from callboard.util import lazy_import
        lazy_import.install()
        import ssl
        ssl.get_server_certificate = None
        del ssl.cert_time_to_seconds
        print(ssl.get_server_certificate, hasattr(ssl, "cert_time_to_seconds"), hasattr(ssl, "SSLContext"))
        """
    assert run(code) == "None False True\n"


def test_a_module_that_cannot_be_loaded_is_not_there() -> None:
    code = """
        import sys
        from callboard.util import lazy_import
        lazy_import.install()
        import ssl
        sys.modules["_ssl"] = None
        for ask in (lambda: ssl.SSLContext, lambda: __import__("ssl")):
            try:
                ask()
            except ImportError:
                print("missing")
        del sys.modules["_ssl"]
        import ssl
        print(ssl.SSLContext.__name__)
        """
    assert run(code) == "missing\nmissing\nSSLContext\n"


def test_a_kernel_has_not_loaded_what_its_first_cell_does_not_need(
    start_kernel: Callable[..., Kernel], tmp_path: Path
) -> None:
    # Before the first cell, after which history is written.
    startup = tmp_path / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "look.py").write_text(
        "import sys; loaded = set(sys.modules); opened = get_ipython().history_manager.is_open"
    )
    with start_kernel(IPYTHONDIR=str(tmp_path / "ipython")).connect() as client:
        later = ("IPython.core.completer", "IPython.core.oinspect", "jedi", "platform", "sqlite3", "ssl", "random")
        assert client.run(f"sorted(loaded.intersection({later})), opened").result == "(['ssl'], False)"
        # What stands for a module becomes it.
        code = """
            import ipaddress, locale, tempfile, uuid
            print(ipaddress.ip_address("::1"), locale.CODESET > 0, tempfile.gettempprefix(), len(str(uuid.uuid4())))
            """
        assert client.run(code).stdout == "::1 True tmp 36\n"


def test_the_completer_is_there_when_it_is_configured(start_kernel: Callable[..., Kernel]) -> None:
    with start_kernel().connect() as client:
        assert client.run("%config IPCompleter.use_jedi").stdout == ""
        assert client.run("%config IPCompleter.use_jedi").result == "True"
        assert client.run("%config IPCompleter.use_jedi = False").reply["status"] == "ok"
        assert client.run("get_ipython().Completer.use_jedi").result == "False"
        assert "    IPCompleter\n" in client.run("%config").stdout


def test_completers_of_the_user_come_after_those_of_ipython(start_kernel: Callable[..., Kernel]) -> None:
    with start_kernel().connect() as client:
        code = """
            shell = get_ipython()
            def mine(self, event): return ["of_mine"]
            shell.set_hook("complete_command", mine, str_key="import")
            shell.set_hook("complete_command", mine, str_key="own_word")
            print([function.__name__ for function in shell.strdispatchers["complete_command"].s_matches("import")])
            """
        assert client.run(code).stdout == "['module_completer', 'mine']\n"
        subshell = client.ask("create_subshell_request", channel="control")["subshell_id"]
        for header in ({}, {"subshell_id": subshell}):
            reply = client.ask("complete_request", {"code": "own_word of", "cursor_pos": 11}, header=header)
            assert "of_mine" in reply["matches"]
        # A subshell's own completer leaves the list as it is.
        assert client.run(code.splitlines()[-2].strip()).stdout == "['module_completer', 'mine']\n"


def test_colours_that_are_chosen_before_something_is_inspected_hold(start_kernel: Callable[..., Kernel]) -> None:
    with start_kernel().connect() as client:
        for colours in ("nocolor", "neutral"):
            client.run(f"%colors {colours}")
            reply = client.ask("inspect_request", {"code": "print", "cursor_pos": 5, "detail_level": 0})
            assert ("\x1b[" in reply["data"]["text/plain"]) == (colours == "neutral")
