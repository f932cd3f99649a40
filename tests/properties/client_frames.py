"""What clients may send, and what they may not, as hypothesis strategies."""

import json
import random
from typing import Any

from hypothesis import strategies as st

# Surrogates (category Cs) are no characters; everything else may stand in a message.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=128)
numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
leaves = st.none() | st.booleans() | numbers | texts
json_values: st.SearchStrategy[Any] = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=6
)
json_objects = st.dictionaries(texts, json_values, max_size=4)


def _optional(required: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required, optional=optional)


_data = {
    "send-message": _optional(
        {"conversationId": ids, "content": texts, "messageType": st.integers(1, 6), "client_msg_id": ids},
        {"extra": json_objects},
    ),
    "mark-read": _optional({"conversationId": ids, "seqId": st.integers(0, 2**63 - 1)}, {"client_msg_id": ids}),
    "refresh-token": _optional({"token": texts}, {}),
}
_timestamps = {"timestamp": st.integers(0, 2**53) | st.none()}

frames: st.SearchStrategy[dict[str, Any]] = st.one_of(
    *(_optional({"type": st.just(kind), "data": data}, _timestamps) for kind, data in _data.items()),
    _optional({"type": st.just("ping")}, {"data": json_objects | st.none(), **_timestamps}),
)
"""Frames of every type that a client may send, as objects."""


def written(value: Any) -> st.SearchStrategy[str]:
    """A value as JSON text: members in any order, any legal spacing, characters escaped or not."""
    # One seed instead of a draw for each choice: hundreds of draws a text would take seconds.
    return st.integers(0, 2**16).map(lambda seed: _write(value, random.Random(seed)))


def _write(value: Any, chance: random.Random) -> str:
    if isinstance(value, dict):
        members = list(value.items())
        chance.shuffle(members)
        parts = [f"{_write(name, chance)}{_space(chance)}:{_write(inner, chance)}" for name, inner in members]
        return _join("{", "}", parts, chance)
    if isinstance(value, list):
        return _join("[", "]", [_write(inner, chance) for inner in value], chance)
    return json.dumps(value, ensure_ascii=chance.random() < 0.5)


def _join(opening: str, closing: str, parts: list[str], chance: random.Random) -> str:
    return f"{opening}{_space(chance)}{f',{_space(chance)}'.join(parts)}{_space(chance)}{closing}"


def _space(chance: random.Random) -> str:
    return chance.choice(("", "", " ", "\n\t\r"))
