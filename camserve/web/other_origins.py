"""What pages of other origins may do: show this page in a frame, and read answers. By default, neither is allowed."""

from flask import Flask, Response, request

from camserve.config.schema import ANY_ORIGIN, Serve

# The methods and headers that a page of an allowed origin may send, and the headers that it may read.
_METHODS = "GET, POST, DELETE"
_SENT = "Accept, Authorization, Content-Type, If-None-Match, X-Request-Id"
_READ = (
    "ETag, Location, Retry-After, Server-Timing, X-Request-Id, X-Cam-Class, X-Cam-Class-Name, X-Cam-Layer, "
    "X-Cam-Method, X-Cam-Overlay-Scale, X-Cam-Score, X-Cam-Trust, X-Cam-Value, X-Cam-Warnings"
)
_SECONDS = "600"  # a browser may keep the permission this long


def security_headers(serve: Serve) -> dict[str, str]:
    """The security headers of every answer."""
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
    """The headers that let a page of an origin read an answer, if the settings allow it. origin: "" means none."""
    if not serve.cors_origins:
        return {}
    if ANY_ORIGIN in serve.cors_origins:
        return {"Access-Control-Allow-Origin": ANY_ORIGIN, "Access-Control-Expose-Headers": _READ}
    vary = {"Vary": "Origin"}
    if origin not in serve.cors_origins:
        return vary
    return {**vary, "Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": _READ}


def answer_other_origins(app: Flask, serve: Serve) -> None:
    """Add these headers to all answers. Call this before `protect`: a preflight request of a browser has no token."""

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
