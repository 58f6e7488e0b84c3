"""Scenes made by a program: an object before a background, and its exact mask."""

from dsunet.scenes.scene import Kind, Scene, make_scene
from dsunet.scenes.writing import write_scenes

__all__ = ["Kind", "Scene", "make_scene", "write_scenes"]
