"""The options of a training run on the command line, which `dsunet train` and `distill` share.

command_line  with_training_options: adds the options to a command; options_from: reads them
defaults      their defaults and limits
output        the run folder, and what is saved in it
data          training images and masks, and their augmentation
model         the network and its initial weights
optimization  loss, optimizer and learning rate schedule
computation   devices, precision, memory and worker processes
validation    the validation during a run
"""
