#!/usr/bin/env python3
"""Usage: tests/api/frame_module/with-frame tests/api/frame_module/fuzz.py [--connections N] [--seed X]

The cases of framing.py, joined, cut and spoiled at random, on N connections (40000) of clients that
leave in every way there is: whatever comes back is a sequence of answers, and the worker survives,
forgets them all and answers the next one. TAP. A seed repeats what is sent, not how it meets.
"""
import argparse
import json
import multiprocessing
import os
import random
import re
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import framing  # noqa: E402
from framing import Wire, address_of, get, post, probe  # noqa: E402

PROCESSES = 4
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() sends a reset
SPICE = [b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\0", b" ", b"\t", b":", b"\xff", b"Host: a\r\n",
         b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n",
         b"Connection: close\r\n", b"GET / HTTP/1.1\r\n", b"-1", b"99999999999999999999"]


def corpus():
    for group in (framing.request_lines, framing.hosts, framing.lengths, framing.codings,
                  framing.fields, framing.connections):
        group()
    texts = [b"".join(case.pieces)[:20000] for case in framing.Case.all]
    texts += [get(path="/slow?3"), get(path="/slow?30"), get(path="/large?300000"), get(path="/echo"),
              post(b"x" * 30000, path="/echo"), post(b"x" * 200, path="/slow?2")] * 4
    return texts


def spoil(luck, text):
    """A text with a few bytes changed, lost, doubled or added."""
    data = bytearray(text)
    for _ in range(luck.choice((0, 0, 0, 1, 1, 2, 5))):
        at = luck.randrange(len(data) + 1)
        what = luck.randrange(5)
        if what == 0 and data:
            data[min(at, len(data) - 1)] = luck.randrange(256)
        elif what == 1:
            del data[at:at + luck.randrange(1, 9)]
        elif what == 2:
            data[at:at] = data[at:at + luck.randrange(1, 40)]
        else:
            data[at:at] = luck.choice(SPICE)
    return bytes(data)


def attack(luck, address, texts):
    """One connection; what came back on it."""
    text = b"".join(spoil(luck, luck.choice(texts)) for _ in range(luck.choice((1, 1, 2, 3, 8))))
    came = b""
    client = socket.socket()
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.settimeout(60)
    client.connect(address)
    try:
        if luck.random() < 0.2:
            text = text[:luck.randrange(len(text) + 1)]
        while text:
            cut = len(text) if luck.random() < 0.5 else luck.randrange(1, len(text) + 1)
            client.sendall(text[:cut])
            text = text[cut:]
            if luck.random() < 0.1:
                client.settimeout(0.002)
                came += client.recv(70000)
        if luck.random() < 0.3:
            client.shutdown(socket.SHUT_WR)
        client.settimeout(luck.choice((0.0001, 0.001, 0.01)))
        while luck.random() < 0.9:
            data = client.recv(70000)
            if not data:
                break
            came += data
    except OSError:
        pass
    if luck.random() < 0.4:
        try:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        except OSError:
            pass
    client.close()
    return came


def are_answers(came):
    """Whether bytes are answers, the last of which may be cut off. HEAD makes lengths unsure."""
    while came:
        if not re.match(rb"HTTP/1\.1 [1-5][0-9][0-9] "[:len(came)], came) and len(came) > 13:
            return False
        head, mark, rest = came.partition(b"\r\n\r\n")
        if not mark:
            return True
        length = re.search(rb"\ncontent-length: ([0-9]+)", head)
        length = int(length[1]) if length else 0
        came = rest if rest.startswith(b"HTTP/1.1 ") else rest[length:]
    return True


def work(address, seed, connections):
    luck = random.Random(seed)
    texts = corpus()
    for number in range(connections):
        came = attack(luck, address, texts)
        if not are_answers(came):
            print(f"# seed {seed}, connection {number}: {came[:200]!r}", flush=True)
            sys.exit(1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--connections", type=int, default=40000)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    options = parser.parse_args()
    address = address_of(os.environ.get("HF_API") or sys.exit(__doc__))
    print(f"# --seed {options.seed}")
    workers = [multiprocessing.Process(target=work, args=(address, options.seed + i,
                                                          options.connections // PROCESSES))
               for i in range(PROCESSES)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    claims = [("whatever comes back is a sequence of answers", all(w.exitcode == 0 for w in workers))]
    with open(os.environ["HF_FRAME_LOG"], encoding="utf-8") as log:
        said = log.read()
    claims.append(("the worker is the one that began", said.count("started") == 1))
    pid = re.findall(r"worker 1 started .*pid#([0-9]+)", said)[-1]
    end = time.monotonic() + 60
    while len(descriptors := os.listdir(f"/proc/{pid}/fd") if os.access(f"/proc/{pid}/fd", os.R_OK) else []) >= 40 and time.monotonic() < end:
        time.sleep(0.1)
    claims.append(("no connection is left", len(descriptors) < 40))
    wire = Wire(address)
    probe(wire)
    wire.send(get(path="/count"))
    counted = json.loads(wire.answer().body)
    print(f"# {counted}, {len(descriptors)} descriptors")
    claims.append(("requests were refused and others handled",
                   min(counted["refused"], counted["handled"]) > options.connections // 20))
    for number, (claim, holds) in enumerate(claims, 1):
        print(f"{'' if holds else 'not '}ok {number} - {claim}")
    print(f"1..{len(claims)}")
    sys.exit(0 if all(holds for _, holds in claims) else 1)


if __name__ == "__main__":
    main()
