"""Images and masks on disk: which belong together, where a dataset keeps them, whether all is well.

`layouts` knows the folders of the field's datasets, `pairs` finds what belongs together in them,
`files` reads images and masks, `alignment` tells whether they fit, and `checks` does all that of a
whole dataset and lists what is wrong (`faults`).  `samples` makes tensors of them, and alone needs
PyTorch.
"""
