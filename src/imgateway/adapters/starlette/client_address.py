"""Where a client really is, when proxies stand in between."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Addresses and CIDR blocks as networks.

    Raises:
        ValueError: one is neither.
    """
    return tuple(ip_network(text, strict=False) for text in texts)


def client_address(peer: str | None, forwarded_for: Iterable[str], trusted: tuple[Network, ...]) -> str | None:
    """The nearest address that no trusted proxy vouches for.

    Args:
        peer: the other end of the TCP connection.
        forwarded_for: every `X-Forwarded-For` line, in the order received. Proxies append, on the same line or on one
            of their own, so the right end is the nearest; whatever stands left of an untrusted address was written by
            that one, and may be a lie.
        trusted: the proxies.
    """
    address = _address(peer or "")
    if address is None:
        return peer
    if not _is_trusted(address, trusted):
        return str(address)
    hops = [hop for line in forwarded_for for hop in line.split(",")]
    for hop in reversed(hops):
        hop_address = _address(hop.strip())
        if hop_address is None:
            break
        address = hop_address
        if not _is_trusted(address, trusted):
            break
    return str(address)


def _is_trusted(address: Address, trusted: tuple[Network, ...]) -> bool:
    return any(address in network for network in trusted)


def _address(text: str) -> Address | None:
    """An address, with or without a port; IPv4 in IPv6 (RFC 4291 section 2.5.5.2) as IPv4."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
