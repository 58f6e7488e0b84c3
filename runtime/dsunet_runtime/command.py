"""What the commands `dsunet`, `dsunet-export` and `dsunet-run` have in common."""

import signal
import sys
import threading
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

_FAILED = 1
_INTERRUPTED = 130


def make_app(program: str, summary: str, *faults: type[Exception]) -> typer.Typer:
    """An empty command with `--version`.

    A fault that a subcommand raises becomes one line on stderr and exit code 1, an interruption
    exit code 130, a termination 143.
    """

    class Group(TyperGroup):
        def invoke(self, ctx: Any) -> Any:
            # As an interruption does, so that what is half done is cleared away.
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
            try:
                return super().invoke(ctx)
            except faults as fault:
                complain(program, str(fault))
                raise typer.Exit(_FAILED) from None
            except KeyboardInterrupt:
                complain(program, "interrupted")
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


def complain(program: str, line: str) -> None:
    """One line on stderr that says which command it comes from."""
    print(f"{program}: {line}", file=sys.stderr)
