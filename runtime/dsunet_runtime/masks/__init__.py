"""From logits to a mask, and renderings of an image with its mask.

mask_from_logits  postprocessing of the tensors form
blank_masks       detection of NaN or dead weights behind a blank mask
renderings        binary masks, cut-outs, other backgrounds, overlays
foreground        the colours of an object without those of its old background
backdrops         new backgrounds: a colour, an image, a blur
"""
