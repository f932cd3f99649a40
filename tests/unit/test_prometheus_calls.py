"""Calls as Prometheus sees them."""

from imgateway.adapters.prometheus import PrometheusObserver


def test_calls_are_counted_by_method_and_code_and_timed_by_method() -> None:
    observer = PrometheusObserver()
    for code, seconds in (("OK", 0.0004), ("OK", 0.003), ("NOT_FOUND", 20.0)):
        observer.call_finished("im.v1.Chat/Send", code, seconds)
    observer.call_finished("im.v1.Chat/List", "OK", 0.01)
    lines = observer.render()[0].decode().splitlines()
    assert {
        'imgateway_calls_total{code="OK",rpc="im.v1.Chat/Send"} 2.0',
        'imgateway_calls_total{code="NOT_FOUND",rpc="im.v1.Chat/Send"} 1.0',
        'imgateway_calls_total{code="OK",rpc="im.v1.Chat/List"} 1.0',
        'imgateway_call_seconds_bucket{le="0.0005",rpc="im.v1.Chat/Send"} 1.0',
        'imgateway_call_seconds_bucket{le="0.005",rpc="im.v1.Chat/Send"} 2.0',
        'imgateway_call_seconds_bucket{le="10.0",rpc="im.v1.Chat/Send"} 2.0',
        'imgateway_call_seconds_bucket{le="+Inf",rpc="im.v1.Chat/Send"} 3.0',
        'imgateway_call_seconds_count{rpc="im.v1.Chat/List"} 1.0',
    } <= {*_sorted(lines)}


def _sorted(lines: list[str]) -> list[str]:
    """The labels of each line in alphabetical order."""
    found = []
    for line in lines:
        name, brace, rest = line.partition("{")
        labels, end, value = rest.partition("}")
        found.append(f"{name}{brace}{','.join(sorted(labels.split(',')))}{end}{value}")
    return found
