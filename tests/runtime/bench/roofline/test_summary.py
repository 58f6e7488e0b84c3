"""From layers to branches, and what people and programs get of them."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from dsunet_runtime.bench.roofline.branches import Branch
from dsunet_runtime.bench.roofline.ceiling import Ceiling
from dsunet_runtime.bench.roofline.layer_profile import LayerProfile, ProfiledLayer
from dsunet_runtime.bench.roofline.roofline_plot import draw_roofline_plot
from dsunet_runtime.bench.roofline.roofline_table import (
    format_roofline,
    roofline_document,
    roofline_rows,
)
from dsunet_runtime.bench.roofline.summary import Cost, Roofline

MACHINE = Ceiling(100e9, 10e9, "a matmul", "a copy")
PROFILE = LayerProfile(
    [
        # Half of what the processor computes at best, and a quarter of what memory gives.
        ProfiledLayer(("hiera/MatMul",), 0.010, 500_000_000, 10_000_000),
        ProfiledLayer(("hiera/Add",), 0.004, 0, 10_000_000),
        ProfiledLayer(("BiasGelu",), 0.002, 0, 5_000_000),
        ProfiledLayer(("postprocess/Resize",), 0.004, 0, 20_000_000),
    ],
    seconds=0.016,
)


@pytest.fixture
def roofline() -> Roofline:
    return Roofline.of("a.onnx", 2, PROFILE, MACHINE)


def test_branches_add_up(roofline: Roofline) -> None:
    hiera = Cost(pytest.approx(0.016), 500_000_000, 25_000_000)
    assert roofline.costs == {
        Branch.HIERA: hiera,
        Branch.POSTPROCESSING: Cost(0.004, 0, 20_000_000),
    }
    assert roofline.total == Cost(pytest.approx(0.020), 500_000_000, 45_000_000)
    # 5 ms of multiply-adds and 2.5 ms of bytes in 16 ms; 2 ms of bytes in 4 ms.
    fractions = [roofline.attained(cost) for cost in roofline.costs.values()]
    assert fractions == pytest.approx([5 / 16, 2 / 4])
    (note,) = roofline.notes
    assert note.startswith(
        "10.0% of the time is spent in layers whose names do not identify a branch"
    )


def test_what_has_no_name_is_not_mentioned_if_it_is_little() -> None:
    layers = [*PROFILE.layers[:2], ProfiledLayer(("BiasGelu",), 0.0001, 0, 1)]
    assert Roofline.of("a.onnx", 1, LayerProfile(layers, 1.0), MACHINE).notes == []


def test_table(roofline: Roofline) -> None:
    heading, hiera, post, together, ceiling, profiler, note = format_roofline(roofline)
    assert heading.startswith("roofline of a.onnx, batch 2")
    assert len({len(line) for line in (heading, hiera, post, together)}) == 1
    expected = ["Hiera", "16.00", "80.0%", "0.500", "31.2", "0.025", "1.6", "31.2%"]
    assert hiera.split() == expected
    assert post.split() == [
        *("postprocessing", "4.00", "20.0%", "0.000", "0.0", "0.020", "5.0", "50.0%")
    ]
    assert together.split()[:3] == ["all", "20.00", "100.0%"]
    assert "100.0 G MAC/s (a matmul) or 10.0 GB/s (a copy)" in ceiling
    assert "sum of the layers 20.00 ms, a run without profiler 16.00 ms (+25.0%)" in profiler
    assert note in roofline.notes


def test_documents(roofline: Roofline) -> None:
    document = roofline_document(roofline)
    assert document["branches"]["Hiera"]["macs"] == 500_000_000
    assert document["all"]["fraction"] == 1
    assert document["ceiling"]["macs_per_second"] == 100e9
    rows = roofline_rows(roofline)
    assert [row["branch"] for row in rows] == ["Hiera", "postprocessing"]
    assert sum(row["fraction"] for row in rows) == pytest.approx(1)
    assert {row["batch"] for row in rows} == {2}


def test_plot(roofline: Roofline) -> None:
    """The ceiling, and the branches that multiply."""
    picture = ET.fromstring(draw_roofline_plot([roofline, roofline]))
    titles = [e.text for e in picture.iter("{http://www.w3.org/2000/svg}title")]
    assert titles == ["ceiling", "Hiera"] * 2
    circles = [
        tuple(float(e.attrib[name]) for name in ("cx", "cy"))
        for e in picture.iter("{http://www.w3.org/2000/svg}circle")
    ]
    # 20 multiply-adds a byte: right of the corner, which is at 10; below the ceiling.
    *line, hiera = circles[: len(circles) // 2]
    corner = line[0]
    assert hiera[0] > corner[0]
    assert hiera[1] > corner[1]
