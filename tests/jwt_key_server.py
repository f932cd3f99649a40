"""An HTTP server that publishes keys, and behaves as badly as a test wants."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import anyio.to_thread
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from jwt.algorithms import ECAlgorithm

KEYS = {name: generate_private_key(SECP256R1()) for name in ("old", "new", "never published")}


def document(*names: str) -> bytes:
    members = [{**ECAlgorithm.to_jwk(KEYS[name].public_key(), as_dict=True), "kid": name} for name in names]
    return json.dumps({"keys": members}).encode()


class KeyServer(ThreadingHTTPServer):
    """Answers every request by what `answer` is then, and counts them."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status, self.answer, self.headers = 200, document("old"), dict[str, str]()
        self.paths: list[str] = []
        self.asked, self.go_on = threading.Event(), threading.Event()
        self.dripping_head = self.dripping_body = False
        self.go_on.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/keys.json"

    @property
    def requests(self) -> int:
        return len(self.paths)

    @contextmanager
    def down(self) -> Iterator[None]:
        """Answers nothing useful meanwhile."""
        self.status = 503
        yield
        self.status = 200

    @contextmanager
    def held(self) -> Iterator[None]:
        """Takes requests meanwhile and answers them afterwards."""
        self.asked.clear()
        self.go_on.clear()
        try:
            yield
        finally:
            self.go_on.set()

    async def has_been_asked(self) -> None:
        assert await anyio.to_thread.run_sync(self.asked.wait, 10.0)


class _Handler(BaseHTTPRequestHandler):
    server: KeyServer

    def do_GET(self) -> None:
        server = self.server
        server.paths.append(self.path)
        server.asked.set()
        try:
            while server.dripping_head and not server.go_on.wait(0.01):
                self.wfile.write(b"H")
            if not server.dripping_body:
                server.go_on.wait(30.0)
            self.send_response(server.status)
            for name, value in server.headers.items():
                self.send_header(name, value)
            self.end_headers()
            while server.dripping_body and not server.go_on.wait(0.01):
                self.wfile.write(b" ")
            self.wfile.write(server.answer)
        except OSError:
            pass  # the client has gone away

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the parent's name
        pass
