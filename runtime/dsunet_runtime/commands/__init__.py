"""The commands of `dsunet-run`, and what all three programs share.

app                all three programs: exit codes, error messages and layout of help
options            options with limits, validated while the command line is parsed
artifact_options   the argument and the options of commands that run one artifact
predict_options    options shared by `dsunet-run predict` and `dsunet predict`
predict_arguments  from these options to a video job or to jobs for images
worker_options     options of `dsunet-run predict` for several processes
predict            `dsunet-run predict`
run_jobs           images on the command line: progress, errors, notices and a summary
run_video          a video on the command line: progress, messages and a summary
selftest           `dsunet-run selftest`
bench              `dsunet-run bench`
"""
