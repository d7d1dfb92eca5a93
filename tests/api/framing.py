#!/usr/bin/env python3
"""Usage: HF_API=http://HOST:PORT [HF_EDGE=http://HOST:PORT] tests/api/framing.py [NAME]...

Requests that are on the edge of HTTP/1.1 or beyond it, byte by byte, sent to the application and, if
HF_EDGE is set, to the proxy in front of it. At the application each has one right answer; and either
the connection goes on with the next request, or exactly one answer comes and then the end. At the
edge what matters is that no request is split, joined or answered twice, and that none makes a server
error. With words on the command line only the cases whose claim has one of them. TAP.
"""
import concurrent.futures
import json
import os
import re
import select
import socket
import struct
import sys
import time
import uuid

GET_PATH = "/health"           # GET: 200, JSON
POST_PATH = "/v1/oauth/token"  # POST: takes a form; refuses ours with a 4xx and goes on
PATIENCE = 30                  # seconds for an answer
SOON = 8                       # seconds for the end after a refusal, which is sooner than HEAD_TIME
QUIET = 0.05                   # seconds in which nothing more may come
HEAD_TIME = 10                 # seconds that the guard gives a header section
FIELDS = 23                    # headers that the guard takes
TARGET = 1998                  # bytes of a path that it takes

APPLICATION = range(200, 500)  # any answer of the application will do


class Broken(Exception):
    """What came is not what should have come."""


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body


