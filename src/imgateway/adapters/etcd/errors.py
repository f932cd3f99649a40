"""What goes wrong between here and etcd, in words that name the setting to look at."""

import os
import ssl
from collections.abc import Iterator
from enum import IntEnum

import aiohttp

from imgateway.errors import ServiceUnavailableError


class GrpcCode(IntEnum):
    """The codes that etcd answers with and that are told apart here (grpc.io, "Status codes")."""

    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    NOT_FOUND = 5
    PERMISSION_DENIED = 7
    FAILED_PRECONDITION = 9
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


class EtcdError(ServiceUnavailableError):
    """No useful answer; the text names the setting and the address, never a password, a token or a value.

    Attributes:
        code: etcd's, or `UNAVAILABLE` where it did not answer at all.
    """

    def __init__(self, code: int, why: str, /, *, settings: str = "etcd.endpoints", endpoint: str = "") -> None:
        super().__init__(f"{settings}: {f'{endpoint}: ' if endpoint else ''}{why}")
        self.code = code


_CERTIFICATE_ALERTS = ("CERTIFICATE_REQUIRED", "BAD_CERTIFICATE", "UNKNOWN_CA", "CERTIFICATE_UNKNOWN", "ACCESS_DENIED")


def unreachable(error: Exception, endpoint: str, /) -> EtcdError:
    """For a call that ended with an error of the network, the TLS layer or HTTP's framing."""
    settings, why = _explain(error, endpoint)
    return EtcdError(GrpcCode.UNAVAILABLE, why, settings=settings, endpoint=endpoint)


def refused(code: int, message: str, endpoint: str, /) -> EtcdError:
    """For an answer of etcd that is an error."""
    if "auth store is old" in message:
        # Users or roles were changed since the token was made: as good as an unknown one.
        code = GrpcCode.UNAUTHENTICATED
    about_access = code in (GrpcCode.PERMISSION_DENIED, GrpcCode.UNAUTHENTICATED) or any(
        word in message for word in ("authentication", "user name")
    )
    settings = "etcd.user, etcd.password" if about_access else "etcd.endpoints"
    return EtcdError(code, _printable(message), settings=settings, endpoint=endpoint)


def not_etcd(status: int, body: bytes, endpoint: str, /) -> EtcdError:
    """For an answer that is no JSON object."""
    said = _printable(body[:200].decode(errors="replace"))
    if "HTTPS" in said:
        why = "speaks TLS: write https://"
    elif status == 404:
        why = "does not serve etcd's JSON gateway under /v3 (etcd from 3.4 on does, unless enable-grpc-gateway is off)"
    else:
        why = f"answers as etcd does not (HTTP {status}: {said})"
    return EtcdError(GrpcCode.UNAVAILABLE, why, endpoint=endpoint)


def not_understood(endpoint: str = "", /) -> EtcdError:
    """For JSON that is not what etcd says."""
    return EtcdError(GrpcCode.UNKNOWN, "the answer is not what etcd says", endpoint=endpoint)


def _explain(error: Exception, endpoint: str) -> tuple[str, str]:
    tls = next((cause for cause in _causes(error) if isinstance(cause, ssl.SSLError)), None)
    if isinstance(tls, ssl.SSLCertVerificationError):
        return "etcd.endpoints, etcd.tls_ca", f"its certificate is not valid here ({tls.verify_message})"
    if tls is not None:
        reason = tls.reason or type(tls).__name__
        if any(alert in reason for alert in _CERTIFICATE_ALERTS):
            return "etcd.tls_cert, etcd.tls_key", f"it does not accept our certificate, or the lack of one ({reason})"
        return "etcd.endpoints", f"TLS failed ({reason}); a server without TLS is written http://"
    if isinstance(error, TimeoutError):
        return "etcd.endpoints", "no answer in time"
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, aiohttp.ServerDisconnectedError | ConnectionResetError):
        hint = "without TLS is written http://" if endpoint.startswith("https") else "with TLS is written https://"
        return "etcd.endpoints", f"the connection was closed; a server {hint}"
    if isinstance(cause, OSError) and cause.errno is not None and cause.errno > 0:
        return "etcd.endpoints", os.strerror(cause.errno)
    return "etcd.endpoints", _printable(getattr(cause, "strerror", None) or str(cause) or type(cause).__name__)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The innermost first."""
    # aiohttp keeps what the TLS layer said in attributes of its own, or only as the cause.
    inner = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error.__cause__
    if isinstance(inner, BaseException):
        yield from _causes(inner)
    yield error


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text[:200]).strip()
