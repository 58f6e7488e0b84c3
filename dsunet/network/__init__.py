"""DSU-Net in PyTorch.

config         DSUNetConfig and the presets
model          DSUNet; its forward is the whole network
encoders       SAM2's Hiera with adapters, and DINOv2's ViT
wavelet        the wavelet path that brings DINOv2's map to Hiera's
fusion         CGA and RFB: the modules between the encoders and the decoder
decoders       the merging of the levels: SFF (DSU-Net) or convolutions (SAM2-UNet)
input_sizes    a model with other input sizes
random_weights  randomly initialised weights
parameters     the number of parameters of a configuration
config_fields  ranges of the configuration's numbers
"""
