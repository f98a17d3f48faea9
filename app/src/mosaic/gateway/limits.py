"""A limit on the size of a request's body, for announced and for streamed bodies alike."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mosaic.gateway.errors import error_response


class BodyTooLargeError(Exception):
    """The client sent more than is taken."""


class BodyLimit:
    """ASGI middleware: answers 413 before, or as soon as, a body exceeds the limit of its path."""

    def __init__(self, app: ASGIApp, max_bytes: int, by_path: Mapping[str, int]) -> None:
        """Guard `app`: `max_bytes`, but for the paths in `by_path`."""
        self.app = app
        self.max_bytes = max_bytes
        self.by_path = by_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 413."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        max_bytes = self.by_path.get(scope["path"], self.max_bytes)
        exchange = _Exchange(receive, send, max_bytes)
        if _announced_length(scope) <= max_bytes:
            await exchange.run(self.app, scope)
        else:
            exchange.too_large = True
        if exchange.too_large and not exchange.answered:
            sentence = f"the body is larger than {_readable(max_bytes)}."
            await error_response(413, sentence, {"Connection": "close"})(scope, receive, send)


class _Exchange:
    """One request whose body is counted as it comes."""

    def __init__(self, receive: Receive, send: Send, max_bytes: int) -> None:
        self._receive = receive
        self._send = send
        self._left = max_bytes
        self.too_large = False
        self.answered = False

    async def run(self, app: ASGIApp, scope: Scope) -> None:
        try:
            await app(scope, self.receive, self.send)
        except Exception:
            if not self.too_large:
                raise

    async def receive(self) -> Message:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            self.too_large = True
            raise BodyTooLargeError
        return message

    async def send(self, message: Message) -> None:
        # The application may have turned BodyTooLargeError into an answer of its own; ours takes its place.
        if self.answered or not self.too_large:
            self.answered = True
            await self._send(message)


def _readable(size: int) -> str:
    return f"{size // 2**10} KiB" if size < 2**20 else f"{size / 2**20:g} MiB"


def _announced_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0
