"""Cut-outs and backgrounds drawn for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw


def write_cutout(path: Path, colour: tuple[int, int, int] = (220, 40, 30), side: int = 80) -> Path:
    """A disc of one colour, with a stem, on a transparent background of another."""
    image = Image.new("RGBA", (side, side), (0, 255, 0, 0))
    draw = ImageDraw.Draw(image)
    draw.ellipse([0.1 * side, 0.05 * side, 0.9 * side, 0.8 * side], fill=(*colour, 255))
    draw.rectangle([0.45 * side, 0.7 * side, 0.55 * side, 0.98 * side], fill=(*colour, 255))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


def write_background(path: Path, colour: tuple[int, int, int], seed: int = 0) -> Path:
    """Noise around a colour."""
    noise = np.random.default_rng(seed).normal(0, 18, (120, 160, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(noise + colour, 0, 255).astype(np.uint8)).save(path)
    return path


def write_sources(folder: Path) -> tuple[Path, Path]:
    """Two folders: two cut-outs, red and yellow, and two backgrounds, blue and grey."""
    write_cutout(folder / "cutouts" / "red.png")
    write_cutout(folder / "cutouts" / "yellow.png", (230, 220, 30), 50)
    write_background(folder / "photographs" / "blue.jpg", (40, 70, 150))
    write_background(folder / "photographs" / "grey.png", (110, 110, 110), 1)
    return folder / "cutouts", folder / "photographs"
