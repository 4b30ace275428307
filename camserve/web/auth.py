"""Authentication: the bearer token `serve.token`, if one is set."""

import hashlib
import hmac

from flask import Flask, request

from camserve.config.schema import Settings
from camserve.errors import Unauthorised


def protect(app: Flask, settings: Settings) -> None:
    """Refuse every request without the token, except health checks. Without a token, nothing is refused."""
    token = settings.serve.token.get_secret_value()
    if not token:
        return
    expected = _digest(token)

    @app.before_request
    def _check() -> None:
        if request.blueprint == "health":  # probes send no token, and their answers reveal nothing
            return
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        # digests have one length, so the time reveals nothing about the token
        if scheme.lower() != "bearer" or not hmac.compare_digest(_digest(given.strip()), expected):
            raise Unauthorised(
                "this service requires the header 'Authorization: Bearer TOKEN' with its token (serve.token)"
            )


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()
