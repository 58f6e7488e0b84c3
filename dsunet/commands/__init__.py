"""The commands of `dsunet`, a module for each, and the options that several of them share.

A module has the command's function, of its own name, and `EXAMPLES` for the end of its help.

checkpoint_options  options of a checkpoint to read or write
training_options    options of a training run
named_folder        the value [NAME=]DIR of an option
help_panels         names of the panels in help texts
"""
