"""The websocket over which a server tells what happens to a graph: blocking and asyncio, on the library `websockets`.

Without the library, and where a server or a proxy refuses websockets, the client asks over HTTP instead.
"""

from __future__ import annotations

import asyncio
import json
import urllib.parse
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager, suppress
from typing import Any

from .connection import Connection

LARGEST_MESSAGE = 1 << 26  # a preview of many frames
OPENING_SECONDS, CLOSING_SECONDS = 10.0, 1.0
# Pictures come with the id of their graph to who says this first.
GREETING = json.dumps({"type": "feature_flags", "data": {"supports_preview_metadata": True}})


class NoWebsocket(Exception):
    """This server cannot be listened to, now or later; the text says why."""


class Disconnected(Exception):
    """The websocket has broken, or could not be opened just now."""


def _options(connection: Connection, client_id: str) -> dict[str, Any]:
    query = urllib.parse.urlencode({"clientId": client_id})
    return {
        "uri": f"ws{connection.url.removeprefix('http')}/ws?{query}",
        "open_timeout": min(connection.timeout, OPENING_SECONDS),
        "close_timeout": CLOSING_SECONDS,
        "max_size": LARGEST_MESSAGE,
        "proxy": None if connection.is_this_machine else True,
    }


@contextmanager
def _explained() -> Iterator[None]:
    """What opening a websocket raises, as one of the two errors above."""
    try:
        from websockets.exceptions import InvalidHandshake, InvalidMessage, InvalidStatus, WebSocketException
    except ImportError as error:
        raise NoWebsocket("the package websockets is missing: pip install 'comfyui-ltx2[client]'") from error
    try:
        yield
    except InvalidStatus as error:
        status = error.response.status_code
        raise (Disconnected if status >= 500 else NoWebsocket)(f"HTTP {status}") from error
    except InvalidMessage as error:  # the connection ended, or something answers that speaks another language
        raise (Disconnected if isinstance(error.__cause__, EOFError) else NoWebsocket)(str(error)) from error
    except (OSError, EOFError) as error:  # TimeoutError is an OSError
        raise Disconnected(str(error) or type(error).__name__) from error
    except (InvalidHandshake, WebSocketException, ImportError) as error:  # ImportError: a proxy needs another package
        raise NoWebsocket(str(error) or type(error).__name__) from error


class Line:
    """A websocket to one server; opening it again closes what was open."""

    def __init__(self, connection: Connection):
        self._connection, self._opened, self._socket = connection, ExitStack(), None

    def open(self, client_id: str) -> None:
        """Become the client `client_id`, to whom the server tells what happens to the graphs queued under that id.

        Raises:
            NoWebsocket, Disconnected: see their classes.
        """
        self.close()
        with _explained():
            from websockets.sync.client import connect

            self._socket = self._opened.enter_context(connect(**_options(self._connection, client_id)))
            self._socket.send(GREETING)

    def listen(self, seconds: float) -> str | bytes | None:
        """The next message; None where none comes within `seconds`.

        Raises:
            Disconnected: the websocket has broken, or was never opened.
        """
        from websockets.exceptions import ConnectionClosed

        if self._socket is None:
            raise Disconnected("not open")
        try:
            return self._socket.recv(timeout=seconds)
        except TimeoutError:
            return None
        except (ConnectionClosed, OSError) as error:
            raise Disconnected(str(error)) from error

    def close(self) -> None:
        self._socket = None
        with suppress(OSError):
            self._opened.close()


class AsyncLine:
    """`Line` for asyncio."""

    def __init__(self, connection: Connection):
        self._connection, self._opened, self._socket = connection, AsyncExitStack(), None

    async def open(self, client_id: str) -> None:
        """As `Line.open`."""
        await self.close()
        with _explained():
            from websockets.asyncio.client import connect

            self._socket = await self._opened.enter_async_context(connect(**_options(self._connection, client_id)))
            await self._socket.send(GREETING)

    async def listen(self, seconds: float) -> str | bytes | None:
        """As `Line.listen`."""
        from websockets.exceptions import ConnectionClosed

        if self._socket is None:
            raise Disconnected("not open")
        # Not asyncio.wait_for: before Python 3.12 it forgets that it was cancelled when a message comes at that moment.
        coming = asyncio.ensure_future(self._socket.recv())
        try:
            await asyncio.wait([coming], timeout=seconds)
        finally:
            coming.cancel()
            await asyncio.wait([coming])
        try:
            return None if coming.cancelled() else coming.result()
        except (ConnectionClosed, OSError) as error:
            raise Disconnected(str(error)) from error

    async def close(self) -> None:
        self._socket = None
        with suppress(OSError):
            await self._opened.aclose()
