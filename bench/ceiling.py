"""What the rig itself can do: the generator against a server of its own that only moves frames."""

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rig import OTHER_CORE, SERVER_CORE, WIRE_BYTES, Generator
from servers import free_port
from workloads import Figures

_PAD = str(WIRE_BYTES - len('{"type":"push","data":{"t":1700000000000000000,"p":""}}'))


@contextmanager
def _server(program: str, *flags: str) -> Iterator[Sequence[str]]:
    address = f"127.0.0.1:{free_port()}"
    command = ["taskset", "-c", str(SERVER_CORE), program, "serve", "-addr", address, "-size", _PAD, *flags]
    with subprocess.Popen(command) as process:
        try:
            time.sleep(0.5)
            yield ["-dialect", "plain", "-url", f"ws://{address}/"]
        finally:
            process.kill()


def ceiling(generator: Generator) -> Figures:
    """Frames/s at one and at ten a write, echoes/s, connects/s."""
    assert OTHER_CORE != SERVER_CORE
    figures: Figures = {}
    for per, count in ((1, 500), (10, 2000)):
        with _server(generator.program, "-n", "1000", "-burst", str(count), "-per", str(per)) as target:
            flags = ["-n", "1000", "-expect", str(count * 1000), "-settle", "100ms", "-timeout", "30s"]
            answer = generator.run("fanout", [*target, *flags])
            figures[f"down, {per} a write: frames/s"] = answer["msgs_per_s"]
    with _server(generator.program) as target:
        flags = ["-n", "1000", "-dur", "4s", "-warmup", "1s", "-size", "180"]
        figures["echoes/s"] = generator.run("echo", [*target, *flags])["acks_per_s"]
    with _server(generator.program) as target:
        figures["connects/s"] = generator.run("connect", [*target, "-n", "10000"])["connect_per_s"]
    return figures
