"""The names of the broker's topics and groups."""

import attrs

from imgateway.model import GatewayId


@attrs.frozen
class Topics:
    """Where records go up, come down, and end when nobody could be reached."""

    upstream: str = "im-upstream-topic"
    downstream_prefix: str = "im-downstream-topic-"
    undelivered: str = "im-undelivered-topic"

    def downstream(self, gateway_id: GatewayId, /) -> str:
        """The topic that only this gateway reads."""
        return f"{self.downstream_prefix}{gateway_id}"

    @staticmethod
    def downstream_group(gateway_id: GatewayId, /) -> str:
        """The group under which its positions are committed."""
        return f"gateway-{gateway_id}-group"
