"""`python -m dsunet_export`: the command `dsunet-export`."""

from dsunet_export.cli import app

if __name__ == "__main__":
    app(prog_name="dsunet-export")
