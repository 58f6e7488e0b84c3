"""Formats of tables, in a module of their own so that the command line stays fast to import."""

import enum


class TableFormat(enum.StrEnum):
    """Format of a table."""

    MARKDOWN = "markdown"
    LATEX = "latex"

    @property
    def suffix(self) -> str:
        """File name suffix of the format."""
        return {TableFormat.MARKDOWN: ".md", TableFormat.LATEX: ".tex"}[self]
