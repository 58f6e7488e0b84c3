"""What the commands `dsunet`, `dsunet-export` and `dsunet-run` have in common."""

import io
import os
import signal
import sys
import threading
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from dsunet_runtime import __version__
from dsunet_runtime.quoting import clean, printable, quote, reason

_FAILED = 1
_WRONG_USAGE = 2
_INTERRUPTED = 130
_LONGEST_QUOTED = 400
_UsageError: Any = typer.BadParameter.__base__
"""Click's, or that of the copy of click that newer versions of Typer hold."""
_ENDINGS = ("SIGTERM", "SIGHUP")


def make_app(program: str, summary: str, *faults: type[Exception]) -> typer.Typer:
    """An empty command with `--version`, `-h` and shell completion.

    Wrong usage becomes one line on stderr and exit code 2; a fault that a subcommand raises, an
    error of the file system or a lack of memory one line and exit code 1; an interruption exit code
    130, a termination 143, a closed terminal 129.
    """

    class Group(TyperGroup):
        def main(self, *arguments: Any, **options: Any) -> Any:
            _open_closed_streams()
            try:
                return super().main(*arguments, **options)
            except OSError as fault:  # of help that cannot be printed
                complain(program, reason(fault))
                sys.exit(_FAILED)

        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            if ctx.resilient_parsing:  # for shell completion: nothing is refused
                return super().parse_args(ctx, args)
            if not args:
                print(ctx.get_help(), file=sys.stderr)
                ctx.exit(_WRONG_USAGE)
            try:
                _check_arguments(ctx, args)
                return super().parse_args(ctx, args)
            except _UsageError as error:
                raise refusal(error) from None

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
            except _UsageError as error:
                raise refusal(error) from None
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

    def refusal(error: Any) -> typer.Exit:
        complain(program, _in_one_line(program, error))
        return typer.Exit(_WRONG_USAGE)

    def show_version(wanted: bool) -> None:
        if wanted:
            print(f"{program} {__version__}")
            raise typer.Exit

    app = typer.Typer(
        cls=Group,
        help=summary,
        context_settings={"help_option_names": ["-h", "--help"]},
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


def _open_closed_streams() -> None:
    """Give standard streams that are closed (`2>&-`) somewhere to lead.

    Else the next file that is opened would take the place of one, and what libraries print would
    be written into it.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115, PTH123 - for good


def _check_arguments(ctx: Any, arguments: list[str]) -> None:
    """Refuse what no option means, and what Python takes for something else: `Path("")` is `.`."""
    for before, argument in zip(["", *arguments], arguments, strict=False):
        option, equals, value = argument.partition("=")
        if not argument:
            ctx.fail(f"the argument after {before or 'the command'} is empty: a variable not set?")
        if option.startswith("--") and equals and not value:
            ctx.fail(f"{option} is empty: a variable not set?")
        if "\0" in argument:
            ctx.fail(f"{quote(argument)} holds a NUL character, which no name can")


def _in_one_line(program: str, error: Any) -> str:
    """What is wrong with the command line, and which help says what is right."""
    is_ours = type(error) is typer.BadParameter and error.param is None
    # What click says repeats what was typed, whatever its length.
    message = error.message if is_ours else printable(error.format_message(), _LONGEST_QUOTED)
    ctx = error.ctx
    command = f"{program} {ctx.info_name}" if ctx is not None and ctx.parent else program
    return f"{message.rstrip('.')}; see `{command} --help`"


def _clear_up_on(name: str) -> None:
    """Let a signal end the process as an exception does; not where it is ignored (nohup)."""
    number = getattr(signal, name, None)  # Windows has no SIGHUP
    if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
        signal.signal(number, lambda number, frame: sys.exit(128 + number))


def complain(program: str, line: str) -> None:
    """One line on stderr that says which command it comes from, with a list under it at most."""
    print(clean(f"{program}: {line}"), file=sys.stderr)
