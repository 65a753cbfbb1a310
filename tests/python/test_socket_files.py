"""Who may talk to a kernel: encryption, signatures, and files that are for their owner only."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import zmq
from jupyter_client.channels import HBChannel
from jupyter_client.connect import write_connection_file
from support import TIMEOUT, Client, Kernel, command, environment
from test_bad_input import one_line, start_in_vain
from zmq.utils.monitor import recv_monitor_message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: The type of the socket that a client connects to each channel.
CHANNELS = {"shell": zmq.DEALER, "control": zmq.DEALER, "stdin": zmq.DEALER, "iopub": zmq.SUB, "hb": zmq.REQ}

REJECTED = zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_DISCONNECTED


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for sockets: the path of one may have no more than about 100 characters. To be asked for before what
    starts kernels: then these are gone when it goes."""
    path = Path(tempfile.mkdtemp())
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(params=["tcp", "ipc"])
def transport(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def encrypted(folder: Path, start_kernel: Callable[..., Kernel], transport: str) -> Kernel:
    """A kernel whose manager insists on encryption."""
    return start_kernel(folder=folder, settings={"transport": transport, "transport_encryption": "required"})


def describe(kernel: Kernel) -> dict[str, Any]:
    """What the connection file says."""
    return json.loads(Path(kernel.connection_file).read_text())


def address(info: dict[str, Any], channel: str) -> str:
    between = "-" if info["transport"] == "ipc" else ":"
    return f"{info['transport']}://{info['ip']}{between}{info[f'{channel}_port']}"


@pytest.fixture
def intrude() -> Iterator[Callable[..., zmq.Socket]]:
    """Connects a socket to a channel with these keys and sees it rejected."""
    opened: list[zmq.Socket] = []

    def connect(kernel: Kernel, channel: str, server_key: bytes | None) -> zmq.Socket:
        intruder = zmq.Context.instance().socket(CHANNELS[channel])
        opened.append(intruder)
        intruder.linger = 0
        if server_key is not None:
            intruder.curve_publickey, intruder.curve_secretkey = zmq.curve_keypair()
            intruder.curve_serverkey = server_key
        monitor = intruder.get_monitor_socket(REJECTED | zmq.EVENT_HANDSHAKE_SUCCEEDED)
        try:
            intruder.connect(address(describe(kernel), channel))
            assert monitor.poll(TIMEOUT * 1000)
            assert recv_monitor_message(monitor)["event"] & REJECTED
        finally:
            intruder.disable_monitor()
        return intruder

    yield connect
    for intruder in opened:
        intruder.close()


def push(intruder: zmq.Socket, frames: list[bytes]) -> None:
    """Sends, unless libzmq has given up: who sees by itself that the other side encrypts does not try again."""
    with contextlib.suppress(zmq.Again):
        intruder.send_multipart(frames, zmq.NOBLOCK)


# -- encryption -----------------------------------------------------------------------------------------------------


def test_an_encrypted_kernel_works_on_every_channel(encrypted: Kernel) -> None:
    info = describe(encrypted)
    assert len(info["curve_publickey"]) == len(info["curve_secretkey"]) == 40
    with encrypted.connect() as client:
        assert client.kc.shell_channel.socket.mechanism == zmq.CURVE
        assert client.run("print('out')\n6 * 7").result == "42"
        assert client.ask("kernel_info_request", channel="control")["status"] == "ok"
        asked = client.execute("input('name? ')")
        prompt = next(client.prompts())
        assert prompt["content"]["prompt"] == "name? "
        client.answer("Ada", prompt)
        assert client.finish(asked).result == "'Ada'"
    assert encrypted.terminal == ""


def test_the_heartbeat_of_an_encrypted_kernel_is_heard(encrypted: Kernel) -> None:
    info = describe(encrypted)
    # As jupyter_client makes it: with a key of its own.
    heart = HBChannel(
        zmq.Context.instance(), address=address(info, "hb"), curve_serverkey=info["curve_publickey"].encode()
    )
    heart._create_socket()
    try:
        for beat in (b"one", b"two"):
            heart.socket.send(beat)
            assert heart.socket.poll(TIMEOUT * 1000)
            assert heart.socket.recv() == beat
    finally:
        heart.socket.close()


def test_an_encrypted_kernel_is_restarted_with_its_keys(encrypted: Kernel) -> None:
    with encrypted.connect() as client:
        assert client.run("kept = 1").status == "ok"
    before = describe(encrypted)
    encrypted.manager.restart_kernel()
    assert describe(encrypted) == before
    with encrypted.connect() as client:
        assert client.run("'kept' in globals()").result == "False"


@pytest.mark.parametrize("keys", ["none", "wrong"])
def test_a_client_without_the_right_key_gets_nothing_and_does_no_harm(
    encrypted: Kernel, intrude: Callable[..., zmq.Socket], keys: str
) -> None:
    wrong = zmq.curve_keypair()[0] if keys == "wrong" else None
    with encrypted.connect() as client:
        intruders = {channel: intrude(encrypted, channel, wrong) for channel in CHANNELS}
        intruders["iopub"].setsockopt(zmq.SUBSCRIBE, b"")
        session = client.kc.session
        for channel in ("shell", "control"):
            # Signed with the right key: only encryption stands before it.
            push(intruders[channel], session.serialize(session.msg("kernel_info_request", {})))
            code = {"code": "intruded = True", "silent": False}
            push(intruders[channel], session.serialize(session.msg("execute_request", code)))
        push(intruders["hb"], [b"ping"])
        run = client.run("print('for friends')\n'intruded' in globals()")
        assert (run.stdout, run.result) == ("for friends\n", "False")
        assert client.ask("kernel_info_request", channel="control")["status"] == "ok"
        assert [channel for channel, intruder in intruders.items() if intruder.poll(0)] == []
    assert encrypted.alive
    assert "panicked" not in encrypted.terminal


def test_another_client_may_have_a_key_of_its_own(encrypted: Kernel) -> None:
    """As with ipykernel: who knows the kernel's public key may connect; messages are signed besides."""
    info = describe(encrypted)
    with encrypted.connect() as client, zmq.Context.instance().socket(zmq.DEALER) as other:
        other.linger = 0
        other.curve_publickey, other.curve_secretkey = zmq.curve_keypair()
        other.curve_serverkey = info["curve_publickey"].encode()
        other.connect(address(info, "shell"))
        session = client.kc.session
        other.send_multipart(session.serialize(session.msg("kernel_info_request", {})))
        assert other.poll(TIMEOUT * 1000)
        _, frames = session.feed_identities(other.recv_multipart())
        assert session.deserialize(frames)["msg_type"] == "kernel_info_reply"


def test_a_manager_that_does_not_ask_gets_no_encryption(
    folder: Path, start_kernel: Callable[..., Kernel], transport: str
) -> None:
    kernel = start_kernel(folder=folder, settings={"transport": transport})
    assert "curve_publickey" not in describe(kernel)
    with kernel.connect() as client:
        assert client.kc.shell_channel.socket.mechanism == zmq.NULL
        assert client.run("1 + 1").result == "2"
    assert kernel.terminal == ""


KEYS = tuple(key.decode() for key in zmq.curve_keypair())


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"curve_publickey": KEYS[0]}, "curve_secretkey"),
        ({"curve_secretkey": KEYS[1]}, "curve_publickey"),
        ({"curve_publickey": "short", "curve_secretkey": KEYS[1]}, "curve_publickey"),
        ({"curve_publickey": KEYS[0], "curve_secretkey": "\\" * 40}, "curve_secretkey"),
        ({"curve_publickey": KEYS[0], "curve_secretkey": "%" * 40}, "curve_secretkey"),
        ({"curve_publickey": KEYS[1], "curve_secretkey": KEYS[0]}, "not the public key"),
        ({"curve_publickey": 5, "curve_secretkey": KEYS[1]}, "5"),
    ],
)
def test_bad_keys_are_told_at_the_start(way: str, tmp_path: Path, keys: dict[str, Any], told: str) -> None:
    line = one_line(start_in_vain(way, tmp_path, "-f", write_connection(tmp_path, **keys)))
    assert told in line
    assert "connection.json" in line
    assert KEYS[1] not in line


