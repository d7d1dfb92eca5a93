#!/usr/bin/env python3
# with-stack:
# with-worker: --conf 'poll_interval = 50ms' --conf 'image_pixels = 20' --conf 'image_timeout = 40s'
"""Pictures that are none, lie, are broken, or want too much: each is refused with a reason that its merchant can read, or
made as well as it can be; none stops those that come after it. TAP.
"""
import os
import random
import re
import signal
import struct
import zlib

from api import Tap, product, psql, register, within, workers
from pictures import chunk, convert, png, programs
from worker import Worker

UPLOADS = os.environ["HF_UPLOADS"]
FLIPS = int(os.environ.get("HF_FLIPS", 300))
t = Tap()
mark = register("mark", ["merchant"])
thing = product(mark)["id"]
random.seed(int(os.environ.get("HF_SEED", 8)))
DAMAGED = "the picture is damaged or incomplete"
LIE = "the file is not a JPEG, PNG or WebP picture, or not the one that it is said to be"
LARGE = "the picture has more than 20 million pixels"
WHOLE = "the picture is too large for one that is progressive, interlaced or WebP"
count = 0


def put_many(pictures):
    """Files that have found their way into the directory of uploads, as pictures of the product; their ids."""
    global count
    names = []
    for data, ending in pictures:
        count += 1
        names.append(f"hostile-{count}.{ending}")
        with open(os.path.join(UPLOADS, names[-1]), "wb") as file:
            file.write(data)
        os.chmod(os.path.join(UPLOADS, names[-1]), 0o644)
    return psql("""WITH i AS (INSERT INTO shop.image (product_id, original) SELECT %s, unnest('{%s}'::text[]) RETURNING id)
                   SELECT id FROM i, LATERAL (SELECT shop.enqueue('image_uploaded', jsonb_build_object('image_id', i.id::text))) AS e""" % (thing, ",".join(names))).splitlines()


def put(data, ending):
    return put_many([(data, ending)])[0]


def what(ids, patience=180):
    """What has become of pictures: ready, or the reason; in order."""
    ids = [str(i) for i in ids]
    list_of = ",".join(ids)
    within(patience, lambda: psql(f"SELECT count(*) FROM shop.image WHERE id IN ({list_of}) AND state = 'uploaded'") == "0")
    found = dict(line.split("|", 1) for line in psql(f"SELECT id, coalesce(reason, state) FROM shop.image WHERE id IN ({list_of})").splitlines())
    return [found[i] for i in ids]


def jpeg_of(data):
    return convert(data, "jpg", "[Q=85]")


noise = png(120, 90, [random.randbytes(360) for _ in range(90)])
good = {"png": noise, "jpg": jpeg_of(noise), "webp": convert(noise, "webp"), "interlaced.png": convert(noise, "png", "[interlace]"),
        "progressive.jpg": convert(noise, "jpg", "[interlace]"), "alpha.webp": convert(png(60, 60, [random.randbytes(240) for _ in range(60)], colour=6), "webp")}


def header(width, height, data=b"", colour=2, depth=8, interlace=0):
    """A PNG that says it is so large."""
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def jpeg_size(data, width, height):
    """A JPEG that says it is so large."""
    at = re.search(rb"\xff[\xc0\xc2]..\x08", data, re.S).end()
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4:]


