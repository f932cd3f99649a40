"""What is to be done, as every process gets it."""

from typing import Final, Protocol

import attrs

from imgateway.adapters.jwt import mint_token
from imgateway.core.settings import AuthSettings
from imgateway.core.settings_services import KafkaSettings
from imgateway_cli.bench.target import Target

AT_A_TIME: Final = 64
"""So many handshakes are on their way at once, over all processes, where no rate is asked for."""
AT_A_TIME_PACED: Final = 2048
"""The same with a rate: what comes due beyond it waits, and its latency counts from when it was due."""
STOPPED_SECONDS: Final = 1.0
"""How long what is on its way is waited for when the user wants to end."""


class Tokens(Protocol):
    """Who the connections are."""

    def token(self, number: int, /) -> str:
        """The credential of connection `number`."""
        ...


@attrs.frozen
class MintedTokens:
    """Signed here, for `{prefix}-{number}`. Implements `Tokens`."""

    auth: AuthSettings
    prefix: str
    ttl_seconds: int

    def token(self, number: int, /) -> str:
        """See `Tokens`; raises `SettingsError` where the settings can't sign."""
        secret = self.auth.secret or ""
        return mint_token(f"{self.prefix}-{number}", secret=secret, ttl_seconds=self.ttl_seconds, settings=self.auth)


@attrs.frozen
class GivenTokens:
    """Made elsewhere. Implements `Tokens`."""

    tokens: tuple[str, ...] = attrs.field(repr=False)

    def token(self, number: int, /) -> str:
        """See `Tokens`."""
        return self.tokens[number]


@attrs.frozen
class Stage:
    """A part of the work that all processes begin together.

    Attributes:
        label: what is done.
        unit: what is counted.
        count: how much of it there is to do, where that is known.
        seconds: how long it lasts, where that is known.
    """

    label: str
    unit: str
    count: int | None = None
    seconds: float | None = None


@attrs.frozen
class Hold:
    """Keep the connections open for so many seconds."""

    seconds: float

    @property
    def stage(self) -> Stage:
        """As the progress bar shows it."""
        return Stage("holding", "open", seconds=self.seconds)


@attrs.frozen
class Up:
    """Send messages.

    Attributes:
        window: most messages of a connection without an answer.
        rate: messages a second, over all processes; None: a new one for each answer.
        seconds: for how long messages are sent, if bounded by time.
        messages: how many are sent, if bounded by their number.
        size: characters of content.
        conversations: how many there are, over all connections.
        name: part of every id, and no other run's.
    """

    window: int
    rate: float | None
    seconds: float | None
    messages: int | None
    size: int
    conversations: int
    name: str

    @property
    def stage(self) -> Stage:
        """As the progress bar shows it."""
        return Stage("sending", "accepted", self.messages, self.seconds)


@attrs.frozen
class Down:
    """Write downstream records and see them arrive.

    Attributes:
        kafka: how the cluster is reached.
        topic_prefix: stands before the gateway's id.
        rate: records a second, over all processes; None: as fast as Kafka takes them.
        seconds: for how long records are written, if bounded by time.
        messages: how many are written, if bounded by their number.
        fan_out: users that a record is for.
        size: characters of content.
        name: part of every id, and no other run's.
    """

    kafka: KafkaSettings
    topic_prefix: str
    rate: float | None
    seconds: float | None
    messages: int | None
    fan_out: int
    size: int
    name: str

    @property
    def stage(self) -> Stage:
        """As the progress bar shows it."""
        count = None if self.messages is None else self.messages * self.fan_out
        return Stage("receiving", "arrived", count, self.seconds)


@attrs.frozen
class Rest:
    """Ask over HTTP.

    Attributes:
        request: what is sent, the same each time; it may hold a token.
        headless: whether it is a HEAD request, whose answers have no body.
        rate: requests a second, over all processes; None: a new one for each answer.
        seconds: for how long requests are made, if bounded by time.
        requests: how many are made, if bounded by their number.
    """

    request: bytes = attrs.field(repr=False)
    headless: bool
    rate: float | None
    seconds: float | None
    requests: int | None

    @property
    def stage(self) -> Stage:
        """As the progress bar shows it."""
        return Stage("asking", "succeeded", self.requests, self.seconds)


@attrs.frozen
class Plan:
    """A whole run.

    Attributes:
        rate: connections opened a second, over all processes; None: `AT_A_TIME`.
        timeout: seconds that a handshake may take, and that answers are waited for in the end.
        load: what happens once all are connected.
    """

    target: Target
    tokens: Tokens = attrs.field(repr=False)
    connections: int
    processes: int
    rate: float | None
    timeout: float
    load: Hold | Up | Down | Rest

    @property
    def stages(self) -> tuple[Stage, ...]:
        """What is done, in this order."""
        return Stage("connecting", "connected", self.connections), self.load.stage


@attrs.frozen
class Share:
    """What falls to one of several processes: every so many-th of everything."""

    index: int
    processes: int

    def of(self, total: int, /) -> range:
        """The numbers that are ours of `total`."""
        return range(self.index, total, self.processes)

    def due(self, turn: int, begin: int, rate: float, /) -> int:
        """When our `turn`-th thing is due (ns), where all processes began at `begin` and do `rate` a second."""
        return begin + int((turn * self.processes + self.index) * 1e9 / rate)
