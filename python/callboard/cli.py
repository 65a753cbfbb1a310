"""The command ``callboard``."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from . import __version__, kernelspec

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    args = list(sys.argv[1:] if argv is None else argv)
    if args[:1] == ["start"]:
        from .launch import main as start

        return start(args[1:])
    if args[:1] == ["doctor"]:
        from .doctor.command import main as examine

        return examine(args[1:])
    parser = _parser()
    options, rest = parser.parse_known_args(args)
    if options.run is _install:
        options.kernel_options = rest
    elif rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        return int(options.run(options))
    except ModuleNotFoundError as error:
        if error.name != "jupyter_client":
            raise
        print(f"callboard: this needs jupyter_client: {sys.executable} -m pip install jupyter_client", file=sys.stderr)
    except ValueError as error:
        print(f"callboard: {error}", file=sys.stderr)
    except KeyError as error:
        print(f"callboard: there is no kernelspec named {error}: see `callboard list`", file=sys.stderr)
    except OSError as error:
        hint = (
            "" if getattr(options, "user", False) else " Add --user or --sys-prefix to install without special rights."
        )
        print(f"callboard: {error}.{hint}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="callboard", description="A Jupyter kernel for Python, on actors.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    install = commands.add_parser(
        "install",
        help="let Jupyter offer callboard",
        # An abbreviation could be an option of the kernel.
        allow_abbrev=False,
        epilog="All other options are for the kernel, each time it starts: --comms-in-subshells, --backend trio, "
        "--profile NAME, --matplotlib=widget, --InteractiveShell.colors=nocolor and so on. `callboard start --help` "
        "lists them.",
    )
    where = install.add_mutually_exclusive_group()
    where.add_argument("--user", action="store_true", help="for the current user instead of system-wide")
    where.add_argument("--prefix", help="below this folder: a conda environment or a venv")
    where.add_argument(
        "--sys-prefix", action="store_const", const=sys.prefix, dest="prefix", help=f"the same as --prefix={sys.prefix}"
    )
    install.add_argument("--name", default=kernelspec.NAME, help="name of the kernelspec (default: %(default)s)")
    install.add_argument("--display-name", help="what Jupyter shows for it")
    install.add_argument(
        "--env",
        action="append",
        nargs=2,
        metavar=("NAME", "VALUE"),
        default=[],
        help="environment variable for the kernel",
    )
    install.set_defaults(run=_install)

    uninstall = commands.add_parser("uninstall", help="remove the kernelspec")
    uninstall.add_argument("--name", default=kernelspec.NAME, help="name of the kernelspec (default: %(default)s)")
    uninstall.set_defaults(run=_uninstall)

    listing = commands.add_parser("list", help="list the kernelspecs that start callboard")
    listing.set_defaults(run=_list)

    # For the help only: `main` passes on the arguments behind them.
    commands.add_parser("doctor", help="say what is wrong with this installation, and how to mend it", add_help=False)
    commands.add_parser("start", help="start a kernel; `callboard start --help` lists its options", add_help=False)
    return parser


def _install(options: argparse.Namespace) -> int:
    from . import _core

    # Raises ValueError if one is wrong: it would keep each kernel from starting.
    backend = _core.check_kernelspec_options(options.kernel_options)
    if backend == "trio":
        from .aio.loops.make import check_backend

        try:
            check_backend("trio")
        except RuntimeError as error:
            print(f"callboard: {error}", file=sys.stderr)
            return 1
    folder = kernelspec.install(
        name=options.name,
        user=options.user,
        prefix=options.prefix,
        display_name=options.display_name,
        extra_arguments=options.kernel_options,
        env=dict(options.env),
    )
    print(f"Installed kernelspec {options.name} in {folder}")
    return 0


def _uninstall(options: argparse.Namespace) -> int:
    print(f"Removed {kernelspec.uninstall(options.name)}")
    return 0


def _list(_options: argparse.Namespace) -> int:
    found = kernelspec.installed()
    for name, folder in sorted(found.items()):
        print(f"{name}\t{folder}")
    if not found:
        print("No kernelspec starts callboard: `callboard install --user` makes one")
    return 0
