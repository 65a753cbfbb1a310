"""The kernelspecs that Jupyter finds, and those that it does not get to see. Files are read here, not by Jupyter, which
leaves out what it cannot read."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import pythons


@dataclass(frozen=True)
class Kernelspec:
    """A kernelspec in one of the folders where Jupyter looks."""

    name: str
    folder: Path
    content: dict[str, Any] = field(default_factory=dict)
    #: Why it cannot be used.
    problem: str | None = None

    @property
    def file(self) -> Path:
        return self.folder / "kernel.json"

    @property
    def argv(self) -> list[str]:
        """The command that starts the kernel."""
        argv: list[str] = self.content.get("argv", [])
        return argv

    @property
    def starts_callboard(self) -> bool:
        return "callboard" in self.argv

    @property
    def imports_from_folder(self) -> bool:
        """Whether Python has the current folder on its path when it starts: ``-m`` puts it there, ``-P`` does not."""
        return "-m" in self.argv and "-P" not in self.argv[: self.argv.index("-m")]

    @property
    def takes_python_of_jupyter(self) -> bool:
        """Whether Jupyter puts the interpreter in that runs it."""
        names = ("python", f"python{sys.version_info[0]}", "python{}.{}".format(*sys.version_info[:2]))
        return self.argv[0] in names

    @property
    def program(self) -> str | None:
        """The program that starts the kernel; None if it is missing."""
        return sys.executable if self.takes_python_of_jupyter else shutil.which(self.argv[0])

    @property
    def options(self) -> list[str]:
        """The options for the kernel."""
        at = self.argv.index("{connection_file}") if "{connection_file}" in self.argv else len(self.argv)
        return self.argv[at + 1 :]

    @property
    def profile(self) -> str:
        """The name of IPython's profile."""
        words = " ".join(self.options).replace("--profile ", "--profile=").split()
        named = [word.removeprefix("--profile=") for word in words if word.startswith("--profile=")]
        return named[-1] if named else "default"

    @property
    def supports_encryption(self) -> bool:
        """Whether it says that the kernel can encrypt, as jupyter_client reads it."""
        metadata = self.content.get("metadata")
        named = metadata.get("supported_encryption") if isinstance(metadata, dict) else None
        named = [named] if isinstance(named, str) else named
        return isinstance(named, list) and "curve" in [str(each).strip().lower() for each in named]

    def install_command(self) -> str:
        """The command that installs it again, with the same options; in the same place, if `install` can."""
        from jupyter_core.paths import jupyter_data_dir

        place, remove = self.folder.parent, ""
        if place.resolve() == Path(sys.prefix, "share", "jupyter", "kernels").resolve():
            where = ["--sys-prefix"]
        elif place == Path(jupyter_data_dir(), "kernels"):
            where = ["--user"]
        elif place.parts[-3:] == ("share", "jupyter", "kernels"):
            where = ["--prefix", str(place.parents[2])]
        else:
            # It would hide the new one.
            where, remove = ["--user"], f"rm -r {shlex.quote(str(self.folder))} && "
        shown = self.content.get("display_name")
        title = ["--display-name", shown] if isinstance(shown, str) and shown != "Python 3 (callboard)" else []
        env = self.content.get("env")
        pairs = [("--env", str(key), str(value)) for key, value in env.items()] if isinstance(env, dict) else []
        options = [*where, *title, *(word for pair in pairs for word in pair), *self.options]
        return remove + pythons.install_command(*options, name=self.name)


def read(name: str, folder: Path) -> Kernelspec:
    """Reads a kernelspec; one that cannot be used has a problem."""
    try:
        content = json.loads((folder / "kernel.json").read_text("utf-8"))
    except OSError as error:
        return Kernelspec(name, folder, problem=f"it cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        return Kernelspec(name, folder, problem="it is not UTF-8")
    except (ValueError, RecursionError) as error:
        return Kernelspec(name, folder, problem=f"it is no JSON: {error}")
    argv = content.get("argv") if isinstance(content, dict) else None
    if not (isinstance(argv, list) and argv and all(isinstance(word, str) and word for word in argv)):
        return Kernelspec(name, folder, problem="it has no argv, the command that starts the kernel")
    return Kernelspec(name, folder, content)


def find(folders: list[str]) -> list[Kernelspec]:
    """All kernelspecs in these folders: of several with the same name, the first is the one that Jupyter takes."""
    found = []
    for folder in dict.fromkeys(folders):
        try:
            names = sorted(os.listdir(folder))
        except OSError:
            continue
        for name in names:
            place = Path(folder, name)
            if re.fullmatch(r"[a-z0-9._\-]+", name, re.IGNORECASE) and os.path.isfile(place / "kernel.json"):
                found.append(read(name.lower(), place))
    return found
