"""Which HTTP methods rules can be for: those that reach the gateway, and are calls."""

from string import ascii_uppercase

import httptools

from imgateway.adapters.grpc.routing.rules import COMMON_METHODS, NOT_ANY, SERVED_METHODS

# All that IANA lists (RFC 9110 section 16.1.1), with those of RTSP, of RAOP and of UPnP, and some that nobody has.
KNOWN = """
ACL BASELINE-CONTROL BIND CHECKIN CHECKOUT CONNECT COPY DELETE GET HEAD LABEL LINK LOCK MERGE MKACTIVITY MKCALENDAR
MKCOL MKREDIRECTREF MKWORKSPACE MOVE OPTIONS ORDERPATCH PATCH POST PRI PROPFIND PROPPATCH PUT QUERY REBIND REPORT
SEARCH TRACE UNBIND UNCHECKOUT UNLINK UNLOCK UPDATE UPDATEREDIRECTREF VERSION-CONTROL ANNOUNCE DESCRIBE FLUSH
GET_PARAMETER PAUSE PLAY RECORD REDIRECT SETUP SET_PARAMETER TEARDOWN M-SEARCH NOTIFY PURGE SOURCE SUBSCRIBE
UNSUBSCRIBE VIEW FOO GETS
"""


class Heard:
    """What the parser tells of a request."""

    whole = False

    def on_message_complete(self) -> None:
        self.whole = True


def lets_through(http_method: str) -> bool:
    """Whether the parser that uvicorn has takes a request of this method."""
    heard = Heard()
    parser = httptools.HttpRequestParser(heard)
    try:
        parser.feed_data(f"{http_method} /x HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        return False
    return heard.whole and parser.get_method() == http_method.encode()


def test_rules_can_be_for_what_the_parser_lets_through_and_is_a_call() -> None:
    asked = SERVED_METHODS.union(KNOWN.split(), ascii_uppercase)
    assert {http_method for http_method in asked if lets_through(http_method)} == SERVED_METHODS | NOT_ANY - {"CONNECT"}
    assert COMMON_METHODS < SERVED_METHODS
    assert SERVED_METHODS.isdisjoint(NOT_ANY)
