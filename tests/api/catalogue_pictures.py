#!/usr/bin/env python3
"""Pictures of products and avatars: kept under the hash of their bytes, once, if they are of the type that they are said
to be; whatever else comes is refused and leaves no file. Runs within tools/with-api. TAP.
"""
import base64
import hashlib
import os
import struct
import threading
import zlib

from api import Client, Tap, product, psql, register, why_no_problem, within

UPLOADS = os.environ["HF_UPLOADS"]

t = Tap()
nobody, olga, mark, mia, root = Client(), register("olga"), register("mark", ["merchant"]), register("mia", ["merchant"]), register("root", ["admin"])
thing = product(mark)
PATH = f"/v1/products/{thing['id']}/images"


def png(width=1, height=1, noise=b""):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = b"".join(b"\0" + bytes(3 * width) for _ in range(height))
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"tEXt", b"Comment\0" + noise), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*one) for one in chunks)


UNIQUE = os.urandom(16).hex().encode()
PNG = png(2, 2, UNIQUE)
JPEG = base64.b64decode("/9j/4AAQSkZJRgABAQEASABIAAD/2wBDAP//////////////////////////////////////////////////////////////////////////////////////"
                        "wgALCAABAAEBAREA/8QAFBABAAAAAAAAAAAAAAAAAAAAAP/aAAgBAQABPxA=") + UNIQUE
WEBP = base64.b64decode("UklGRhoAAABXRUJQVlA4TA0AAAAvAAAAEAcQERGIiP4HAA==") + UNIQUE


def send(raw, content_type, who=mark, path=PATH, method="POST", **headers):
    return who.request(method, path, raw=raw, headers={"Content-Type": content_type, **headers})


def files():
    return set(os.listdir(UPLOADS))


# What is taken.
before = files()
for kind, raw, extension in (("image/png", PNG, "png"), ("image/jpeg", JPEG, "jpg"), ("image/webp", WEBP, "webp")):
    version = mark.get(f"/v1/products/{thing['id']}").json()["version"]
    answer = send(raw, kind)
    name = f"{hashlib.sha256(raw).hexdigest()}.{extension}"
    t.ok(answer.status == 202 and answer.json()["state"] == "uploaded" and answer.headers["location"] == f"/v1/products/{thing['id']}",
         f"{kind} is taken, to be worked on", answer, answer.headers)
    t.equal(answer.json().get("original"), name, "  named after its bytes")
    with open(os.path.join(UPLOADS, name), "rb") as file:
        t.ok(file.read() == raw, "  and there, byte for byte, when the answer comes")
    got = mark.get(f"/v1/products/{thing['id']}").json()
    t.ok(got["images"][-1] == answer.json() and got["version"] > version, "  its merchant sees it at once, in a new version", got)
    t.equal(psql(f"SELECT count(*) FROM shop.job WHERE kind = 'image_uploaded' AND payload ->> 'image_id' = '{answer.json()['id']}'"), "1",
            "  and a job is there to make its sizes")
t.ok(all(nobody.get(f"/v1/products/{thing['id']}").json()["images"] == [] for _ in range(3)), "nobody else sees pictures that are not ready")
image = mark.get(f"/v1/products/{thing['id']}").json()["images"][0]["id"]
psql(f"""UPDATE shop.image SET state = 'ready', sizes = '[{{"name": "small", "width": 1, "height": 1, "type": "image/png", "file": "small.png"}}]' WHERE id = {image}""")
within(60, lambda: nobody.get(f"/v1/products/{thing['id']}").json()["images"])  # once the cache has been told
got = nobody.get(f"/v1/products/{thing['id']}").json()["images"]
t.ok(len(got) == 1 and got[0]["id"] == image and set(got[0]) == {"id", "state", "sizes"} and got[0]["sizes"][0]["file"] == "small.png",
     "one that is ready they see, without what it was made of", got)
count = len(files())
other = product(mark)
answer = send(PNG, "image/png", path=f"/v1/products/{other['id']}/images")
t.ok(answer.status == 202 and len(files()) == count, "the same picture for another product is the same file", answer)
t.equal(send(JPEG, "image/jpeg", path=f"/v1/products/{other['id']}/images", who=root).status, 202, "an admin may give one, too")
for content_type in ("image/png; charset=binary", "IMAGE/PNG", "image/png;x=y"):
    t.ok(send(png(noise=content_type.encode()), content_type, path=f"/v1/products/{other['id']}/images").status in (202, 415),
         f"Content-Type: {content_type} breaks nothing")

