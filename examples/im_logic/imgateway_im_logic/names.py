"""What users may be called, and the ids that follow from it."""

import base64
import hashlib
import unicodedata

from imgateway.model import UserId
from imgateway_im_logic.refusals import invalid

MAX_NAME_CHARS = 32
MIN_DEVICE_ID_CHARS = 16
MAX_DEVICE_ID_CHARS = 128
_ID_CHARS = 20


def shown_name(name: str, field: str, /) -> str:
    """A name as others see it: Unicode normal form C, single spaces.

    Raises:
        RefusedError: nobody can be called so; `field` is where it stands in the request.
    """
    shown = " ".join(unicodedata.normalize("NFC", name).split())
    if not any(unicodedata.category(char)[0] not in "CZ" for char in shown):
        raise invalid(**{field: "A name needs at least one visible character."})
    if len(shown) > MAX_NAME_CHARS:
        raise invalid(**{field: f"A name has at most {MAX_NAME_CHARS} characters."})
    # Joiners hold emoji and letters together; other invisible characters only serve to look like somebody else.
    if ":" in folded(shown) or any(
        unicodedata.category(char)[0] == "C" and char not in "\u200c\u200d" for char in shown
    ):
        raise invalid(**{field: "A name holds no colon and no control characters."})
    return shown


def folded(name: str, /) -> str:
    """What two names that count as the same have in common: `Ann Lee` and `ann lee`."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def registered_id(name: str, /) -> UserId:
    """The id of whoever registers that name: the same each time, also after everything was forgotten."""
    return _id("u", folded(name))


def guest_id(device_id: str, /) -> UserId:
    """The id of the guest of that device: the same each time; tells nothing of the device's id.

    Raises:
        RefusedError: it is too short to be a secret, or too long.
    """
    if not MIN_DEVICE_ID_CHARS <= len(device_id) <= MAX_DEVICE_ID_CHARS:
        why = f"A guest's device_id has {MIN_DEVICE_ID_CHARS} to {MAX_DEVICE_ID_CHARS} characters, at random."
        raise invalid(**{"client_info.device_id": why})
    return _id("g", device_id)


def _id(kind: str, of: str) -> UserId:
    digest = hashlib.sha256(f"{kind} {of}".encode("utf-8", "surrogatepass")).digest()
    return UserId(f"{kind}-{base64.b32encode(digest).decode().lower()[:_ID_CHARS]}")
