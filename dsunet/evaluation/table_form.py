"""The forms of tables, by themselves, for a command line that loads nothing else yet."""

import enum


class TableForm(enum.StrEnum):
    """How a table is written."""

    MARKDOWN = "markdown"
    LATEX = "latex"

    @property
    def suffix(self) -> str:
        """Of a file of it."""
        return {TableForm.MARKDOWN: ".md", TableForm.LATEX: ".tex"}[self]
