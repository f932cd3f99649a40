"""The contract of `ports.Authenticator`."""

import logging
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Final

import anyio
import attrs

from imgateway.codes import Code
from imgateway.core.clock import SystemClock
from imgateway.model import Credentials, Identity, Refusal, is_valid_user_id
from imgateway.ports import Authenticator
from imgateway.testing.suite import ContractSuite

USER_IDS: Final = ("alice", "7", "../admin", "a:b", "{user}", "*", "a b.c|d=e;f", '"', "张三", "😀", "u" * 128)
"""User ids that are legal, whatever they look like."""

_HOSTILE: Final = (
    "",
    " ",
    ".",
    "..",
    "null",
    "=.=.=",
    "\x00",
    "a\r\nb: c",
    "é",
    "\ud800",
    "😀",
    "%00%ff",
    "../../etc/passwd",
    "' OR 1=1 --",
    "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSIsImV4cCI6NDEwMjQ0NDgwMH0.",
    "A" * 8192,
    "a." * 50_000,
    "[" * 100_000,
)
_MINUTE: Final = 60_000
_SHORTEST_SECRET: Final = 8


class AuthenticatorSuite(ContractSuite):
    """Every authenticator holds to this.

    Attributes:
        leeway_seconds: how long after its end a proof is still taken.
    """

    leeway_seconds: float = 0.0

    def make(self) -> AbstractAsyncContextManager[Authenticator]:
        """A new authenticator, closed at the end of the block."""
        raise NotImplementedError

    def valid_credentials(self, user_id: str, expires_at: int, /) -> Credentials:
        """What a client shows that is `user_id` until `expires_at`, a whole second in milliseconds."""
        raise NotImplementedError

    def expired_credentials(self) -> Credentials:
        """What was good once and ended so long ago that no leeway helps."""
        raise NotImplementedError

    def forged_credentials(self) -> Credentials:
        """What is well formed, claims to be somebody, and was not issued by who issues the valid ones."""
        raise NotImplementedError

    def now(self) -> int:
        """The authenticator's own time, in milliseconds since the epoch."""
        return SystemClock().now()

    async def pass_time(self, seconds: float, /) -> None:
        """Let the authenticator's clock advance. Waits, unless overridden where that clock can be turned."""
        await anyio.sleep(seconds)

    async def test_valid_credentials_prove_their_user_and_their_end(self) -> None:
        """The identity is the one that was issued; it ends when the proof ends."""
        expires_at = self._whole_second(10 * _MINUTE)
        async with self.make() as authenticator:
            identity = await authenticator.authenticate(self.valid_credentials("alice", expires_at))
        assert isinstance(identity, Identity), identity
        assert identity.user_id == "alice"
        assert identity.expires_at == expires_at

    async def test_any_legal_user_id_is_proven_as_it_is(self) -> None:
        """No character of a user id is lost, changed or read as something else."""
        async with self.make() as authenticator:
            for user_id in USER_IDS:
                credentials = self.valid_credentials(user_id, self._whole_second(_MINUTE))
                identity = await authenticator.authenticate(credentials)
                assert isinstance(identity, Identity), (user_id, identity)
                assert identity.user_id == user_id
                assert is_valid_user_id(identity.user_id)

    async def test_the_same_credentials_prove_the_same_again(self) -> None:
        """A client that reconnects shows what it showed before."""
        credentials = self.valid_credentials("alice", self._whole_second(_MINUTE))
        async with self.make() as authenticator:
            first = await authenticator.authenticate(credentials)
            assert isinstance(first, Identity), first
            assert await authenticator.authenticate(credentials) == first

    async def test_no_credentials_are_unauthenticated(self) -> None:
        """Who shows nothing is nobody, and may come back with something."""
        async with self.make() as authenticator:
            outcome = await authenticator.authenticate(Credentials())
        assert isinstance(outcome, Refusal), outcome
        assert outcome.code is Code.UNAUTHENTICATED

    async def test_expired_credentials_are_told_so(self) -> None:
        """`TOKEN_EXPIRED` and nothing else makes a client fetch a new token and come back."""
        async with self.make() as authenticator:
            outcome = await authenticator.authenticate(self.expired_credentials())
        assert isinstance(outcome, Refusal), outcome
        assert outcome.code is Code.TOKEN_EXPIRED

    async def test_credentials_that_were_good_expire(self) -> None:
        """Having been accepted before helps nobody once the proof has ended."""
        expires_at = self._whole_second(2000)
        credentials = self.valid_credentials("alice", expires_at)
        async with self.make() as authenticator:
            assert isinstance(await authenticator.authenticate(credentials), Identity)
            await self.pass_time((expires_at - self.now()) / 1000 + self.leeway_seconds + 0.1)
            outcome = await authenticator.authenticate(credentials)
        assert isinstance(outcome, Refusal), outcome
        assert outcome.code is Code.TOKEN_EXPIRED

    async def test_forged_credentials_are_refused(self) -> None:
        """What somebody else issued proves nothing, also after the real ones were seen."""
        async with self.make() as authenticator:
            for _ in range(2):
                outcome = await authenticator.authenticate(self.forged_credentials())
                assert isinstance(outcome, Refusal), outcome
                assert outcome.code in (Code.UNAUTHENTICATED, Code.FORBIDDEN)
                await authenticator.authenticate(self.valid_credentials("alice", self._whole_second(_MINUTE)))

    async def test_nothing_a_client_sends_raises(self) -> None:
        """Empty, huge, broken and hostile input is refused like any other."""
        valid = self.valid_credentials("alice", self._whole_second(_MINUTE))
        async with self.make() as authenticator:
            for credentials in (*_hostile(valid), *_truncated(valid)):
                outcome = await authenticator.authenticate(credentials)
                assert isinstance(outcome, Refusal), outcome
                assert outcome.code in (Code.UNAUTHENTICATED, Code.TOKEN_EXPIRED, Code.FORBIDDEN)
            assert isinstance(await authenticator.authenticate(valid), Identity)

    async def test_credentials_reach_neither_refusals_nor_logs(self) -> None:
        """Refusals are shown to clients and logs are read by many: neither holds what a client showed."""
        valid = self.valid_credentials("alice", self._whole_second(_MINUTE))
        async with self.make() as authenticator:
            for credentials in (
                valid,
                self.expired_credentials(),
                self.forged_credentials(),
                *_hostile(valid),
                *_truncated(valid),
            ):
                with _logged() as lines:
                    outcome = await authenticator.authenticate(credentials)
                said = [*lines, repr(outcome)] if isinstance(outcome, Refusal) else lines
                for secret in _secrets(credentials):
                    assert not any(secret in line for line in said), "a credential was passed on"

    async def test_concurrent_calls_do_not_mix(self) -> None:
        """Everybody gets their own identity, however many ask at the same time."""
        found: dict[str, Identity | Refusal] = {}
        users = [f"user-{n}" for n in range(20)]
        expires_at = self._whole_second(_MINUTE)
        async with self.make() as authenticator:

            async def ask(user_id: str) -> None:
                found[user_id] = await authenticator.authenticate(self.valid_credentials(user_id, expires_at))

            async with anyio.create_task_group() as tasks:
                for user_id in users:
                    tasks.start_soon(ask, user_id)
                    tasks.start_soon(authenticator.authenticate, self.forged_credentials())
        for user_id in users:
            outcome = found[user_id]
            assert isinstance(outcome, Identity), outcome
            assert outcome.user_id == user_id

    async def test_a_cancelled_call_harms_nobody(self) -> None:
        """A client that goes away while it is being authenticated leaves nothing behind."""
        credentials = self.valid_credentials("alice", self._whole_second(_MINUTE))
        async with self.make() as authenticator:
            with anyio.CancelScope() as scope:
                scope.cancel()
                await authenticator.authenticate(credentials)
            assert isinstance(await authenticator.authenticate(credentials), Identity)

    async def test_closing_twice_is_closing_once(self) -> None:
        """`aclose` is idempotent."""
        async with self.make() as authenticator:
            await authenticator.authenticate(self.valid_credentials("alice", self._whole_second(_MINUTE)))
            await authenticator.aclose()
            await authenticator.aclose()

    def _whole_second(self, milliseconds_ahead: int) -> int:
        return (self.now() + milliseconds_ahead) // 1000 * 1000


