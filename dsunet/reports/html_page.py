"""Self-contained HTML pages, without scripts.  Parts of a page are HTML, other text is escaped."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from PIL import Image

_STYLE = """
body { font: 15px/1.4 sans-serif; margin: 2em; color: #222; }
table { border-collapse: collapse; }
th, td { padding: 3px 10px; text-align: right; }
th:first-child, td:first-child { text-align: left; white-space: pre; }
tr.grey { color: #777; }
th { border-bottom: 1px solid #222; }
figure { display: inline-block; width: 240px; margin: 0 8px 8px 0; vertical-align: top; }
figcaption { font-size: 13px; overflow-wrap: anywhere; }
img { display: block; max-width: 100%; }
"""


def page(title: str, parts: Iterable[str]) -> str:
    """Combine parts to a page under a title."""
    body = "\n".join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>\n"
        f"<h1>{escape(title)}</h1>\n{body}\n</body></html>\n"
    )


def element(tag: str, text: str) -> str:
    """An element of text."""
    return f"<{tag}>{escape(text)}</{tag}>"


def table(headings: Iterable[str], rows: Iterable[Sequence[str]], grey: int = 0) -> str:
    """A table with the label of each row in its first column, and its last `grey` rows in grey."""
    cells = list(rows)
    black = len(cells) - grey
    lines = [
        _row("th", ["", *headings]),
        *(_row("td", row, "grey" if index >= black else "") for index, row in enumerate(cells)),
    ]
    return "\n".join(["<table>", *lines, "</table>"])


def embedded_image(image: Image.Image, file_format: str, **settings: Any) -> str:
    """An embedded image, saved by Pillow in a format such as `png`, with these settings."""
    buffer = io.BytesIO()
    image.save(buffer, file_format, **settings)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return (
        f'<img width="{image.width}" height="{image.height}" '
        f'src="data:image/{file_format};base64,{data}">'
    )


def _row(tag: str, cells: Iterable[str], style: str = "") -> str:
    start = f'<tr class="{style}">' if style else "<tr>"
    return f"{start}{''.join(element(tag, cell) for cell in cells)}</tr>"
