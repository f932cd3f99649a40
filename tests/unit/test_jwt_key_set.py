"""Published keys, from a real HTTP server: rotation, storms, outages and hostile answers."""

import threading
from collections.abc import Iterator
from functools import partial

import anyio
import jwt
import pytest
from tests.jwt_key_server import KEYS, KeyServer, document

from imgateway.adapters.jwt import JwtAuthenticator, key_set
from imgateway.adapters.jwt.fetching import MAX_DOCUMENT_BYTES, fetch
from imgateway.adapters.jwt.key_set import ASK_SECONDS, REFRESH_SECONDS, RETRY_SECONDS, STALE_SECONDS, PublishedKeys
from imgateway.adapters.jwt.keys import published_keys
from imgateway.adapters.jwt.signatures import Header, Signatures
from imgateway.codes import Code
from imgateway.core.settings import AuthSettings
from imgateway.errors import ServiceUnavailableError
from imgateway.model import Credentials, Identity, Refusal
from imgateway.testing import VirtualClock

pytestmark = pytest.mark.anyio


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[KeyServer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with KeyServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.go_on.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def authenticator(server: KeyServer, clock: VirtualClock) -> JwtAuthenticator:
    return JwtAuthenticator.from_settings(AuthSettings(algorithms=("ES256",), jwks_url=server.url), clock)


def credentials(clock: VirtualClock, key: str = "old", *, kid: str | None = "", seconds: int = 100_000) -> Credentials:
    kid = key if kid == "" else kid
    claims = {"sub": "alice", "exp": clock.now() // 1000 + seconds}
    return Credentials(jwt.encode(claims, KEYS[key], "ES256", headers={"kid": kid} if kid else None))


async def code(authenticator: JwtAuthenticator, shown: Credentials) -> Code | None:
    """What it is refused with; None where it is accepted."""
    outcome = await authenticator.authenticate(shown)
    return outcome.code if isinstance(outcome, Refusal) else None


async def test_keys_are_fetched_once_and_only_when_needed(
    server: KeyServer, authenticator: JwtAuthenticator, clock: VirtualClock
) -> None:
    assert await code(authenticator, Credentials("no.token.atall")) is Code.UNAUTHENTICATED
    assert server.requests == 0
    for seconds in (1000, 2000):
        assert await code(authenticator, credentials(clock, seconds=seconds)) is None
    assert server.paths == ["/keys.json"]


async def test_a_storm_of_first_connects_costs_one_fetch(
    server: KeyServer, authenticator: JwtAuthenticator, clock: VirtualClock
) -> None:
    outcomes: list[Code | None] = []

    async def connect(seconds: int) -> None:
        outcomes.append(await code(authenticator, credentials(clock, seconds=seconds)))

    async with anyio.create_task_group() as tasks:
        for n in range(50):
            tasks.start_soon(connect, 1000 + n)
    assert outcomes == [None] * 50
    assert server.requests == 1


async def test_a_new_key_is_found_at_once(
    server: KeyServer, authenticator: JwtAuthenticator, clock: VirtualClock
) -> None:
    assert await code(authenticator, credentials(clock)) is None
    server.answer = document("old", "new")
    assert await code(authenticator, credentials(clock, "new")) is None
    assert await code(authenticator, credentials(clock)) is None
    assert server.requests == 2


async def test_a_storm_of_unknown_keys_costs_one_fetch_a_minute(
    server: KeyServer, authenticator: JwtAuthenticator, clock: VirtualClock
) -> None:
    assert await code(authenticator, credentials(clock)) is None
    for expected in (2, 3):
        async with anyio.create_task_group() as tasks:
            for n in range(50):
                tasks.start_soon(authenticator.authenticate, credentials(clock, "never published", kid=f"k{n}"))
        assert server.requests == expected
        clock.advance(ASK_SECONDS - 1)
        assert await code(authenticator, credentials(clock, "never published")) is Code.UNAUTHENTICATED
        assert server.requests == expected
        clock.advance(1)


@pytest.mark.parametrize("kid", ["../../etc/passwd", "http://127.0.0.1:9/keys.json", "' OR 1=1 --", None])
async def test_whatever_the_kid_only_the_configured_set_is_asked(
    server: KeyServer, authenticator: JwtAuthenticator, clock: VirtualClock, kid: str | None
) -> None:
    assert await code(authenticator, credentials(clock, "never published", kid=kid)) is Code.UNAUTHENTICATED
    assert set(server.paths) == {"/keys.json"}


async def test_a_known_kid_proves_nothing_by_itself(authenticator: JwtAuthenticator, clock: VirtualClock) -> None:
    assert await code(authenticator, credentials(clock, "never published", kid="old")) is Code.UNAUTHENTICATED


async def test_a_token_without_kid_is_tried_with_every_key(
    server: KeyServer, authenticator: JwtAuthenticator, clock: VirtualClock
) -> None:
    server.answer = document("old", "new")
    for key, expected in (("old", None), ("new", None), ("never published", Code.UNAUTHENTICATED)):
        assert await code(authenticator, credentials(clock, key, kid=None)) is expected


async def test_a_withdrawn_key_takes_its_tokens_with_it(
    server: KeyServer, authenticator: JwtAuthenticator, clock: VirtualClock
) -> None:
    shown = credentials(clock)
    assert await code(authenticator, shown) is None
    server.answer = document("new")
    clock.advance(REFRESH_SECONDS - 1)
    assert await code(authenticator, shown) is None
    clock.advance(1)
    assert await code(authenticator, shown) is Code.UNAUTHENTICATED
    assert await code(authenticator, credentials(clock, "new")) is None


async def test_a_withdrawn_key_takes_its_tokens_with_it_also_when_another_token_brought_the_news(
    server: KeyServer, authenticator: JwtAuthenticator, clock: VirtualClock
) -> None:
    shown = credentials(clock)
    assert await code(authenticator, shown) is None
    server.answer = document("new")
    assert await code(authenticator, credentials(clock, "new")) is None
    assert await code(authenticator, shown) is Code.UNAUTHENTICATED


async def test_an_emptied_set_is_believed(
    server: KeyServer, authenticator: JwtAuthenticator, clock: VirtualClock
) -> None:
    assert await code(authenticator, credentials(clock)) is None
    server.answer = document()
    clock.advance(REFRESH_SECONDS)
    assert await code(authenticator, credentials(clock)) is Code.UNAUTHENTICATED


async def test_while_the_server_is_down_old_keys_count_for_an_hour(
    server: KeyServer, authenticator: JwtAuthenticator, clock: VirtualClock
) -> None:
    shown = credentials(clock)
    assert await code(authenticator, shown) is None
    with server.down():
        clock.advance(STALE_SECONDS - 1)
        assert await code(authenticator, shown) is None
        assert await code(authenticator, credentials(clock)) is None
        clock.advance(2)
        for unverified in (shown, credentials(clock)):
            outcome = await authenticator.authenticate(unverified)
            assert isinstance(outcome, Refusal), outcome
            assert outcome.code is Code.UNAVAILABLE
            assert outcome.retry_after is not None
            assert 1 <= outcome.retry_after <= RETRY_SECONDS
    clock.advance(RETRY_SECONDS)
    assert await code(authenticator, shown) is None


async def test_while_the_server_is_down_it_is_not_asked_all_the_time(
    server: KeyServer, authenticator: JwtAuthenticator, clock: VirtualClock
) -> None:
    with server.down():
        for _ in range(3):
            assert await code(authenticator, credentials(clock)) is Code.UNAVAILABLE
        assert server.requests == 1
        clock.advance(RETRY_SECONDS)
        assert await code(authenticator, credentials(clock)) is Code.UNAVAILABLE
        assert server.requests == 2
    clock.advance(RETRY_SECONDS)
    assert await code(authenticator, credentials(clock)) is None
    with server.down():
        clock.advance(REFRESH_SECONDS)
        for _ in range(3):
            assert await code(authenticator, credentials(clock)) is None
        assert server.requests == 4
        clock.advance(ASK_SECONDS)
        assert await code(authenticator, credentials(clock)) is None
        assert server.requests == 5


async def test_while_the_server_is_down_a_new_key_may_be_a_good_one(
    server: KeyServer, authenticator: JwtAuthenticator, clock: VirtualClock
) -> None:
    assert await code(authenticator, credentials(clock)) is None
    server.answer = document("new")
    with server.down():
        for _ in range(3):
            outcome = await authenticator.authenticate(credentials(clock, "new"))
            assert isinstance(outcome, Refusal), outcome
            assert (outcome.code, outcome.retry_after) == (Code.UNAVAILABLE, ASK_SECONDS)
        assert server.requests == 2
        assert await code(authenticator, credentials(clock)) is None
    clock.advance(ASK_SECONDS)
    assert await code(authenticator, credentials(clock, "new")) is None
    assert await code(authenticator, credentials(clock, "never published")) is Code.UNAUTHENTICATED


async def test_one_slow_refresh_does_not_hold_up_the_others(
    server: KeyServer, authenticator: JwtAuthenticator, clock: VirtualClock
) -> None:
    shown = credentials(clock)
    assert await code(authenticator, shown) is None
    clock.advance(REFRESH_SECONDS)
    async with anyio.create_task_group() as tasks:
        with server.held():
            tasks.start_soon(authenticator.authenticate, shown)
            await server.has_been_asked()
            assert await code(authenticator, shown) is None
            assert await code(authenticator, credentials(clock)) is None
    assert server.requests == 2


async def test_a_client_that_goes_away_does_not_spoil_the_fetch(
    server: KeyServer, authenticator: JwtAuthenticator, clock: VirtualClock
) -> None:
    async with anyio.create_task_group() as tasks:
        with server.held():
            tasks.start_soon(authenticator.authenticate, credentials(clock))
            await server.has_been_asked()
            tasks.cancel_scope.cancel()
    with server.down():
        assert await code(authenticator, credentials(clock)) is None
    assert server.requests == 1


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (200, b""),
        (200, b"<html>"),
        (200, b"{}"),
        (200, b"[" * 200_000),
        (200, document("old") + b" " * MAX_DOCUMENT_BYTES),
        (204, b""),
        (404, document("old")),
        (500, document("old")),
        (301, document("old")),
    ],
)
async def test_an_answer_that_is_no_key_set(
    server: KeyServer, authenticator: JwtAuthenticator, clock: VirtualClock, status: int, answer: bytes
) -> None:
    server.status, server.answer = status, answer
    assert await code(authenticator, credentials(clock)) is Code.UNAVAILABLE
    server.status, server.answer = 200, document("old")
    clock.advance(RETRY_SECONDS)
    assert await code(authenticator, credentials(clock)) is None


