#!/usr/bin/env python3
"""What conf/nginx.conf promises: clean requests for the application, bounds for the client, problem documents
for whatever nginx refuses itself, and no secret in its log. Runs within tools/with-api. TAP.
"""
import atexit
import json
import os
import re
import socket
import subprocess
import threading
import time
import urllib.parse

from api import Client, Tap, within

EDGE = os.environ["HF_EDGE"]
HOST, PORT = urllib.parse.urlsplit(EDGE).hostname, urllib.parse.urlsplit(EDGE).port
STATIC, ACCESS, LOG = os.environ["HF_STATIC"], os.environ["HF_EDGE_ACCESS"], os.environ["HF_EDGE_LOG"]
CONF = os.environ["HF_EDGE_CONF"]
RUNAS = os.environ["HF_RUNAS"].split()
# What nginx answers itself, and what the stand-in does, is not of the contract.
os.environ.pop("HF_JOURNAL", None)
t = Tap()
client = Client(EDGE)


def raw(data, source=None, patience=60):
    """Sends bytes; status, headers with names in lower case, and body of the answer, or None."""
    with socket.create_connection((HOST, PORT), patience, (source, 0) if source else None) as s:
        s.sendall(data)
        s.settimeout(patience)
        got = b""
        try:
            while chunk := s.recv(65536):
                got += chunk
                # nginx reads on for a while before it closes.
                length = re.search(rb"\r\nContent-Length: (\d+)\r\n.*?\r\n\r\n", got, re.S)
                if length and len(got) - length.end() >= int(length[1]):
                    break
        except (TimeoutError, ConnectionResetError):
            pass
    if not got:
        return None
    head, _, body = got.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = dict((name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines[1:]))
    return int(lines[0].split()[1]), headers, body


def is_problem(answer, status, code):
    if answer is None or answer[0] != status or answer[1].get("content-type") != "application/problem+json":
        return False
    problem = json.loads(answer[2])
    return (problem["code"], problem["status"], problem["type"]) == (code, status, f"/problems/{code}") and \
        bool(problem["title"]) and re.fullmatch(r"[0-9a-f]{32}", problem["request_id"])


def request(line, *headers, body=b""):
    return "\r\n".join([line, "Host: shop", "Connection: close", *headers, "", ""]).encode("latin-1") + body


# The stand-in closes after each answer, and nginx must not take the connection for one that stays open.
OK = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"


def logged():
    """What nginx has written, but for a line that it is still writing."""
    text = open(ACCESS).read()
    return text[:text.rfind("\n") + 1]


class Application:
    """A stand-in for the application behind an nginx of its own: writes down what it is sent."""

    def __init__(self, answer=OK):
        self.directory = os.path.join(os.path.dirname(CONF), "stand-in")
        subprocess.run([*RUNAS, "mkdir", "-p", self.directory], check=True)
        self.answer, self.seen = answer, []
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(f"{self.directory}/socket")
        os.chmod(f"{self.directory}/socket", 0o666)
        self.socket.listen(64)
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            connection, _ = self.socket.accept()
            with connection:
                got = b""
                while b"\r\n\r\n" not in got:
                    got += connection.recv(65536)
                self.seen.append(got.decode("latin-1"))
                connection.sendall(self.answer)


