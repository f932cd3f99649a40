"""Who takes part in the demo: a name, and the user id that follows from it.

There are no passwords: whoever types a name is that person. Good enough for a demonstration, and nothing else.
"""

import unicodedata

import attrs

from imgateway.model import UserId, is_valid_user_id

MAX_NAME_CHARS = 32
MAX_LOGIN_ID_CHARS = 60
"""Two of them fit into the id of a direct conversation, which the wire bounds to 128 characters."""


@attrs.frozen
class Person:
    """A user as others see them.

    Attributes:
        user_id: the name in Unicode normal form KC, case folded: `Ann Lee` and `ann lee` are one person.
        name: as typed at the last login.
    """

    user_id: UserId
    name: str


def named(name: object, /) -> Person | str:
    """The person called `name`, or one sentence that says why nobody can be called so."""
    if not isinstance(name, str):
        return "A name is text."
    shown = " ".join(unicodedata.normalize("NFC", name).split())
    if not any(unicodedata.category(char)[0] not in "CZ" for char in shown):
        return "A name needs at least one visible character."
    if len(shown) > MAX_NAME_CHARS:
        return f"A name has at most {MAX_NAME_CHARS} characters."
    user_id = " ".join(unicodedata.normalize("NFKC", shown).casefold().split())
    if ":" in user_id or len(user_id) > MAX_LOGIN_ID_CHARS or not is_valid_user_id(user_id):
        return "A name holds no colon and no control characters."
    return Person(UserId(user_id), shown)
