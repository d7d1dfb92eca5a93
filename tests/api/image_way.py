#!/usr/bin/env python3
# with-stack:
# with-worker: --conf 'poll_interval = 50ms' --conf 'image_pixels = 20'
"""The way of a picture: a merchant sends it, the worker makes its sizes, nginx serves them: upright, in sRGB, without a
word of metadata; an avatar is round. What was sent stays as it was. What nobody wants any more is swept. TAP.
"""
import hashlib
import json
import os
import subprocess
import time

from api import Client, Tap, product, psql, register, within
from pictures import Pixels, convert, decided, png, seen, send, with_exif

UPLOADS, MEDIA = os.environ["HF_UPLOADS"], os.environ["HF_MEDIA"]
t = Tap()
edge = Client(os.environ["HF_EDGE"])
mark, olga = register("mark", ["merchant"]), register("olga")


def fetch(size):
    # What nginx serves itself is not of the contract.
    journal = os.environ.pop("HF_JOURNAL", None)
    answer = edge.get("/media/" + size["file"], headers={"Accept": None})
    if journal:
        os.environ["HF_JOURNAL"] = journal
    if answer.status != 200:
        raise RuntimeError(answer)
    return answer


def look(size):
    return Pixels(fetch(size).body, size["file"].rpartition(".")[2])


def make(data, ending, thing=None):
    """The sizes that become of a picture."""
    thing = thing or product(mark)["id"]
    image = decided(mark, thing, send(mark, thing, data, ending))
    return image["sizes"] if image["state"] == "ready" else image


def jobs(whose):
    """How many jobs there are about a picture, or an account."""
    return int(psql(f"SELECT count(*) FROM shop.job WHERE kind = 'image_uploaded' AND payload::text ~ '\"{whose}\"'"))


def files(top):
    return {os.path.relpath(os.path.join(above, name), top) for above, _, names in os.walk(top) for name in names}


