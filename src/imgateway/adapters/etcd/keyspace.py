"""Keys and values: reading, writing and watching them."""

import base64
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio
import attrs

from imgateway.adapters.etcd.errors import EtcdError, GrpcCode, not_understood
from imgateway.adapters.etcd.transport import ATTEMPT_SECONDS, AnswerStream, EtcdTransport


@attrs.frozen
class Entry:
    """A key with its value.

    Attributes:
        lease: the lease it is bound to, or 0.
        revision: of its last change.
    """

    key: bytes
    value: bytes = attrs.field(repr=False)
    lease: int
    revision: int


@attrs.frozen
class Reading:
    """What was there at one moment.

    Attributes:
        revision: of the whole key space, at that moment.
    """

    entries: Sequence[Entry]
    revision: int

    @property
    def only(self) -> Entry | None:
        """The entry of a single key, if it was there."""
        return self.entries[0] if self.entries else None


@attrs.frozen
class Change:
    """One key was written or deleted."""

    entry: Entry
    deleted: bool


@attrs.define(eq=False)
class Watch:
    """Follows changes, in order and without gaps, until it fails."""

    _answers: AnswerStream

    async def next(self) -> Sequence[Change]:
        """The next changes, at least one; waits for it. A cancelled call ends the watch.

        Raises:
            EtcdError: the watch is over: the connection broke, or the revisions it starts with were compacted.
        """
        while True:
            changes = self._changes(await self._answers.next())
            if changes:
                return changes

    async def opened(self) -> None:
        """Wait until etcd says that it watches.

        Raises:
            EtcdError: it does not.
        """
        with anyio.move_on_after(ATTEMPT_SECONDS):
            self._changes(await self._answers.next())
            return
        raise EtcdError(GrpcCode.UNAVAILABLE, "no answer in time")

    def _changes(self, answer: dict[str, Any]) -> Sequence[Change]:
        if answer.get("canceled"):
            # An unknown token is called a lack of permission here; the next other call finds out, and renews it.
            compacted = "its revisions were compacted" if answer.get("compact_revision") else "the watch was ended"
            raise EtcdError(GrpcCode.UNAVAILABLE, str(answer.get("cancel_reason") or compacted))
        with _understanding():
            return [Change(_entry(each["kv"]), each.get("type") == "DELETE") for each in answer.get("events") or ()]


@attrs.frozen
class EtcdKeyspace:
    """Typed calls. Every one raises `EtcdError` when etcd can't be reached or refuses."""

    transport: EtcdTransport

    async def read(self, key: bytes, /, *, prefix: bool = False) -> Reading:
        """The entry of `key`, or all entries whose keys begin with it."""
        answer = await self.transport.call("/kv/range", _range(key, prefix))
        with _understanding():
            return Reading([_entry(each) for each in answer.get("kvs") or ()], int(answer["header"]["revision"]))

    async def write(self, key: bytes, value: bytes, lease: int, /) -> None:
        """Set `key`, whatever it was, and bind it to `lease`."""
        await self.transport.call("/kv/put", _put(key, value, lease))

    async def write_if(self, key: bytes, value: bytes, lease: int, /, *, revision: int) -> bool:
        """Set `key` if its last change is `revision`, if it is not there where that is 0; returns whether it was.

        False may also mean that a first try was successful, but its answer lost.
        """
        condition = {"key": _b64(key), "target": "MOD", "result": "EQUAL", "mod_revision": str(revision)}
        request = {"compare": [condition], "success": [{"request_put": _put(key, value, lease)}]}
        return (await self.transport.call("/kv/txn", request)).get("succeeded") is True

    @asynccontextmanager
    async def watching(self, key: bytes, /, *, after: int, prefix: bool = False) -> AsyncIterator[Watch]:
        """Changes of `key`, or of all keys that begin with it, that came after revision `after`."""
        request = {"create_request": {**_range(key, prefix), "start_revision": str(after + 1)}}
        async with self.transport.streaming("/watch", request) as answers:
            watch = Watch(answers)
            await watch.opened()
            yield watch


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _put(key: bytes, value: bytes, lease: int) -> dict[str, str]:
    return {"key": _b64(key), "value": _b64(value), "lease": str(lease)}


def _range(key: bytes, prefix: bool) -> dict[str, str]:
    # The first key behind all that begin so; ours end with "/", never with 0xff.
    return {"key": _b64(key)} | ({"range_end": _b64(key[:-1] + bytes([key[-1] + 1]))} if prefix else {})


def _entry(kv: dict[str, Any]) -> Entry:
    return Entry(
        key=base64.b64decode(kv["key"]),
        value=base64.b64decode(kv.get("value") or ""),
        lease=int(kv.get("lease") or 0),
        revision=int(kv["mod_revision"]),
    )


@contextmanager
def _understanding() -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError):
        raise not_understood() from None
