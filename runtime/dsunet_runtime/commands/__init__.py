"""What the commands are made of.

command           the frame of all three commands: errors, exit codes, help
options           options with limits, validated while the command line is parsed
artifact_options  the argument and the options of commands that run one artifact
predict_options   options shared by `dsunet-run predict` and `dsunet predict`
predict_work      what is to be computed, from these options
bench, selftest   `dsunet-run bench`, `dsunet-run selftest`
"""
