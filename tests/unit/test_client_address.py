"""Where a client really is, behind proxies that may be trusted and headers that may lie."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgateway.adapters.starlette.client_address import client_address, networks

TRUSTED = networks(["10.0.0.0/8", "fd00::/8", "192.0.2.7"])

proxies = st.sampled_from(("10.0.0.1", "10.9.9.9", "fd00::1", "192.0.2.7", "::ffff:10.1.1.1", "10.0.0.2:4711"))
clients = st.sampled_from(("198.51.100.4", "2001:db8::5", "192.0.2.8", "9.255.255.255", "11.0.0.0"))
lies = st.lists(clients | proxies | st.sampled_from(("unknown", "", "_hidden", "1.2.3.4, 5.6.7.8")), max_size=3)


@st.composite
def lines(draw: st.DrawFn, hops: list[str]) -> list[str]:
    """`X-Forwarded-For` with these hops: each proxy appends to the last line, or writes one of its own."""
    written: list[str] = []
    for hop in hops:
        if draw(st.booleans()) and written:
            written[-1] += f"{draw(st.sampled_from((',', ', ', ' ,')))}{hop}"
        else:
            written.append(hop)
    return written


@given(st.data(), clients, lies, st.lists(proxies, min_size=1, max_size=4))
def test_behind_trusted_proxies_it_is_the_address_that_the_outermost_saw(
    data: st.DataObject, client: str, lied: list[str], chain: list[str]
) -> None:
    # The client wrote `lied`; the first proxy saw the client, each further one saw the one before, we see the last.
    header = data.draw(lines([*lied, client, *chain[:-1]]))
    peer = chain[-1].removesuffix(":4711")
    assert client_address(peer, header, TRUSTED) == client


@given(st.data(), clients, lies)
def test_without_a_trusted_proxy_what_the_header_says_does_not_matter(
    data: st.DataObject, client: str, lied: list[str]
) -> None:
    assert client_address(client, data.draw(lines(lied)), TRUSTED) == client
    assert client_address(client, data.draw(lines(lied)), ()) == client


@given(st.data(), st.lists(proxies, max_size=3), proxies)
def test_where_every_hop_is_trusted_it_is_the_farthest(data: st.DataObject, chain: list[str], peer: str) -> None:
    peer = peer.removesuffix(":4711")
    told = client_address(peer, data.draw(lines(chain)), TRUSTED)
    farthest = (chain[0] if chain else peer).removesuffix(":4711").removeprefix("::ffff:")
    assert told == farthest


@pytest.mark.parametrize("unreadable", ["unknown", "", "_hidden", "999.1.1.1", "example.com", "1.2.3.4.5"])
def test_what_stands_left_of_an_unreadable_hop_is_not_believed(unreadable: str) -> None:
    assert client_address("10.0.0.1", [f"198.51.100.4, {unreadable}, 10.0.0.2"], TRUSTED) == "10.0.0.2"
    assert client_address("10.0.0.1", ["198.51.100.4", unreadable], TRUSTED) == "10.0.0.1"


@pytest.mark.parametrize(
    ("hop", "address"),
    [
        ("198.51.100.4:8080", "198.51.100.4"),
        ("[2001:db8::5]", "2001:db8::5"),
        ("[2001:db8::5]:443", "2001:db8::5"),
        ("::ffff:198.51.100.4", "198.51.100.4"),
        ("2001:DB8:0::5", "2001:db8::5"),
    ],
)
def test_ports_brackets_and_spellings_do_not_make_another_address(hop: str, address: str) -> None:
    assert client_address("10.0.0.1", [hop], TRUSTED) == address


def test_a_peer_without_an_address_is_told_as_it_is() -> None:
    """A Unix socket has none: there is nothing that could vouch for the header."""
    assert client_address(None, ["198.51.100.4"], TRUSTED) is None
    assert client_address("testclient", ["198.51.100.4"], TRUSTED) == "testclient"


@given(st.text(), st.lists(st.text(), max_size=3))
def test_any_header_gets_an_address(peer: str, header: list[str]) -> None:
    assert client_address(peer, header, TRUSTED) is not None
    told = client_address("10.0.0.1", header, TRUSTED)
    assert told is not None
    ip_address(told)


def test_a_network_that_is_none_is_an_error() -> None:
    with pytest.raises(ValueError, match="example"):
        networks(["10.0.0.0/8", "example.com"])
