"""The program `adroit`: its commands, and how errors leave it."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from typing import Annotated

import typer

from adroit.deploy.cli.budget import budget
from adroit.deploy.cli.build import build
from adroit.deploy.cli.check import check
from adroit.deploy.cli.doctor import doctor
from adroit.deploy.cli.export import export
from adroit.deploy.cli.import_ import import_
from adroit.deploy.cli.inspect_ import inspect
from adroit.deploy.cli.kserve import kserve
from adroit.deploy.cli.list_ import list_
from adroit.deploy.cli.plugins import plugins
from adroit.deploy.cli.profile import profile
from adroit.deploy.cli.quantize import quantize
from adroit.deploy.cli.routes import routes
from adroit.deploy.cli.run import run
from adroit.deploy.cli.serve import serve
from adroit.deploy.cli.streams import flush_output, prepare_streams
from adroit.deploy.cli.train import train
from adroit.deploy.extras import missing_package
from adroit.errors import AdroitError, OutOfResource, UsageError
from adroit.version import __version__

app = typer.Typer(
    name="adroit",
    help="From checkpoint to trusted deployment, for networks with operators that no exporter knows.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _print_version(is_requested: bool) -> None:
    if is_requested:
        print(f"adroit {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """From checkpoint to trusted deployment, for networks with operators that no exporter knows."""


app.command()(train)
app.command("import")(import_)
app.command()(export)
app.command()(quantize)
app.command()(build)
app.command()(check)
app.command()(run)
app.command()(profile)
app.command()(routes)
app.command()(budget)
app.command()(serve)
app.command()(kserve)
app.command("list")(list_)
app.command()(inspect)
app.command()(doctor)
app.add_typer(plugins, name="plugins")


def main(arguments: list[str] | None = None) -> None:
    """Runs a command and exits.

    Exit codes: 0 fine, 1 our bug, 2 usage, 3 parity, 4 routes, 5 environment, 6 model, 7 resource.
    """
    prepare_streams()
    code = _run(arguments)
    unwritten = flush_output()
    sys.exit(_print_error(unwritten) if unwritten and code == 0 else code)


def _run(arguments: list[str] | None) -> int:
    try:
        app(arguments, prog_name="adroit")  # exits by itself where nothing goes wrong, and for wrong usage
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except AdroitError as error:
        return _print_error(error)
    except MemoryError:
        return _print_error(OutOfResource("out of memory", hint="use a smaller --batch or fewer --images"))
    except OSError as error:
        return _print_error(flush_output() or _system_fault(error))
    except Exception as error:
        command = _command(arguments)
        fault = missing_package(error, f"`adroit {command}`", command) if isinstance(error, ImportError) else None
        return _print_error(fault) if fault else _print_bug()
    return 0


def _system_fault(error: OSError) -> AdroitError:
    """What the system refuses is no bug of ours, wherever it happens: a path, its permissions, space, memory."""
    named = isinstance(error.filename, (str, bytes))
    place = os.fsdecode(error.filename) if named else "standard output, or a temporary file"
    message = f"{error.strerror or error}: {place}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EMFILE, errno.ENFILE):
        return OutOfResource(message, hint="free some of it and run again")
    return UsageError(message, hint="give a path that exists, that you may use, and whose names are not too long")


def _print_error(error: AdroitError) -> int:
    print(f"error: {error}", file=sys.stderr)
    return error.exit_code


def _print_bug() -> int:
    traceback.print_exc()
    print("\nerror: this is a bug in adroit; please report it with the lines above", file=sys.stderr)
    return 1


def _command(arguments: list[str] | None) -> str:
    """Returns the command's name: nothing but --help may stand before it."""
    return next(iter(sys.argv[1:] if arguments is None else arguments), "")
