"""Checkpoint files: reading, writing, and matching of their weights to a network.

load_and_save    load_model and save_model
open_checkpoint  the network in a checkpoint file: the model that its keys and shapes match
pretrained       load_encoders: official SAM2 and DINOv2 weights
inspection       inspect_checkpoint: what a checkpoint contains
weight_files     safetensors and PyTorch files as tensors, without unpickling code
zip_records      the records of PyTorch's zip archives, and their CRCs
state_dicts      the networks in a weight file, at any place where training programs save them
public_layouts   key names of published code, a module for each network
mismatch         comparison of a file's tensors with a model's
header           the metadata of this project's own checkpoints
checksum         a SHA-256 over a whole file, stored in that file
run_checkpoint   the best checkpoint of a training run
demonstration    the path of the checkpoint that ships with the package
"""
