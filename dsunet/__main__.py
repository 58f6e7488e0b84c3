"""`python -m dsunet`: the command `dsunet`."""

from dsunet.cli import app

if __name__ == "__main__":
    app(prog_name="dsunet")
