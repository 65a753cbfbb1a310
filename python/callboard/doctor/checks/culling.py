"""The configuration of the server: does it end kernels, and can its files be read?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..findings import ok, skipped, warning
from ..installation import SERVER_MANAGERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..findings import Finding
    from ..installation import Installation


def check(installation: Installation) -> Iterator[Finding]:
    if installation.no_jupyter_client:
        yield skipped("needs jupyter_client")
        return
    for file, problem in installation.config_problems:
        text = f"{file} cannot be read, so its settings have no effect: {problem}"
        yield warning("config-unreadable", text, f"mend or remove {file}", file=file)
    timeout = installation.configured("cull_idle_timeout", *SERVER_MANAGERS)
    seconds = timeout[0] if timeout and isinstance(timeout[0], (int, float)) else 0
    if timeout is None or seconds <= 0:
        if not installation.config_problems:
            yield ok("no file of configuration has a server end idle kernels", idle=None)
        return
    found = False
    for trait, code, what in (
        ("cull_busy", "culls-busy", "kernels that compute: a cell that runs longer is lost"),
        ("cull_connected", "culls-connected", "kernels with an open notebook: its variables are lost"),
    ):
        setting = installation.configured(trait, *SERVER_MANAGERS)
        if setting and setting[0] is True:
            found = True
            yield warning(
                code,
                f"{setting[1]} has the server end, after {seconds} s, also {what}",
                f"set c.MappingKernelManager.{trait} = False there",
                idle=seconds,
                file=setting[1],
            )
    if not found:
        yield ok(
            f"{timeout[1]} has the server end kernels idle for {seconds} s; one that computes is busy",
            idle=seconds,
            file=timeout[1],
        )
