"""Synthetic scenes: objects in front of a background, drawn or from images, and their masks.

dataset                 write_scenes: a dataset of scenes
scene                   make_scene: one scene
image_sources           image files of cut-outs and backgrounds
background              a background and its materials
drawn_backgrounds       drawn backgrounds
photograph_backgrounds  backgrounds from photographs
objects                 figures placed in the image
cutouts                 cut-outs placed in the image
figures                 outlines of animals, people, plants and manufactured objects
occluders               stems and leaves in front of an object
part_materials          materials of an object's parts, chosen for its background
materials               surfaces that can be painted over any area
textures                random processes that materials are drawn with
palettes                colour ramps
light                   shading and shadows
camera_effects          focus, exposure, noise, compression
outlines                polygons and their pixels
fields                  arrays H×W and operations on them
noise                   random fields
weighted_choice         random choice with weights
"""

from dsunet.scenes.dataset import write_scenes
from dsunet.scenes.image_sources import Sources, find_sources
from dsunet.scenes.scene import Scene, SceneKind, make_scene

__all__ = ["Scene", "SceneKind", "Sources", "find_sources", "make_scene", "write_scenes"]
