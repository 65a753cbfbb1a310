"""Whether the sockets can be encrypted, if that is configured: all sides have to know how."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..findings import error, ok, skipped, warning
from ..packages import installed_version, pip_install
from . import core

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..findings import Finding
    from ..installation import Installation


def check(installation: Installation) -> Iterator[Finding]:
    if installation.no_jupyter_client or core.core_problem():
        yield skipped("needs jupyter_client and callboard's compiled module")
        return
    from ... import _core

    policy, file = installation.encryption
    found = list(_problems(installation, policy, file or "", has_curve=_core.has_curve)) if policy != "disabled" else []
    yield from found
    if found:
        return
    built = "callboard is built with it" if _core.has_curve else "callboard is built without it"
    state = f"{file} sets {policy!r}" if file else 'off unless c.KernelManager.transport_encryption is "required"'
    yield ok(f"{built}; {state}", policy=policy, built_in=_core.has_curve)


def _problems(installation: Installation, policy: str, file: str, *, has_curve: bool) -> Iterator[Finding]:
    import zmq
    from jupyter_client.manager import KernelManager

    off = f'or set c.KernelManager.transport_encryption = "disabled" in {file}'
    if policy not in ("auto", "required"):
        text = f"{file} sets transport_encryption to {policy!r}, which is none of its values"
        yield error("unknown-policy", text, 'set "required", "auto" or "disabled"', policy=policy)
        return
    if not KernelManager.class_traits().get("transport_encryption"):
        version = installed_version("jupyter_client")
        text = f"{file} asks for encryption, but jupyter_client {version} does not know it: nothing is encrypted"
        yield error("client-without-encryption", text, pip_install("jupyter_client>=8.9"), policy=policy)
        return
    if not zmq.has("curve"):
        text = f"{file} asks for encryption, but pyzmq is built without it: no kernel starts"
        yield error("pyzmq-without-curve", text, f"{pip_install('--force-reinstall', 'pyzmq')}, {off}", policy=policy)
        return
    tell = error if policy == "required" else warning
    outcome = "no kernel starts" if policy == "required" else "nothing is encrypted"
    spec = installation.kernelspec
    if not has_curve:
        text = f"{file} asks for encryption, but callboard is built without it: {outcome}"
        yield tell("core-without-curve", text, f"build callboard with its feature curve, {off}", policy=policy)
    elif spec is not None and not spec.supports_encryption:
        text = f"{file} asks for encryption, but {spec.file} does not say that the kernel can: {outcome}"
        yield tell("kernelspec-without-encryption", text, spec.install_command(), policy=policy)
