"""Every authenticator keeps the contract, and the suite notices those that don't."""

import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import anyio.lowlevel
import attrs
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from imgateway.adapters.jwt import JwtAuthenticator
from imgateway.adapters.jwt.claims import ClaimRules
from imgateway.adapters.jwt.key_set import PublishedKeys
from imgateway.adapters.jwt.keys import published_keys
from imgateway.adapters.jwt.signatures import Signatures
from imgateway.codes import Code
from imgateway.core.settings import AuthSettings
from imgateway.errors import ServiceUnavailableError
from imgateway.model import Credentials, Identity, Refusal, UserId
from imgateway.ports import Authenticator
from imgateway.testing import AuthenticatorSuite, VirtualClock, assert_caught, failures
from imgateway.testing.running import clauses

SECRET = "the one that only the issuer and the gateway know"
ANOTHER_SECRET = "the one that somebody else made up for themselves"
ISSUER = "https://login.example"


class _JwtSuite(AuthenticatorSuite):
    """What JWT authenticators of all kinds of keys share."""

    algorithm = "HS256"
    leeway_seconds = 10.0

    @cached_property
    def clock(self) -> VirtualClock:
        return VirtualClock()

    @property
    def key(self) -> Any:
        return SECRET

    @property
    def another_key(self) -> Any:
        return ANOTHER_SECRET

    @property
    def auth(self) -> AuthSettings:
        return AuthSettings(secret=SECRET, issuer=ISSUER, leeway_seconds=self.leeway_seconds)

    def now(self) -> int:
        return self.clock.now()

    async def pass_time(self, seconds: float, /) -> None:
        self.clock.advance(seconds)

    @asynccontextmanager
    async def make(self) -> AsyncIterator[Authenticator]:
        authenticator = self.authenticator()
        yield authenticator
        await authenticator.aclose()

    def authenticator(self) -> Authenticator:
        return JwtAuthenticator.from_settings(self.auth, self.clock)

    def valid_credentials(self, user_id: str, expires_at: int, /) -> Credentials:
        return self._credentials(user_id, expires_at, self.key)

    def expired_credentials(self) -> Credentials:
        return self._credentials("alice", self.now() - 60_000, self.key)

    def forged_credentials(self) -> Credentials:
        return self._credentials("alice", self.now() + 60_000, self.another_key)

    def _credentials(self, user_id: str, expires_at: int, key: Any) -> Credentials:
        claims = {"sub": user_id, "exp": expires_at // 1000, "iss": ISSUER}
        return Credentials(jwt.encode(claims, key, self.algorithm, headers={"kid": "first"}))


@pytest.mark.anyio
class TestSharedSecret(_JwtSuite):
    pass


EC_KEY, ANOTHER_EC_KEY = generate_private_key(SECP256R1()), generate_private_key(SECP256R1())


@pytest.mark.anyio
class TestPublicKeyFile(_JwtSuite):
    algorithm = "ES256"
    key = EC_KEY
    another_key = ANOTHER_EC_KEY

    @pytest.fixture(autouse=True)
    def _file(self, tmp_path: Path) -> None:
        self.file = tmp_path / "key.pem"
        self.file.write_bytes(EC_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))

    @property
    def auth(self) -> AuthSettings:
        return AuthSettings(algorithms=("ES256",), public_key_file=str(self.file), issuer=ISSUER)


RSA_KEY, ANOTHER_RSA_KEY = generate_rsa_key(65537, 2048), generate_rsa_key(65537, 2048)


@pytest.mark.anyio
class TestKeySet(_JwtSuite):
    algorithm = "RS256"
    key = RSA_KEY
    another_key = ANOTHER_RSA_KEY

    def authenticator(self) -> Authenticator:
        auth = AuthSettings(algorithms=("RS256",), issuer=ISSUER)
        member = jwt.algorithms.RSAAlgorithm.to_jwk(RSA_KEY.public_key(), as_dict=True)
        document = json.dumps({"keys": [{**member, "kid": "first"}]}).encode()
        signatures = Signatures(auth.algorithms)
        source = PublishedKeys(
            lambda: document, lambda fetched: published_keys(auth.algorithms, signatures, fetched), self.clock
        )
        return JwtAuthenticator(ClaimRules.from_settings(auth), signatures, source, self.clock)


