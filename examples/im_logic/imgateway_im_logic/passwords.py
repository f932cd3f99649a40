"""Passwords, kept as what can't be turned back into them (scrypt, RFC 7914)."""

import hashlib
import hmac
import os

import anyio
import anyio.to_thread
import attrs

from imgateway_im_logic.refusals import invalid

MIN_PASSWORD_CHARS = 8
MAX_PASSWORD_CHARS = 128
_COST, _BLOCK, _PARALLEL = 2**14, 8, 1
_AT_A_TIME = 4
"""Each takes 16 MB and a core for some 50 ms."""


@attrs.frozen
class HashedPassword:
    """What is kept of a password."""

    salt: bytes
    digest: bytes = attrs.field(repr=False)


NOBODYS = HashedPassword(b"\0" * 16, b"")
"""Matches nothing, and takes as long as others to find out."""


@attrs.define(eq=False)
class Passwords:
    """Hashes in threads, so that the event loop goes on, and only some at a time."""

    _turn: anyio.CapacityLimiter = attrs.field(factory=lambda: anyio.CapacityLimiter(_AT_A_TIME))

    async def hashed(self, password: str, /) -> HashedPassword:
        """What to keep of a new password.

        Raises:
            RefusedError: it is too short, or too long.
        """
        if not MIN_PASSWORD_CHARS <= len(password) <= MAX_PASSWORD_CHARS:
            raise invalid(password=f"A password has {MIN_PASSWORD_CHARS} to {MAX_PASSWORD_CHARS} characters.")
        salt = os.urandom(16)
        return HashedPassword(salt, await self._digest(password, salt))

    async def match(self, password: str, kept: HashedPassword, /) -> bool:
        """Whether it is the password that was kept."""
        digest = await self._digest(password[:MAX_PASSWORD_CHARS], kept.salt)
        return hmac.compare_digest(digest, kept.digest) and len(password) <= MAX_PASSWORD_CHARS

    async def _digest(self, password: str, salt: bytes) -> bytes:
        return await anyio.to_thread.run_sync(_scrypt, password, salt, limiter=self._turn)


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode("utf-8", "surrogatepass"), salt=salt, n=_COST, r=_BLOCK, p=_PARALLEL)
