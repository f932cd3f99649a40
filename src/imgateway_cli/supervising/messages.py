"""What the supervisor and its workers say to each other."""

import msgspec


class Begin(msgspec.Struct, frozen=True, tag="begin"):
    """To a worker, first of all: what it is.

    Attributes:
        settings: its settings, pickled. Both ends are the same program, and nobody else holds the channel.
    """

    settings: bytes


class Share(msgspec.Struct, frozen=True, tag="share"):
    """To a worker: which doors are its own now.

    Attributes:
        doors: numbers of the listening sockets to take connections from, counted from 0.
        elsewhere: whether another worker is ready.
    """

    doors: tuple[int, ...]
    elsewhere: bool


class Report(msgspec.Struct, frozen=True, tag="report"):
    """To a worker: say your metrics."""


class Drain(msgspec.Struct, frozen=True, tag="drain"):
    """To a worker: drain and end.

    Attributes:
        together: all workers drain, so nobody takes over: clients that come are told so.
    """

    together: bool


class Standing(msgspec.Struct, frozen=True, tag="standing"):
    """From a worker: whether it is ready. The first one also says that it can serve."""

    ready: bool


class Metrics(msgspec.Struct, frozen=True, tag="metrics"):
    """From a worker: its metrics in Prometheus' text format."""

    text: bytes


Message = Begin | Share | Report | Drain | Standing | Metrics
