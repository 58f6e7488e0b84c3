"""HTML pages: names are escaped, and nothing is loaded from elsewhere."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
from PIL import Image

from dsunet.reports.html_page import element, embedded_image, page, table

NAME = "<b onload='x'>&\"</b>"


def test_text_is_escaped() -> None:
    text = page(NAME, [element("h2", NAME), table([NAME], [[NAME, NAME]])])
    assert "<b " not in text
    escaped = "&lt;b onload=&#x27;x&#x27;&gt;&amp;&quot;&lt;/b&gt;"
    assert text.count(escaped) == 2 + 1 + 3
    assert "<script" not in text


def test_the_last_rows_are_grey() -> None:
    rows = table(["S"], [["ours", "0.9"], ["paper", "0.8"]], grey=1).splitlines()[1:-1]
    assert rows == [
        "<tr><th></th><th>S</th></tr>",
        "<tr><td>ours</td><td>0.9</td></tr>",
        '<tr class="grey"><td>paper</td><td>0.8</td></tr>',
    ]
    assert "grey" not in table(["S"], [["ours", "0.9"]])


def test_an_image_is_embedded() -> None:
    image = Image.new("RGB", (3, 2), (1, 2, 3))
    found = re.fullmatch(
        r'<img width="3" height="2" src="data:image/png;base64,(.*)">', embedded_image(image, "png")
    )
    assert found is not None
    with Image.open(io.BytesIO(base64.b64decode(found[1]))) as read:
        assert np.array_equal(np.asarray(read), np.asarray(image))
