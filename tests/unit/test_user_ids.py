"""What a user id may be."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgateway.model import is_valid_user_id


@given(st.text(min_size=0, max_size=140))
def test_it_has_1_to_128_characters_and_no_control_characters(text: str) -> None:
    clean = not any(unicodedata.category(character) in ("Cc", "Cs") for character in text)
    assert is_valid_user_id(text) == (1 <= len(text) <= 128 and clean)


@pytest.mark.parametrize("character", ["\x00", "\x1f", "\x7f", "\x80", "\x9f", "\ud800", "\n"])
@pytest.mark.parametrize("text", ["{}", "a{}", "{}b", "a{}b"])
def test_a_control_character_anywhere_makes_it_none(character: str, text: str) -> None:
    assert not is_valid_user_id(text.format(character))


@pytest.mark.parametrize("text", ["../x", "a:b", "{}", "*", "用户", " ", "\xa0", "😀" * 128, "a/b", "\u2028"])
def test_everything_else_is_legal(text: str) -> None:
    assert is_valid_user_id(text)


@pytest.mark.parametrize("other", [None, 1, b"ann", ["ann"], 1.0, True])
def test_what_is_no_text_is_no_user_id(other: object) -> None:
    assert not is_valid_user_id(other)
