"""Fetches the sources of the suites from the package index, through its JSON interface (PEP 691).

Not by `pip download`: that builds the metadata of each sdist first, which takes minutes. The index is that of
PIP_INDEX_URL, and files have the SHA-256 that `suites.toml` says, wherever they come from.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tarfile
import tempfile
import urllib.parse
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .suites import Suite

INDEX = "https://pypi.org/simple"
#: Seconds for one answer.
TIMEOUT = 60


class FetchError(Exception):
    """The sources of a suite cannot be had."""


def fetch(suite: Suite, place: Path) -> Path:
    """The folder with the suite's sources below `place`; downloads and unpacks them if they are not there."""
    folder = suite.folder(place)
    if folder.is_dir():
        return folder
    archive = place / "downloads" / suite.sdist
    if not (archive.is_file() and _sha256(archive) == suite.sha256):
        archive.parent.mkdir(parents=True, exist_ok=True)
        try:
            _download(_find(suite), archive)
        except OSError as error:
            raise FetchError(f"{suite.sdist} cannot be downloaded: {error}. Is the index reachable?") from error
        if (found := _sha256(archive)) != suite.sha256:
            archive.unlink()
            raise FetchError(f"{suite.sdist} has the SHA-256 {found}, and suites.toml says {suite.sha256}")
    _unpack(archive, folder)
    return folder


def _find(suite: Suite) -> str:
    """The address of the sdist."""
    index = os.environ.get("PIP_INDEX_URL", INDEX).rstrip("/")
    page = f"{index}/{re.sub(r'[-_.]+', '-', suite.name).lower()}/"
    request = urllib.request.Request(page, headers={"Accept": "application/vnd.pypi.simple.v1+json"})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        kind = answer.headers.get_content_type()
        if kind != "application/vnd.pypi.simple.v1+json":
            raise FetchError(f"the index answers for {suite.name} with {kind}: it knows no JSON (PEP 691)")
        files = json.load(answer)["files"]
    for file in files:
        if file["filename"] == suite.sdist:
            return urllib.parse.urljoin(page, file["url"])
    raise FetchError(f"the index has no {suite.sdist}")


def _download(address: str, file: Path) -> None:
    with urllib.request.urlopen(address, timeout=TIMEOUT) as answer, file.open("wb") as out:
        shutil.copyfileobj(answer, out)


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _unpack(archive: Path, folder: Path) -> None:
    """Unpacks an sdist, whose one folder becomes `folder`: all of it or nothing."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch, tarfile.open(archive) as opened:
        opened.extractall(scratch, filter="data")
        (only,) = Path(scratch).iterdir()
        only.rename(folder)