class Wire:
    """A connection, byte by byte."""

    def __init__(self, address):
        self.socket = socket.create_connection(address, timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.bytes = b""
        self.continues = 0
        self.ended = False
        self.cut = False

    def send(self, data):
        """Sends all of it, or as much as is taken: what was refused may not be read to its end."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            self.cut = True

    def more(self, timeout):
        """Whether bytes came; False: the end, None: nothing in time."""
        self.socket.settimeout(timeout)
        try:
            data = self.socket.recv(65536)
        except socket.timeout:
            return None
        except ConnectionResetError:
            raise Broken("the connection was reset") from None
        self.bytes += data
        self.ended = not data
        return bool(data)

    def until(self, condition, timeout):
        deadline = time.monotonic() + timeout
        while not condition():
            left = deadline - time.monotonic()
            came = self.more(left) if left > 0 else None
            if came is None:
                raise Broken(f"nothing more came in {timeout} s, after {self.bytes[:80]!r}")
            if not came:
                if self.bytes:
                    raise Broken(f"the connection ended after {self.bytes[:80]!r}")
                return False
        return True

    def answer(self, method="GET", timeout=PATIENCE):
        """The next answer, or None at the end of the connection."""
        if not self.until(lambda: b"\r\n\r\n" in self.bytes, timeout):
            return None
        head, rest = self.bytes.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        first = re.fullmatch(r"HTTP/1\.1 ([0-9]{3}) .*", lines[0])
        if not first:
            raise Broken(f"no status line: {lines[0][:80]!r}")
        status = int(first[1])
        headers = {}
        for line in lines[1:]:
            name, value = line.split(":", 1)
            headers[name.lower()] = value.strip()
        self.bytes = rest
        if status == 100:
            self.continues += 1
            return self.answer(method, timeout)
        length = int(headers.get("content-length", 0))
        if method == "HEAD" or status in (204, 304):
            length = 0
        elif headers.get("transfer-encoding") == "chunked":
            return Answer(status, headers, self.chunks(timeout))
        self.until(lambda: len(self.bytes) >= length, timeout)
        body, self.bytes = self.bytes[:length], self.bytes[length:]
        return Answer(status, headers, body)

    def chunks(self, timeout):
        body = b""
        while True:
            self.until(lambda: b"\r\n" in self.bytes, timeout)
            size, self.bytes = self.bytes.split(b"\r\n", 1)
            size = int(size, 16)
            self.until(lambda: len(self.bytes) >= size + 2, timeout)
            body, self.bytes = body + self.bytes[:size], self.bytes[size + 2:]
            if size == 0:
                return body

    def quiet(self, seconds=QUIET):
        """Nothing comes, and the connection stays."""
        if self.bytes or self.more(seconds) is not None:
            raise Broken(f"unasked for: {self.bytes[:80]!r}, or the end")

    def end(self):
        """Nothing comes but the end, soon, and all that was sent was taken."""
        if self.bytes or self.ended or self.more(SOON) is not False:
            raise Broken(f"instead of the end: {self.bytes[:80]!r}")
        if self.cut:
            raise Broken("the connection was reset")

    def no_more(self):
        """No answer comes any more; the end may take its time, or be rude."""
        try:
            while not self.bytes and self.more(0.3):
                pass
        except Broken:
            pass
        if self.bytes:
            raise Broken(f"instead of the end: {self.bytes[:80]!r}")

    def close(self):
        self.socket.close()


class Case:
    """
    One claim. data: what is sent, in pieces. answers: the statuses, one or a set of them an answer,
    and stays: whether the connection goes on. methods: of the answers, if they are not GET.
    most: how many answers the edge may give, if it reads more leniently than the application.
    """
    all = []

    def __init__(self, claim, data, answers, stays=False, methods=(), most=None, edge=True,
                 within=PATIENCE, allow=False, continues=0, check=None, pause=0.0, half=False,
                 after=0.0, gives_up=False):
        self.claim = claim
        self.pieces = data if isinstance(data, list) else [data]
        self.answers = answers if isinstance(answers, list) else [answers]
        self.stays = stays
        self.methods = list(methods) + ["GET"] * (len(self.answers) - len(methods))
        self.most = most or len(self.answers)
        self.edge = edge
        self.within = within
        self.allow = allow
        self.continues = continues
        self.check = check
        self.pause = pause
        self.half = half
        self.after = after
        self.gives_up = gives_up  # is answered before all pieces are sent
        Case.all.append(self)

    def start(self, address):
        wire = Wire(address)
        for number, piece in enumerate(self.pieces):
            if number and self.continues:
                wire.until(lambda: b"\r\n\r\n" in wire.bytes, PATIENCE)  # the interim answer
            elif number and self.gives_up:
                if select.select([wire.socket], [], [], self.pause)[0]:
                    break
            elif number:
                time.sleep(self.pause)
            wire.send(piece)
        if self.half:
            wire.socket.shutdown(socket.SHUT_WR)
        return wire

    def at_application(self, address):
        wire = self.start(address)
        try:
            last = None
            for wanted, method in zip(self.answers, self.methods):
                last = wire.answer(method, self.within)
                if last is None:
                    raise Broken("no answer, only the end")
                if last.status not in (wanted if not isinstance(wanted, int) else (wanted,)):
                    raise Broken(f"status {last.status}, {last.body[:120]!r}")
                if self.check:
                    self.check(last)
            if wire.continues != self.continues:
                raise Broken(f"{wire.continues} interim answers")
            if self.stays:
                time.sleep(self.after)
                wire.quiet()
                probe(wire)
            else:
                if last.headers.get("connection") != "close":
                    raise Broken("the end was not announced")
                if last.status >= 400:
                    problem(last, self.methods[-1], self.allow)
                wire.end()
        finally:
            wire.close()

    def at_edge(self, address):
        wire = self.start(address)
        try:
            for number in range(self.most + 1):
                method = self.methods[number] if number < len(self.methods) else "GET"
                # What is still to come must not be taken for the answer to what is asked next.
                patience = PATIENCE if self.stays and number < len(self.answers) else 1.0
                try:
                    got = wire.answer(method, patience)
                except Broken as broken:
                    if wire.bytes or "reset" in str(broken):
                        raise
                    break
                if got is None:
                    return
                if number == self.most:
                    raise Broken(f"one answer too many: {got.status}")
                if got.status >= 500 and got.status not in (501, 505):
                    raise Broken(f"status {got.status}")
                if got.headers.get("connection") == "close":
                    wire.no_more()
                    return
            else:
                return
            if self.stays:
                probe(wire)
        finally:
            wire.close()


def probe(wire):
    """Another request on the same connection gets its own answer, and nothing else comes."""
    sign = uuid.uuid4().hex
    wire.send(f"GET {GET_PATH} HTTP/1.1\r\nHost: probe\r\nX-Request-Id: {sign}\r\n\r\n".encode())
    got = wire.answer()
    if got is None:
        raise Broken("the connection ended before the next request")
    if got.status != 200 or not isinstance(json.loads(got.body), dict):
        raise Broken(f"the next request got {got.status}, {got.body[:80]!r}")
    if got.headers.get("x-request-id", sign) != sign:
        raise Broken("the next request got the answer of another")
    wire.quiet()


def problem(answer, method, allow):
    """A refusal is a problem document (RFC 9457)."""
    if answer.headers.get("content-type") != "application/problem+json":
        raise Broken(f"content-type {answer.headers.get('content-type')}")
    if method != "HEAD" and json.loads(answer.body).get("status") != answer.status:
        raise Broken(f"problem document {answer.body[:120]!r}")
    if allow and "GET" not in answer.headers.get("allow", ""):
        raise Broken("which methods are allowed is not said")


def get(*headers, method="GET", path=GET_PATH, version="HTTP/1.1", host="Host: a", rest=b""):
    """A request; each header is a line, as text or as bytes."""
    lines = [f"{method} {path} {version}"] + ([host] if host else []) + list(headers) + ["", ""]
    return b"\r\n".join(line if isinstance(line, bytes) else line.encode() for line in lines) + rest


def post(body=b"a=b", *headers, length=None, method="POST", path=POST_PATH):
    length = len(body) if length is None else length
    lines = [f"Content-Length: {length}", "Content-Type: application/x-www-form-urlencoded"]
    return get(*lines, *headers, method=method, path=path, rest=body)


INNER = get(path="/smuggled")


def request_lines():
    Case("a request is answered and the connection goes on", get(), 200, True)
    Case("HEAD is answered without a body", get(method="HEAD"), 200, True, ["HEAD"])
    Case("OPTIONS of a path reaches the application", get(method="OPTIONS"), APPLICATION, True)
    Case("OPTIONS * says what the server allows", get(method="OPTIONS", path="*"), 204,
         check=lambda a: a.headers["allow"].index("PATCH"))
    Case("a method in lower case is another method", get(method="get"), 501)
    Case("an unknown method is not implemented", get(method="BREW"), 501)
    Case("TRACE is not allowed", get(method="TRACE"), 405, allow=True)
    Case("CONNECT is not allowed", get(method="CONNECT", path="a:80"), 405, allow=True)
    Case("a method is a token", get(method="GE(T"), 400)
    Case("HEAD that is refused has no body", get("X : y", method="HEAD"), 400, methods=["HEAD"])
    Case("HTTP/1.0 is not spoken", get(version="HTTP/1.0"), 505)
    Case("HTTP/2.0 is not spoken", get(version="HTTP/2.0"), 505)
    Case("HTTP/1.2 is not spoken", get(version="HTTP/1.2"), 505)
    Case("the preface of HTTP/2 is refused", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505)
    Case("HTTP/0.9 is refused", f"GET {GET_PATH}\r\n\r\n".encode(), 400, edge=False)
    for version in ("http/1.1", "HTTP/1.1x", "HTTP/11", "HTTP/1.10", "HTTP/ 1.1", "HTTP"):
        Case(f"{version} is no version", get(version=version), 400)
    Case("two blanks after the method", get(method="GET "), 400)
    Case("two blanks after the target", get(path=GET_PATH + " "), 400)
    Case("a tab between method and target", f"GET\t{GET_PATH} HTTP/1.1\r\nHost: a\r\n\r\n".encode(),
         400)
    Case("a blank after the version", get(version="HTTP/1.1 "), 400)
    Case("a blank before the method", b" " + get(), 400)
    Case("no target", get(path=""), 400)
    Case("an absolute target", get(path="http://a" + GET_PATH), 400)
    Case("a target that names an authority", get(path="a:80"), 400)
    Case("a target without a slash", get(path="health"), 400)
    Case("an asterisk for another method than OPTIONS", get(path="*"), 400)
    for name, byte in (("NUL", b"\0"), ("a control character", b"\1"), ("DEL", b"\x7f"),
                       ("a byte beyond ASCII", b"\xc3"), ("a fragment", b"#a"), ("a blank", b" a"),
                       ("a bare CR", b"\ra"), ("a vertical tab", b"\v")):
        Case(f"{name} in the target", get().replace(b" HTTP", byte + b" HTTP", 1), 400)
    Case("a path as long as it may be", get(path=GET_PATH + "/" + "x" * (TARGET - len(GET_PATH) - 1)),
         APPLICATION, True)
    Case("a path that is one byte too long", get(path="/" + "x" * TARGET), 414)
    Case("a path longer than any buffer", get(path="/" + "x" * 70000), 414)
    Case("a line end before the request", b"\r\n" + get(), 400, most=1)
    Case("a bare LF before the request", b"\n" + get(), 400, most=1)
    Case("a TLS ClientHello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 200, 400)
    Case("a greeting of SSH", b"SSH-2.0-OpenSSH_9.2\r\n\r\n", 400)


def hosts():
    Case("no host", get(host=None), 400)
    Case("the same host twice", get("Host: a"), 400)
    Case("two hosts", get("Host: b"), 400)
    for name, value in (("an empty host", ""), ("a host with a blank", "a b"),
                        ("a list of hosts", "a, b"), ("a host with a path", "a/b"),
                        ("a host with a user", "u@a"), ("a host with two ports", "a:1:2"),
                        ("a host with a port of letters", "a:b"), ("a port without a host", ":80"),
                        ("half a bracket", "[::1"), ("empty brackets", "[]"),
                        ("letters behind brackets", "[::1]a"), ("a host beyond ASCII", "\xe4"),
                        ("a host that is too long", "a" * 254)):
        Case(name, get(host="Host: " + value), 400)
    for name, value in (("a host with a port", "example.com:8080"), ("an empty port", "example.com:"),
                        ("an IPv4 address", "127.0.0.1:80"), ("an IPv6 address", "[::1]:80")):
        Case(f"{name} is a host", get(host="Host: " + value), 200, True)
    Case("a field that begins like Host is not Host", get(host="Hostile: \x7b\r\nHost: a"), 200, True)
    Case("Host-Name before Host changes nothing", get(host="Host-Name: b/c\r\nHost: a"), 200, True)
    Case("Hostname alone is no host", get(host="Hostname: a"), 400)
    Case("a host with a blank before its colon", get(host="Host : a"), 400)


def lengths():
    Case("a body with its length", post(), APPLICATION, True)
    Case("a length with leading zeros", post(length="0003"), APPLICATION, True)
    Case("a length between blanks and tabs", post(length=" \t3\t "), APPLICATION, True)
    Case("the same length twice", post(b"a=b", "Content-Length: 3"), 400)
    Case("two lengths", post(b"a=b", "Content-Length: 1"), 400)
    Case("a second length with another case", post(b"a=b", "CONTENT-length: 30"), 400)
    for value in ("3, 3", "+3", "-3", "3x", "0x3", "", "3 3", "3e0", "3.0", "\xb3", "three"):
        Case(f"the length {value!r}", post(length=value), 400)
    Case("a length of 2^64 + 3", post(length=2 ** 64 + 3), 413)
    Case("a length of 2^63 - 1", post(length=2 ** 63 - 1), 413)
    Case("a length of many digits", post(length="9" * 200), 413)
    for method in ("POST", "PUT", "PATCH"):
        Case(f"{method} without a length", get(method=method, path=POST_PATH), 411)
    Case("an empty body", post(b""), APPLICATION, True)
    Case("a GET that says it has no body", get("Content-Length: 0"), 200, True)
    for method in ("GET", "HEAD", "DELETE", "OPTIONS"):
        Case(f"{method} with a request for a body is refused, and the body is not run",
             get(f"Content-Length: {len(INNER)}", method=method, rest=INNER), 400, methods=[method])
    Case("a GET whose body comes later",
         [get(f"Content-Length: {len(INNER)}"), INNER], 400, pause=0.2)
    Case("the body of a POST is no request", post(INNER), APPLICATION, True)
    Case("a second request behind a body that ends in the middle of a line",
         post(INNER + b"GET /x") + get(), [APPLICATION, 200], True)
    Case("a request behind an empty body", post(b"") + get(), [APPLICATION, 200], True)
    Case("a body that is longer than said is the next request, and refused",
         post(b"a=b") + b"\0\0\0", [APPLICATION, 400], most=2)
    Case("a body that is too large is refused before it comes", post(b"", length=10 ** 8), 413,
         edge=False)
    Case("a body that is too large is refused while it comes", post(b"x" * 4_000_000), 413)
    Case("a body byte by byte", [post(b"", length=6)] + [b"x"] * 6, APPLICATION, True, pause=0.02)
    Case("a request byte by byte", [bytes([b]) for b in get()], 200, True, pause=0.002)
    Case("a body in two pieces, with the next request behind it",
         [post(b"abc", length=6), b"def" + get()], [APPLICATION, 200], True, pause=0.1)


def codings():
    chunks = b"3\r\na=b\r\n0\r\n\r\n"
    tail = b"0\r\n\r\n" + INNER

    def coded(*headers, rest=chunks):
        return get(*headers, method="POST", path=POST_PATH, rest=rest)

    for value in ("chunked", "Chunked", "identity", "gzip, chunked", "xchunked", "\tchunked",
                  "chunked, identity", "chunked;q=1", "\"chunked\""):
        Case(f"the transfer coding {value!r}", coded("Transfer-Encoding: " + value), 501)
    for value in ("", "\vchunked", "chunked\x7f", "\u017fchunked"):
        Case(f"the transfer coding {value!r} has no form", coded("Transfer-Encoding: " + value), 400)
    Case("a length, then a coding", coded("Content-Length: 5", "Transfer-Encoding: chunked", rest=tail),
         400)
    Case("a coding, then a length", coded("Transfer-Encoding: chunked", "Content-Length: 5", rest=tail),
         400)
    Case("two codings", coded("Transfer-Encoding: chunked", "Transfer-Encoding: identity", rest=tail),
         400)
    Case("a coding of a GET", get("Transfer-Encoding: chunked", rest=tail), 501, most=2)
    Case("a coding with a blank before its colon", coded("Transfer-Encoding : chunked", "Content-Length: 5",
                                                         rest=tail), 400)
    Case("a folded coding", coded("Transfer-Encoding:\r\n chunked", "Content-Length: 5", rest=tail), 400)
    Case("a coding behind a bare LF", coded("X: a\nTransfer-Encoding: chunked", "Content-Length: 5",
                                            rest=tail), 400, most=2)
    Case("a coding behind a bare CR", coded("X: a\rTransfer-Encoding: chunked", "Content-Length: 5",
                                            rest=tail), 400)
    Case("a coding behind a NUL", coded(b"X: a\0Transfer-Encoding: chunked", "Content-Length: 5",
                                        rest=tail), 400)
    Case("a NUL in the name of a coding", coded(b"Transfer-Encoding\0: chunked", "Content-Length: 5",
                                                rest=tail), 400)
    Case("a coding with an underscore is an unknown field",
         post(b"a=b", "Transfer_Encoding: chunked"), APPLICATION, True)
    Case("100-continue is answered, and then the request",
         [post(b"", "Expect: 100-continue", length=3), b"a=b"], APPLICATION, True, continues=1)
    Case("100-continue is not answered if the body is there", post(b"a=b", "Expect: 100-continue"),
         APPLICATION, True)
    Case("100-continue is not answered if the body is too large",
         post(b"", "Expect: 100-continue", length=10 ** 8), 413)
    Case("another expectation fails", post(b"a=b", "Expect: 200-ok"), 417)
    Case("two expectations", post(b"a=b", "Expect: 100-continue", "Expect: 100-continue"), 400)


def fields():
    Case("bare LFs as line ends", get().replace(b"\r\n", b"\n"), 400)
    Case("a bare LF as one line end", get("X: y").replace(b"\r\nX", b"\nX"), 400)
    Case("a bare LF as the last line end", get()[:-2] + b"\n", 400)
    Case("a section that ends with LF LF", get()[:-4] + b"\n\n", 400)
    Case("CR CR LF", get("X: y").replace(b"\r\nX", b"\r\r\nX"), 400)
    Case("CRs as line ends", get().replace(b"\r\n", b"\r") + b"\r\n\r\n", 400)
    for name, line in (("a bare CR in a value", b"X: a\rb"), ("NUL in a value", b"X: a\0b"),
                       ("NUL in a name", b"X\0: a"), ("a control character in a value", b"X: \1"),
                       ("DEL in a value", b"X: \x7f"), ("a folded line", b"X: a\r\n b"),
                       ("a folded line with a tab", b"X: a\r\n\tb"), ("a line without a colon", b"X"),
                       ("a line of a colon", b":"), ("a field without a name", b": a"),
                       ("a blank in a name", b"X Y: a"), ("a tab before the colon", b"X\t: a"),
                       ("a bracket in a name", b"X[: a"), ("a byte beyond ASCII in a name", b"\xc3: a")):
        Case(name, get(line), 400)
    Case("a folded first header", get(host=" X: y\r\nHost: a"), 400)
    for name, line in (("an empty value", "X:"), ("a value of blanks", "X: \t "),
                       ("a tab in a value", "X: a\tb"), ("UTF-8 in a value", "User-Agent: \u00fc"),
                       ("no blank after the colon", "X:y"), ("blanks around a value", "X:  y \t")):
        Case(f"{name} is read", get(line), 200, True)
    for line in ("Authorization:", "Authorization: Bearer \u00fc", "Authorization: Bearer\tx",
                 "If-Match:", "Idempotency-Key:", "Idempotency-Key: \u00fc", "Content-Type:"):
        Case(f"{line!r} is refused", post(b"a=b", line).replace(b"Content-Type: a", b"X: a"), 400)
    for name in ("Authorization", "Idempotency-Key", "If-Match", "Content-Type", "Content-Encoding"):
        Case(f"{name} twice", get(f"{name}: a", f"{name}: a"), 400)
    Case("a repeated field of another kind", get("Accept: a", "Accept: b"), 200, True)
    Case("as many headers as are kept", get(*(f"X{i}: y" for i in range(FIELDS - 1))), 200, True)
    Case("one header too many", get(*(f"X{i}: y" for i in range(FIELDS))), 431)
    Case("empty headers do not count", get(*(f"X{i}:" for i in range(60))), 200, True)
    Case("a length behind too many headers",
         get(*(f"X{i}: y" for i in range(30)), f"Content-Length: {len(INNER)}", method="POST",
             path=POST_PATH, rest=INNER), 431)
    Case("a large header", get("X: " + "y" * 7900), 200, True)
    Case("a header that is too large", get("X: " + "y" * 9000), 431)
    Case("headers without an end", get(*("X: " + "y" * 1000 for _ in range(100)))[:-4], 431)


def connections():
    Case("two requests in one piece", get() + get(), [200, 200], True)
    Case("a hundred requests in one piece", get() * 100, [200] * 100, True)
    Case("HEAD and GET in one piece", get(method="HEAD") + get() + get(method="HEAD"), [200] * 3, True,
         ["HEAD", "GET", "HEAD"])
    Case("POST and GET in one piece", (post() + get()) * 3, [APPLICATION, 200] * 3, True)
    Case("two requests cut in the middle of a line end",
         [get()[:-1], b"\n" + get()[:-3], b"\n\r\n"], [200, 200], True, pause=0.05)
    Case("a good request before a bad one is answered", get() + get("X : y"), [200, 400])
    Case("nothing behind a bad request is answered", get("X : y") + get() * 3, 400)
    Case("nothing behind a bad request is answered, however late", [get("X : y"), get(), get()], 400,
         pause=0.1)
    Case("a request that wants the end gets it", get("Connection: close"), 200)
    Case("nothing behind a request that wants the end is answered", get("Connection: close") + get(),
         200)
    Case("a refused client that goes on sending can read why", get("X : y") + b"z" * 3_000_000, 400)
    Case("who closes his side after a request gets the answer", get(), 200, half=True, edge=False,
         check=lambda a: a.headers.update(connection="close"))
    Case("who closes his side after a bad request gets the answer", get("X : y"), 400, half=True,
         edge=False)
    Case("an idle connection hears nothing", get(), 200, True, edge=False, after=HEAD_TIME + 2)
    Case("a header section that does not end is given up", get()[:-1], 408, edge=False,
         within=HEAD_TIME + 30)
    Case("a header section that comes byte by byte is given up",
         [get("X: " + "y" * 40)[:60]] + [b"y"] * 11, 408, edge=False, pause=1.0, within=SOON, gives_up=True)
    Case("a body that does not come is given up", post(b"abc", length=1000), 408, edge=False,
         within=HEAD_TIME + 30)
    Case("a body that comes byte by byte is given up",
         [post(b"", length=60000)] + [b"y"] * 11, 408, edge=False, pause=1.0, within=SOON, gives_up=True)


def hang_up(address):
    """Leaves in the middle of requests, politely and not, and then sends a good one."""
    request = post(b"x" * 100) + get()
    for cut in range(1, len(request), 3):
        wire = Wire(address)
        wire.send(request[:cut])
        if cut % 2:
            wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wire.close()
    wire = Wire(address)
    probe(wire)
    wire.close()


def address_of(url):
    match = re.fullmatch(r"http://(\[.*\]|[^:/]+)(?::([0-9]+))?/?", url)
    if not match:
        sys.exit(f"no http://HOST:PORT: {url}")
    return match[1].strip("[]"), int(match[2] or 80)


def run(work):
    claim, function, address = work
    try:
        function(address)
        return claim, None
    except (Broken, OSError, ValueError, KeyError) as trouble:
        return claim, f"{type(trouble).__name__}: {trouble}"


def main():
    for group in (request_lines, hosts, lengths, codings, fields, connections):
        group()
    api = address_of(os.environ.get("HF_API") or sys.exit(__doc__))
    work = [(c.claim, c.at_application, api) for c in Case.all]
    work.append(("clients may leave at any point", hang_up, api))
    if os.environ.get("HF_EDGE"):
        edge = address_of(os.environ["HF_EDGE"])
        work += [(f"edge: {c.claim}", c.at_edge, edge) for c in Case.all if c.edge]
        work.append(("edge: clients may leave at any point", hang_up, edge))
    words = sys.argv[1:]
    work = [w for w in work if not words or any(word in w[0] for word in words)]
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        for number, (claim, trouble) in enumerate(pool.map(run, work), 1):
            print(f"{'not ' if trouble else ''}ok {number} - {claim.replace('#', '')}")
            if trouble:
                failed += 1
                print(f"#   {trouble}")
    print(f"1..{len(work)}", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