# What nginx refuses.
long = "x" * 5000
for claim, data, status, code in (
        ("a body of more than 64 kB", request("POST /v1/orders HTTP/1.1", "Content-Length: 65537"), 413, "payload_too_large"),
        ("a batch of more than 4 MB", request("POST /v1/orders/batch HTTP/1.1", "Content-Length: 4194305"), 413, "payload_too_large"),
        ("a picture of more than 8 MB", request("PUT /v1/me/avatar HTTP/1.1", "Content-Length: 8388609"), 413, "payload_too_large"),
        ("an address of 5 kB", request(f"GET /v1/search?q={long} HTTP/1.1"), 414, "uri_too_long"),
        ("a header of 5 kB", request("GET /v1/categories HTTP/1.1", f"X-Long: {long}"), 431, "headers_too_large"),
        ("headers of 20 kB", request("GET /v1/categories HTTP/1.1", *[f"X-{n}: {long[:1000]}" for n in range(20)]), 431, "headers_too_large"),
        ("no Host", b"GET /v1/categories HTTP/1.1\r\nConnection: close\r\n\r\n", 400, "malformed"),
        ("two lengths", request("POST /v1/orders HTTP/1.1", "Content-Length: 2", "Content-Length: 3", body=b"{}"), 400, "malformed"),
        ("a length and chunks", request("POST /v1/orders HTTP/1.1", "Content-Length: 3", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"), 400, "malformed"),
        ("an unknown transfer coding", request("POST /v1/orders HTTP/1.1", "Transfer-Encoding: gzip, chunked"), 501, "not_implemented"),
        ("a request that is none", b"BAD\r\n\r\n", 400, "malformed"),
        ("a version that is none", b"GET / HTTP/3.7\r\n\r\n", 505, "http_version_not_supported"),
        ("TRACE", request("TRACE /v1/categories HTTP/1.1"), 405, "method_not_allowed"),
        ("a file that is not there", request("GET /nothing.html HTTP/1.1"), 404, "not_found"),
        ("a directory above its own", request("GET /../../etc/passwd HTTP/1.1"), 400, "malformed"),
        ("changing a file", request("PUT /index.html HTTP/1.1", "Content-Length: 0"), 405, "method_not_allowed")):
    answer = raw(data)
    t.ok(is_problem(answer, status, code), f"{claim}: {status} {code}, a problem document", answer)
t.ok(raw(request("POST /v1/orders/batch HTTP/1.1", "Content-Type: application/json", "Content-Length: 200000",
                 body=b" " * 200000))[0] == 401, "a batch of 200 kB reaches the application")

# What it hands on.
app = Application()
own = re.sub(r"unix:[^ ;]+", f"unix:{app.directory}/socket", open(CONF).read())
own = own.replace(os.path.dirname(CONF) + "/nginx", app.directory + "/nginx")
with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
own = re.sub(r"listen 127\.0\.0\.1:\d+", f"listen 127.0.0.1:{port}", own)
own = own.replace("# set_real_ip_from 192.0.2.1", "set_real_ip_from 127.0.0.1") \
    .replace("# real_ip_header X-Forwarded-For", "real_ip_header X-Address")
with open(f"{app.directory}/nginx.conf", "w") as file:
    file.write(own)
subprocess.run([*RUNAS, "mkdir", "-p", f"{app.directory}/nginx"], check=True)
edge = subprocess.Popen([*RUNAS, "nginx", "-e", f"{app.directory}/nginx.log", "-c", f"{app.directory}/nginx.conf",
                         "-g", "daemon off;"], start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
atexit.register(edge.terminate)
through = Client(f"http://127.0.0.1:{port}")
for _ in range(600):
    try:
        through.get("/health")
        break
    except OSError:
        through.close()
        time.sleep(0.1)

hostile = {"X-Real-IP": "6.6.6.6", "X-Forwarded-For": "6.6.6.6", "Forwarded": "for=6.6.6.6", "Cookie": "a=b",
           "X-Forwarded-Host": "evil", "Proxy": "http://evil", "Upgrade": "websocket", "Connection": "upgrade, x-real-ip",
           "Expect": "", "Range": "bytes=0-1", "Under_score": "1", "TE": "trailers", "Keep-Alive": "9",
           "If-Modified-Since": "x", "X-HTTP-Method-Override": "DELETE"}
wanted = {"Authorization": "Bearer t", "Idempotency-Key": "k", "Content-Type": "application/json", "Accept-Encoding": "gzip",
          "If-Match": '"m"', "If-None-Match": '"n"', "Origin": "https://o", "Access-Control-Request-Method": "PUT",
          "Access-Control-Request-Headers": "a", "Webhook-Id": "i", "Webhook-Timestamp": "1", "Webhook-Signature": "s",
          "Stripe-Signature": "s", "Last-Event-ID": "7", "User-Agent": "u", "X-Request-Id": "mine-1"}
app.seen.clear()
through.request("POST", "/v1/x%2f..%2fy//z?q=%00&a=1", raw=b"{}", headers={**hostile, **wanted})
seen = app.seen[0].split("\r\n\r\n")[0].split("\r\n")
got = dict(line.split(": ", 1) for line in seen[1:])
t.equal(seen[0], "POST /v1/x%2f..%2fy//z?q=%00&a=1 HTTP/1.1", "the target is handed on as it came")
t.equal({name: got.get(name) for name in wanted}, wanted, "what the application reads is handed on")
t.equal(set(got) - set(wanted), {"Host", "X-Real-IP", "Accept", "Content-Length"}, "and nothing else")
t.equal((got["X-Real-IP"], got["Content-Length"]), ("127.0.0.1", "2"), "the address is the client's, the length nginx's")
t.ok(len(seen) - 1 <= 23, "that is no more than its parser keeps", len(seen) - 1)
t.equal([line.split(":")[0] for line in seen[1:4]], ["Host", "Authorization", "Idempotency-Key"],
        "and what matters most comes first")

app.seen.clear()
through.request("GET", "/v1/x", headers={"X-Request-Id": "a b\"c"})
t.ok(re.search(r"X-Request-Id: [0-9a-f]{32}\r\n", app.seen[0]), "a request's id that is none is replaced", app.seen)
app.seen.clear()
raw_port, PORT = PORT, port
raw(request("POST /v1/x HTTP/1.1", "Transfer-Encoding: chunked", body=b"1\r\n{\r\n1;a=b\r\n}\r\n0\r\nX-Real-IP: 6.6.6.6\r\n\r\n"))
PORT = raw_port
t.ok("\r\nContent-Length: 2\r\n" in app.seen[0] and "chunked" not in app.seen[0] and "6.6.6.6" not in app.seen[0],
     "chunks arrive as a body with a length, without trailers", app.seen)
for answer, status in ((b"", 503), (b"HTTP/1.1 418 Short\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", 418)):
    app.answer = answer
    app.seen.clear()
    seen = through.request("POST", "/v1/x", raw=b"{}")
    t.ok(seen.status == status and len(app.seen) == 1, f"an answer {answer!r} is a {status}, and nothing is sent twice",
         seen, app.seen)

# Who may ask for what.
app.answer = OK
seen = [through.get(path, headers={"X-Address": address}).status for path in ("/metrics", "/ready", "/bench/noop", "/health")
        for address in ("10.1.2.3", "8.8.8.8", "2001:db8::1")]
t.equal(seen, [200, 404, 404] * 3 + [200] * 3, "what is the operator's is hidden from addresses that are not private")
t.equal((client.get("/metrics").status, client.get("/ready").status), (200, 200), "the operator sees metrics")
page = os.path.join(STATIC, "index.html")
subprocess.run([*RUNAS, "sh", "-c", f"echo '<p>shop' >{page}"], check=True)
home = client.get("/")
t.equal((home.status, home.body, home.headers["content-type"]), (200, b"<p>shop\n", "text/html"), "files are served beside the application")
# Pictures.
MEDIA, NAME = os.environ["HF_MEDIA"], "ab/" + "ab" * 32
subprocess.run([*RUNAS, "sh", "-c", f"mkdir {MEDIA}/ab && for e in webp jpg png html; do echo $e >{MEDIA}/{NAME}.$e; done; echo x >{MEDIA}/.1.1; echo x >{MEDIA}/x.png"], check=True)
for ending, kind in (("webp", "image/webp"), ("jpg", "image/jpeg"), ("png", "image/png")):
    seen = client.get(f"/media/{NAME}.{ending}")
    t.equal((seen.status, seen.body, *(seen.headers.get(name) for name in ("content-type", "cache-control", "x-content-type-options"))),
            (200, ending.encode() + b"\n", kind, "public, max-age=31536000, immutable", "nosniff"), f"a {ending} is served, to be kept for ever")
t.equal(client.request("HEAD", f"/media/{NAME}.png").status, 200, "HEAD as well")
for claim, path in (("the directory", ""), ("one in it", "ab/"), ("a draft", ".1.1"), ("another name", "x.png"), ("another type", NAME + ".html"), ("what is not there", "cd/" + "cd" * 32 + ".png"),
                    ("a path that leads out", "ab/..%2f..%2f" + "ab" * 30 + ".png")):
    seen = client.get("/media/" + path)
    t.ok(seen.status == 404 and seen.code == "not_found" and "immutable" not in seen.headers.get("cache-control", ""), f"{claim} is not there", seen, seen.headers)
t.equal([client.request(method, f"/media/{NAME}.png", raw=b"").status for method in ("PUT", "POST", "DELETE", "PATCH")], [405] * 4, "and nobody changes anything")
head = client.get("/v1/categories").headers
t.equal((head.get("x-content-type-options"), head.get("x-frame-options"), head.get("referrer-policy"), head.get("server")),
        ("nosniff", "DENY", "no-referrer", "nginx"), "answers are not sniffed, framed or referred to, and tell no version")
t.ok("default-src 'none'" in head.get("content-security-policy", ""), "and may load nothing as a page", head)
docs = client.get("/docs").headers.get("content-security-policy")
t.ok("script-src 'self'" in docs, "but the documentation may load its script", docs)

# Connections of one address. Loopback is exempt but for 127.0.0.2.
for _ in range(6):  # nginx waits for half a body for 10 s, in which it has to have taken all of them
    open_connections = [socket.create_connection((HOST, PORT), 60, ("127.0.0.2", 0)) for _ in range(256)]
    for s in open_connections:
        s.sendall(b"POST /v1/oauth/token HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf")
    time.sleep(0.5)
    good = within(10, lambda: is_problem(answer := raw(request("GET /v1/categories HTTP/1.1"), "127.0.0.2"), 429, "too_many_requests") and
                  answer[1].get("retry-after") == "1")
    if good:
        break
    for s in open_connections:
        s.close()
t.ok(good, "the 257th request at once of an address is refused")
t.equal(client.get("/v1/categories").status, 200, "and other addresses are not")
for s in open_connections:
    s.close()

# Every route is there under its own name.
paths = [re.sub(r"{[a-z_]+}", "1", path) for path in client.get("/openapi.json").json()["paths"]]
moved = [path for path in paths if client.get(path).status in (301, 302, 307, 308)]
t.ok(len(paths) > 40 and not moved, "no route is answered with another place to go", moved)

# The log.
client.request("PUT", "/v1/password-resets/12.secret-token", {"password": "secret-password"})
client.get("/v1/search?q=secret-query", headers={"Authorization": "Bearer secret-bearer"})
end = time.monotonic() + 30
while not {"/v1/password-resets/-", "/v1/search"} <= {json.loads(line)["path"] for line in logged().splitlines()} and time.monotonic() < end:
    time.sleep(0.1)
text = logged()
lines = [json.loads(line) for line in text.splitlines()]
t.ok({"/v1/password-resets/-", "/v1/search"} <= {line["path"] for line in lines}, "each request is a line of JSON")
t.ok(not re.search("secret-(token|password|query|bearer)", text + open(LOG).read()), "without query, token or body")
