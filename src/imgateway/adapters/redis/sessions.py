"""The session store in Redis, which back ends read as well."""

import json
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs

from imgateway.adapters.redis.access import RedisAccess
from imgateway.adapters.redis.scripts import FIELD_PREFIX, GONE_PREFIX, READ, REMOVE, WRITE
from imgateway.codes import Code
from imgateway.model import ConnectionId, DeviceId, DevicePolicy, Displaced, GatewayId, SessionRecord, UserId

if TYPE_CHECKING:
    from imgateway.ports import SessionStore

_encoder = json.JSONEncoder(separators=(",", ":"))
_log = logging.getLogger(__name__)


@attrs.define(eq=False)
class RedisSessionStore:
    """Implements `ports.SessionStore`.

    One hash for each user, `{key_prefix}user_session:{user_id}`: a field for each entry, `gateway_id`, the gateway of
    the newest one, and a field for each displaced connection that is remembered. No other key is touched. Values in it
    that are none of ours are passed over, dropped with the next change, and logged; so is a key that is no hash.

    Every call raises `ServiceUnavailableError` as `RedisAccess.run` does.

    Attributes:
        access: the server; closed with the store.
        ttl_seconds: how long an entry lives unless refreshed, at most `scripts.LONGEST_TTL_SECONDS`.
        key_prefix: put before every key.
    """

    access: RedisAccess
    ttl_seconds: float = 60.0
    key_prefix: str = ""

    async def add(self, records: Sequence[SessionRecord], policy: DevicePolicy | None = None, /) -> Sequence[Displaced]:
        """Write entries, or write them again; whom they displace, and who was not written."""
        ttl = str(round(self.ttl_seconds * 1000))
        most = "0" if policy is None else str(policy.max_per_user)
        excess = "refuse" if policy is not None and policy.refuses else "kick-oldest"
        calls = [
            (self._key(each.user_id), (each.connection_id, _open_json(each), ttl, most, excess)) for each in records
        ]
        displaced = []
        for record, answer in zip(records, await self.access.run(WRITE, calls), strict=True):
            foreign, *told = answer if isinstance(answer, list) else (answer,)
            _report(record.user_id, foreign)
            displaced += [_displaced(record.user_id, each) for each in told]
        return displaced

    async def refresh(self, records: Sequence[SessionRecord], /) -> Sequence[Displaced]:
        """Extend the leases; an entry that is gone is written again, unless it was displaced."""
        return await self.add(records)

    async def remove(self, records: Sequence[SessionRecord], /) -> None:
        """Remove exactly these connections' entries."""
        calls = [
            (self._key(each.user_id), (FIELD_PREFIX + each.connection_id, GONE_PREFIX + each.connection_id))
            for each in records
        ]
        for record, foreign in zip(records, await self.access.run(REMOVE, calls), strict=True):
            _report(record.user_id, foreign)

    async def lookup(self, user_id: UserId, /) -> Sequence[SessionRecord]:
        """The user's live entries, newest connection first; of two as old as each other, always the same one."""
        ((foreign, *entries),) = await self.access.run(READ, [(self._key(user_id), ())])
        _report(user_id, foreign)
        return [_record(user_id, entry) for entry in entries]

    async def aclose(self) -> None:
        """Close the connections to the server; entries stay until they expire. Idempotent."""
        await self.access.aclose()

    def _key(self, user_id: UserId) -> str:
        return f"{self.key_prefix}user_session:{user_id}"


def _report(user_id: UserId, foreign: int) -> None:
    if foreign:
        _log.warning("a user_session key holds what is no presence", extra={"user_id": user_id, "values": foreign})


def _open_json(record: SessionRecord) -> str:
    """The entry without its end, which the server knows, and so without the closing brace."""
    entry = {
        "gateway_id": record.gateway_id,
        "device_id": record.device_id,
        "platform": record.platform,
        "connected_at": record.connected_at,
    }
    return _encoder.encode(entry)[:-1]


def _displaced(user_id: UserId, told: Sequence[bytes]) -> Displaced:
    connection_id, gateway_id, code = (text.decode(errors="replace") for text in told)
    return Displaced(user_id, ConnectionId(connection_id), GatewayId(gateway_id), Code(code))


def _record(user_id: UserId, entry: Sequence[bytes | None]) -> SessionRecord:
    # Another program's text may be no UTF-8, and where there is none the answer has None.
    field, gateway_id, device_id, platform, connected_at, expires_at = (
        None if text is None else text.decode(errors="replace") for text in entry
    )
    return SessionRecord(
        user_id=user_id,
        connection_id=ConnectionId(str(field).removeprefix(FIELD_PREFIX)),
        gateway_id=GatewayId(str(gateway_id)),
        device_id=None if device_id is None else DeviceId(device_id),
        platform=platform,
        connected_at=int(str(connected_at)),
        expires_at=int(str(expires_at)),
    )


if TYPE_CHECKING:
    _: SessionStore = RedisSessionStore(RedisAccess(""))