@attrs.define(eq=False)
class _Around:
    """In front of an authenticator that works; the ones below break one thing each."""

    inner: Authenticator
    clock: VirtualClock

    async def authenticate(self, credentials: Credentials, /) -> Identity | Refusal:
        return await self.inner.authenticate(credentials)

    async def aclose(self) -> None:
        await self.inner.aclose()


class _AcceptsEverything(_Around):
    async def authenticate(self, credentials: Credentials, /) -> Identity | Refusal:
        return Identity(UserId("alice"), self.clock.now() // 1000 * 1000 + 600_000)


class _RefusesEverything(_Around):
    async def authenticate(self, credentials: Credentials, /) -> Identity | Refusal:
        return Refusal(Code.UNAUTHENTICATED, "no")


class _DoesNotVerify(_Around):
    async def authenticate(self, credentials: Credentials, /) -> Identity | Refusal:
        outcome = await self.inner.authenticate(credentials)
        try:
            claims = jwt.decode(credentials.token or "", options={"verify_signature": False, "verify_exp": False})
        except (jwt.PyJWTError, ValueError):
            return outcome
        fresh = isinstance(claims.get("exp"), int) and claims["exp"] * 1000 > self.clock.now()
        return Identity(UserId(claims["sub"]), claims["exp"] * 1000) if fresh else outcome


class _Raises(_Around):
    async def authenticate(self, credentials: Credentials, /) -> Identity | Refusal:
        outcome = await self.inner.authenticate(credentials)
        if isinstance(outcome, Refusal) and "well-formed" in outcome.message:
            raise jwt.DecodeError
        return outcome


class _TellsTheToken(_Around):
    async def authenticate(self, credentials: Credentials, /) -> Identity | Refusal:
        outcome = await self.inner.authenticate(credentials)
        if isinstance(outcome, Refusal):
            return attrs.evolve(outcome, message=f"not good: {credentials.token}")
        return outcome


class _TellsPartOfTheToken(_Around):
    async def authenticate(self, credentials: Credentials, /) -> Identity | Refusal:
        outcome = await self.inner.authenticate(credentials)
        if isinstance(outcome, Refusal):
            return attrs.evolve(outcome, details=(credentials.token or "").split(".")[-1])
        return outcome


class _LogsTheToken(_Around):
    async def authenticate(self, credentials: Credentials, /) -> Identity | Refusal:
        logging.getLogger(__name__).debug("who is %s?", ascii(credentials.token))
        return await self.inner.authenticate(credentials)


class _IgnoresExpiry(_Around):
    async def authenticate(self, credentials: Credentials, /) -> Identity | Refusal:
        outcome = await self.inner.authenticate(credentials)
        if isinstance(outcome, Refusal) and outcome.code is Code.TOKEN_EXPIRED:
            return Identity(UserId("alice"), self.clock.now() + 600_000)
        return outcome


class _HidesExpiry(_Around):
    async def authenticate(self, credentials: Credentials, /) -> Identity | Refusal:
        outcome = await self.inner.authenticate(credentials)
        if isinstance(outcome, Refusal) and outcome.code is Code.TOKEN_EXPIRED:
            return Refusal(Code.UNAUTHENTICATED, "no")
        return outcome


@attrs.define(eq=False)
class _RemembersForEver(_Around):
    known: dict[str | None, Identity] = attrs.field(factory=dict)

    async def authenticate(self, credentials: Credentials, /) -> Identity | Refusal:
        outcome = self.known.get(credentials.token) or await self.inner.authenticate(credentials)
        if isinstance(outcome, Identity):
            self.known[credentials.token] = outcome
        return outcome


@attrs.define(eq=False)
class _MixesUpCallers(_Around):
    last: Credentials = attrs.field(factory=Credentials)

    async def authenticate(self, credentials: Credentials, /) -> Identity | Refusal:
        self.last = credentials
        await anyio.lowlevel.checkpoint()
        return await self.inner.authenticate(self.last)


class _OutlivesTheProof(_Around):
    async def authenticate(self, credentials: Credentials, /) -> Identity | Refusal:
        outcome = await self.inner.authenticate(credentials)
        if isinstance(outcome, Identity):
            return attrs.evolve(outcome, expires_at=outcome.expires_at + 3_600_000)
        return outcome


class _TidiesUserIds(_Around):
    async def authenticate(self, credentials: Credentials, /) -> Identity | Refusal:
        outcome = await self.inner.authenticate(credentials)
        if isinstance(outcome, Identity):
            return attrs.evolve(outcome, user_id=UserId(outcome.user_id.removeprefix("../")))
        return outcome


class _LetsStrangersIn(_Around):
    async def authenticate(self, credentials: Credentials, /) -> Identity | Refusal:
        if credentials.token is None:
            return Identity(UserId("guest"), self.clock.now() + 600_000)
        return await self.inner.authenticate(credentials)


class _InventsCodes(_Around):
    async def authenticate(self, credentials: Credentials, /) -> Identity | Refusal:
        outcome = await self.inner.authenticate(credentials)
        if isinstance(outcome, Refusal) and outcome.code is Code.UNAUTHENTICATED:
            return attrs.evolve(outcome, code=Code.INVALID_MESSAGE)
        return outcome


@attrs.define(eq=False)
class _WorksOnce(_Around):
    seen: set[str | None] = attrs.field(factory=set)

    async def authenticate(self, credentials: Credentials, /) -> Identity | Refusal:
        if credentials.token in self.seen:
            return Refusal(Code.UNAUTHENTICATED, "used before")
        self.seen.add(credentials.token)
        return await self.inner.authenticate(credentials)


@attrs.define(eq=False)
class _StuckAfterCancellation(_Around):
    busy: bool = False

    async def authenticate(self, credentials: Credentials, /) -> Identity | Refusal:
        if self.busy:
            return Refusal(Code.UNAUTHENTICATED, "busy")
        self.busy = True
        await anyio.lowlevel.checkpoint()
        outcome = await self.inner.authenticate(credentials)
        self.busy = False
        return outcome


@attrs.define(eq=False)
class _ClosesOnce(_Around):
    closed: bool = False

    async def aclose(self) -> None:
        if self.closed:
            raise RuntimeError("closed before")
        self.closed = True


@attrs.define(eq=False)
class _SuiteOf(_JwtSuite):
    broken: Callable[[Authenticator, VirtualClock], Authenticator]
    clock: VirtualClock = attrs.field(factory=VirtualClock)

    def authenticator(self) -> Authenticator:
        return self.broken(super().authenticator(), self.clock)


BROKEN: dict[Callable[[Authenticator, VirtualClock], Authenticator], str] = {
    _AcceptsEverything: "forged_credentials_are_refused",
    _RefusesEverything: "valid_credentials_prove_their_user_and_their_end",
    _DoesNotVerify: "forged_credentials_are_refused",
    _Raises: "nothing_a_client_sends_raises",
    _TellsTheToken: "credentials_reach_neither_refusals_nor_logs",
    _TellsPartOfTheToken: "credentials_reach_neither_refusals_nor_logs",
    _LogsTheToken: "credentials_reach_neither_refusals_nor_logs",
    _IgnoresExpiry: "expired_credentials_are_told_so",
    _HidesExpiry: "expired_credentials_are_told_so",
    _RemembersForEver: "credentials_that_were_good_expire",
    _MixesUpCallers: "concurrent_calls_do_not_mix",
    _OutlivesTheProof: "valid_credentials_prove_their_user_and_their_end",
    _TidiesUserIds: "any_legal_user_id_is_proven_as_it_is",
    _LetsStrangersIn: "no_credentials_are_unauthenticated",
    _InventsCodes: "nothing_a_client_sends_raises",
    _WorksOnce: "the_same_credentials_prove_the_same_again",
    _StuckAfterCancellation: "a_cancelled_call_harms_nobody",
    _ClosesOnce: "closing_twice_is_closing_once",
}


@pytest.mark.anyio
@pytest.mark.parametrize("broken", BROKEN)
async def test_the_suite_notices(broken: Callable[[Authenticator, VirtualClock], Authenticator]) -> None:
    await assert_caught(_SuiteOf(broken), BROKEN[broken])


@pytest.mark.anyio
async def test_the_suite_passes_what_only_passes_on() -> None:
    assert await failures(_SuiteOf(_Around)) == {}


def test_every_clause_is_needed() -> None:
    assert {f"test_{clause}" for clause in BROKEN.values()} == set(clauses(_SuiteOf(_Around)))


@attrs.define(eq=False)
class _Unfinished(AuthenticatorSuite):
    def make(self) -> AbstractAsyncContextManager[Authenticator]:
        raise ServiceUnavailableError("no authenticator today")


@pytest.mark.anyio
async def test_a_suite_without_an_authenticator_passes_nothing() -> None:
    suite = _Unfinished()
    assert set(await failures(suite)) == set(clauses(suite))
