"""Upgrades that a client offers and that are not taken up (RFC 9110 section 7.8): its request is one like any other.

httptools takes whatever follows such a head for another protocol. Then the body would be missing, and what comes in a
packet of its own would be taken for a request, which no proxy in front has ever looked at. Java's client offers `h2c`
with every first request.
"""

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


def parse_behind_head(protocol: HttpToolsProtocol, /) -> None:
    """Give a protocol that has got the head of such a request a parser for what follows: the body, further requests.

    Raises:
        httptools.HttpParserError: the head does not say where the body ends.
    """
    behind = _BehindHead(protocol)
    protocol.parser = httptools.HttpRequestParser(behind)
    protocol.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn has it
    framing = [line for line in protocol.headers if line[0] in (b"content-length", b"transfer-encoding")]
    protocol.parser.feed_data(b"".join([b"POST / HTTP/1.1\r\n", *(b"%s: %s\r\n" % line for line in framing), b"\r\n"]))
    behind.reached = True


class _BehindHead:
    """Passes a parser's callbacks on, but for those of the first head, which the protocol knows already."""

    def __init__(self, protocol: HttpToolsProtocol) -> None:
        self._protocol = protocol
        self.reached = False
        self.on_body = protocol.on_body
        self.on_message_complete = protocol.on_message_complete

    def on_message_begin(self) -> None:
        if self.reached:
            self._protocol.on_message_begin()

    def on_url(self, url: bytes) -> None:
        if self.reached:
            self._protocol.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.reached:
            self._protocol.on_header(name, value)

    def on_headers_complete(self) -> None:
        if self.reached:
            self._protocol.on_headers_complete()
