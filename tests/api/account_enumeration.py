#!/usr/bin/env python3
# with-api: --only-edge --conf 'hash_memory = 1MB' --conf 'hash_passes = 1'
"""Nobody learns from a login, or from asking to reset a password, who has an account: status, body, headers and time are
the same for an address that somebody has and one that nobody has. Runs within tools/with-api. TAP.

The times are those of pairs: each is one request of either kind, in an order left to chance, so that what slows the machine
down slows both. What is compared is the median of the differences with the median of all. A machine may be disturbed
for as long as a measurement takes: it gets eight, and something that takes longer every time is found by each.
"""
import http.client
import os
import random
import socket
import statistics
import time
import urllib.parse
import uuid

from api import Answer, Tap, psql, register, reload

EDGE = os.environ["HF_EDGE"]
t = Tap()


class Socket(http.client.HTTPConnection):
    """A connection to the application's own socket."""

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(os.environ["HF_API_SOCKET"])


def ask(connection, path, body, kind):
    """An answer, and the milliseconds that it took."""
    begin = time.perf_counter()
    connection.request("POST", path, body, {"Content-Type": kind})
    response = connection.getresponse()
    answer = Answer(response.status, response.getheaders(), response.read())
    return answer, (time.perf_counter() - begin) * 1000


def looks(answer):
    """Of an answer, all but what is never twice the same."""
    return answer.status, answer.body, tuple(sorted((n, v) for n, v in answer.headers.items() if n not in ("x-request-id", "date")))


def measure(trials, known, unknown, path, kind):
    """The difference of the medians as a part of their mean, the median, and how the answers looked."""
    connection, times, seen = Socket("application"), {True: [], False: []}, {True: set(), False: set()}
    for i in range(trials + 10):
        for somebody in random.sample((True, False), 2):
            answer, took = ask(connection, path, known() if somebody else unknown(), kind)
            seen[somebody].add(looks(answer))
            if i >= 10:
                times[somebody].append(took)
    connection.close()
    middle = statistics.median(times[True] + times[False])
    return statistics.median(a - b for a, b in zip(times[True], times[False])) / middle, middle, seen


def compare(what, trials, bound, *how):
    """Tests that two kinds of requests cannot be told apart."""
    for attempt in range(8):
        share, middle, seen = measure(trials, *how)
        print(f"# {what}: of {trials} pairs the median is {middle:.2f} ms; an address that somebody has takes {100 * share:+.1f} % of it longer", flush=True)
        alike = seen[True] == seen[False] and len(seen[True]) == 1
        if alike and abs(share) <= bound:
            break
    t.ok(alike, f"{what}: all answers look the same", seen)
    t.ok(abs(share) <= bound, f"{what}: the medians differ by at most {bound:.0%}", share)


def form(email):
    """A login with a wrong password."""
    return urllib.parse.urlencode({"grant_type": "password", "username": email, "password": "a wrong password"})


def stranger():
    """An address that nobody has, as long as the others."""
    return f"olga-{uuid.uuid4().hex[:10]}@example.org"


FORM, JSON = "application/x-www-form-urlencoded", "application/json"
olga = register("olga", base=EDGE)
compare("login", 1000, 0.05, lambda: form(olga.email), lambda: form(stranger()), "/v1/oauth/token", FORM)

suspended = register("olga", base=EDGE)
register("root", ["admin"], base=EDGE).post(f"/v1/admin/accounts/{suspended.id}/suspend")
psql(f"UPDATE shop.account SET password_hash = NULL WHERE id = {register('olga', base=EDGE).id}")
without = psql("SELECT email FROM shop.account WHERE password_hash IS NULL AND email LIKE 'olga-%' ORDER BY id DESC LIMIT 1")
compare("login of a suspended account", 150, 0.1, lambda: form(suspended.email), lambda: form(stranger()), "/v1/oauth/token", FORM)
compare("login of an account without a password", 150, 0.1, lambda: form(without), lambda: form(stranger()), "/v1/oauth/token", FORM)

compare("reset", 300, 0.2, lambda: f'{{"email": "{olga.email}"}}', lambda: f'{{"email": "{stranger()}"}}', "/v1/password-resets", JSON)
compare("reset of a suspended account", 100, 0.2, lambda: f'{{"email": "{suspended.email}"}}', lambda: f'{{"email": "{stranger()}"}}',
        "/v1/password-resets", JSON)
psql(f"DELETE FROM shop.job WHERE kind = 'password_reset' AND payload ->> 'account_id' = '{olga.id}'")

# As in production.
reload(hash_memory="19MB", hash_passes="2")
olga = register("olga", base=EDGE)
compare("login, with hashes as in production", 40, 0.2, lambda: form(olga.email), lambda: form(stranger()), "/v1/oauth/token", FORM)
