"""Tokens that were verified before: not verified again, not kept beyond their keys, their end or the limit."""

import gc
import types
from collections.abc import Iterable
from typing import Any

import pytest

from imgateway.adapters.jwt import JwtAuthenticator, mint_token
from imgateway.adapters.jwt.claims import ClaimRules
from imgateway.adapters.jwt.key_set import FixedKeys
from imgateway.adapters.jwt.keys import Keys, configured_keys
from imgateway.adapters.jwt.signatures import Key, Signatures
from imgateway.adapters.jwt.verified import VerifiedTokens, digest
from imgateway.codes import Code
from imgateway.core.settings import AuthSettings
from imgateway.model import Credentials, Identity, Refusal, UserId
from imgateway.testing import VirtualClock

AUTH = AuthSettings(secret="kept by the issuer and by the gateway alone", leeway_seconds=10.0)


class _Counting(Signatures):
    count = 0

    def verified(self, token: str, keys: Iterable[Key], /) -> dict[str, Any] | Refusal:
        self.count += 1
        return super().verified(token, keys)


def _authenticator(clock: VirtualClock) -> tuple[JwtAuthenticator, _Counting]:
    signatures = _Counting(AUTH.algorithms)
    keys = configured_keys(AUTH, signatures)
    assert keys is not None
    return JwtAuthenticator(ClaimRules.from_settings(AUTH), signatures, FixedKeys(keys), clock), signatures


def _credentials(clock: VirtualClock, user_id: str = "alice") -> Credentials:
    return Credentials(mint_token(user_id, secret=AUTH.secret or "", ttl_seconds=60, settings=AUTH, clock=clock))


@pytest.mark.anyio
async def test_a_token_is_verified_once() -> None:
    clock = VirtualClock()
    authenticator, signatures = _authenticator(clock)
    outcomes = [await authenticator.authenticate(_credentials(clock)) for _ in range(3)]
    assert isinstance(outcomes[0], Identity)
    assert outcomes == [outcomes[0]] * 3
    assert signatures.count == 1


@pytest.mark.anyio
async def test_a_remembered_token_ends_when_it_ends() -> None:
    clock = VirtualClock()
    authenticator, _ = _authenticator(clock)
    shown = _credentials(clock)
    assert isinstance(await authenticator.authenticate(shown), Identity)
    clock.advance(69.999)
    assert isinstance(await authenticator.authenticate(shown), Identity)
    clock.advance(0.001)
    outcome = await authenticator.authenticate(shown)
    assert isinstance(outcome, Refusal)
    assert outcome.code is Code.TOKEN_EXPIRED


@pytest.mark.anyio
async def test_what_was_refused_is_not_remembered() -> None:
    clock = VirtualClock()
    authenticator, signatures = _authenticator(clock)
    early = _credentials(clock)
    clock.wall -= 60_000
    assert isinstance(await authenticator.authenticate(early), Refusal)
    clock.wall += 60_000
    assert isinstance(await authenticator.authenticate(early), Identity)
    assert signatures.count == 2


@pytest.mark.anyio
async def test_closing_forgets() -> None:
    clock = VirtualClock()
    authenticator, signatures = _authenticator(clock)
    await authenticator.authenticate(_credentials(clock))
    await authenticator.aclose()
    assert isinstance(await authenticator.authenticate(_credentials(clock)), Identity)
    assert signatures.count == 2


@pytest.mark.anyio
async def test_what_a_caller_does_to_the_claims_reaches_nobody_else() -> None:
    clock = VirtualClock()
    authenticator, _ = _authenticator(clock)
    proven = await authenticator.authenticate(_credentials(clock))
    assert isinstance(proven, Identity)
    with pytest.raises(TypeError):
        proven.claims["role"] = "admin"  # type: ignore[index]  # what the type forbids, the value must forbid too


def _reachable(root: object) -> list[object]:
    """Everything the object holds, save code and classes."""
    seen: dict[int, object] = {}
    waiting = [root]
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, type | types.ModuleType | types.FunctionType):
            continue
        seen[id(thing)] = thing
        waiting.extend(gc.get_referents(thing))
    return list(seen.values())


@pytest.mark.anyio
async def test_the_token_itself_is_not_kept() -> None:
    clock = VirtualClock()
    authenticator, _ = _authenticator(clock)
    shown = _credentials(clock)
    assert isinstance(await authenticator.authenticate(shown), Identity)
    assert shown.token is not None
    kept = _reachable(authenticator)
    assert any(thing == digest(shown.token) for thing in kept)
    signature = shown.token.rpartition(".")[2]
    assert not any(isinstance(thing, str) and signature in thing for thing in kept)
    assert not any(isinstance(thing, bytes) and signature.encode() in thing for thing in kept)


def test_the_least_recently_used_goes_first() -> None:
    verified, keys = VerifiedTokens(limit=2), Keys(())
    identities = {name: Identity(UserId(name), 0) for name in "abc"}
    for name in "ab":
        verified.put(name.encode(), identities[name], keys)
    assert verified.get(b"a", keys) is identities["a"]
    verified.put(b"c", identities["c"], keys)
    assert len(verified) == 2
    assert verified.get(b"b", keys) is None
    assert verified.get(b"a", keys) is identities["a"]
    assert verified.get(b"c", keys) is identities["c"]


def test_other_keys_know_nothing_even_if_they_are_equal() -> None:
    verified, before, after = VerifiedTokens(limit=2), Keys(()), Keys(())
    verified.put(b"a", Identity(UserId("a"), 0), before)
    assert verified.get(b"a", after) is None
    verified.put(b"b", Identity(UserId("b"), 0), after)
    assert len(verified) == 1
    assert verified.get(b"a", before) is None
