"""The verified user in a call's metadata."""

import pytest

from imgateway.adapters.grpc.identity_metadata import with_user
from imgateway.model import UserId


@pytest.mark.parametrize("user_id", ["alice", "a b", "user:1/~", "!"])
def test_printable_ascii_goes_as_text(user_id: str) -> None:
    assert with_user((("a", "1"),), UserId(user_id)) == (("a", "1"), ("x-user-id", user_id))


@pytest.mark.parametrize("user_id", ["东京", " a", "a ", "a\nb", "a\tb", "a\x00", "\x7f", "\x1b[0m"])
def test_everything_else_goes_as_bytes(user_id: str) -> None:
    assert with_user((), UserId(user_id)) == (("x-user-id-bin", user_id.encode()),)


def test_nobody_else_goes_along() -> None:
    forged = (("x-user-id", "eve"), ("a", "1"), ("x-user-id-bin", b"eve"))
    assert with_user(forged, None) == (("a", "1"),)
    assert with_user(forged, UserId("alice")) == (("a", "1"), ("x-user-id", "alice"))