frames = b""
one = re.search(rb"VP8L(....)", convert(png(8, 8), "webp", "[lossless]"), re.S)
one = one.string[one.start():one.end() + (struct.unpack("<I", one[1])[0] + 1) // 2 * 2]
for _ in range(3000):
    frames += b"ANMF" + struct.pack("<I", 16 + len(one)) + bytes(3) + bytes(3) + b"\x07\0\0\x07\0\0" + b"\x64\0\0\0" + one
body = b"WEBPVP8X" + struct.pack("<I", 10) + b"\x02\0\0\0\x07\0\0\x07\0\0" + b"ANIM" + struct.pack("<I", 6) + bytes(6) + frames
animated = b"RIFF" + struct.pack("<I", len(body)) + body
bomb = zlib.compress(bytes(30_000_000), 9)
polyglot = good["jpg"][:2] + b"\xff\xfe" + struct.pack(">H", 2 + 60) + b"<script>alert(1)</script>".ljust(60) + good["jpg"][2:]
icc = b"\xff\xe2" + struct.pack(">H", 2 + 12 + 2 + 200) + b"ICC_PROFILE\0\x01\x01" + random.randbytes(200)
cases = [
    ("a good PNG", good["png"], "png", "ready"), ("a good JPEG", good["jpg"], "jpg", "ready"), ("a good WebP", good["webp"], "webp", "ready"),
    ("the first of three thousand frames", animated, "webp", "ready"),
    ("a JPEG with a script in its comment", polyglot, "jpg", "ready"), ("a JPEG with a page after its end", good["jpg"] + b"<html>" * 99, "jpg", "ready"),
    ("a JPEG with a profile of nonsense", good["jpg"][:2] + icc + good["jpg"][2:], "jpg", "ready"),
    ("a page", b"<html><script>alert(1)</script></html>", "jpg", LIE), ("an SVG", b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>", "png", LIE),
    ("a PDF", b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\n", "jpg", LIE), ("a GIF", b"GIF89a\x01\0\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\0;", "jpg", LIE),
    ("a GIF that is called one", b"GIF89a\x01\0\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\0;", "gif", LIE), ("a TIFF", convert(noise, "tif"), "png", LIE),
    ("a JPEG that is called a PNG", good["jpg"], "png", LIE), ("a PNG that is called a WebP", good["png"], "webp", LIE),
    ("a PPM that is called a JPEG", b"P6 1 1 255\n" + bytes(3), "jpg", LIE),
    ("a page that begins as a JPEG", b"\xff\xd8\xff<html>", "jpg", DAMAGED), ("an SVG that begins as a PNG", b"\x89PNG\r\n\x1a\n<svg/>", "png", DAMAGED),
    ("an AVI that ends as a WebP", b"RIFF\x10\0\0\0AVI WEBP" + bytes(30), "webp", LIE), ("WebP without anything in it", b"RIFF\x04\0\0\0WEBP" + bytes(9), "webp", (LIE, DAMAGED)),
    ("nothing", b"", "jpg", LIE), ("one byte", b"\xff", "jpg", LIE),
    ("50,000 by 50,000 of nothing", header(50000, 50000, zlib.compress(bytes(100000), 9)), "png", LARGE),
    ("2 billion by 2 billion", header(2**31 - 1, 2**31 - 1, b""), "png", (LARGE, DAMAGED)), ("no width", header(0, 10, b""), "png", DAMAGED),
    ("a JPEG that says it is 65,000 by 65,000", jpeg_size(good["jpg"], 65000, 65000), "jpg", LARGE),
    ("a JPEG without height", jpeg_size(good["jpg"], 100, 0), "jpg", DAMAGED),
    ("a bomb of 30 megabytes in 30 kB, for 100 by 100", header(100, 100, bomb), "png", (DAMAGED, "ready")),
    ("a bomb that is as large as it says", header(4000, 2499, bomb), "png", "ready"),
    ("a PNG with a wrong checksum", good["png"][:-20] + bytes([good["png"][-20] ^ 1]) + good["png"][-19:], "png", DAMAGED),
    ("a PNG with a palette that is missing", header(10, 10, zlib.compress(bytes(110)), colour=3), "png", DAMAGED),
]
got = what(put_many([(data, ending) for _, data, ending, _ in cases]))
for (claim, _, ending, wanted), seen in zip(cases, got):
    t.ok(seen in ((wanted,) if isinstance(wanted, str) else wanted), f"{claim}: {wanted if isinstance(wanted, str) else ' or '.join(wanted)}", seen)

# Truncated: whatever is missing of it, a picture is not made of what is left.
cut = [(claim, data[:length], claim.split(".")[-1]) for claim, data in good.items()
       for length in sorted({int(len(data) * part / 20) for part in range(1, 20)} | {len(data) - 60, len(data) - 20})]
seen = what(put_many([(data, ending) for _, data, ending in cut]))
# The last bytes of a PNG, or of a JPEG, may be nothing but its end.
wrong = [(claim, len(data), len(good[claim])) for (claim, data, _), state in zip(cut, seen) if state not in (DAMAGED, LIE) and len(data) < 0.94 * len(good[claim])]
t.ok(not wrong, f"{len(cut)} pictures that are not whole are refused", *wrong)
left = [state for state in seen if state not in (DAMAGED, LIE, "ready")]
t.ok(not left, "and each is decided", *left)

# Flipped bits.
flipped = []
for n in range(FLIPS):
    claim, data = random.choice(list(good.items()))
    data = bytearray(data)
    for _ in range(random.choice((1, 1, 3, 30))):
        data[random.randrange(12, len(data) if n % 3 else 200)] ^= 1 << random.randrange(8)
    flipped.append((bytes(data), claim.split(".")[-1]))
seen = what(put_many(flipped))
left = [state for state in seen if state not in (DAMAGED, LIE, LARGE, WHOLE, "ready")]
t.ok(not left, f"each of {FLIPS} pictures with flipped bits is ready or refused", *left)
print(f"# of these ready: {seen.count('ready')}", flush=True)
with open(os.environ["HF_WORKER_LOG"]) as file:
    log = file.read()
t.ok("image_died" not in log and "worker_died" not in log, "and none has crashed anything", [line for line in log.splitlines() if "died" in line])

# Names that lead elsewhere.
for name in ("../token-keys", "/etc/passwd", ".hidden.png"):
    image = psql(f"""WITH i AS (INSERT INTO shop.image (product_id, original) VALUES ({thing}, '{name}') RETURNING id)
                     SELECT id FROM i, LATERAL (SELECT shop.enqueue('image_uploaded', jsonb_build_object('image_id', i.id::text))) AS e""")
    t.equal(what([image]), ["the file has no name of a file"], f"{name} is not read")
os.symlink("/etc/passwd", os.path.join(UPLOADS, "link.png"))
psql("UPDATE shop.job_kind SET attempts = 2, backoff = '200 ms', backoff_max = '200 ms' WHERE kind = 'image_uploaded'")
image = psql(f"""WITH i AS (INSERT INTO shop.image (product_id, original) VALUES ({thing}, 'link.png'), ({thing}, 'absent.png') RETURNING id)
                 SELECT id FROM i, LATERAL (SELECT shop.enqueue('image_uploaded', jsonb_build_object('image_id', i.id::text))) AS e""").splitlines()
t.equal(what(image), ["the picture could not be worked on; please send it again"] * 2, "nor is a link followed, and one that is not there is refused in the end")

# Too much time, or memory.
for pid in workers(int(open(os.environ["HF_WORKER_PID"]).read())):
    os.kill(pid, signal.SIGSTOP)
packer = zlib.compressobj(1)
slow = header(9000, 9000, b"".join(packer.compress(bytes(54001)) for _ in range(9000)) + packer.flush(), depth=16)
small = Worker(image_timeout="3s", image_jobs="1", image_memory="256MB", image_pixels="90", poll_interval="50ms", simulated="off")
within(180, lambda: what([put(good["png"], "png")]) == ["ready"])
# Its program waits for the next one, which it gets. It is stopped: on a quick machine it would be ready in time.
for pid in programs(small):
    os.kill(pid, signal.SIGSTOP)
psql("UPDATE shop.job_kind SET attempts = 1 WHERE kind = 'image_uploaded'")
poison = put(slow, "png")
what([poison])
psql("UPDATE shop.job_kind SET attempts = 2 WHERE kind = 'image_uploaded'")
after = put_many([(good["png"], "png")] * 5)
t.equal(what([poison]), ["the picture takes too much time or memory to be worked on"], "one that takes too long is refused after the last attempt")
t.equal(set(what(after)), {"ready"}, "and those behind it are ready")
deep = header(6000, 6000, zlib.compress(bytes(1000)), colour=6, depth=16, interlace=1)
t.equal(what([put(deep, "png")]), [WHOLE], "one that is to be kept whole, and does not fit into memory, is refused before it is decoded")
t.equal(psql("SELECT count(*) FROM shop.job_dead WHERE kind = 'image_uploaded'"), "0", "nothing is a dead letter")
t.equal(psql(f"SELECT count(*) FROM shop.job AS j JOIN shop.image AS i ON i.id::text = j.payload ->> 'image_id' WHERE i.product_id = {thing}"), "0", "and nothing is left")
t.ok(small.events("image_failed"), "what went wrong is in the log", small.log())
small.stop()
