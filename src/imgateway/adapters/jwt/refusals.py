"""The ways to turn a token down. No wording contains any part of a token: refusals reach clients and logs."""

import math

from imgateway.codes import Code
from imgateway.model import Refusal


def unauthenticated(reason: str, /) -> Refusal:
    """The token proves nothing."""
    return Refusal(Code.UNAUTHENTICATED, reason)


def expired() -> Refusal:
    """The token is good but for its end; a new one helps."""
    return Refusal(Code.TOKEN_EXPIRED, "The token has expired.")


def unavailable(seconds: float, /) -> Refusal:
    """The keys can't be had just now; after `seconds` they are asked for again."""
    return Refusal(Code.UNAVAILABLE, "The token can't be checked just now.", retry_after=max(1, math.ceil(seconds)))
