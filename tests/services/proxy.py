"""A proxy in front of an S3 server that fails as servers and networks fail.

Requests go through unchanged, so that their signatures hold. Which of them fail is counted, and where
a body is cut is drawn from the seed and the request's number: the same requests fail in the same way.
"""

import random
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import BinaryIO, Final

_CHUNK: Final = 1 << 16
_BUSY_BODY: Final = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
_WRITES: Final = ("PUT", "POST", "DELETE")
_METHODS: Final = {
    "busy": ("GET", "HEAD", *_WRITES),
    "cut": ("GET",),
    "lost": _WRITES,
    "torn": ("PUT", "POST"),
}


@dataclass(frozen=True)
class Faults:
    """Of which requests every so many-th fails; 0 for none.

    Attributes
    ----------
    busy
        Of all: answered 503 SlowDown, and the server does not see them.
    cut
        Of reads: the connection ends in the middle of the answer's body.
    lost
        Of writes: the server has done it, and the connection ends before the answer.
    torn
        Of writes with a body: the connection ends in the middle of the request's body.
    """

    busy: int = 0
    cut: int = 0
    lost: int = 0
    torn: int = 0


@dataclass(frozen=True)
class _Head:
    """The start line and the headers of a request or an answer, as they came."""

    raw: bytes

    @property
    def first(self) -> list[str]:
        """The words of the start line."""
        return self.raw.partition(b"\r\n")[0].decode("latin-1").split(" ", 2)

    def value(self, name: str) -> str:
        """A header's value in lower case; empty where there is none."""
        for line in self.raw.split(b"\r\n")[1:]:
            key, _, value = line.partition(b":")
            if key.strip().lower() == name.encode():
                return value.strip().decode("latin-1").lower()
        return ""

    @property
    def length(self) -> int | None:
        """The length of its body in bytes, where it says so."""
        said = self.value("content-length")
        return int(said) if said else None

    @property
    def is_chunked(self) -> bool:
        """Whether its body says itself where it ends."""
        return "chunked" in self.value("transfer-encoding")


def _read_head(file: BinaryIO) -> _Head | None:
    """The next head; None where the connection has ended."""
    lines = []
    while line := file.readline():
        lines.append(line)
        if line == b"\r\n":
            return _Head(b"".join(lines))
    return None


def _body(file: BinaryIO, head: _Head) -> Iterator[bytes]:
    """A body in pieces, framed as it came."""
    if head.is_chunked:
        yield from _chunks(file)
        return
    left = head.length or 0
    while left:
        piece = file.read(min(left, _CHUNK))
        if not piece:
            raise ConnectionError("the body ends early")
        left -= len(piece)
        yield piece


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while size := int((line := file.readline()).partition(b";")[0], 16):
        yield line + file.read(size + 2)
    yield line
    while line != b"\r\n":
        line = file.readline()
        yield line


