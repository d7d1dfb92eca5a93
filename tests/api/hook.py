"""A receiver of webhooks that does what the path says, and what the database says of deliveries.

Paths are words: ok, status:500, slow:0.5 (seconds), hang, redirect, huge, endless, garbage, half, retry:503:60 (Retry-After). Of several
words, separated by /, each request takes the next, and the last counts for the rest.
"""
import base64
import hashlib
import hmac
import json
import select
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from api import psql


class Request:
    def __init__(self, path, headers, body):
        self.path, self.body, self.at = path, body, time.time()
        self.headers = {name.lower(): value for name, value in headers.items()}
        self.id = self.headers.get("webhook-id")

    def json(self):
        return json.loads(self.body)

    def is_signed(self, secret):
        """Whether one of the signatures is made with the secret, as Standard Webhooks says."""
        key = base64.b64decode(secret.removeprefix("whsec_"))
        said = f"{self.id}.{self.headers['webhook-timestamp']}.".encode() + self.body
        right = "v1," + base64.b64encode(hmac.new(key, said, hashlib.sha256).digest()).decode()
        return right in self.headers["webhook-signature"].split(" ") and abs(int(self.headers["webhook-timestamp"]) - self.at) < 30


class Receiver:
    """Listens at self.url; self.requests are those of each path, self.most how many were under way at once."""

    def __init__(self, host="127.0.0.1"):
        self.requests, self.lock, self.now, self.most = [], threading.Lock(), {}, {}
        self.over = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                receiver.take(self)

            do_GET = do_POST

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads, request_queue_size = True, 256
            address_family = 10 if ":" in host else 2

            def handle_error(self, *_):
                pass

        self.server = Server((host, 0), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://{host}:{self.port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, handler):
        length = int(handler.headers.get("Content-Length", 0))
        body = handler.rfile.read(length)
        if len(body) < length:  # whoever has sent it was killed
            handler.close_connection = True
            return
        with self.lock:
            n = len(self.of(handler.path))
            self.requests.append(Request(handler.path, handler.headers, body))
            self.now[handler.path] = self.now.get(handler.path, 0) + 1
            self.most[handler.path] = max(self.most.get(handler.path, 0), self.now[handler.path])
        words = handler.path.strip("/").split("/")[1:]
        try:
            self.act(handler, (words or ["ok"])[min(n, max(len(words) - 1, 0))])
        finally:
            with self.lock:
                self.now[handler.path] -= 1

    def act(self, handler, word):
        word, *more = word.split(":")
        if word in ("slow", "hang") and not self.linger(handler.connection, float(more[0]) if more else 600):
            handler.close_connection = True
            return
        if word == "garbage":
            handler.wfile.write(b"\x00\xffwhat?\r\n\r\n" * 100)
        elif word == "half":
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
        elif word in ("huge", "endless"):
            handler.wfile.write(b"HTTP/1.1 %s\r\nContent-Type: text/plain\r\n\r\n" % (b"200 OK" if word == "huge" else b"500 No"))
            piece = b"x" * 65536
            while word == "endless" and not self.over.is_set() or word == "huge" and handler.wfile.write(piece):
                handler.wfile.write(piece)
        if word in ("garbage", "half", "huge", "endless"):
            handler.close_connection = True
            return
        status = {"status": more, "retry": more, "redirect": ["307"]}.get(word, ["204"])[0]
        handler.send_response(int(status))
        if word == "redirect":
            handler.send_header("Location", f"{self.url}/target/ok")
        if word == "retry":
            handler.send_header("Retry-After", more[1])
        text = b"" if status in ("204", "304") else "Grund: \u00fcberlastet\n".encode()
        if status not in ("204", "304"):
            handler.send_header("Content-Length", str(len(text)))
        handler.end_headers()
        handler.wfile.write(text)

    def linger(self, connection, seconds):
        """Lets somebody wait; False once he has left."""
        end = time.monotonic() + seconds
        while not self.over.is_set() and (left := end - time.monotonic()) > 0:
            if select.select([connection], [], [], min(left, 0.5))[0] and not connection.recv(1, socket.MSG_PEEK):
                return False
        return True

    def of(self, path):
        return [r for r in self.requests if r.path == path]

    def stop(self):
        self.over.set()
        self.server.shutdown()


def settings_of(merchant, endpoint):
    """The columns of an endpoint that tell how it does."""
    return psql(f"SELECT disabled_reason, failing_since IS NOT NULL FROM shop.webhook_endpoint WHERE merchant_id = {merchant} AND id = {endpoint}")


def due_now(where="true"):
    """Makes the jobs of deliveries due."""
    psql(f"UPDATE shop.job AS j SET due_at = clock_timestamp() WHERE j.kind = 'webhook' AND j.lease IS NULL AND {where}")