# A picture of a product.
original = with_exif(convert(png(2000, 1500), "jpg", "[Q=95]"), 1)
thing = product(mark)["id"]
sizes = make(original, "jpg", thing)
t.equal([(s["name"], s["width"], s["height"], s["type"]) for s in sizes],
        [(f"w{w}", w, w * 3 // 4, kind) for w in (160, 320, 640, 1280) for kind in ("image/webp", "image/jpeg")], "a photo has sizes of four widths, as WebP and JPEG")
for size in sizes:
    answer, pixels = fetch(size), look(size)
    t.ok((pixels.width, pixels.height, pixels.bands, pixels.corners()) == (size["width"], size["height"], 3, "RGBY"), f"{size['name']} {size['type']} is what it says",
         pixels.fields)
    t.ok(b"secret" not in answer.body and b"Exif" not in answer.body and not [f for f in pixels.fields if f.startswith(("exif", "icc", "iptc", "xmp"))],
         "  without metadata", pixels.fields)
    t.ok(hashlib.sha256(answer.body).hexdigest() == size["file"][3:67] and size["file"][:2] == size["file"][3:5], "  named after its bytes", size)
    t.equal((answer.headers["content-type"], answer.headers["cache-control"], answer.headers["x-content-type-options"]),
            (size["type"], "public, max-age=31536000, immutable", "nosniff"), "  and served so that it is kept for ever")
t.ok(fetch(sizes[-1]).body[:3] == b"\xff\xd8\xff" and b"\xff\xc2" in fetch(sizes[-1]).body[:1000], "the JPEG is progressive")
name = hashlib.sha256(original).hexdigest() + ".jpg"
with open(os.path.join(UPLOADS, name), "rb") as file:
    t.ok(file.read() == original, "what was sent is there, byte for byte")
t.ok(seen(Client(), thing)[list(seen(mark, thing))[0]]["sizes"] == sizes, "everybody sees the sizes")
t.equal(jobs(list(seen(mark, thing))[0]), 0, "the job is done")
t.equal(oct(os.stat(os.path.join(MEDIA, sizes[0]["file"])).st_mode & 0o777), "0o644", "others may read its files")

# The same again.
before = files(MEDIA)
t.equal(make(original, "jpg"), sizes, "the same picture for another product has the same sizes")
t.equal(files(MEDIA), before, "which are the same files")

# Never enlarged.
t.equal([s["width"] for s in make(png(1000, 40), "png")][::2], [160, 320, 640, 1000], "a picture is never enlarged")
t.equal([(s["width"], s["height"]) for s in make(png(100, 150), "png")], [(100, 150)] * 2, "a small one has one size, its own")
t.equal([(s["width"], s["height"]) for s in make(png(1, 1), "png")], [(1, 1)] * 2, "also the smallest")
t.equal([s["width"] for s in make(png(640, 640), "png")][::2], [160, 320, 640], "one that fits has none twice")
tall = make(png(400, 20000), "png")
t.ok(isinstance(tall, list) and max(s["height"] for s in tall) == 5120, "one that is very tall is made narrower", tall)
flat = make(png(20000, 1), "png")
t.ok(isinstance(flat, list) and {s["height"] for s in flat} == {1}, "one that is very flat stays one pixel high", flat)

# Upright.
photo = convert(png(400, 300), "jpg", "[Q=95]")
for orientation, wanted in enumerate(["RGBY", "GRYB", "YBGR", "BYRG", "RBGY", "BRYG", "YGBR", "GYRB"], 1):
    sizes = make(with_exif(photo, orientation), "jpg")
    right = (300, 400) if orientation > 4 else (400, 300)
    got = [(s["width"], s["height"], look(s).corners()) for s in sizes[-2:]]
    t.equal(got, [(*right, wanted)] * 2, f"orientation {orientation} is upright")

# Transparency, and colours of all kinds.
half = png(200, 200, [b"\xe6\x14\x14\xff" * 100 + b"\0\0\0\0" * 100] * 200, colour=6)
for ending, data in (("png", half), ("webp", convert(half, "webp", "[lossless]"))):
    webp, jpeg = (look(s) for s in make(data, ending)[-2:])
    t.ok(webp.bands == 4 and webp.at(150, 100)[3] == 0 and webp.at(50, 100)[3] == 255, f"{ending}: WebP keeps what is transparent", webp.at(150, 100))
    t.ok(jpeg.bands == 3 and min(jpeg.at(150, 100)) > 245 and jpeg.at(50, 100)[0] > 200 > 100 > jpeg.at(50, 100)[1], "  it is white in the JPEG", jpeg.at(150, 100))
grey = [bytes(200 if x < 100 else 40 for x in range(200))] * 200
kinds = {"grey": png(200, 200, grey, colour=0), "grey of 16 bits": png(200, 200, [b"".join(bytes((v, 0)) for v in row) for row in grey], colour=0, depth=16),
         "grey with transparency": png(200, 200, [b"".join(bytes((v, 255)) for v in row) for row in grey], colour=4),
         "a palette": png(200, 200, [bytes(0 if v == 200 else 1 for v in row) for row in grey], colour=3, more=[(b"PLTE", b"\xc8\xc8\xc8\x28\x28\x28")]),
         "one bit": png(200, 200, [b"\xff" * 12 + b"\xf0" + b"\0" * 12] * 200, colour=0, depth=1)}
for kind, data in kinds.items():
    webp, jpeg = (look(s) for s in make(data, "png")[-2:])
    light, dark = (255, 0) if kind == "one bit" else (200, 40)
    t.ok(all(abs(p.at(50, 50)[n] - light) < 12 and abs(p.at(150, 50)[n] - dark) < 12 for p in (webp, jpeg) for n in range(3)), f"{kind} is right", webp.at(50, 50), webp.at(150, 50))
deep = png(200, 200, [b"".join(bytes((c, 0)) for c in (230, 20, 20)) * 200] * 200, depth=16)
cmyk = convert(png(200, 200), "jpg", "[Q=95]", "png", ("icc_export", "--output-profile", "cmyk"))
srgb = convert(png(200, 200), "jpg", "[Q=95]", "png", ("icc_export", "--output-profile", "p3"))
for kind, data, ending in (("16 bits of colour", deep, "png"), ("CMYK", cmyk, "jpg"), ("a wide gamut", srgb, "jpg"), ("a progressive JPEG", convert(png(200, 200), "jpg", "[interlace]"), "jpg"),
                           ("an interlaced PNG", convert(png(200, 200), "png", "[interlace]"), "png")):
    pixels = [look(s) for s in make(data, ending)[-2:]]
    t.ok(all(p.bands == 3 and abs(p.at(20, 20)[0] - 230) < 40 and p.at(20, 20)[1] < 70 and "icc-profile-data" not in p.fields for p in pixels), f"{kind} is right, and in sRGB",
         pixels[0].at(20, 20), pixels[0].fields)

# Avatars.
def avatar(who, data, ending, patience=60):
    answer = who.request("PUT", "/v1/me/avatar", raw=data, headers={"Content-Type": "image/" + {"jpg": "jpeg"}.get(ending, ending)})
    within(patience, lambda: who.get("/v1/me").json()["avatar"]["state"] != "uploaded")
    return who.get("/v1/me").json()["avatar"]


mine = avatar(olga, with_exif(convert(png(1200, 800), "jpg", "[Q=95]"), 6), "jpg")
t.equal([(s["name"], s["width"], s["height"], s["type"]) for s in mine["sizes"]], [(f"w{n}", n, n, "image/png") for n in (64, 128, 256)], "an avatar has three sizes")
for size in mine["sizes"]:
    p, n = look(size), size["width"]
    middle = n // 2
    t.ok((p.bands, p.width, p.height) == (4, n, n) and all(p.at(x, y)[3] == 0 for x in (0, n - 1) for y in (0, n - 1)) and p.at(middle, middle)[3] == 255
         and all(p.at(x, y)[3] > 128 for x, y in ((middle, 0), (0, middle), (n - 1, middle), (middle, n - 1))), f"{n} pixels: it is round", p.fields)
    edges = {p.at(x, n // 7)[3] for x in range(n)}
    t.ok(edges - {0, 255} and p.corners() == "BRYG", "  smooth at the edge, and upright", edges, p.corners())
for size in avatar(olga, half, "png")["sizes"][-1:]:
    p = look(size)
    t.ok(p.at(60, 128)[3] == 255 and p.at(200, 128)[3] == 0, "  what was transparent still is", p.at(60, 128), p.at(200, 128))
small = avatar(olga, png(10, 30), "png")
t.equal([s["width"] for s in small.get("sizes", [])], [64, 128, 256], "a small one is enlarged")
odd = avatar(olga, png(20000, 1), "png")
t.ok(odd["state"] == "ready", "a line becomes one, too", odd)
last = png(300, 300)
for n in range(6):
    olga.request("PUT", "/v1/me/avatar", raw=png(300 + n, 200), headers={"Content-Type": "image/png"})
now = avatar(olga, last, "png")
t.ok(now["original"] == hashlib.sha256(last).hexdigest() + ".png" and now["state"] == "ready" and within(60, lambda: jobs(olga.id) == 0) and olga.get("/v1/me").json()["avatar"] == now, "of many at once the last one counts", now)

# The sweep.
wanted = {s["file"] for text in psql("SELECT sizes FROM shop.image UNION ALL SELECT avatar -> 'sizes' FROM shop.account WHERE avatar IS NOT NULL").splitlines()
          for s in json.loads(text)}
unwanted, uploads = files(MEDIA) - wanted, files(UPLOADS)
wanted &= files(MEDIA)
used = set(psql("SELECT original FROM shop.image UNION SELECT avatar ->> 'original' FROM shop.account WHERE avatar IS NOT NULL").splitlines()) & uploads
t.ok(unwanted and uploads - used, "replaced avatars have left files behind", unwanted)
runas = os.environ["HF_RUNAS"].split()
aged = [os.path.join(top, name) for top in (UPLOADS, MEDIA) for name in files(top)]
subprocess.run([*runas, "sh", "-c", f"echo draft >'{MEDIA}/.1.1'; echo draft >'{UPLOADS}/.1.1'; echo new >'{MEDIA}/.2.2'"], check=True)
fresh = sorted(unwanted)[0]
for name in aged + [MEDIA + "/.1.1", UPLOADS + "/.1.1"]:
    if not name.endswith(fresh):
        os.utime(name, (time.time() - 90000,) * 2)
psql("UPDATE shop.job_periodic SET next_at = clock_timestamp() - interval '1 minute' WHERE name = 'image_sweep'; SELECT shop.run_periodic()")
t.ok(within(60, lambda: psql("SELECT count(*) FROM shop.job WHERE kind = 'image_sweep'") == "0"), "a sweep comes to its end",
     psql("SELECT kind, payload, attempts, error FROM shop.job"))
t.equal(files(UPLOADS), used, "the uploads that are wanted are there, and no others")
t.equal(files(MEDIA), wanted | {fresh, ".2.2"}, "and so are the sizes, and what is younger than a day")
t.equal(psql("SELECT count(*) FROM shop.job_dead WHERE kind ~ '^image'"), "0", "nothing has failed")