def _with_each(valid: Credentials, texts: tuple[str, ...]) -> Iterator[Credentials]:
    """Each text where valid credentials have something, since that is where the authenticator looks."""
    for text in texts:
        if valid.token is not None:
            yield attrs.evolve(valid, token=text)
        for name in valid.headers:
            yield attrs.evolve(valid, headers={**valid.headers, name: text})


def _hostile(valid: Credentials) -> Iterator[Credentials]:
    yield from _with_each(valid, _HOSTILE)
    yield from _with_each(Credentials(token="", headers={"authorization": "", "cookie": ""}), _HOSTILE)


def _truncated(valid: Credentials) -> Iterator[Credentials]:
    if valid.token is not None:
        yield attrs.evolve(valid, token=valid.token[: len(valid.token) // 2])
    for name, value in valid.headers.items():
        yield attrs.evolve(valid, headers={**valid.headers, name: value[: len(value) // 2]})


def _secrets(credentials: Credentials) -> Iterator[str]:
    for text in (credentials.token or "", *credentials.headers.values()):
        for part in (text, *text.split(".")):
            if len(part) >= _SHORTEST_SECRET:
                yield part


class _Listener(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self.lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@contextmanager
def _logged() -> Iterator[list[str]]:
    """What is logged meanwhile, tracebacks included, down to the last detail."""
    lines: list[str] = []
    root, listener = logging.getLogger(), _Listener(lines)
    level = root.level
    root.addHandler(listener)
    root.setLevel(logging.DEBUG)
    try:
        yield lines
    finally:
        root.removeHandler(listener)
        root.setLevel(level)
