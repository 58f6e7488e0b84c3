"""A local HTTP server for clips."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

HEADER = "HTTP/1.0 200 OK\r\nContent-Type: video/mp2t\r\nContent-Length: {size}\r\n\r\n"


@contextmanager
def serving(content: bytes, *, ends: bool = False) -> Iterator[str]:
    """Serve a clip to one client, which then waits for more unless that was all."""
    size = len(content) if ends else 10**9
    is_over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                if content:
                    connection.sendall(HEADER.format(size=size).encode() + content)
                if not ends:
                    is_over.wait()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{port}/clip.ts"
        finally:
            is_over.set()
            thread.join()
