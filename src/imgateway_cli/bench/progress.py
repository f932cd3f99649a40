"""One line on a terminal that says how far the run is."""

import os
import time
from typing import Final, TextIO

from imgateway_cli.bench.fleet import Sight

BAR_CHARS: Final = 20
REDRAW_SECONDS: Final = 0.1

_CLEAR: Final = "\r\x1b[K"


class ProgressLine:
    """Drawn over itself; silent where the stream is no terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._shown = stream.isatty() and os.environ.get("TERM") != "dumb"
        self._full, self._empty = ("█", "░") if "utf" in (stream.encoding or "").lower() else ("#", ".")
        self._redraw = 0.0

    def show(self, sight: Sight, /) -> None:
        """Draw it, if the last time is a while ago."""
        if self._shown and time.monotonic() >= self._redraw:
            self._redraw = time.monotonic() + REDRAW_SECONDS
            self._write(_CLEAR + self._line(sight))

    def clear(self) -> None:
        """Leave an empty line for what is printed next."""
        if self._shown:
            self._write(_CLEAR)

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()

    def _line(self, sight: Sight) -> str:
        stage, share = sight.stage, 0.0
        if stage.count:
            share = sight.done / stage.count
        if stage.seconds:
            share = max(share, sight.seconds / stage.seconds)
        share = min(share, 1.0)
        full = int(share * BAR_CHARS)
        bar = self._full * full + self._empty * (BAR_CHARS - full)
        bad = f", {sight.bad:,} failed" if sight.bad else ""
        return f"{stage.label:<10} {bar} {share:4.0%}  {sight.seconds:5.1f} s  {sight.done:,} {stage.unit}{bad}"[:79]
