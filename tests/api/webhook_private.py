#!/usr/bin/env python3
# with-stack:
# with-worker: --conf 'jobs = off'
"""A merchant's URL leads the worker to no address of one's own network, however it is written and whatever name it has: the
address that is connected to counts. With webhook_private it may. Runs within tools/with-worker. TAP.
"""
import ctypes
import os
import socket
import struct
import subprocess
import tempfile

from api import Tap, psql, register, within
from hook import Receiver
from worker import Worker

t = Tap()
ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
hook, hook6 = Receiver(), Receiver("::1")
mark = register("mark", ["merchant"])
endpoint = mark.post("/v1/webhook-endpoints", {"url": "https://example.org/", "events": ["order.placed"]}).json()["id"]
FAST = {"jobs": "on", "poll_interval": "50ms", "webhook_timeout": "30s"}
REFUSED = "it has no address that may be called"

# Judged one by one, as sockets have them.
with tempfile.TemporaryDirectory() as home:
    subprocess.run([os.environ.get("CC", "cc"), "-std=gnu11", "-D_GNU_SOURCE", "-O1", "-fPIC", "-shared", "-o", f"{home}/address.so", f"{ROOT}/worker/src/address.c"], check=True)
    judge = ctypes.CDLL(f"{home}/address.so").hf_address_is_public
judge.restype = ctypes.c_bool


def is_public(address):
    if ":" in address:
        return judge(struct.pack("=HHI16sI", socket.AF_INET6, 443, 0, socket.inet_pton(socket.AF_INET6, address), 0))
    return judge(struct.pack("=HH4s8x", socket.AF_INET, 443, socket.inet_aton(address)))


PRIVATE = ["0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.255.254", "169.254.0.1", "169.254.169.254",
           "172.16.0.1", "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.168.0.1", "192.168.255.255", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1",
           "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
           "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::808:808", "100::1",
           "2001::1", "2001:10::1", "2001:db8::1", "2002:7f00:1::", "2002:a00:1::1", "2002:c0a8:1::1", "fc00::1", "fd12:3456::1", "fe80::1", "febf::1", "fec0::1", "ff02::1", "4000::1", "1::1"]
PUBLIC = ["1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0", "169.253.0.1", "169.255.0.1", "172.15.255.255",
          "172.32.0.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255",
          "2606:4700::1111", "2a00:1450::1", "2001:4860::8888", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1", "3fff::1"]
t.equal([a for a in PRIVATE if is_public(a)], [], f"{len(PRIVATE)} addresses are no one's on the Internet")
t.equal([a for a in PUBLIC if not is_public(a)], [], f"{len(PUBLIC)} are, among them the neighbours of the others")


def tried(url):
    """What becomes of a delivery to a URL, whatever the application would say of it: its error, and whether anybody was called."""
    before = len(hook.requests) + len(hook6.requests)
    text = url.replace("'", "''")
    psql(f"UPDATE shop.webhook_endpoint SET url = '{text}', disabled_at = NULL, disabled_reason = NULL WHERE id = {endpoint}")
    path = f"/v1/webhook-endpoints/{endpoint}/deliveries/{mark.post(f'/v1/webhook-endpoints/{endpoint}/test').json()['id']}"
    within(60, lambda: mark.get(path).json()["state"] != "pending")
    seen = mark.get(path).json()
    return seen["state"], seen["error"], len(hook.requests) + len(hook6.requests) - before


NAMES = sorted({"localhost", "LOCALHOST", "localhost.", socket.gethostname()} & {n for n in ["localhost", "LOCALHOST", "localhost.", socket.gethostname()]
               if n.lower().startswith("localhost") or not is_public(socket.gethostbyname(n))})
HOSTS = ["127.0.0.1", "127.1", "127.0.1", "0x7f000001", "0x7f.0.0.1", "017700000001", "0177.0.0.1", "2130706433", "0", "0.0.0.0", "127.0.0.1.", "%31%32%37.0.0.1", *NAMES]
HOSTS6 = ["[::1]", "[0:0:0:0:0:0:0:1]", "[::]"]
URLS = [f"http://{h}:{hook.port}/" for h in HOSTS] + [f"http://{h}:{hook6.port}/" for h in HOSTS6] + [f"http://[::ffff:127.0.0.1]:{hook.port}/", f"http://[::ffff:7f00:1]:{hook.port}/",
        f"https://localhost:{hook.port}/", "http://10.0.0.1/", "http://169.254.169.254/latest/meta-data/", "http://192.168.0.1/", "http://[fe80::1]/", "http://[fd00::1]/", "http://[64:ff9b::7f00:1]/",
        "http://[2002:7f00:1::]/", "http://100.64.0.1/", "http://224.0.0.1/"]
os.environ.update(http_proxy=hook.url, https_proxy=hook.url, all_proxy=hook.url, ALL_PROXY=hook.url)
worker = Worker(webhook_private="off", **FAST)
for url in URLS:
    state, error, called = tried(url)
    t.ok((state, called) == ("failed", 0) and (error == REFUSED or "URL" in error), f"{url} is not called", state, error, called)
for url in [f"ftp://127.0.0.1:{hook.port}/", f"gopher://127.0.0.1:{hook.port}/x", "file:///etc/passwd", f"telnet://127.0.0.1:{hook.port}", f"dict://127.0.0.1:{hook.port}/x", "", "nonsense", "http://"]:
    if url:
        state, error, called = tried(url)
        t.ok((state, called) == ("failed", 0) and error, f"{url} is nothing to call", state, error, called)
t.equal(worker.stop()[0], 0, "the worker ends well")
t.ok(len(hook.requests) + len(hook6.requests) == 0, "nobody was called, directly or as a proxy")

worker = Worker(webhook_private="on", **FAST)
for url in [f"http://127.0.0.1:{hook.port}/", f"http://localhost:{hook.port}/", f"http://[::1]:{hook6.port}/"]:
    t.equal(tried(url), ("delivered", None, 1), f"if it may, it calls {url}")
t.equal(worker.stop()[0], 0, "and ends well")
hook.stop()
hook6.stop()
