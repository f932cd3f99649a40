from imgateway.adapters.memory import CountingObserver
from imgateway.ports import GatewayObserver


def test_everything_told_is_counted_under_its_name() -> None:
    counting = CountingObserver()
    observer: GatewayObserver = counting
    observer.connect_decided("accepted")
    observer.connection_opened()
    observer.connection_opened()
    observer.connection_closed(1000)
    observer.message_up("accepted")
    observer.published(0.25)
    observer.delivery("handed_over", 3)
    observer.delivery("handed_over", 2)
    observer.undelivered("no-connection", 4)
    observer.outbox_bytes(100)
    observer.outbox_bytes(-40)
    observer.downstream_lag(7)
    assert counting.counts == {
        ("connect_decided", "accepted"): 1,
        ("connection_opened", ""): 2,
        ("connection_closed", "1000"): 1,
        ("message_up", "accepted"): 1,
        ("published", ""): 1,
        ("delivery", "handed_over"): 5,
        ("undelivered", "no-connection"): 4,
    }
    assert (counting.connections, counting.waiting_bytes, counting.lag) == (1, 60, 7)
