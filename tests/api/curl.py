#!/usr/bin/env python3
# with-stack: --fast
# with-api: --limits
"""Who has nothing but curl gets what is promised: the lines that README.md has and that make run prints work as they are, and
curl's options do what they say, at the edge and at the application, within the limits of conf/api.conf. On a stack of its
own, with the demo catalogue. TAP.
"""
import json
import os
import re
import signal
import struct
import subprocess
import tempfile
import textwrap
import uuid
import zlib

from api import Answer, Client, Tap, login, note, product, psql

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BASES = {"the edge": os.environ["HF_EDGE"], "the application": os.environ["HF_API"]}
DEMO = "holdfast-demo"
t = Tap()


def png(size):
    """A picture of noise, of three bytes a pixel."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = b"".join(b"\0" + os.urandom(3 * size) for _ in range(size))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows, 0)) + chunk(b"IEND", b""))


def shell(lines):
    """What lines of a shell print; nothing they call may fail."""
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", lines], capture_output=True, text=True, timeout=60, check=False)
    return done.stdout if done.returncode == 0 else f"exit {done.returncode}: {done.stdout} {done.stderr}"


def headed(text):
    """The answer in what curl -i printed."""
    head, _, body = text.partition("\n\n")
    lines = head.splitlines()
    words = lines[0].split() if lines else []
    if len(words) < 2 or not words[0].startswith("HTTP/"):
        return Answer(0, [], text.encode())
    return Answer(int(words[1]), [line.split(": ", 1) for line in lines[1:]], body.encode())


class Curl(Answer):
    """The answer that curl got. .exit is its status, .told what --write-out knows, .said what it says of itself."""

    def __init__(self, base, path, *words, data=None):
        with tempfile.TemporaryDirectory() as work:
            head, body = f"{work}/head", f"{work}/body"
            for name in (head, body):
                open(name, "w").close()
            done = subprocess.run(["curl", "-sSv", "-D", head, "-o", body, "-w", "%{json}", *words, base + path], input=data,
                                  capture_output=True, timeout=60, check=False)
            with open(head, newline="") as file:
                blocks = file.read().replace("\r\n", "\n").split("\n\n")
            with open(body, "rb") as file:
                super().__init__(0, [], file.read())
        self.exit, self.said = done.returncode, done.stderr.decode("utf-8", "replace")
        self.told = json.loads(done.stdout)
        self.status = self.told["response_code"]
        if len(blocks) > 1:
            self.headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in blocks[-2].splitlines()[1:])}
        if self.told["method"] == "HEAD":
            self.body = b""  # curl writes the head in its place
        if self.exit == 0:
            note(self.told["method"], path, self)

    def __repr__(self):
        return f"exit {self.exit}, {super().__repr__()}, {self.headers}, {self.said}"


# README.md: a block as it stands, after what was said before, and then its last command twice more: as it is, and as told.
def readme(base, begin, before="", change=("", "")):
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        block = re.search(rf"```sh\n({begin}=.*?)```", file.read(), re.S).group(1)
    last = block[block.index("curl -i"):]
    lines = before + block + "printf '\\n=====\\n'\n" + last + "printf '\\n=====\\n'\n" + last.replace(*change)
    texts = shell(lines.replace("http://127.0.0.1:8080", base)).replace("\r\n", "\n").split("\n=====\n")
    return block[:block.index("curl -i")], [headed(text[max(text.find("HTTP/1.1"), 0):].strip("\n")) for text in texts]


# What make run prints: it is asked to, and has its lines run.
def printed(base):
    words = ["bash", os.path.join(ROOT, "tools/run"), "--greet"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env={**os.environ, "HF_EDGE": base, "HF_MAIL": "/nowhere"}, start_new_session=True) as greeter:
        said = ""
        for line in greeter.stdout:
            said += line
            if line.startswith("Ctrl-C"):
                break
        os.killpg(greeter.pid, signal.SIGTERM)
    text = shell(textwrap.dedent(re.search(r"search, and order:\n(.*?)\n(The worker|Beside it)", said, re.S).group(1)))
    bodies, decoder = [], json.JSONDecoder()
    while text.strip().startswith("{"):
        body, end = decoder.raw_decode(text.strip())
        bodies.append(body)
        text = text.strip()[end:]
    return bodies, text


def quick(answer):
    """Whether curl did not wait for 100 Continue in vain: it would have waited for 30 s."""
    return answer.exit == 0 and "Done waiting" not in answer.said and answer.told["time_total"] < 15


def test_lines():
    for n, (where, base) in enumerate(BASES.items()):
        before, (first, again, _) = readme(base, "URL")
        good = first.status == 201 and ("idempotency-replayed" in first.headers) == bool(n) and json.loads(first.body)["items"][0]["quantity"] == 1
        t.ok(good, f"README.md orders at {where}{', again' if n else ''}: 201", first)
        t.ok(again.status == 201 and again.headers.get("idempotency-replayed") == "true" and again.body == first.body,
             f"sent again to {where}: the same bytes, Idempotency-Replayed", first, again)
        _, (first, again, more) = readme(base, "SHOP", before, ("my-purchase-0001", "my-purchase-0002"))
        t.ok(first.status == 201 and first.json()["total"] == 500 and again.status == 201 and again.body == first.body and more.code == "limit_reached",
             f"README.md buys in a sale at {where}: 201, the same again, and no more than one", first, again, more)
        bodies, rest = printed(base)
        t.ok(len(bodies) == 2 and not rest and re.search("walnut headphones", bodies[0]["items"][0]["title"], re.I) and
             bodies[1].get("status") == "pending_payment", f"what make run prints logs in, searches and orders at {where}", bodies, rest)


def test_reading(where, base):
    path = "/v1/products?limit=100"
    plain, packed = Curl(base, path), Curl(base, path, "--compressed")
    t.ok(plain.status == 200 and "content-encoding" not in plain.headers and len(plain.json()["items"]) == 100, f"{where}: what is not to be compressed is not", plain.headers)
    t.ok(packed.headers.get("content-encoding") == "gzip" and packed.body == plain.body and packed.told["size_download"] < len(plain.body) / 2,
         f"{where}: --compressed: the same in less than half the bytes", packed.headers, packed.told)
    path = f"/v1/products/{plain.json()['items'][0]['id']}"
    for option in ("--http1.1", "--http2"):
        answer = Curl(base, path, option)
        t.ok(answer.status == 200 and answer.told["http_version"] == "1.1" and answer.json()["skus"], f"{where}: {option} gets HTTP/1.1", answer)
    whole = answer
    answer = Curl(base, path, "--http1.0")
    t.ok(answer.status == (200 if where == "the edge" else 505), f"{where}: --http1.0 {'too' if where == 'the edge' else 'is refused'}", answer)
    answer = Curl(base, path, "-I")
    t.ok(answer.status == 200 and answer.headers["etag"] == whole.headers["etag"] and
         answer.headers.get("content-length") == whole.headers["content-length"] and quick(answer), f"{where}: -I: the head of GET", answer)
    answer = Curl(base, path, "-X", "OPTIONS")
    t.ok(answer.status == 204 and {"GET", "HEAD", "PATCH", "DELETE", "OPTIONS"} == set(answer.headers["allow"].split(", ")) and quick(answer),
         f"{where}: -X OPTIONS: the methods", answer)
    answer = Curl(base, path, "-H", f"If-None-Match: {whole.headers['etag']}")
    t.ok(answer.status == 304 and answer.exit == 0 and not answer.body, f"{where}: -H If-None-Match: 304", answer)
    answer = Curl(base, "/v1/search", "-G", "--data-urlencode", "q=耳机", "-d", "limit=3")
    t.ok(answer.status == 200 and len(answer.json()["items"]) == 3 and "耳机" in answer.json()["items"][0]["title"], f"{where}: -G --data-urlencode", answer)
    answer = Curl(base, path, "-r", "0-9")
    t.ok(answer.status == 200 and answer.body == whole.body, f"{where}: -r is not done, and the whole is sent", answer)
    answer = Curl(base, "/v1/products/1", "-f")
    t.ok(answer.exit == 22 and answer.status == 404, f"{where}: -f: curl fails with an error", answer)
    again = subprocess.run(["curl", "-s", "-o", "/dev/null", base + path, "-o", "/dev/null", base + path, "-w", "%{response_code} %{num_connects}\n"],
                           capture_output=True, text=True, check=False).stdout
    t.equal(again, "200 1\n200 0\n", f"{where}: two URLs use one connection")


def test_sending(where, base, customer, merchant, thing):
    bearer = ("-H", f"Authorization: Bearer {customer.token}")
    order = json.dumps({"items": [{"sku_id": thing["skus"][0]["id"], "quantity": 1}]})
    answer = Curl(base, "/v1/orders", *bearer, "--json", order, "-H", f"Idempotency-Key: {uuid.uuid4()}")
    t.ok(answer.status == 201 and answer.json()["status"] == "pending_payment", f"{where}: --json orders", answer)
    answer = Curl(base, "/v1/orders", *bearer, "-d", order, "-H", f"Idempotency-Key: {uuid.uuid4()}")
    t.ok(answer.status == 415 and "application/json" in answer.json().get("detail", ""), f"{where}: -d alone is a form: it is said what is wanted", answer)

    with tempfile.TemporaryDirectory() as work:
        picture, huge = f"{work}/picture.png", f"{work}/huge.png"
        for name, size in ((picture, 650), (huge, 1750)):
            with open(name, "wb") as file:
                file.write(png(size))
        wait, kind = ("--expect100-timeout", "30"), ("-H", "Content-Type: image/png")
        answer = Curl(base, "/v1/me/avatar", *bearer, *kind, *wait, "-T", picture)
        t.ok(answer.status == 202 and answer.told["method"] == "PUT" and answer.told["size_upload"] == os.path.getsize(picture) and quick(answer),
             f"{where}: -T: a picture over 1 MB", answer)
        name = psql(f"SELECT avatar ->> 'original' FROM shop.account WHERE id = {answer.json()['id']}")
        with open(os.path.join(os.environ["HF_UPLOADS"], name), "rb") as kept, open(picture, "rb") as sent:
            t.ok(kept.read() == sent.read(), f"{where}: it is kept as it was")
            sent.seek(0)
            answer = Curl(base, "/v1/me/avatar", *bearer, *kind, *wait, "-H", "Expect: 100-continue", "-T", picture)
        t.ok(answer.status == 202 and "HTTP/1.1 100 Continue" in answer.said and quick(answer), f"{where}: Expect: 100-continue is continued at once", answer)
        answer = Curl(base, f"/v1/products/{thing['id']}/images", "-H", f"Authorization: Bearer {merchant.token}", *kind, *wait, "--data-binary", f"@{picture}")
        t.ok(answer.status == 202 and answer.told["method"] == "POST" and answer.json()["state"] == "uploaded" and quick(answer), f"{where}: --data-binary: the same", answer)
        answer = Curl(base, "/v1/me/avatar", *bearer, *wait, "-H", "Expect: 100-continue", *kind, "-T", huge)
        t.ok(answer.status == 413 and answer.told["size_upload"] == 0 and answer.code == "payload_too_large" and quick(answer),
             f"{where}: one over 8 MB is refused before it is sent", answer)
        with open(picture, "rb") as sent:
            answer = Curl(base, "/v1/me/avatar", *bearer, *kind, *wait, "-T", "-", data=sent.read())
        t.ok((answer.status, answer.code) == ((202, None) if where == "the edge" else (501, "not_implemented")) and quick(answer),
             f"{where}: -T -: a body of unknown length is {'taken' if where == 'the edge' else 'refused at once'}", answer)
        answer = Curl(base, "/v1/me/avatar", *bearer, *wait, "-T", picture)
        t.ok(answer.status == 415 and "image/png" in answer.json().get("detail", "") and quick(answer), f"{where}: one of no type is refused, with the types", answer)


subprocess.run(["psql", "-XqAt", "-o", "/dev/null", "-f", os.path.join(ROOT, "sql/demo/catalogue.sql")], check=True)
test_lines()
carla, nordic = login("customer1@example.com", DEMO), login("merchant1@example.com", DEMO)
made = product(nordic)
for name, url in BASES.items():
    test_reading(name, url)
    test_sending(name, url, carla, nordic, made)
