"""The verified user in a request's fields."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

_BITS: Final = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}


class IdentityError(Exception):
    """The verified user id does not fit the field that it belongs into: this user can't call this method."""


def identity_fields(message: Descriptor, names: Iterable[str], /) -> Sequence[FieldDescriptor]:
    """The top-level fields of such a name, in the proto file or in JSON."""
    wanted = frozenset(names)
    return [field for field in message.fields if field.name in wanted or field.json_name in wanted]


def identity_setter(message: Descriptor, names: Iterable[str], /) -> Callable[[Message, str], None] | None:
    """What puts a user id into each of the `identity_fields`; None where there is none.

    Strings take every id; integer fields take one that is a decimal number in range, written as such numbers are, so
    that two users never become one. The setter raises `IdentityError` for others.

    Raises:
        ValueError: a field of that name can't hold a user id.
    """
    texts: list[str] = []
    integers: list[tuple[str, int, int]] = []
    for field in identity_fields(message, names):
        name = field.name
        if field.is_repeated:
            raise ValueError(f"the identity field {name} is repeated")
        if field.type == FieldDescriptor.TYPE_STRING:
            texts.append(name)
        elif field.cpp_type in _BITS:
            integers.append((name, *_BITS[field.cpp_type]))
        else:
            raise ValueError(f"the identity field {name} is neither a string nor an integer")
    if not texts and not integers:
        return None
    if len(texts) == 1 and not integers:
        only = texts[0]

        def set_one(request: Message, user_id: str) -> None:
            try:
                setattr(request, only, user_id)
            except ValueError:
                raise IdentityError("the user id is no text that can be sent") from None

        return set_one

    def set_all(request: Message, user_id: str) -> None:
        try:
            for text in texts:
                setattr(request, text, user_id)
        except ValueError:
            raise IdentityError("the user id is no text that can be sent") from None
        for integer, lowest, highest in integers:
            setattr(request, integer, _number(user_id, lowest, highest))

    return set_all


def _number(user_id: str, lowest: int, highest: int) -> int:
    try:
        number = int(user_id)
    except ValueError:
        raise IdentityError("the user id is no number") from None
    if str(number) != user_id or not lowest <= number <= highest:
        raise IdentityError("the user id is no number that fits")
    return number