# -- signatures -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("first", "second"), [("shell", "control"), ("control", "shell"), ("shell", "stdin")])
def test_a_message_that_was_taken_on_one_channel_is_refused_on_another(kernel: Kernel, first: str, second: str) -> None:
    info = describe(kernel)
    dealers = {name: zmq.Context.instance().socket(zmq.DEALER) for name in (first, second)}
    with kernel.connect() as client:
        try:
            for name, dealer in dealers.items():
                dealer.linger = 0
                dealer.connect(address(info, name))
            session = client.kc.session
            client.run("replayed = 0")
            code = {"code": "replayed += 1", "silent": False}
            frames = session.serialize(session.msg("execute_request", code))
            dealers[first].send_multipart(frames)
            assert dealers[first].poll(TIMEOUT * 1000)
            before = kernel.terminal.count("replayed signature")
            dealers[second].send_multipart(frames)
            if second == "stdin":
                # Nothing is answered there: the kernel's log tells that it was read.
                while kernel.terminal.count("replayed signature") == before:
                    assert client.run("1").status == "ok"
            else:
                dealers[second].send_multipart(session.serialize(session.msg("kernel_info_request", {})))
                assert dealers[second].poll(TIMEOUT * 1000)
                _, answer = session.feed_identities(dealers[second].recv_multipart())
                assert session.deserialize(answer)["msg_type"] == "kernel_info_reply"
            assert client.run("replayed").result == "1"
            assert kernel.terminal.count("replayed signature") == before + 1
        finally:
            for dealer in dealers.values():
                dealer.close()


