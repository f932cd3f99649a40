"""imgateway: the gateway an instant-messaging back end stands behind.

These are the names that embedding a gateway and writing a plugin take. What connects the gateway to a library is in
`imgateway.adapters`, and loaded only by whoever imports it from there.
"""

from imgateway.codes import Code
from imgateway.core.gateway import Gateway
from imgateway.core.parts import GatewayParts
from imgateway.core.settings import (
    AuthSettings,
    ConnectionSettings,
    GatewaySettings,
    ObservabilitySettings,
    ServerSettings,
    Settings,
)
from imgateway.errors import GatewayError, ServiceUnavailableError, SettingsError
from imgateway.model import Credentials, Identity, Refusal, UserId

__all__ = [
    "AuthSettings",
    "Code",
    "ConnectionSettings",
    "Credentials",
    "Gateway",
    "GatewayError",
    "GatewayParts",
    "GatewaySettings",
    "Identity",
    "ObservabilitySettings",
    "Refusal",
    "ServerSettings",
    "ServiceUnavailableError",
    "Settings",
    "SettingsError",
    "UserId",
]
