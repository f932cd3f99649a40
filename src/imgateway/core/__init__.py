"""Policy over ports: what the gateway does, whatever the transport and the broker. anyio and attrs only."""
