"""Shell scripts, whose commands of this project run in the process of the tests.

That spares each its imports, and lets exports share a trace.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.pages.commands import APPS, invoke

_STAND_IN = f"""#!{sys.executable} -S
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(os.path.join(os.path.dirname(sys.argv[0]), "socket"))
    with connection.makefile("rw") as stream:
        name = os.path.basename(sys.argv[0])
        print(json.dumps([name, sys.argv[1:], os.getcwd()]), file=stream, flush=True)
        code, out, error = json.loads(stream.readline())
sys.stdout.write(out)
sys.stderr.write(error)
sys.exit(code)
"""


def run_script(command: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
    """Run a script with stand-ins for this project's commands first on its path."""
    with (
        tempfile.TemporaryDirectory() as folder,  # a short path, as sockets need it
        socket.socket(socket.AF_UNIX) as listener,
    ):
        for name in APPS:
            stand_in = Path(folder, name)
            stand_in.write_text(_STAND_IN)
            stand_in.chmod(0o700)
        listener.bind(f"{folder}/socket")
        listener.listen()
        listener.settimeout(0.1)
        environment = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            while process.poll() is None:
                _answer(listener)
            out, error = process.communicate()
    return subprocess.CompletedProcess(command, process.returncode, out, error)


def _answer(listener: socket.socket) -> None:
    """Run the next command that a stand-in asks for, if there is one."""
    try:
        connection, _ = listener.accept()
    except TimeoutError:
        return
    connection.settimeout(None)
    with connection, connection.makefile("rw") as stream:
        name, arguments, folder = json.loads(stream.readline())
        result = invoke(name, arguments, Path(folder))
        answer = [result.exit_code, result.stdout, result.stderr]
        print(json.dumps(answer), file=stream, flush=True)
