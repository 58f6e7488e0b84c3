"""What the commands `dsunet`, `dsunet-export` and `dsunet-run` have in common."""

import io
import os
import signal
import sys
import threading
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from dsunet_runtime.quoting import clean, printable, reason

_FAILED = 1
_INTERRUPTED = 130
_ENDINGS = ("SIGTERM", "SIGHUP")


def make_app(program: str, summary: str, *faults: type[Exception]) -> typer.Typer:
    """An empty command with `--version`.

    A fault that a subcommand raises, an error of the file system or a lack of memory becomes one
    line on stderr and exit code 1, an interruption exit code 130, a termination 143, a closed
    terminal 129.
    """

    class Group(TyperGroup):
        def invoke(self, ctx: Any) -> Any:
            # As an interruption does, so that what is half done is cleared away.
            if threading.current_thread() is threading.main_thread():
                for name in _ENDINGS:
                    _clear_up_on(name)
            for stream in (sys.stdout, sys.stderr):
                if isinstance(stream, io.TextIOWrapper):
                    stream.reconfigure(errors="replace")  # × on a terminal that knows ASCII only
            try:
                return super().invoke(ctx)
            except faults as fault:
                complain(program, str(fault))
                raise typer.Exit(_FAILED) from None
            except BrokenPipeError:  # who reads the output has enough; click ends quietly
                raise
            except OSError as fault:  # a name too long, links in a loop, a disk that fails
                name = "" if fault.filename is None else f"{os.fsdecode(fault.filename)}: "
                complain(program, name + reason(fault))
                raise typer.Exit(_FAILED) from None
            except MemoryError as fault:  # NumPy's and Python's; how much, if it says
                figure = f": {printable(fault)}" if str(fault) else ""
                complain(program, f"not enough memory{figure}; ask for a smaller batch or image")
                raise typer.Exit(_FAILED) from None
            except KeyboardInterrupt as interruption:
                complain(program, ": ".join(["interrupted", *map(str, interruption.args)]))
                raise typer.Exit(_INTERRUPTED) from None

    def show_version(wanted: bool) -> None:
        if wanted:
            from importlib.metadata import version

            print(f"{program} {version('dsunet')}")
            raise typer.Exit

    app = typer.Typer(
        cls=Group,
        help=summary,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )

    @app.callback(help=summary)
    def options(
        version: Annotated[
            bool,
            typer.Option(
                "--version", is_eager=True, callback=show_version, help="Print the version."
            ),
        ] = False,
    ) -> None:
        pass

    return app


def _clear_up_on(name: str) -> None:
    """Let a signal end the process as an exception does; not where it is ignored (nohup)."""
    number = getattr(signal, name, None)  # Windows has no SIGHUP
    if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
        signal.signal(number, lambda number, frame: sys.exit(128 + number))


def complain(program: str, line: str) -> None:
    """One line on stderr that says which command it comes from, with a list under it at most."""
    print(clean(f"{program}: {line}"), file=sys.stderr)
