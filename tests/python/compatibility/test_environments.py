"""The two environments that the tests of this folder run in."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from support import Client

DISTRIBUTION = """
from importlib import metadata
def version():
    try:
        return metadata.version("ipykernel")
    except metadata.PackageNotFoundError:
        return None
"""


def test_ipykernel_is_installed_in_one_of_them(client: Client, *, has_ipykernel: bool) -> None:
    client.run(DISTRIBUTION)
    assert client.run("version() is not None").result == str(has_ipykernel)
    assert client.run(
        "from importlib.util import find_spec; find_spec('ipykernel_launcher') is not None"
    ).result == str(has_ipykernel)
