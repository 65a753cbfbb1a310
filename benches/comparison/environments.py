"""The environments of the comparison: the only place that says which versions are compared.

Also a command, for any Python with venv: ``python environments.py FOLDER NAME...`` makes ``FOLDER/NAME`` of the Python
that runs it. It imports nothing that has to be installed.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

#: What is installed into each environment. Only the packages named here are pinned; their dependencies are the newest,
#: as after `pip install`.
REQUIREMENTS = {
    # What measures. It runs none of the cells.
    "client": ["pyzmq==27.3.0", "psutil==7.2.2", "matplotlib==3.11.2"],
    "ipykernel": ["ipykernel==7.4.0"],
    # Its loop runs on trio as well, and its own tests are run with both.
    "async-kernel": ["async-kernel==0.23.1", "trio==0.35.0"],
    "xeus-python": ["xeus-python==0.19.0"],
}

#: Where each kernel has its kernelspec, below the prefix of its environment.
KERNELSPECS = {
    "ipykernel": "python3",
    "async-kernel": "async",
    "xeus-python": "xpython",  # with IPython, as the others; xpython-raw is without
    "callboard": "callboard",
}


def python_of(environment: Path) -> Path:
    """The Python of an environment."""
    return environment / "bin" / "python"


def kernelspec_of(environment: Path, kernel: str) -> Path:
    """The folder with the kernelspec of `kernel` in an environment."""
    return environment / "share" / "jupyter" / "kernels" / KERNELSPECS[kernel]


def make(folder: Path, name: str) -> None:
    """Makes the environment `name` in `folder`, unless it is there with these very packages."""
    place = folder / name
    done = place / "made-of"
    wanted = "\n".join([sys.version, *REQUIREMENTS[name]])
    if done.is_file() and done.read_text() == wanted:
        return
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True)
    install = [str(python_of(place)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, *REQUIREMENTS[name]], check=True)
    done.write_text(wanted)


def main() -> None:
    folder, *names = sys.argv[1:]
    for name in names:
        make(Path(folder), name)


if __name__ == "__main__":
    main()
