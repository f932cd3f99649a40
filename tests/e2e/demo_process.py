"""`imgateway demo` as a process that can be ended and started again on the same port."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
from servers import free_port


@attrs.define(eq=False)
class Demo:
    """The demo as a process that can be ended and started again on the same port."""

    port: int
    command: tuple[str, ...]
    _process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        self._process = subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self.url in self._process.stdout.readline()

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(how)
        with process:
            return process.wait(60)  # its drain may take 30 s


@contextmanager
def running_demo() -> Iterator[Demo]:
    """The demo on a port of its own."""
    port = free_port()
    demo = Demo(port, (str(Path(sys.executable).parent / "imgateway"), "demo", "--port", str(port)))
    demo.start()
    try:
        yield demo
    finally:
        demo.end()
