"""A limit on the size of a request's body, for announced and for streamed bodies alike."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mosaic.gateway.errors import error_response


class BodyTooLargeError(Exception):
    """The client sent more than is taken."""


class BodyLimit:
    """ASGI middleware: answers 413 before, or as soon as, a body exceeds `max_bytes`."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        """Guard `app`."""
        self.app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 413."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        sentence = f"the body is larger than {self.max_bytes / 2**20:g} MiB."
        refusal = error_response(413, sentence, {"Connection": "close"})
        length = _announced_length(scope)
        if length is not None and length > self.max_bytes:
            await refusal(scope, receive, send)
            return
        received = 0
        too_large = False
        started = False

        async def counting_receive() -> Message:
            nonlocal received, too_large
            message = await receive()
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                if received > self.max_bytes:
                    too_large = True
                    raise BodyTooLargeError
            return message

        async def guarded_send(message: Message) -> None:
            nonlocal started
            # The application may have turned BodyTooLargeError into an answer of its own; ours takes its place.
            if not too_large or started:
                started = True
                await send(message)

        try:
            await self.app(scope, counting_receive, guarded_send)
        except Exception:
            if not too_large:
                raise
        if too_large and not started:
            await refusal(scope, receive, send)


def _announced_length(scope: Scope) -> int | None:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return None
