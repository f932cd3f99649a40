"""The supervisor's decisions, one by one; what they come to together is seen in tests/e2e/test_workers.py."""

import os
import socket

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from imgateway import AuthSettings, GatewayError, Settings, SettingsError
from imgateway.adapters.prometheus import PrometheusObserver, WorkersObserver
from imgateway.core.settings import GatewaySettings, ServerSettings
from imgateway.core.settings_services import KafkaSettings, RedisSettings
from imgateway_cli.supervising import channel
from imgateway_cli.supervising.channel import Channel
from imgateway_cli.supervising.doors import doors
from imgateway_cli.supervising.messages import Begin, Drain, Message, Metrics, Report, Share, Standing
from imgateway_cli.supervising.reloading import renewed
from imgateway_cli.supervising.sharing import Place, shares
from imgateway_cli.supervising.slot import described, pause_seconds

SECRET = "9tJfXq2mVw8Lr5Zc1Yk7Hb4Nd6Gs3Pa0"
EMPTY, SERVING, READY = Place.EMPTY, Place.SERVING, Place.READY

# --- who takes from which door ---


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([READY, READY], [(0,), (1,)]),
        ([READY, SERVING], [(0, 1), ()]),
        ([EMPTY, READY], [(), (0, 1)]),
        ([SERVING, SERVING], [(0,), (1,)]),
        ([SERVING, EMPTY], [(0, 1), ()]),
        ([EMPTY, EMPTY], [(), ()]),
        ([READY, SERVING, EMPTY, READY], [(0, 1), (), (), (2, 3)]),
    ],
)
def test_a_worker_takes_clients_if_it_is_ready_or_nobody_is(
    places: list[Place], expected: list[tuple[int, ...]]
) -> None:
    assert [tuple(sorted(own)) for own in shares(places)] == expected


@given(st.lists(st.sampled_from(Place), max_size=8))
def test_each_door_has_one_worker_as_long_as_there_is_any(places: list[Place]) -> None:
    dealt = shares(places)
    assert sorted(door for own in dealt for door in own) == (list(range(len(places))) if any(places) else [])
    best = max(places, default=EMPTY)
    assert all(place == best for place, own in zip(places, dealt, strict=True) if own)
    assert all(number in dealt[number] for number, place in enumerate(places) if place == best != EMPTY)
    sizes = [len(own) for own in dealt if own]
    assert not sizes or max(sizes) - min(sizes) <= 1


# --- metrics ---


def test_texts_of_several_workers_become_one() -> None:
    observers = {'g"1\\': PrometheusObserver(), "g-2": PrometheusObserver()}
    for count, observer in enumerate(observers.values(), 1):
        for _ in range(count):
            observer.connect_decided("accepted")
            observer.connection_opened()
            observer.published(0.003)
    observers["g-2"].connect_decided("OVERLOADED")
    above = WorkersObserver(*observers, "g-3")
    above.ready("g-2", True)
    above.restarted("g-3")
    texts = {worker: observer.render()[0] for worker, observer in observers.items()}
    text = above.render({**texts, "g-3": None})[0].decode()

    families = {family.name: family for family in text_string_to_metric_families(text)}
    samples = [sample for family in families.values() for sample in family.samples]
    for kind in ("HELP", "TYPE"):
        heads = [line.split(" ")[2] for line in text.splitlines() if line.startswith(f"# {kind} ")]
        assert len(heads) == len(set(heads))
    assert families["imgateway_publish_seconds"].type == "histogram"
    # Nothing is lost and nothing is added: without the label each worker's samples are what it said.
    for worker, own in texts.items():
        said = [s for family in text_string_to_metric_families(own.decode()) for s in family.samples]
        assert all(s._replace(labels={**s.labels, "worker": worker}) in samples for s in said)
    assert len({(s.name, *sorted(s.labels.items())) for s in samples}) == len(samples)

    def value(name: str, **labels: str) -> float:
        (found,) = (s.value for s in samples if s.name == name and s.labels == labels)
        return found

    assert value("imgateway_connections", worker="g-2") == 2
    assert value("imgateway_connects_total", worker="g-2", outcome="OVERLOADED") == 1
    assert value("imgateway_worker_up", worker="g-2") == 1
    assert value("imgateway_worker_up", worker="g-3") == 0
    assert value("imgateway_worker_ready", worker="g-2") == 1
    assert value("imgateway_worker_ready", worker="g-3") == 0
    assert value("imgateway_worker_restarts_total", worker="g-3") == 1


# --- settings that are read again ---

