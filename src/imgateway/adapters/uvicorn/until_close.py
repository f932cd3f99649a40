"""Answers to HTTP/1.0, whose clients know no chunks."""

from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


class UntilClose:
    """Sends what uvicorn's cycle of one request is to send, never in chunks (RFC 9112 section 6.1).

    A body of unknown length goes out as it comes, and ends with the connection, which uvicorn closes after each answer
    to HTTP/1.0.
    """

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self._send = cycle.send
        self._unknown = False
        cycle.waiting_for_100_continue = False  # RFC 9110 section 10.1.1

    async def send(self, message: Any) -> None:
        """In place of the cycle's own."""
        if message["type"] == "http.response.start":
            lines = [line for line in message.get("headers", ()) if line[0].lower() != b"transfer-encoding"]
            self._unknown = all(name.lower() != b"content-length" for name, _ in lines)
            if self._unknown:
                self._cycle.chunked_encoding = False
            message = {**message, "headers": lines}
        elif self._unknown:
            self._cycle.expected_content_length = len(message.get("body", b""))
        await self._send(message)
