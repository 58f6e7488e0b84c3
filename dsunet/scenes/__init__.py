"""Synthetic scenes: an object in front of a background, and its exact mask."""

from dsunet.scenes.scene import Kind, Scene, make_scene
from dsunet.scenes.writing import write_scenes

__all__ = ["Kind", "Scene", "make_scene", "write_scenes"]
