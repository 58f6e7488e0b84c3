"""Synthetic scenes: an object in front of a background, and its exact mask."""

from dsunet.scenes.dataset import write_scenes
from dsunet.scenes.scene import Kind, Scene, make_scene

__all__ = ["Kind", "Scene", "make_scene", "write_scenes"]