class Proxy:
    """Passes connections to a server on this machine; a context that listens while it lasts.

    Attributes
    ----------
    port
        Where it listens.
    faults
        What fails from now on; counting starts anew when it is set.
    failed
        How many requests failed in which way.
    requests
        Method and target of every request, in order.

    Parameters
    ----------
    server
        The server's port.
    seed
        Where bodies are cut.
    """

    def __init__(self, server: int, seed: int = 0) -> None:
        self.failed: Counter[str] = Counter()
        self.requests: list[tuple[str, str]] = []
        self._server = server
        self._seed = seed
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._trap: tuple[str, str, Callable[[], str | None]] | None = None
        self.faults = Faults()
        self.port = 0

    @property
    def faults(self) -> Faults:
        """See the class."""
        return self._faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        with self._lock:
            self._faults = faults
            self._seen: Counter[str] = Counter()

    def __enter__(self) -> "Proxy":
        self.listen()
        return self

    def __exit__(self, *_: object) -> None:
        self.hang_up()

    def listen(self) -> None:
        """Take connections, on the port it had before."""
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def hang_up(self) -> None:
        """End all connections and refuse new ones, as a server that is stopped."""
        _close(self._listener)
        with self._lock:
            ended, self._open = self._open, set()
        for connection in ended:
            _close(connection)

    def before(self, method: str, part: str, act: Callable[[], str | None]) -> None:
        """Act once, before the first request of that method goes on whose target has that part.

        That request fails in the way that `act` returns: as `Faults` names them, or "bare" where
        the connection is to end between an answer's head and its body.
        """
        self._trap = (method, part, act)

    @property
    def is_armed(self) -> bool:
        """Whether no request has matched yet what `before` waits for."""
        return self._trap is not None

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        """Pass on what a client sends until it, the server or a fault ends the connection."""
        server: socket.socket | None = None
        try:
            server = socket.create_connection(("127.0.0.1", self._server))
            with self._lock:
                self._open |= {client, server}
            for connection in (client, server):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            exchange = _Exchange(client, server)
            while (request := _read_head(exchange.client)) and self._pass(exchange, request):
                pass
        except (OSError, ValueError):  # an end of the connection, on whichever side
            pass
        finally:
            self._forget(client, server)

    def _forget(self, *ended: socket.socket | None) -> None:
        for connection in ended:
            if connection:
                with self._lock:
                    self._open.discard(connection)
                _close(connection)

    def _pass(self, exchange: "_Exchange", request: _Head) -> bool:
        """Pass on one request; whether the connection goes on."""
        method, target, _ = request.first
        fault, number = self._count(method, target)
        share = 0.0 if fault == "bare" else random.Random(f"{self._seed}/{number}").random()
        return exchange.run(request, fault, share)

    def _count(self, method: str, target: str) -> tuple[str, int]:
        asked = self._spring(method, target)
        with self._lock:
            self.requests.append((method, target))
            fault = asked or self._next_fault(method)
            self.failed.update([fault] if fault else [])
            return fault, len(self.requests)

    def _spring(self, method: str, target: str) -> str | None:
        with self._lock:
            trap = self._trap
            if not trap or method != trap[0] or trap[1] not in target:
                return None
            self._trap = None
        return trap[2]()

    def _next_fault(self, method: str) -> str:
        for kind in fields(Faults):
            every = getattr(self._faults, kind.name)
            if every and method in _METHODS[kind.name]:
                self._seen[kind.name] += 1
                if self._seen[kind.name] % every == 0:
                    return kind.name
        return ""


class _Exchange:
    """A client's connection and the server's that belongs to it."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self._to_client, self._to_server = client, server
        self.client, self._server = client.makefile("rb"), server.makefile("rb")

    def run(self, request: _Head, fault: str, share: float) -> bool:
        """Pass on one request and its answer, or fail; whether the connection goes on.

        Of a body that is cut, this share comes through.
        """
        if fault == "busy":
            return self._refuse(request)
        self._to_server.sendall(request.raw)
        answer = self._invited(request)
        if answer is None:
            self._send_body(request, share if fault == "torn" else None)
            answer = _read_head(self._server)
        if answer is None or fault == "lost":
            return False
        return self._answer(request, answer, share if fault in ("cut", "bare") else None)

    def _invited(self, request: _Head) -> _Head | None:
        """The answer that comes before the body; None where the body is to be sent."""
        if request.value("expect") != "100-continue":
            return None
        early = _read_head(self._server)
        if early is None:
            raise ConnectionError("no answer")
        if early.first[1] != "100":
            return early
        self._to_client.sendall(early.raw)
        return None

    def _refuse(self, request: _Head) -> bool:
        """Answer 503; a client that still waits for leave to send its body never sends it."""
        waits = bool(request.value("expect"))
        if not waits:
            for _ in _body(self.client, request):
                pass
        body = b"" if request.first[0] == "HEAD" else _BUSY_BODY
        end = b"Connection: close\r\n" if waits else b""
        head = b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\n" + end
        self._to_client.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        return not waits

    def _send_body(self, request: _Head, torn: float | None) -> None:
        """Send the body on; a server that refuses it may have answered, and takes no more of it."""
        is_taken = True
        for piece in _cut(_body(self.client, request), request, torn):
            try:
                if is_taken:
                    self._to_server.sendall(piece)
            except OSError:
                is_taken = False

    def _answer(self, request: _Head, answer: _Head, cut: float | None) -> bool:
        self._to_client.sendall(answer.raw)
        if request.first[0] == "HEAD" or answer.first[1] in ("204", "304"):
            return True
        for piece in _cut(_body(self._server, answer), answer, cut):
            self._to_client.sendall(piece)
        return answer.value("connection") != "close"


def _cut(pieces: Iterator[bytes], head: _Head, share: float | None) -> Iterator[bytes]:
    """A body as it is; where it is to be cut, that share of it and then `ConnectionError`."""
    left = None if share is None else int((head.length or 0) * share)
    for piece in pieces:
        if left is not None and left < len(piece):
            yield piece[:left]
            raise ConnectionError("cut")
        yield piece
        left = None if left is None else left - len(piece)


def _close(connection: socket.socket) -> None:
    """End a connection also where a thread still waits for it."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
