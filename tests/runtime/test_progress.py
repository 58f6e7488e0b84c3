"""The progress line, on a terminal and elsewhere."""

from __future__ import annotations

import io

from dsunet_runtime.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class TestProgress:
    def test_on_a_terminal(self) -> None:
        terminal = Terminal()
        with Progress(2, terminal) as progress:
            progress.advance()
            progress.say("a.png: broken")
            progress.advance()
        written = terminal.getvalue()
        assert " 1/2 " in written
        assert " 2/2 " in written
        assert "\r\x1b[Ka.png: broken\n" in written
        assert written.endswith("\r\x1b[K")

    def test_nowhere_else(self) -> None:
        stream = io.StringIO()
        with Progress(2, stream) as progress:
            progress.advance()
            progress.say("a.png: broken")
        assert stream.getvalue() == "a.png: broken\n"
