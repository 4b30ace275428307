"""What pages of other origins may do: show ours in a frame, and read answers. Nothing, until settings say so."""

from flask import Flask, Response, request

from camserve.config.schema import ANY_ORIGIN, Serve

# What a page may send, and read of an answer, beyond what browsers let every page.
_METHODS = "GET, POST, DELETE"
_SENT = "Accept, Authorization, Content-Type, If-None-Match, X-Request-Id"
_READ = (
    "ETag, Location, Retry-After, Server-Timing, X-Request-Id, X-Cam-Class, X-Cam-Class-Name, X-Cam-Layer, "
    "X-Cam-Method, X-Cam-Overlay-Scale, X-Cam-Score, X-Cam-Trust, X-Cam-Value, X-Cam-Warnings"
)
_SECONDS = "600"  # for which a browser need not ask again


def security_headers(serve: Serve) -> dict[str, str]:
    """What every answer says to browsers."""
    framed_by = " ".join(serve.frame_ancestors) or "'none'"
    return {
        "Content-Security-Policy": (
            "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; "
            f"form-action 'self'; frame-ancestors {framed_by}"
        ),
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }


def reading_headers(serve: Serve, origin: str) -> dict[str, str]:
    """What lets a page of that origin, "" for none, read an answer, where the settings do."""
    if not serve.cors_origins:
        return {}
    if ANY_ORIGIN in serve.cors_origins:
        return {"Access-Control-Allow-Origin": ANY_ORIGIN, "Access-Control-Expose-Headers": _READ}
    vary = {"Vary": "Origin"}
    if origin not in serve.cors_origins:
        return vary
    return {**vary, "Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": _READ}


def answer_other_origins(app: Flask, serve: Serve) -> None:
    """Tell browsers what pages may do. Comes before the token is asked for: what a browser asks first carries none."""

    @app.before_request
    def _asked_first() -> Response | None:
        headers = reading_headers(serve, request.headers.get("Origin", ""))
        is_first = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
        if not is_first or "Access-Control-Allow-Origin" not in headers:
            return None
        allowed = {"Access-Control-Allow-Methods": _METHODS, "Access-Control-Allow-Headers": _SENT}
        return Response(status=204, headers={**allowed, "Access-Control-Max-Age": _SECONDS})

    @app.after_request
    def _tell(response: Response) -> Response:
        headers = reading_headers(serve, request.headers.get("Origin", ""))
        if headers.pop("Vary", None):
            response.vary.add("Origin")
        response.headers.update({**security_headers(serve), **headers})
        return response
