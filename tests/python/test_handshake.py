"""The start-up handshake (JEP 66): the kernel chooses its ports and tells its launcher, in both forms there are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import zmq
from jupyter_client.session import Session
from kernels_by_hand import Started, one_line, start_in_vain
from support import TIMEOUT, Client

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PORTS = ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")

#: Stands between the identities and the signature in the specification's form.
DELIMITER = b"<IDS|MSG>"


class Launcher:
    """A launcher: writes a registration file and waits for kernels that register."""

    def __init__(self, folder: Path, form: str, transport: str) -> None:
        self.form = form
        self.transport = transport
        self.session = Session(key=b"secret")
        self.socket = zmq.Context.instance().socket(zmq.ROUTER if form == "content" else zmq.REP)
        self.socket.linger = 0
        if transport == "ipc":
            # The first number is the launcher's; the kernel takes others.
            self.ip, self.port = str(folder / "k"), 1
            self.socket.bind(f"ipc://{self.ip}-{self.port}")
        else:
            self.ip = "127.0.0.1"
            self.port = self.socket.bind_to_random_port(f"tcp://{self.ip}")
        self.file = folder / "registration.json"
        self.write()

    def write(self, **changes: Any) -> None:
        """Writes the registration file, with these changes."""
        content = {
            "transport": self.transport,
            "registration_port": self.port,
            "signature_scheme": "hmac-sha256",
            "key": self.session.key.decode(),
        }
        content |= {"ip": self.ip} if self.form == "message" else {"registration_ip": self.ip, "kernel_id": "kernel-7"}
        self.file.write_text(json.dumps({**content, **changes}))
        self.file.chmod(0o600)

    def receive(self) -> dict[str, Any]:
        """Waits for a kernel to register; returns its ports, with the signature verified."""
        assert self.socket.poll(TIMEOUT * 1000), "no kernel has come"
        frames = self.socket.recv_multipart()
        if self.form == "message":
            message = self.session.deserialize(self.session.feed_identities(frames)[1])
            assert message["msg_type"] == "handshake_request"
            return message["content"]
        self.peer, delimiter, signature, content = frames
        assert delimiter == DELIMITER
        assert signature == self.session.sign([content])
        ports = json.loads(content)
        assert ports.pop("kernel_id") == "kernel-7"
        return ports

    def answer(self, content: Any, *, session: Session | None = None, msg_type: str = "handshake_reply") -> None:
        """Answers the kernel that came last."""
        session = session or self.session
        if self.form == "message":
            self.socket.send_multipart(session.serialize(session.msg(msg_type, content)))
        else:
            blob = json.dumps(content).encode()
            self.socket.send_multipart([self.peer, DELIMITER, session.sign([blob]), blob])

    def connection(self, ports: dict[str, Any], file: Path) -> Path:
        """Writes the connection file for clients of a kernel with these ports."""
        content = {name: int(port) for name, port in ports.items()}
        content |= {"ip": self.ip, "transport": self.transport, "key": self.session.key.decode()}
        file.write_text(json.dumps({**content, "signature_scheme": "hmac-sha256"}))
        return file

    def close(self) -> None:
        self.socket.close()


@pytest.fixture(params=["content", "message"])
def form(request: pytest.FixtureRequest) -> str:
    """The specification's form, or Positron's."""
    return request.param


@pytest.fixture
def transport() -> str:
    return "tcp"


@pytest.fixture
def launcher(folder: Path, form: str, transport: str) -> Iterator[Launcher]:
    launcher = Launcher(folder, form, transport)
    yield launcher
    launcher.close()


class Registered(Started):
    """A kernel that was given a registration file."""

    def __init__(self, way: str, folder: Path, launcher: Launcher, *options: str) -> None:
        super().__init__(way, folder, "-f", str(launcher.file), *options)

    def refused(self) -> str:
        """Waits for its end; returns the line that it wrote."""
        assert self.process.wait(TIMEOUT) == 1, self.terminal
        return one_line(self.terminal)


@pytest.mark.parametrize("transport", ["tcp", "ipc"])
def test_a_kernel_chooses_its_ports_and_tells_them(way: str, folder: Path, launcher: Launcher) -> None:
    with Registered(way, folder, launcher) as started:
        ports = launcher.receive()
        assert sorted(ports) == sorted(PORTS)
        assert {type(port) for port in ports.values()} == {str if launcher.form == "content" else int}
        assert len({int(port) for port in ports.values()} | {launcher.port}) == 6
        launcher.answer({"status": "ok"})
        with started.connect(launcher.connection(ports, folder / "c.json")) as client:
            assert client.run("6 * 7").result == "42"
            told = client.ask("connect_request")
            assert {name: told[name] for name in PORTS} == {name: int(port) for name, port in ports.items()}
            # Others find it by the connection file that it writes.
            (written,) = (folder / "runtime").glob("kernel-*.json")
            assert written.stat().st_mode & 0o777 == 0o600
            with started.connect(written) as other:
                assert other.run("'there'").result == "'there'"
            client.ask("shutdown_request", {"restart": False}, channel="control")
            assert started.process.wait(TIMEOUT) == 0
        assert not written.exists()
        assert started.terminal == ""
        left = {path.name for path in folder.glob("k-*")}
        assert left <= {"k-1"}, "only the launcher's own socket is left"


def test_a_restart_registers_anew(way: str, folder: Path, launcher: Launcher) -> None:
    for _ in range(2):
        with Registered(way, folder, launcher) as started:
            ports = launcher.receive()
            launcher.answer({"status": "ok"})
            with started.connect(launcher.connection(ports, folder / "c.json")) as client:
                assert client.run("1 + 1").result == "2"


@pytest.mark.parametrize("transport", ["tcp", "ipc"])
def test_several_kernels_register_at_one_socket(way: str, folder: Path, launcher: Launcher) -> None:
    with Registered(way, folder, launcher) as one, Registered(way, folder, launcher) as two:
        connections = []
        for n in range(2):
            connections.append(launcher.connection(launcher.receive(), folder / f"{n}.json"))
            launcher.answer({"status": "ok"})
        pids = set()
        for file in connections:
            with Client(file) as client:
                client.subscribe()
                pids.add(int(client.run("import os; os.getpid()").result))
        assert pids == {one.process.pid, two.process.pid}


@pytest.mark.skipif(not zmq.has("curve"), reason="pyzmq has no CURVE")
def test_a_registered_kernel_encrypts_if_the_file_says_so(way: str, folder: Path, launcher: Launcher) -> None:
    public, secret = (key.decode() for key in zmq.curve_keypair())
    keys = {"curve_publickey": public, "curve_secretkey": secret}
    launcher.write(**keys)
    with Registered(way, folder, launcher) as started:
        file = launcher.connection(launcher.receive(), folder / "c.json")
        launcher.answer({"status": "ok"})
        file.write_text(json.dumps({**json.loads(file.read_text()), **keys}))
        with started.connect(file) as client:
            assert client.kc.shell_channel.socket.mechanism == zmq.CURVE
            assert client.run("6 * 7").result == "42"


def test_without_an_answer_the_kernel_ends(way: str, folder: Path, launcher: Launcher) -> None:
    with Registered(way, folder, launcher, "--registration-deadline=0.5") as started:
        line = started.refused()
        assert "did not answer within 500ms" in line
        assert str(launcher.port) in line
        assert list((folder / "runtime").glob("*")) == []


def test_without_a_listening_launcher_the_kernel_ends(way: str, folder: Path, launcher: Launcher) -> None:
    launcher.close()
    with Registered(way, folder, launcher, "--registration-deadline=0.5") as started:
        assert "did not answer" in started.refused()


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"status": "error", "ename": "NoSuchKernel", "evalue": "who are you?"}, "NoSuchKernel: who are you?"),
        ({"status": "error"}, "status error"),
    ],
)
def test_an_error_as_answer_ends_the_kernel(
    way: str, folder: Path, launcher: Launcher, answer: dict[str, str], told: str
) -> None:
    with Registered(way, folder, launcher) as started:
        launcher.receive()
        launcher.answer(answer)
        assert told in started.refused()


def test_an_answer_with_a_wrong_signature_ends_the_kernel(way: str, folder: Path, launcher: Launcher) -> None:
    with Registered(way, folder, launcher) as started:
        launcher.receive()
        launcher.answer({"status": "ok"}, session=Session(key=b"other"))
        assert "another key" in started.refused()


def test_an_answer_that_is_none_ends_the_kernel(way: str, folder: Path, launcher: Launcher) -> None:
    with Registered(way, folder, launcher) as started:
        launcher.receive()
        garbage = [b"garbage", b"\xff"]
        launcher.socket.send_multipart([launcher.peer, *garbage] if launcher.form == "content" else garbage)
        assert "<IDS|MSG>" in started.refused()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"registration_port": 0}, "registration_port is 0"),
        ({"registration_port": "many"}, "many"),
        ({"registration_port": 99999}, "99999"),
        ({"registration_port": None}, "u16"),
        ({"transport": "pigeon"}, "pigeon"),
        ({"signature_scheme": "hmac-md5"}, "hmac-md5"),
        ({"key": 5}, "string"),
        ({"curve_publickey": "k"}, "curve_secretkey"),
        ({"ip": 5}, "string"),
        ({"ip": "203.0.113.1"}, "203.0.113.1"),
    ],
)
def test_a_bad_registration_file_is_named(
    way: str, folder: Path, launcher: Launcher, changes: dict[str, Any], told: str
) -> None:
    launcher.write(**changes)
    line = one_line(start_in_vain(way, folder, "-f", str(launcher.file)))
    assert told in line
    if "203.0.113.1" not in told:
        assert "registration.json" in line
