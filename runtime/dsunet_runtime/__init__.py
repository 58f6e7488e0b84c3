"""Run an exported DSU-Net: from an artifact and an image to a mask.  No PyTorch."""
