"""Replayed signatures are refused; kernels that other machines can reach warn."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import zmq
from kernels_by_hand import KEYS, Started, address, describe, one_line, start_in_vain, write_connection
from support import TIMEOUT, Kernel

# -- signatures ----------------------------------------------------------------------------------------


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


# -- addresses that others can reach -------------------------------------------------------------------


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
