"""The client's address behind proxies. X-Forwarded-For is believed only from the proxies in `serve.proxies`."""

import ipaddress
from collections.abc import Sequence

# Most addresses of the header that are read. Each proxy adds one.
_CHAIN = 20


def client_of(peer: str | None, forwarded: str, proxies: Sequence[str]) -> str | None:
    """The address that a request came from.

    peer: the other end of the connection. forwarded: X-Forwarded-For. proxies: addresses and networks that are
    believed. Text that is not an address ends the chain.
    """
    chain = [one.strip() for one in forwarded.split(",")[-_CHAIN:]] if proxies else []
    while peer is not None and chain and _is_in(peer, proxies):
        before = chain.pop()
        if not _is_address(before):
            break
        peer = before
    return peer


def _is_in(address: str, proxies: Sequence[str]) -> bool:
    found = ipaddress.ip_address(address)
    plain = getattr(found, "ipv4_mapped", None) or found  # IPv4 on an IPv6 socket: ::ffff:127.0.0.1
    return any(one in ipaddress.ip_network(proxy) for proxy in proxies for one in (found, plain))


def _is_address(text: str) -> bool:
    try:
        return bool(ipaddress.ip_address(text))
    except ValueError:
        return False