# -- files ----------------------------------------------------------------------------------------------------------


def write_connection(folder: Path, **changes: Any) -> str:
    """Writes a connection file that is right but for these changes."""
    file = folder / "connection.json"
    settings = {"ip": "127.0.0.1", "transport": "tcp", **changes}
    _, content = write_connection_file(str(file), ip=settings["ip"], transport=settings["transport"], key=b"secret")
    file.write_text(json.dumps({**content, **changes}))
    return str(file)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


class Started:
    """A kernel that was started from a command line."""

    def __init__(self, way: str, folder: Path, *options: str, **env: str) -> None:
        self.file = folder / "terminal.txt"
        with self.file.open("w") as terminal:
            self.process = subprocess.Popen(
                [*command(way), *options],
                env=environment(folder, **env),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=terminal,
                text=True,
            )

    def __enter__(self) -> Started:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    @property
    def terminal(self) -> str:
        return self.file.read_text()

    def announced(self) -> Path:
        """The connection file that it says it has written."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("Connection file: "), self.terminal
        return Path(line.removeprefix("Connection file: ").strip())

    def connect(self, connection_file: str | Path) -> Client:
        client = Client(connection_file, self.process)
        client.subscribe()
        return client

    def shut_down(self, client: Client) -> None:
        client.ask("shutdown_request", {"restart": False}, channel="control")
        assert self.process.wait(TIMEOUT) == 0, self.terminal


def test_sockets_of_ipc_are_for_their_owner_only(way: str, folder: Path) -> None:
    """Also in a folder that everybody may enter, and with a mask that would let everybody in."""
    folder.chmod(0o777)
    file = write_connection(folder, transport="ipc", ip=str(folder / "open"))
    before = os.umask(0)
    try:
        started = Started(way, folder, "-f", file)
    finally:
        os.umask(before)
    with started, started.connect(file) as client:
        sockets = list(folder.glob("open-*"))
        assert len(sockets) == 5
        assert {mode(path) & 0o077 for path in sockets} == {0}
        made = client.run(f"import os; f = open({str(folder / 'made')!r}, 'w'); oct(os.umask(0))")
        assert made.result == "'0o0'", "the mask of cells is the user's"
        assert mode(folder / "made") & 0o777 == 0o666
        started.shut_down(client)
        assert list(folder.glob("open-*")) == []


def test_a_folder_for_sockets_that_is_missing_is_made_private(way: str, folder: Path) -> None:
    file = write_connection(folder, transport="ipc", ip=str(folder / "new" / "kernel"))
    with Started(way, folder, "-f", file) as started, started.connect(file) as client:
        assert mode(folder / "new") == 0o700
        assert client.run("1 + 1").result == "2"


@pytest.mark.parametrize("end", ["shutdown", "stuck"])
def test_a_kernel_of_its_own_on_ipc_has_a_private_folder_and_removes_it(way: str, folder: Path, end: str) -> None:
    with Started(way, folder, "--transport=ipc", "--shutdown-deadline=1", XDG_RUNTIME_DIR=str(folder)) as started:
        file = started.announced()
        info = json.loads(file.read_text())
        private = Path(info["ip"]).parent
        assert private.parent == folder
        assert mode(private) == 0o700
        assert mode(file) == 0o600
        assert len(list(private.iterdir())) == 5
        with started.connect(file) as client:
            assert client.run("1 + 1").result == "2"
            if end == "stuck":
                client.start("print('started'); import ctypes; ctypes.PyDLL(None).sleep(1000)")
            started.shut_down(client)
        assert not private.exists()
        assert not file.exists()


def test_two_kernels_that_share_a_prefix_do_not_share_sockets(way: str, folder: Path) -> None:
    options = ("--transport=ipc", f"--ip={folder / 'both'}")
    with Started(way, folder, *options) as one, one.connect(one.announced()) as first:
        with Started(way, folder, *options) as two, two.connect(two.announced()) as second:
            assert first.run("import os; os.getpid()").result == str(one.process.pid)
            assert second.run("import os; os.getpid()").result == str(two.process.pid)
            assert len(list(folder.glob("both-*"))) == 10
            two.shut_down(second)
        assert len(list(folder.glob("both-*"))) == 5
        assert first.run("1 + 1").result == "2"


def test_a_socket_that_is_in_use_is_not_taken_away(way: str, folder: Path) -> None:
    file = write_connection(folder, transport="ipc", ip=str(folder / "k"))
    with Started(way, folder, "-f", file) as first, first.connect(file) as client:
        line = one_line(start_in_vain(way, folder, "-f", file))
        assert "Another process listens there" in line
        assert client.run("1 + 1").result == "2"


def test_a_socket_that_was_left_behind_is_replaced(way: str, folder: Path) -> None:
    file = write_connection(folder, transport="ipc", ip=str(folder / "k"))
    for _ in range(2):
        with Started(way, folder, "-f", file) as started, started.connect(file) as client:
            assert client.run("1 + 1").result == "2"
            started.process.send_signal(signal.SIGKILL)
            assert started.process.wait(TIMEOUT) == -signal.SIGKILL
    assert len(list(folder.glob("k-*"))) == 5


@pytest.mark.parametrize("in_the_way", ["file", "folder", "link"])
def test_what_is_no_socket_is_not_removed(way: str, folder: Path, in_the_way: str) -> None:
    file = write_connection(folder, transport="ipc", ip=str(folder / "k"))
    number = json.loads(Path(file).read_text())["hb_port"]
    path = folder / f"k-{number}"
    if in_the_way == "folder":
        path.mkdir()
    elif in_the_way == "link":
        path.symlink_to("precious")
    else:
        path.write_text("precious")
    line = one_line(start_in_vain(way, folder, "-f", file))
    assert str(path) in line
    assert "no socket" in line
    assert path.is_dir() or path.is_symlink() or path.read_text() == "precious"
    assert list(folder.glob("k-*")) == [path], "the sockets that were bound are removed"


@pytest.mark.parametrize(
    ("ip", "told"),
    [
        ("", "path"),
        ("*", "path"),
        ("a\0b", "path"),
        ("/proc/nowhere/k", "/proc/nowhere"),
        ("/" + "x" * 200, "too long"),
    ],
)
def test_a_prefix_for_sockets_that_cannot_be_is_told(way: str, tmp_path: Path, ip: str, told: str) -> None:
    assert told in one_line(start_in_vain(way, tmp_path, "-f", with_prefix(tmp_path, ip)))


def with_prefix(folder: Path, ip: str) -> str:
    file = Path(write_connection(folder))
    file.write_text(json.dumps({**json.loads(file.read_text()), "transport": "ipc", "ip": ip}))
    return str(file)


@pytest.mark.parametrize(("permissions", "told"), [(0o600, False), (0o640, True), (0o604, True)])
def test_a_connection_file_that_others_can_read_is_a_warning(
    way: str, tmp_path: Path, permissions: int, told: bool
) -> None:
    file = write_connection(tmp_path)
    Path(file).chmod(permissions)
    with Started(way, tmp_path, "-f", file) as started, started.connect(file) as client:
        assert client.run("1 + 1").result == "2"
        started.shut_down(client)
        assert ("others can read the connection file" in started.terminal) == told
        assert started.terminal.count("\n") == int(told)


# -- addresses that others can reach --------------------------------------------------------------------------------


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("ip", "told"),
    [
        ("127.0.0.1", False),
        ("127.0.0.2", False),
        ("::1", False),
        ("0.0.0.0", True),
        ("*", True),
        ("::", True),
    ],
)
def test_a_kernel_that_others_can_reach_warns(way: str, tmp_path: Path, ip: str, told: bool) -> None:
    if ":" in ip and not has_ipv6():
        pytest.skip("this machine has no IPv6")
    with Started(way, tmp_path, f"--ip={ip}") as started:
        started.announced()
        started.process.terminate()
        started.process.wait(TIMEOUT)
        assert ("other machines can connect" in started.terminal) == told
        if told:
            assert "transport_encryption" in started.terminal


def test_a_kernel_that_encrypts_may_be_reached_without_a_warning(way: str, tmp_path: Path) -> None:
    keys = dict(zip(("curve_publickey", "curve_secretkey"), KEYS, strict=True))
    file = write_connection(tmp_path, **keys)
    Path(file).write_text(Path(file).read_text().replace("127.0.0.1", "0.0.0.0"))
    with Started(way, tmp_path, "-f", file) as started, started.connect(file) as client:
        assert client.run("1 + 1").result == "2"
        assert started.terminal == ""


@pytest.mark.parametrize("ip", ["localhost", "example.invalid", "eth-none"])
def test_a_name_is_no_address(way: str, tmp_path: Path, ip: str) -> None:
    line = one_line(start_in_vain(way, tmp_path, f"--ip={ip}"))
    assert ip in line
    assert "check `ip`" in line
