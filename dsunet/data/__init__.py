"""Images and masks on disk: which belong together, where a dataset keeps them, whether all is well.

The files themselves are read by `dsunet.data.pairs`; `dsunet.data.layouts` knows the folders of the
field's datasets.  `dsunet.data.samples` makes tensors of them, and alone needs PyTorch.
"""
