"""Who is asked for by a proxy: what a header says of that is taken from those only that `serve.proxies` names."""

import ipaddress
from collections.abc import Sequence

# Addresses that are looked at: each proxy adds one.
_CHAIN = 20


def client_of(peer: str | None, forwarded: str, proxies: Sequence[str]) -> str | None:
    """The address that a request came from.

    peer: the other end of the connection. forwarded: X-Forwarded-For. proxies: addresses and networks that are
    believed. Of what is no address nothing is taken.
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
    plain = getattr(found, "ipv4_mapped", None) or found  # a socket of both kinds has ::ffff:127.0.0.1
    return any(one in ipaddress.ip_network(proxy) for proxy in proxies for one in (found, plain))


def _is_address(text: str) -> bool:
    try:
        return bool(ipaddress.ip_address(text))
    except ValueError:
        return False
