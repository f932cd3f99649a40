"""Tokens that were verified before, so that the same one need not be verified again."""

import hashlib
from collections import OrderedDict

import attrs

from imgateway.adapters.jwt.keys import Keys
from imgateway.model import Identity


def digest(token: str, /) -> bytes:
    """What stands for a token: whoever reads it can't have the token."""
    return hashlib.blake2b(token.encode(), digest_size=32).digest()


@attrs.define(eq=False)
class VerifiedTokens:
    """Identities by the digest of their token: the most recently used, all proven by the same keys.

    Attributes:
        limit: how many are remembered.
    """

    limit: int
    _keys: Keys | None = attrs.field(default=None, init=False)
    _identities: OrderedDict[bytes, Identity] = attrs.field(factory=OrderedDict, init=False, repr=False)

    def __len__(self) -> int:
        return len(self._identities)

    def get(self, key: bytes, keys: Keys, /) -> Identity | None:
        """What the token proved under exactly these keys. Whether it still holds is for the caller to check."""
        if keys is not self._keys or (identity := self._identities.get(key)) is None:
            return None
        self._identities.move_to_end(key)
        return identity

    def put(self, key: bytes, identity: Identity, keys: Keys, /) -> None:
        """Remember; what other keys proved is forgotten."""
        if keys is not self._keys:
            self._identities.clear()
            self._keys = keys
        self._identities[key] = identity
        self._identities.move_to_end(key)
        if len(self._identities) > self.limit:
            self._identities.popitem(last=False)

    def clear(self) -> None:
        """Forget all."""
        self._identities.clear()
        self._keys = None
