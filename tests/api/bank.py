"""A payment provider for tests, which speaks the protocol of worker/README.md, misbehaves as it is told, and
keeps what it was asked.

The method of a payment says how: words separated by blanks, one for each attempt, of which the last one
stays. Voids and refunds are granted at once. A call is decided and its money moved at its first attempt, once, whatever that attempt is answered.
"""
import collections
import json
import os
import socket
import struct
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Request:
    """What came in."""

    def __init__(self, handler, body):
        self.at, self.method, self.path = time.monotonic(), handler.command, handler.path
        self.headers = {name.lower(): value for name, value in handler.headers.items()}
        self.raw = body
        self.body = json.loads(body) if body else None

    @property
    def key(self):
        return self.headers.get("idempotency-key") or self.path.rsplit("/", 1)[1]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def do_POST(self):
        bank, length = self.server.bank, int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) < length:  # whoever has sent it was killed
            self.close_connection = True
            return
        if bank.refuses:
            self.answer(bank.refuses, {"status": "declined"})
            return
        request = Request(self, body)
        with bank.lock:
            earlier = bank.asked[request.key]
            earlier.append(request)
            behaviour = request.body["method"].split() if request.body["kind"] not in ("void", "refund") else ["approve"]
            behaviour = behaviour[min(len(earlier), len(behaviour)) - 1]
            bank.decide(request)
            bank.under_way += 1
            bank.most = max(bank.most, bank.under_way)
        try:
            self.behave(behaviour, request)
        finally:
            with bank.lock:
                bank.under_way -= 1

    def do_GET(self):
        bank = self.server.bank
        request = Request(self, b"")
        with bank.lock:
            bank.looked_up.append(request)
            known = bank.ledger.get(request.key)
        if known is None:
            self.answer(404, {"status": "never_made"})
        else:
            self.answer(200, known)

    def behave(self, word, request):
        name, _, number = word.partition(":")
        known = self.server.bank.ledger[request.key]
        if name in ("approve", "decline"):
            self.answer(200, known)
        elif name == "refuse":
            self.answer(402, {"reason": known["reason"]})
        elif name == "pending":
            self.answer(202, {"status": "pending", "reference": known["reference"]})
        elif name == "slow":
            time.sleep(float(number))
            self.answer(200, known)
        elif name == "hold":
            self.server.bank.gate.wait(120)
            self.answer(200, known)
        elif name == "error":
            self.answer(int(number), known)
        elif name == "reset":
            self.reset()
        elif name == "half":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"sta")
            self.close_connection = True
        elif name == "garbage":
            self.answer(200, raw=b"<html>succeeded</html>")
        elif name == "nonsense":
            self.answer(200, {"status": "wonderful"})
        elif name == "mute":
            self.answer(200, {})
        elif name == "list":
            self.answer(200, ["succeeded"])
        elif name == "huge":
            self.answer(200, {**known, "padding": "x" * 200000})
        elif name == "redirect":
            self.answer(307, known, Location=f"/elsewhere/{request.key}")
        elif name == "cheap":
            self.answer(200, {**known, "amount": request.body["amount"] - 1})
        elif name == "foreign":
            self.answer(200, {**known, "currency": "USD"})
        elif name == "odd":
            self.answer(200, {**known, "reference": 'r"\\{},NULL\n é \U0001F600 ' + request.key[-8:], "reason": "ü" * 400})
        else:
            raise ValueError(word)

    def answer(self, status, body=None, raw=None, **headers):
        data = raw if raw is not None else json.dumps(body, ensure_ascii=False).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        try:
            self.wfile.write(data)
        except OSError:
            pass

    def reset(self):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512
    allow_reuse_address = True

    def get_request(self):
        """Whoever is accepted is known before the bank can close."""
        connection, address = super().get_request()
        self.bank.connections.add(connection)
        return connection, address

    def handle_error(self, *_):
        pass


class Bank:
    """asked: requests by key; ledger: what was decided; charges: money moved, by order or payment."""

    def __init__(self, port=0, context=None):
        self.lock = threading.Lock()
        self.asked, self.ledger, self.looked_up = collections.defaultdict(list), {}, []
        self.conflicts, self.connections = [], set()
        self.refuses = None  # the status that everything is answered with, unread
        self.gate = threading.Event()  # until it is set, who is on hold is not answered
        self.under_way = self.most = 0
        self.context = context
        self.port = port
        self.server = None
        self.open()

    @property
    def url(self):
        return f"{'https' if self.context else 'http'}://127.0.0.1:{self.port}/calls"

    def open(self):
        self.server = Server(("127.0.0.1", self.port), Handler)
        self.server.bank, self.port = self, self.server.server_address[1]
        if self.context:
            self.server.socket = self.context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        while self.connections:
            try:
                self.connections.pop().shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def decide(self, request):
        """Moves the money of a new key; the same key with other arguments is a conflict."""
        body = request.body
        if request.key != body["key"] or any(request.raw != r.raw for r in self.asked[request.key]):
            self.conflicts.append(request.key)
        if request.key not in self.ledger:
            declined = body["method"].split()[0] in ("decline", "refuse") and body["kind"] in ("authorize", "charge", "capture")
            self.ledger[request.key] = {"status": "declined" if declined else "succeeded", "amount": body["amount"],
                                        "currency": body["currency"], "reference": None if declined else "ch_" + request.key[3:],
                                        "reason": "card_declined" if declined else None}

    def taken(self):
        """Charges by order: how many keys have moved money for it."""
        count = collections.Counter()
        for key, entry in self.ledger.items():
            first = self.asked[key][0].body
            if entry["status"] == "succeeded" and first["kind"] in ("charge", "capture"):
                count[first["order"]] += 1
        return count


def certificate(directory):
    """A certificate that nobody has signed, for 127.0.0.1: the paths of it and of its key."""
    crt, pem = os.path.join(directory, "crt"), os.path.join(directory, "key")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-out", crt, "-keyout", pem],
                   check=True, capture_output=True)
    return crt, pem