@pytest.mark.parametrize("target", ["/other.json", "file:///etc/hostname", "ftp://127.0.0.1/x"])
async def test_a_redirect_is_not_followed(
    server: KeyServer, authenticator: JwtAuthenticator, clock: VirtualClock, target: str
) -> None:
    server.status, server.headers = 302, {"Location": target}
    assert await code(authenticator, credentials(clock)) is Code.UNAVAILABLE
    assert server.paths == ["/keys.json"]


async def test_nobody_listens(server: KeyServer, clock: VirtualClock) -> None:
    with KeyServer() as closed:
        url = closed.url
    authenticator = JwtAuthenticator.from_settings(AuthSettings(algorithms=("ES256",), jwks_url=url), clock)
    assert await code(authenticator, credentials(clock)) is Code.UNAVAILABLE


@pytest.mark.parametrize("status", [200, 302, 500])
def test_why_a_fetch_failed_is_said_without_the_address(server: KeyServer, status: int) -> None:
    server.status, server.answer = status, b"canary" * MAX_DOCUMENT_BYTES
    with pytest.raises(ServiceUnavailableError) as caught:
        fetch(f"{server.url}?canary", seconds=5.0)
    assert "canary" not in str(caught.value)


def test_a_silent_server_is_given_up(server: KeyServer) -> None:
    with server.held(), pytest.raises(ServiceUnavailableError, match="no answer"):
        fetch(server.url, seconds=0.05)


