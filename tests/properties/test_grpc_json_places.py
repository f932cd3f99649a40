"""What is wrong in a text of JSON is found where it was put, whatever is around it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.properties.client_frames import json_values, texts, written

from imgateway.adapters.grpc.codec import json_places, json_text

PLANT = "planted here"
Steps = tuple[str | int, ...]


class Twice(dict[str, Any]):
    """An object that is written with its first member twice."""

    def items(self) -> Any:
        pairs = list(super().items())
        return [*pairs, pairs[0]]


@st.composite
def planted(draw: st.DrawFn, plant: Any = PLANT) -> tuple[str, Steps]:
    """A text with a plant in place of one of its values, and the steps that lead there."""
    steps: list[str | int] = []

    def replaced(value: Any) -> Any:
        if not value or not isinstance(value, dict | list):
            return plant
        step = draw(st.sampled_from(sorted(value) if isinstance(value, dict) else range(len(value))))
        steps.append(step)
        copy = value.copy()
        copy[step] = replaced(value[step])
        return copy

    return draw(written(replaced(draw(json_values)))), tuple(steps)


def refused(text: bytes) -> tuple[Steps, str]:
    with pytest.raises(json_text.TextError) as caught:
        json_text.read(text)
    return caught.value.steps, caught.value.why


objects = st.dictionaries(texts, json_values, min_size=1, max_size=4)


@given(objects.flatmap(lambda members: st.tuples(st.just(next(iter(members))), planted(Twice(members)))))
def test_a_name_twice(drawn: tuple[str, tuple[str, Steps]]) -> None:
    name, (text, steps) = drawn
    assert refused(text.encode()) == ((*steps, name), "is named twice")


@given(planted(), st.sampled_from((b'"\xff"', b'"\xed\xa0\x80', b'"a\\"[{:,\xc3"')), st.booleans())
def test_bytes_that_are_no_text(drawn: tuple[str, Steps], wrong: bytes, ends: bool) -> None:
    text, steps = drawn
    before, _, after = text.encode().partition(b'"%s"' % PLANT.encode())
    with pytest.raises(UnicodeDecodeError) as caught:
        (before + wrong).decode()
    found, why = refused(before + wrong + (b"" if ends else after))
    assert (found, why) == (steps, f"is not UTF-8 (byte {caught.value.start})")


@given(planted(), st.sampled_from((b"1e400", b"-1.5E+999", b"9" * 5000)), st.booleans())
def test_numbers_without_end(drawn: tuple[str, Steps], number: bytes, ends: bool) -> None:
    text, steps = drawn
    before, _, after = text.encode().partition(b'"%s"' % PLANT.encode())
    found, why = refused(before + number + (b", and then no JSON" if ends else after))
    assert (found, why) == (steps, "has a number that is out of every range")


@given(planted(), st.sampled_from((102, 5000)), st.booleans())
def test_nesting(drawn: tuple[str, Steps], levels: int, ends: bool) -> None:
    text, steps = drawn
    before, _, after = text.encode().partition(b'"%s"' % PLANT.encode())
    nested = b"[" * levels + b"]" * levels + after if not ends or levels < 5000 else b"[" * levels
    found, why = refused(before + nested)
    assert (found, why) == ((*steps, 0, 0, 0)[:3], "leads deeper than 100 levels")


@given(st.binary(max_size=60) | json_values.flatmap(written).map(str.encode), st.integers(0, 60))
def test_no_text_is_too_odd_to_be_looked_at(text: bytes, index: int) -> None:
    json_places.of_byte(text, index)
    json_places.of_depth(text, 1)
    json_places.of_endless_number(text)
    json_places.of_second_name(text)
