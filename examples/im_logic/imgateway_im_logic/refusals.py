"""Why a call gets no answer, in the terms of gRPC."""

from collections.abc import Mapping

import grpc


class RefusedError(Exception):
    """The call ends with this status.

    Attributes:
        code: the status.
        fields: for INVALID_ARGUMENT: what is wrong, by the path of the request's field.
        retry_after: for RESOURCE_EXHAUSTED and UNAVAILABLE: seconds until it is worth another try.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        *,
        fields: Mapping[str, str] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.fields = dict(fields or {})
        self.retry_after = retry_after


def invalid(**fields: str) -> RefusedError:
    """The request's fields can't be used: by their names one sentence each."""
    return RefusedError(grpc.StatusCode.INVALID_ARGUMENT, " ".join(fields.values()), fields=fields)


def forbidden(why: str, /) -> RefusedError:
    """The caller may not do this."""
    return RefusedError(grpc.StatusCode.PERMISSION_DENIED, why)


def missing(what: str, /) -> RefusedError:
    """There is no such thing."""
    return RefusedError(grpc.StatusCode.NOT_FOUND, what)


def conflict(why: str, /) -> RefusedError:
    """Something with that name is there already, and is another."""
    return RefusedError(grpc.StatusCode.ALREADY_EXISTS, why)


def impossible(why: str, /) -> RefusedError:
    """Not while things are as they are."""
    return RefusedError(grpc.StatusCode.FAILED_PRECONDITION, why)


def unproven(why: str, /) -> RefusedError:
    """It is not known who calls."""
    return RefusedError(grpc.StatusCode.UNAUTHENTICATED, why)
