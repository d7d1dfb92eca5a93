"""Pictures that tests make, and what is in those that the worker has made."""
import os
import struct
import subprocess
import tempfile
import time
import zlib

from api import within, workers

RED, GREEN, BLUE, YELLOW = (230, 20, 20), (20, 200, 20), (20, 20, 230), (230, 220, 20)
TYPES = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp"}
WORK = tempfile.TemporaryDirectory(prefix="holdfast-pictures.")
number = 0


def path(ending):
    """A new name for a file."""
    global number
    number += 1
    return os.path.join(WORK.name, f"{number}.{ending}")


def vips(*words):
    subprocess.run(["vips", *map(str, words)], check=True, capture_output=True)


def programs(worker):
    """The processes of the image program."""
    return [pid for process in worker.children() for pid in workers(process)]


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, rows=None, colour=2, depth=8, more=(), level=6):
    """A PNG of these rows of bytes; without rows, of quarters: red, green, blue, yellow."""
    if rows is None:
        half = width // 2
        top, bottom = (bytes(a) * half + bytes(b) * (width - half) for a, b in ((RED, GREEN), (BLUE, YELLOW)))
        rows = [top if y < height // 2 else bottom for y in range(height)]
    data = zlib.compress(b"".join(b"\0" + row for row in rows), level)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)) + \
        b"".join(chunk(*one) for one in more) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def convert(data, ending, options="", source="png", *before):
    """A picture in another format, by libvips."""
    one, other = path(source), path(ending)
    with open(one, "wb") as file:
        file.write(data)
    for operation in before:
        vips(operation[0], one, one + ".v", *operation[1:])
        one += ".v"
    vips("copy", one, other + options)
    with open(other, "rb") as file:
        return file.read()


def with_exif(jpeg, orientation, words=b"secret-camera"):
    """A JPEG with EXIF metadata: an orientation, the camera's maker, and where it was."""
    tiff = b"II*\0\x08\0\0\0" + struct.pack("<H", 3)
    tiff += struct.pack("<HHII", 0x010F, 2, len(words) + 1, 50) + struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    tiff += struct.pack("<HHII", 0x8825, 4, 1, 50 + len(words) + 1) + struct.pack("<I", 0) + words + b"\0"
    tiff += struct.pack("<H", 1) + struct.pack("<HHI4s", 1, 2, 2, b"N\0\0\0") + struct.pack("<I", 0)
    data = b"Exif\0\0" + tiff
    comment = b"\xff\xfe" + struct.pack(">H", 2 + 14) + b"secret-comment"
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(data) + 2) + data + comment + jpeg[2:]


class Pixels:
    """What is in a picture: width, height, bands, and at(x, y)."""

    def __init__(self, data, ending):
        name = path(ending)
        with open(name, "wb") as file:
            file.write(data)
        head = subprocess.run(["vipsheader", "-a", name], check=True, capture_output=True, text=True).stdout
        self.fields = dict(line.split(": ", 1) for line in head.splitlines()[1:] if ": " in line)
        self.width, self.height, self.bands = (int(self.fields[field]) for field in ("width", "height", "bands"))
        vips("rawsave", name, name + ".raw")
        with open(name + ".raw", "rb") as file:
            self.data = file.read()
        os.remove(name)
        os.remove(name + ".raw")

    def at(self, x, y):
        where = (y * self.width + x) * self.bands
        return tuple(self.data[where:where + self.bands])

    def corners(self):
        """The colours of the four quarters, by name."""
        found = []
        for y in (self.height // 4, 3 * self.height // 4):
            for x in (self.width // 4, 3 * self.width // 4):
                seen = self.at(x, y)
                found.append(min("RGBY", key=lambda name: sum((a - b) ** 2 for a, b in zip(seen, dict(zip("RGBY", (RED, GREEN, BLUE, YELLOW)))[name]))))
        return "".join(found)


def send(who, product, data, ending):
    """Uploads a picture of a product; its id."""
    answer = who.request("POST", f"/v1/products/{product}/images", raw=data, headers={"Content-Type": TYPES[ending]})
    if answer.status != 202:
        raise RuntimeError(answer)
    return answer.json()["id"]


def seen(who, product):
    """The pictures of a product, by id."""
    return {image["id"]: image for image in who.get(f"/v1/products/{product}").json()["images"]}


def decided(who, product, image, patience=60):
    """The picture when the worker has decided about it."""
    within(patience, lambda: seen(who, product)[image]["state"] != "uploaded")
    return seen(who, product)[image]
