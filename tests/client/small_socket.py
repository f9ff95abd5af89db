"""The server's end of a websocket, on the connection of an http.server request."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import struct
import threading

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, CLOSE = 1, 2, 8


class SmallSocket:
    """`messages` are the JSON documents that the client sent."""

    def __init__(self, request):
        self._request, self.lock, self.messages = request, threading.Lock(), []

    def accept(self) -> None:
        key = hashlib.sha1(self._request.headers["Sec-WebSocket-Key"].encode() + GUID).digest()
        lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
        lines += [f"Sec-WebSocket-Accept: {base64.b64encode(key).decode()}", "", ""]
        self._request.wfile.write("\r\n".join(lines).encode())

    def send(self, message) -> None:
        """A dict goes as JSON text, bytes as they are; to a client that has gone, nothing does."""
        data = message if isinstance(message, bytes) else json.dumps(message).encode()
        self._frame(BINARY if isinstance(message, bytes) else TEXT, data)

    def _frame(self, kind: int, data: bytes) -> None:
        size = bytes([len(data)]) if len(data) < 126 else b"\x7e" + struct.pack(">H", len(data))
        try:
            with self.lock:
                self._request.wfile.write(bytes([0x80 | kind]) + size + data)
        except (OSError, ValueError):
            pass

    def serve(self) -> None:
        """Take what the client sends until it, or `drop`, ends the connection."""
        read = self._request.rfile.read
        try:
            while len(head := read(2)) == 2:
                size = head[1] & 0x7F
                if size == 126:
                    (size,) = struct.unpack(">H", read(2))
                mask = read(4)
                data = bytes(byte ^ mask[index % 4] for index, byte in enumerate(read(size)))
                if head[0] & 0xF == CLOSE:
                    return self._frame(CLOSE, data)
                if head[0] & 0xF == TEXT:
                    self.messages.append(json.loads(data))
        except (OSError, ValueError, struct.error):
            pass

    def drop(self) -> None:
        """End the connection without a word."""
        try:
            self._request.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
