"""Streams of server-sent events (WHATWG HTML, section 9.2), as tests read them: every byte and when it came."""
import json
import select
import socket
import time
import urllib.parse

from api import Answer, note


def connect(base, room=None):
    """A socket to a URL, or to the path of a Unix socket; with so little room for what it receives."""
    unix = base.startswith("/")
    sock = socket.socket(socket.AF_UNIX if unix else socket.AF_INET)
    if room:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    sock.settimeout(60)
    where = urllib.parse.urlsplit(base)
    sock.connect(base if unix else (where.hostname, where.port))
    return sock


def ask(path, method="GET", **headers):
    """The bytes of a request."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"{method} {path} HTTP/1.1\r\nHost: shop\r\nAccept: text/event-stream\r\n{lines}\r\n".encode()


class Event:
    """An event: name, id, data, and when it was read."""

    def __init__(self, fields, at):
        self.name, self.id, self.at = fields.get("event"), fields.get("id"), at
        self.data = json.loads(fields["data"])
        self.state, self.left = self.data["state"], self.data["left"]

    def __repr__(self):
        return f"{self.id} {self.data}"


class Stream:
    """One stream: its head, and what came since. Nothing is read but in read() and those who call it."""

    def __init__(self, base, path, last_id=None, room=None):
        self.path, self.events, self.comments, self.retries = path, [], 0, []
        self.ended, self.body, self.text, self.raw = False, b"", "", ""
        self.sock = connect(base, room)
        self.sock.sendall(ask(path, **({"Last-Event-ID": last_id} if last_id else {})))
        head = b""
        while b"\r\n\r\n" not in head:
            piece = self.sock.recv(65536)
            if not piece:
                raise RuntimeError(f"no answer: {head!r}")
            head += piece
        head, _, self.body = head.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        self.status = int(lines[0].split()[1])
        self.headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:] if line)}
        self.chunked = self.headers.get("transfer-encoding") == "chunked"
        self.missing = int(self.headers["content-length"]) if "content-length" in self.headers else None
        if self.missing == 0 or self.status == 204:
            self.ended = True
        self.sock.setblocking(False)
        self.took(len(self.body))

    def close(self):
        self.sock.close()

    def note(self):
        """Writes the answer into the journal."""
        note("GET", self.path, Answer(self.status, self.headers.items(), self.raw.encode()))

    def read(self, seconds=0.0):
        """Reads what there is, or comes within so many seconds."""
        if self.ended:
            return
        if seconds:
            ready = select.poll()
            ready.register(self.sock, select.POLLIN)
            ready.poll(seconds * 1000)
        try:
            piece = self.sock.recv(65536)
        except BlockingIOError:
            return
        except ConnectionError:
            piece = b""
        self.ended = not piece
        self.body += piece
        self.took(len(piece))

    def took(self, length):
        """So many bytes of the body have come."""
        if self.missing is not None:
            self.missing -= length
            self.ended = self.ended or self.missing == 0
        self.take(time.monotonic())

    def unframe(self):
        """What the body says so far, without the framing of chunks."""
        text = ""
        if self.chunked:
            while b"\r\n" in self.body:
                size, _, rest = self.body.partition(b"\r\n")
                length = int(size, 16)
                if len(rest) < length + 2:
                    break
                text, self.body = text + rest[:length].decode(), rest[length + 2:]
                self.ended = self.ended or length == 0
        else:
            text, self.body = self.body.decode(), b""
        return text

    def take(self, now):
        """Takes whole blocks out of what was said."""
        text = self.unframe()
        self.raw, self.text = self.raw + text, self.text + text
        if self.headers.get("content-type") != "text/event-stream":
            return
        *blocks, self.text = self.text.split("\n\n")
        for block in blocks:
            fields = {}
            for line in block.split("\n"):
                name, _, value = line.partition(":")
                fields[name] = value.removeprefix(" ")
            self.comments += "" in fields
            self.retries += [int(fields["retry"])] if "retry" in fields else []
            if "data" in fields:
                self.events.append(Event(fields, now))

    def until(self, seconds, condition):
        """Reads until condition(self); False if that took too long."""
        end = time.monotonic() + seconds
        while not condition(self):
            left = end - time.monotonic()
            if left <= 0 or self.ended:
                return False
            self.read(min(left, 0.05))
        return True

    def listen(self, seconds):
        """Reads for so long."""
        end = time.monotonic() + seconds
        while not self.ended and (left := end - time.monotonic()) > 0:
            self.read(left)

    @property
    def last(self):
        return self.events[-1] if self.events else None


def listen(streams, seconds, condition=None):
    """Reads many at once for so long, or until each fulfils the condition; whether all do."""
    poll, by_fd = select.epoll(), {}
    for stream in streams:
        if not stream.ended:
            poll.register(stream.sock.fileno(), select.EPOLLIN)
            by_fd[stream.sock.fileno()] = stream
    waiting = [s for s in streams if condition and not condition(s)]
    end = time.monotonic() + seconds
    while (waiting or not condition) and (left := end - time.monotonic()) > 0:
        for fd, _ in poll.poll(min(left, 0.05)):
            by_fd[fd].read()
            if by_fd[fd].ended:
                poll.unregister(fd)
        waiting = [s for s in waiting if not condition(s)]
    poll.close()
    return not waiting