# What is not.
before = files()
for claim, raw, kind, status, code in [
        ("a JPEG that is said to be a PNG", JPEG, "image/png", 422, "invalid_picture"), ("a PNG that is said to be a WEBP", PNG, "image/webp", 422,
                                                                                         "invalid_picture"),
                                                                                         ("text", b"<svg onload=alert(1)>", "image/png", 422,
                                                                                          "invalid_picture"),
        ("HTML that begins like a text", b"<html>" + PNG, "image/png", 422, "invalid_picture"),
        ("a script after eight bytes of nothing", b"\0" * 8 + b"WEBPxxxx", "image/webp", 422, "invalid_picture"),
        ("WEBP in the wrong place", b"RIFFxxxxAVI xxxx", "image/webp", 422, "invalid_picture"),
        ("the first bytes of a PNG alone", b"\x89PNG\r\n\x1a\n", "image/png", 422, "invalid_picture"),
        ("nothing", b"", "image/png", 422, "invalid_picture"), ("one byte", b"\xff", "image/jpeg", 422, "invalid_picture"),
        ("a GIF", b"GIF89a" + b"\0" * 20, "image/gif", 415, "unsupported_media_type"),
        ("an SVG", b"<svg/>", "image/svg+xml", 415, "unsupported_media_type"), ("a form", b"--x\r\n\r\n--x--", "multipart/form-data; boundary=x", 415,
                                                                                "unsupported_media_type"),
                                                                                ("JSON", b'{"original": "../../etc/passwd"}', "application/json", 415,
                                                                                 "unsupported_media_type"),
        ("a picture without a type", PNG, "", 415, "unsupported_media_type"), ("one that is too large", PNG + b"\0" * (8 << 20), "image/png", 413,
                                                                               "payload_too_large")]:
    answer = send(raw, kind or "application/octet-stream")
    t.ok(why_no_problem(answer, code, status) is None, f"{claim}: {status}", answer)
answer = send(PNG, "image/png", **{"Content-Encoding": "gzip"})
t.ok(why_no_problem(answer, "unsupported_media_type", 415) is None, "a picture is not compressed once more", answer)
draft, gone = product(mark, published=False), product(mark)
mark.delete(f"/v1/products/{gone['id']}")
for claim, who, path, status, code in [("nobody gives one", nobody, PATH, 401, "unauthenticated"),
                                       ("a customer gives none", olga, PATH, 403, "forbidden"),
                                       ("another merchant gives none", mia, PATH, 403, "forbidden"),
                                       ("nor to a draft, which is not there for him", mia, f"/v1/products/{draft['id']}/images", 404, "not_found"),
                                       ("none is given to what is not there", mark, "/v1/products/1/images", 404, "not_found"),
                                       ("nor to a path that is no id", mark, "/v1/products/abc/images", 404, "not_found"),
                                       ("nor to what is deleted", mark, f"/v1/products/{gone['id']}/images", 410, "gone")]:
    answer = send(png(noise=UNIQUE + claim.encode()), "image/png", who, path)
    t.ok(why_no_problem(answer, code, status) is None, f"{claim}: {status}", answer)
t.equal(files(), before, "and none of these has left a file")
large = png(noise=b"x" * ((8 << 20) - 200))
answer = send(large, "image/png")
t.ok(answer.status == 202 and os.path.getsize(os.path.join(UPLOADS, answer.json()["original"])) == len(large), f"one of {len(large)} bytes is taken",
     answer)
answer = send(png(noise=UNIQUE + b"edge"), "image/png", Client(os.environ["HF_EDGE"], mark.token))
t.ok(answer.status == 202 and answer.json()["original"] in files(), "through nginx too", answer)

# Many.
full = product(mark)
path = f"/v1/products/{full['id']}/images"
answers = []
threads = [threading.Thread(target=lambda n=n: answers.extend(send(png(noise=UNIQUE + b"%d" % (n % 3)), "image/png", Client(token=mark.token),
                                                                   path) for _ in range(6))) for n in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
good, bad = [a for a in answers if a.status == 202], [a for a in answers if a.status != 202]
t.ok(len(good) == 20 and all(why_no_problem(a, "too_many_images", 409) is None for a in bad) and len(bad) == 4,
     "a product has twenty at most, also when many come at once", *bad)
t.ok(len({a.json()["original"] for a in good}) == 3 and not [f for f in files() if f.startswith(".")],
     "the same bytes at once are one file, and nothing half-written is left", files())

# Avatars.
answer = send(PNG, "image/png", olga, "/v1/me/avatar", "PUT")
t.ok(answer.status == 202 and hashlib.sha256(PNG).hexdigest() in str(psql(f"SELECT avatar FROM shop.account WHERE id = {olga.id}")),
     "a person has a picture as well", answer)
for claim, who, raw, kind, status, code in [("nobody has none", nobody, PNG, "image/png", 401, "unauthenticated"),
                                            ("and not what is none", olga, b"text", "image/png", 422, "invalid_picture"),
                                            ("nor of another type", olga, PNG, "text/plain", 415, "unsupported_media_type")]:
    answer = send(raw, kind, who, "/v1/me/avatar", "PUT")
    t.ok(why_no_problem(answer, code, status) is None, f"{claim}: {status}", answer)
