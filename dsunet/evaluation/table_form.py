"""Formats of tables, in a module of their own so that the command line stays fast to import."""

import enum


class TableForm(enum.StrEnum):
    """Format of a table."""

    MARKDOWN = "markdown"
    LATEX = "latex"

    @property
    def suffix(self) -> str:
        """File name suffix of the format."""
        return {TableForm.MARKDOWN: ".md", TableForm.LATEX: ".tex"}[self]
