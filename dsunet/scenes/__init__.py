"""Synthetic scenes: objects in front of a background, drawn or from images, and their masks."""

from dsunet.scenes.dataset import write_scenes
from dsunet.scenes.scene import Kind, Scene, make_scene
from dsunet.scenes.sources import Sources, find_sources

__all__ = ["Kind", "Scene", "Sources", "find_sources", "make_scene", "write_scenes"]
