"""A receiver of webhooks that holds each back until it is let go."""
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Slow(BaseHTTPRequestHandler):
    """Holds each delivery back until it is let go."""

    gate, under_way, most, seen, lock = threading.Event(), 0, 0, [], threading.Lock()

    def do_POST(self):
        with Slow.lock:
            Slow.under_way += 1
            Slow.most = max(Slow.most, Slow.under_way)
            Slow.seen.append(self.headers["webhook-id"])
        Slow.gate.wait(120)
        with Slow.lock:
            Slow.under_way -= 1
        try:
            self.send_response(204)
            self.end_headers()
        except OSError:
            pass

    def log_message(self, *_):
        pass


def hold_back():
    """Starts the receiver; its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}/"
