"""What is said where the compiled module cannot be imported. Pythons that are too old read this file as well, so it
uses none of the newer syntax."""

import glob
import importlib.machinery
import os
import sys

#: The first version of Python that callboard runs on: `requires-python` of the package.
FIRST_PYTHON = (3, 11)

#: What the loader says, and what that means.
_CAUSES = (
    ("GLIBC_", "it needs a later glibc (the C library) than this system has"),
    ("libc.musl", "it was built for musl, and this system has another C library"),
    ("ld-linux", "it was built for glibc, and this system has another C library (musl)"),
    ("libpython", "it needs a shared library of Python (libpython) that this system does not find"),
    ("incompatible architecture", "it was built for another processor architecture"),
    ("wrong ELF class", "it was built for another processor architecture"),
    ("Exec format error", "it was built for another processor architecture"),
    ("file too short", "the file is damaged"),
    ("invalid ELF header", "the file is damaged, or is one for another operating system"),
    ("Permission denied", "this user may not read it"),
)


def version_or_exit(error: ImportError) -> str:
    """Returns the version of the package for the command `callboard doctor`, which works without the compiled module.
    Ends other programs of the package with one sentence; raises `ImportError` with it in all others."""
    if _is_doctor() and sys.version_info >= FIRST_PYTHON:
        from importlib import metadata

        try:
            return metadata.version("callboard")
        except metadata.PackageNotFoundError:
            return "unknown"
    if _is_doctor() or _is_program():
        sys.exit(reason(error))
    raise ImportError(reason(error), name="callboard._core") from error


def reason(error: ImportError) -> str:
    """Says in one sentence why the compiled module cannot be imported, and what to do."""
    text, command = problem(error)
    return f"{text}; install it again: {command}" if command else text


def problem(error: ImportError) -> tuple[str, str]:
    """Why the compiled module cannot be imported, and the command that installs it again; "" if that is of no use."""
    python = sys.executable or "this Python"
    version = ".".join(map(str, sys.version_info[:3]))
    again = f"{python} -m pip install --force-reinstall callboard"
    if sys.version_info < FIRST_PYTHON:
        first = ".".join(map(str, FIRST_PYTHON))
        text = f"callboard needs Python {first} or later, and {python} is Python {version}: install it for a later one"
        return text, ""
    folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    files = sorted(glob.glob(os.path.join(glob.escape(folder), "_core.*so")))
    usable = ["_core" + suffix for suffix in importlib.machinery.EXTENSION_SUFFIXES]
    found = [file for file in files if os.path.basename(file) in usable]
    if found:
        text = str(error)
        causes = [cause for sign, cause in _CAUSES if sign in text]
        cause = causes[0] if causes else "the system refuses it"
        return f"callboard's compiled module cannot be loaded: {cause} ({text})", again
    if not files:
        return f"callboard's compiled module is missing in {folder}", again
    built, own = os.path.basename(files[0])[len("_core.") : -len(".so")], usable[0][len("_core.") : -len(".so")]
    return f"callboard's compiled module was built for {_plain(built)}, and {python} is {_plain(own)}", again


def _plain(tag: str) -> str:
    """``cpython-311-x86_64-linux-gnu`` in words."""
    implementation, _, rest = tag.partition("-")
    digits, _, platform = rest.partition("-")
    if implementation != "cpython" or not digits[:1].isdigit():
        return tag
    name = f"Python {digits[0]}.{digits[1:]}"
    architecture, _, system = platform.partition("-")
    libraries = {"linux-gnu": "with glibc", "linux-musl": "with musl"}
    return f"{name} on {architecture} {libraries.get(system, system)}".rstrip()


def _is_doctor() -> bool:
    return (_is_command() and sys.argv[1:2] == ["doctor"]) or _is_module("callboard.doctor")


def _is_program() -> bool:
    return _is_command() or _is_module("callboard")


def _is_command() -> bool:
    return _program().endswith("/callboard")


def _is_module(name: str) -> bool:
    """Whether this is `python -m NAME`, which calls itself "-m" while it looks for the module."""
    return _program() == "-m" and name in getattr(sys, "orig_argv", [name])


def _program() -> str:
    return str((getattr(sys, "argv", None) or [""])[0])
