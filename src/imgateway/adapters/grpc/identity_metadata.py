"""Who asks, as metadata for a back end."""

from typing import Final

from imgateway.model import UserId
from imgateway.rpc import Metadata

USER_ID: Final = "x-user-id"
USER_ID_BYTES: Final = "x-user-id-bin"
_NAMES: Final = frozenset({USER_ID, USER_ID_BYTES})


def with_user(metadata: Metadata, user_id: UserId | None, /) -> Metadata:
    """The metadata with the verified user's id, last and alone: nobody else's `x-user-id` goes along.

    An id that is no printable ASCII text, or has spaces around it, can't stand in metadata: its UTF-8 bytes go as
    `x-user-id-bin` instead. Escaping it would let two users look the same.
    """
    for name, _ in metadata:
        if name in _NAMES:
            metadata = tuple(pair for pair in metadata if pair[0] not in _NAMES)
            break
    if user_id is None:
        return metadata
    if user_id.isascii() and user_id.isprintable() and user_id.strip() == user_id:
        return (*metadata, (USER_ID, user_id))
    return (*metadata, (USER_ID_BYTES, user_id.encode()))
