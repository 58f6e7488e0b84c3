"""The commands of `dsunet`, a module for each, and the options that several of them share.

A module has the command's function, of its own name, and `EXAMPLES` for the end of its help.

train               `dsunet train`
distill             `dsunet distill`
predict             `dsunet predict`
evaluate            `dsunet evaluate`
ablate              `dsunet ablate`
explain             `dsunet explain`
generate            `dsunet generate`
inspect             `dsunet inspect`
convert             `dsunet convert`
demonstration       `dsunet demonstration`
checkpoint_options  options of a checkpoint to read or write
training_options    options of a training run
named_folder        the value [NAME=]DIR of an option
help_panels         names of the panels in help texts
"""
