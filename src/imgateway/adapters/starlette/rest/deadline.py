"""How long a call may take, as its client says."""

import re

from imgateway.adapters.starlette.rest.exchange import Exchange
from imgateway.adapters.starlette.rest.refusals import invalid
from imgateway.rpc import RestProblem

_GRPC = re.compile(rb"([0-9]{1,8})([HMSmun])")
_UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_SECONDS = re.compile(rb"[0-9]{1,9}(\.[0-9]{1,9})?")


def named_seconds(exchange: Exchange, /) -> float | RestProblem | None:
    """What `Grpc-Timeout` (gRPC over HTTP/2, "Timeout"), else `X-Request-Timeout` (seconds) says; None without both."""
    headers = exchange.headers
    value = headers.get(b"grpc-timeout")
    if value is not None:
        match = _GRPC.fullmatch(value)
        if match is None or b"grpc-timeout" in exchange.repeated or not int(match[1]):
            return invalid("Grpc-Timeout must be 1 to 8 digits, not all 0, and one of H, M, S, m, u, n.")
        return int(match[1]) * _UNITS[match[2]]
    value = headers.get(b"x-request-timeout")
    if value is None:
        return None
    if _SECONDS.fullmatch(value) is None or b"x-request-timeout" in exchange.repeated or not float(value):
        return invalid("X-Request-Timeout must be a number of seconds above 0, like 2.5.")
    return float(value)
