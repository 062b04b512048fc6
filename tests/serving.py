"""Run an HTTP server of a test in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import HTTPServer


@contextmanager
def serving_in_thread(httpd: HTTPServer, stopping: threading.Event) -> Iterator[None]:
    """Serve until the block ends; then set `stopping`, for which slow answers wait, and close the server."""
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        httpd.shutdown()
        httpd.server_close()
        thread.join()