def test_a_server_that_sends_its_answer_byte_by_byte_is_given_up(server: KeyServer) -> None:
    server.dripping_body = True
    with server.held(), pytest.raises(ServiceUnavailableError, match="took longer"):
        fetch(server.url, seconds=2.0)  # for so long the server's thread may have to wait for its turn


async def test_a_server_that_never_comes_to_an_end_holds_up_one_thread_and_nobody_else(
    server: KeyServer, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_set, "FETCH_SECONDS", 0.2)
    parse = partial(published_keys, ("ES256",), Signatures(("ES256",)))
    source = PublishedKeys(partial(fetch, server.url, seconds=60.0), parse, clock)
    header = Header("ES256", "old")
    server.dripping_head = True
    with server.held():
        for _ in range(3):
            outcome = await source.keys_for(header)
            assert isinstance(outcome, Refusal), outcome
            assert outcome.code is Code.UNAVAILABLE
            clock.advance(RETRY_SECONDS)
        await server.has_been_asked()
        assert server.requests == 1


async def test_the_same_document_keeps_what_was_proven(
    server: KeyServer, authenticator: JwtAuthenticator, clock: VirtualClock
) -> None:
    shown = credentials(clock)
    first = await authenticator.authenticate(shown)
    assert isinstance(first, Identity)
    clock.advance(REFRESH_SECONDS)
    assert await code(authenticator, credentials(clock)) is None
    assert server.requests == 2
    assert await authenticator.authenticate(shown) is first
