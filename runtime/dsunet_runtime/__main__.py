"""`python -m dsunet_runtime`: the command `dsunet-run`."""

from dsunet_runtime.cli import app

if __name__ == "__main__":
    app(prog_name="dsunet-run")
