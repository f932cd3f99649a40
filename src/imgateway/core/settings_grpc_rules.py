"""What the values of `[grpc]` must be beyond their types."""

import re
from typing import Final

from imgateway.core.own_paths import OWN_PATHS
from imgateway.core.settings_forwarding import unforwardable, unreturnable
from imgateway.core.settings_rules import Rule

_NAME: Final = r"[A-Za-z_][A-Za-z0-9_]*"
_FIELD: Final = re.compile(_NAME)
_SERVICE: Final = re.compile(rf"{_NAME}(\.{_NAME})*")
_METHOD: Final = re.compile(rf"{_SERVICE.pattern}/{_NAME}")
_METHODS: Final = re.compile(rf"\*|{_SERVICE.pattern}/(\*|{_NAME})")
_PREFIX: Final = re.compile(r"(/[A-Za-z0-9._~-]+)*")
# What gRPC allows in the name of metadata.
_HEADER: Final = re.compile(r"[a-z0-9_.-]{1,100}")


def is_service(value: str, /) -> bool:
    """Whether it is the full name of a service, `pkg.Service`."""
    return _SERVICE.fullmatch(value) is not None


def _is_prefix(value: str) -> bool:
    first = f"/{value.partition('/')[2].partition('/')[0]}"
    steps = value.split("/")
    return _PREFIX.fullmatch(value) is not None and first not in OWN_PATHS and "." not in steps and ".." not in steps


PREFIX: Final = Rule(
    f'"" or a path like "/api" that does not end with / and is none of {", ".join(OWN_PATHS)}', _is_prefix
)
METHOD: Final = Rule('"pkg.Service/Method"', lambda value: _METHOD.fullmatch(value) is not None)
METHODS: Final = Rule(
    '"pkg.Service/Method", "pkg.Service/*" or "*"', lambda value: _METHODS.fullmatch(value) is not None
)
FIELD: Final = Rule('the name of a field, like "user_id"', lambda value: _FIELD.fullmatch(value) is not None)
FORWARDED: Final = Rule(
    "a header in lower case that holds no credentials, does not belong to the connection, is not set by the gateway "
    "and does not end with -bin",
    lambda value: _HEADER.fullmatch(value) is not None and not unforwardable(value),
)
RETURNED: Final = Rule(
    "a name of metadata in lower case that is no credential, does not belong to the connection and is not set by the "
    "gateway",
    lambda value: _HEADER.fullmatch(value) is not None and not unreturnable(value),
)
