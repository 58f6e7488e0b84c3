"""The programs `dsunet`, `dsunet-export` and `dsunet-run`: what they have in common.

That is exit codes, the form of error messages and the layout of help texts.
"""

import io
import os
import re
import signal
import sys
import threading
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from dsunet_runtime import __version__
from dsunet_runtime.commands.options import OPTIONAL_VALUES
from dsunet_runtime.message_text import clean, printable, quote, reason

_FAILED = 1
_WRONG_USAGE = 2
_INTERRUPTED = 130
_EXIT_CODES = "Exit codes: 0 success, 1 an error, 2 wrong usage, 130 interrupted."
_LONGEST_QUOTED = 400
_UsageError: Any = typer.BadParameter.__base__
"""The class of click, or of the copy of click that newer versions of Typer contain."""
_TERMINATING_SIGNALS = ("SIGTERM", "SIGHUP")


class _Command(TyperCommand):
    """A command whose plain-text help shows options by panel (`rich_help_panel`).

    Types that Typer names after Python's are left out: `ARTIFACT <list[Path]>`, `{CHECKPOINT}`.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        # Another command may have a flag of the same name.
        own = {name for option in self.params if not _is_flag(option) for name in option.opts}
        return super().parse_args(ctx, _with_missing_values(args, own))

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        pieces = super().collect_usage_pieces(ctx)
        return [re.sub(r"^\{(.*)\}", r"\1", piece) for piece in pieces]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        panels: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            name, text = record
            if parameter.param_type_name == "argument":
                name, usual = name.partition(" <")[0], "Arguments"
            else:
                name, usual = re.sub(r"<list\[(.*)\]>", r"<\1>", name), "Options"
            panel = getattr(parameter, "rich_help_panel", None) or usual
            panels.setdefault(panel, []).append((name, text))
        options = panels.pop("Options", [])  # `--help` is among them
        for panel, records in [*panels.items(), ("Options", options)]:
            if records:
                with formatter.section(panel):
                    formatter.write_dl(records)


def _is_flag(option: Any) -> bool:
    return bool(getattr(option, "is_flag", False))


def _with_missing_values(arguments: list[str], names: set[str]) -> list[str]:
    """Insert the values of those options of the names that were given without them."""
    count = arguments.index("--") if "--" in arguments else len(arguments)
    found = []
    for argument, after in zip(arguments[:count], [*arguments[1:count], ""], strict=False):
        option = OPTIONAL_VALUES.get(argument) if argument in names else None
        if option is not None and not option.takes(after):
            argument += f"={option.missing}"
        found.append(argument)
    return found + arguments[count:]


class _App(typer.Typer):
    def command(self, *arguments: Any, **settings: Any) -> Any:
        return super().command(*arguments, **{"cls": _Command, **settings})


def examples(*commands: str) -> str:
    """The epilog of a command's help: its exit codes, and example commands, one per line."""
    return "\n".join([_EXIT_CODES, "", "\b", "Examples:", *(f"  {line}" for line in commands)])


def make_app(program: str, summary: str, *faults: type[Exception]) -> typer.Typer:
    """Create an app without subcommands, with `--version`, `-h` and shell completion.

    Exit codes and messages:

    *   2 and one line on stderr for wrong usage;
    *   1 and one line on stderr for one of `faults` raised by a subcommand, for an error of the
        file system, and for a lack of memory;
    *   130 for an interruption, 143 for a termination, 129 for a closed terminal.

    Args:
        program: Name of the command, as users type it.
        summary: One line for `--help`.
        faults: Exceptions whose message is complete and is printed as it is.
    """

    class Group(TyperGroup):
        def main(self, *arguments: Any, **options: Any) -> Any:
            _open_closed_streams()
            try:
                return super().main(*arguments, **options)
            except OSError as fault:  # the help text cannot be printed
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
            # Like an interruption, so that unfinished files are removed.
            if threading.current_thread() is threading.main_thread():
                for name in _TERMINATING_SIGNALS:
                    _exit_on(name)
            for stream in (sys.stdout, sys.stderr):
                if isinstance(stream, io.TextIOWrapper):
                    stream.reconfigure(errors="replace")  # × on an ASCII terminal
            try:
                return super().invoke(ctx)
            except _UsageError as error:
                raise refusal(error) from None
            except faults as fault:
                complain(program, str(fault))
                raise typer.Exit(_FAILED) from None
            except BrokenPipeError:  # the reader has closed the pipe; click exits silently
                raise
            except OSError as fault:  # a name too long, a loop of links, a failing disk
                name = "" if fault.filename is None else f"{os.fsdecode(fault.filename)}: "
                complain(program, name + reason(fault))
                raise typer.Exit(_FAILED) from None
            except MemoryError as fault:  # NumPy states the size, Python does not
                detail = f": {printable(fault)}" if str(fault) else ""
                complain(program, f"not enough memory{detail}; use a smaller batch or image")
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

    app = _App(
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
    """Open standard streams that are closed (`2>&-`) on the null device.

    Otherwise the next file opened would get the descriptor of one of them, and output of libraries
    would be written into that file.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115, PTH123 - stays open


def _check_arguments(ctx: Any, arguments: list[str]) -> None:
    """Reject empty arguments and NUL characters.  `Path("")` would mean the current folder."""
    for before, argument in zip(["", *arguments], arguments, strict=False):
        option, equals, value = argument.partition("=")
        if not argument:
            ctx.fail(
                f"the argument after {before or 'the command'} is empty: is a variable not set?"
            )
        if option.startswith("--") and equals and not value:
            ctx.fail(f"{option} is empty: is a variable not set?")
        if "\0" in argument:
            ctx.fail(f"{quote(argument)} contains a NUL character, which no file name can")


def _in_one_line(program: str, error: Any) -> str:
    """The error in the command line, and the help command that describes the right usage."""
    is_ours = type(error) is typer.BadParameter and error.param is None
    # Messages of click repeat the argument at any length.
    message = error.message if is_ours else printable(error.format_message(), _LONGEST_QUOTED)
    ctx = error.ctx
    command = f"{program} {ctx.info_name}" if ctx is not None and ctx.parent else program
    return f"{message.rstrip('.')}; see `{command} --help`"


def _exit_on(name: str) -> None:
    """Let a signal raise SystemExit, unless the process ignores that signal (nohup)."""
    number = getattr(signal, name, None)  # Windows has no SIGHUP
    if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
        signal.signal(number, lambda number, frame: sys.exit(128 + number))


def complain(program: str, line: str) -> None:
    """Print a message on stderr, prefixed by the command: one line, or one line and a list."""
    print(clean(f"{program}: {line}"), file=sys.stderr)