RUNNING = Settings(
    server=ServerSettings(port=4711, workers=2),
    gateway=GatewaySettings(id="gw-host-0"),
    auth=AuthSettings(secret=SECRET),
    kafka=KafkaSettings(bootstrap_servers=("kafka:9092",)),
    redis=RedisSettings(url="redis://redis:6379/0"),
)
ASKED = attrs.evolve(RUNNING, server=ServerSettings(port=0, workers=2), gateway=GatewaySettings())


def test_what_is_read_again_counts_but_for_what_can_not_change() -> None:
    fresh = attrs.evolve(
        ASKED,
        server=attrs.evolve(ASKED.server, max_frame_bytes=9999, admin_port=9, host="127.0.0.9"),
        gateway=GatewaySettings(id="other", drain_seconds=3),
    )
    settings, kept = renewed(RUNNING, ASKED, fresh, random_secret=False)
    assert kept == ("server.host", "server.admin_port", "gateway.id")
    assert settings == attrs.evolve(
        RUNNING,
        server=attrs.evolve(RUNNING.server, max_frame_bytes=9999),
        gateway=GatewaySettings(id="gw-host-0", drain_seconds=3),
    )


def test_a_port_and_an_id_that_were_left_open_are_no_change() -> None:
    assert renewed(RUNNING, ASKED, ASKED, random_secret=False) == (RUNNING, ())


def test_what_does_not_fit_with_what_is_kept_is_refused() -> None:
    fresh = attrs.evolve(ASKED, server=ServerSettings(workers=1), redis=None)
    with pytest.raises(SettingsError, match=r"server\.workers: expected 1, since there is no \[redis\]"):
        renewed(RUNNING, ASKED, fresh, random_secret=False)


def test_a_secret_made_for_this_run_stays_and_a_lost_section_is_refused() -> None:
    fresh = attrs.evolve(ASKED, auth=AuthSettings())
    assert renewed(RUNNING, ASKED, fresh, random_secret=True)[0].auth == RUNNING.auth
    with pytest.raises(SettingsError, match="auth: expected a section"):
        renewed(RUNNING, ASKED, fresh, random_secret=False)


# --- pauses, and words for a status ---


def test_pauses_grow_to_a_bound() -> None:
    for failures, longest in ((0, 0.5), (1, 1), (5, 16), (6, 30), (10**6, 30)):
        pauses = {pause_seconds(failures) for _ in range(50)}
        assert len(pauses) > 1, "workers that died together come back together"
        assert longest / 2 <= min(pauses) <= max(pauses) <= longest


@pytest.mark.parametrize(
    ("status", "words"),
    [(0, "exit code 0"), (2, "exit code 2"), (-9, "ended by SIGKILL"), (-99, "ended by signal 99")],
)
def test_a_status_in_words(status: int, words: str) -> None:
    assert described(status) == words


def test_who_was_not_started_has_no_status() -> None:
    assert described(None) == "not started"


# --- the doors ---


def test_doors_share_a_port_that_nobody_else_gets() -> None:
    with doors("127.0.0.1", 0, 3) as opened:
        (port,) = {door.getsockname()[1] for door in opened}
        with pytest.raises(GatewayError, match=rf"^server\.port: 127\.0\.0\.1:{port} can't be bound: "):
            doors("127.0.0.1", port, 2).__enter__()
        with socket.create_connection(("127.0.0.1", port)):
            pass  # somebody listens from the first moment
    with doors("127.0.0.1", port, 2):
        pass
    assert all(door.fileno() == -1 for door in opened)


# --- the channel; asyncio's ---


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
async def test_messages_arrive_whole_and_in_order_until_the_other_end_has_gone() -> None:
    one, other = socket.socketpair()
    ours, theirs = await Channel.open(one), await Channel.open(other)
    said: list[Message] = [
        Begin(os.urandom(1000)),
        Share((0, 2), elsewhere=True),
        Report(),
        Metrics(b"a\nb\n" * 100_000),
        Standing(ready=False),
        Drain(together=True),
    ]
    for message in said:
        ours.send(message)
    assert [await theirs.receive() for _ in said] == said
    theirs.close()
    assert await ours.receive() is None
    ours.send(Report())
    ours.close()
    ours.close()
    ours.send(Report())


@pytest.mark.anyio
async def test_an_end_that_reads_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "MAX_WAITING_BYTES", 10_000)
    one, other = socket.socketpair()
    with other:
        ours = await Channel.open(one)
        for _ in range(1000):  # far more than the kernel keeps
            ours.send(Metrics(b"x" * 5000))
        assert await ours.receive() is None


@pytest.mark.anyio
@pytest.mark.parametrize("line", [b"no JSON\n", b'{"type": "other"}\n', b'{"type": "standing"'])
async def test_what_is_no_message_ends_the_channel(line: bytes) -> None:
    one, other = socket.socketpair()
    ours = await Channel.open(one)
    with other:
        other.sendall(line)
    assert await ours.receive() is None
    ours.close()
