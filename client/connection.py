"""Talks HTTP with a ComfyUI server, on the standard library: JSON, uploads, downloads, and errors in words."""

from __future__ import annotations

import http.client
import ipaddress
import json
import secrets
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, TypeVar

from ..ltx2.errors import LTX2Error

TRIES, FIRST_PAUSE = 4, 0.25  # seconds; each pause is twice the one before
GATEWAY_ERRORS = (502, 503, 504)  # a proxy's, which reached no server or lost its answer
CHUNK = 1 << 20
Answer = TypeVar("Answer")


class NoAnswer(LTX2Error):
    """The server could not be reached, or the connection broke before its answer was there."""


class Refused(LTX2Error):
    """The server answered with an error; `status` is HTTP's, `answer` its JSON body, None where it has none."""

    def __init__(self, text: str, status: int, answer: Any):
        super().__init__(text)
        self.status, self.answer = status, answer


def pauses() -> Iterator[float]:
    """The seconds to wait between tries."""
    return (FIRST_PAUSE * 2**number for number in range(TRIES - 1))


class Connection:
    """The address of a server, and how to ask it.

    Args:
        url: "http://host:8188", with a path where a proxy has one; "host:8188" is taken for http.
        timeout: seconds without a byte after which an answer counts as lost.
    """

    def __init__(self, url: str, timeout: float):
        self.url = (url if "://" in url else f"http://{url}").rstrip("/")
        parts = urllib.parse.urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise LTX2Error(f"a server is named as http://host:port; got '{url}'; write for example 127.0.0.1:8188")
        if not timeout > 0:
            raise LTX2Error(f"timeout must be above 0 seconds; got {timeout}")
        self.timeout = timeout
        self.is_this_machine = _is_this_machine(parts.hostname)
        # A proxy of the environment cannot reach this machine's own addresses.
        handlers = [urllib.request.ProxyHandler({})] if self.is_this_machine else []
        self._open = urllib.request.build_opener(*handlers).open

    def get(self, path: str) -> Any:
        """The JSON answer to a GET, tried again where no answer comes.

        Raises:
            NoAnswer, Refused: as `open`.
        """
        return _tried(lambda: self._json(urllib.request.Request(self.url + path)))

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The JSON answer to a POST (None where it is empty), sent once: only the caller knows if twice is harmless.

        Raises:
            NoAnswer, Refused: as `open`.
        """
        headers = {"Content-Type": "application/json"}
        return self._json(urllib.request.Request(self.url + path, json.dumps(body).encode(), headers, method="POST"))

    def upload(self, path: str, file: Path, fields: Mapping[str, str]) -> Any:
        """Send a file as the form field `image`, in pieces, with other form fields.

        Raises:
            LTX2Error: the file cannot be read, or its name not be sent.
            NoAnswer, Refused: as `open`.
        """
        if any(ord(each) < 32 for each in file.name):
            raise LTX2Error(f"the name of an uploaded file must have no control characters; got {file.name!r}")
        boundary = secrets.token_hex(16)
        name = file.name.replace("\\", "\\\\").replace('"', '\\"')
        head = "".join(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
            for key, value in fields.items()
        )
        head += f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n'
        before = (head + "Content-Type: application/octet-stream\r\n\r\n").encode()
        after = f"\r\n--{boundary}--\r\n".encode()
        try:
            with file.open("rb") as content:
                size = file.stat().st_size
                headers = {
                    "Content-Type": f"multipart/form-data; boundary={boundary}",
                    "Content-Length": str(len(before) + size + len(after)),
                }
                pieces = _pieces(before, content, after)
                return self._json(urllib.request.Request(self.url + path, pieces, headers, method="POST"))
        except OSError as error:
            raise LTX2Error(f"an uploaded file must be readable; {file} is not: {error.strerror or error}") from error

    def download(self, path: str, to: IO[bytes]) -> None:
        """Write the body of the answer to a GET into a file, in pieces; from the start again where it breaks off.

        Raises:
            NoAnswer, Refused: as `open`.
        """

        def copy() -> None:
            to.seek(0)
            to.truncate()
            with self.open(urllib.request.Request(self.url + path)) as answer:
                promised = answer.headers.get("Content-Length")
                while piece := self._read(answer, CHUNK):
                    to.write(piece)
            if promised is not None and to.tell() != int(promised):
                raise NoAnswer(self._lost(f"{to.tell()} of {promised} bytes arrived"))

        _tried(copy)

    def open(self, request: urllib.request.Request) -> Any:
        """The open answer to a request.

        Raises:
            NoAnswer: see its class.
            Refused: the status is an error's.
        """
        try:
            return self._open(request, timeout=self.timeout)
        except urllib.error.HTTPError as error:
            with error:
                if error.code in GATEWAY_ERRORS:
                    raise NoAnswer(self._lost(f"HTTP {error.code} {error.reason}")) from error
                answer = _parsed(error)
            path = urllib.parse.urlsplit(request.full_url).path
            text = f"the server must know and allow {request.get_method()} {path}; {self.url} answered"
            raise Refused(f"{text} HTTP {error.code} {error.reason}", error.code, answer) from error
        except (OSError, http.client.HTTPException) as error:
            raise NoAnswer(self._lost(getattr(error, "reason", error))) from error

    def _json(self, request: urllib.request.Request) -> Any:
        with self.open(request) as answer:
            text = self._read(answer)
        try:
            return json.loads(text) if text else None
        except ValueError as error:
            raise LTX2Error(f"the server must be ComfyUI; {self.url} answers no JSON; check its address") from error

    def _read(self, answer: Any, size: int | None = None) -> bytes:
        try:
            return answer.read(size)
        except (OSError, http.client.HTTPException) as error:
            raise NoAnswer(self._lost(error)) from error

    def _lost(self, reason: Any) -> str:
        text = str(reason) or type(reason).__name__
        return f"the server must be reachable; {self.url} gave no answer ({text}); check that it runs, and its address"


def _tried(ask: Callable[[], Answer]) -> Answer:
    """What `ask` gives, asked again where no answer comes: for what changes nothing on the server."""
    for pause in pauses():
        try:
            return ask()
        except NoAnswer:
            time.sleep(pause)
    return ask()


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _parsed(error: urllib.error.HTTPError) -> Any:
    try:
        return json.loads(error.read())
    except (OSError, ValueError, http.client.HTTPException):
        return None


def _pieces(before: bytes, content: IO[bytes], after: bytes) -> Iterator[bytes]:
    yield before
    while piece := content.read(CHUNK):
        yield piece
    yield after
