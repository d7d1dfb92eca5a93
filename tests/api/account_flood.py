#!/usr/bin/env python3
# with-api: --conf 'hash_queue = 4'
"""A flood of logins, which cost a hash each, delays nobody else: what does not fit into the queue is refused at once with
503 and Retry-After, and meanwhile everything else goes on, and does not wait for hashes. Runs within tools/with-api. TAP.
"""
import multiprocessing
import statistics
import threading
import time

from api import Client, Tap, login, product, register

SECONDS, CLIENTS, ENOUGH, PATIENCE = 4, 32, 10, 60
t = Tap()


def flood(email, pipe):
    """Logs in without a pause, with many clients, until enough are answered in either way; tells the status, Retry-After and seconds of each answer."""
    answers, begun = [], time.monotonic()

    def goes_on():
        passed = time.monotonic() - begun
        return passed < SECONDS or passed < PATIENCE and min(sum(a[1] == code for a in list(answers)) for code in ("invalid_grant", "unavailable")) < ENOUGH

    def run():
        client = Client()
        while goes_on():
            begin = time.monotonic()
            answer = client.post("/v1/oauth/token", form={"grant_type": "password", "username": email, "password": "a wrong password"})
            answers.append((answer.status, answer.code, answer.headers.get("retry-after"), time.monotonic() - begin))
            if answer.status == 503:
                time.sleep(0.1)

    threads = [threading.Thread(target=run) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pipe.send(answers)


def p99(times):
    """The time that 99 of 100 stay below."""
    return statistics.quantiles(times, n=100)[98]


mark, olga = register("mark", ["merchant"]), register("olga")
thing = f"/v1/products/{product(mark)['id']}"
WAYS = {"/health": Client(), thing: Client(), "/v1/me": Client(token=olga.token)}
for path, client in WAYS.items():
    client.get(path)

here, there = multiprocessing.Pipe()
attacker = multiprocessing.Process(target=flood, args=(olga.email, there))
attacker.start()
took, statuses = {path: [] for path in WAYS}, set()
while not here.poll():
    for path, client in WAYS.items():
        begin = time.monotonic()
        statuses.add(client.get(path).status)
        took[path].append(time.monotonic() - begin)
    time.sleep(0.005)
answers = here.recv()
attacker.join()

# On a machine that has other things to do some wait for their hash until their time is over.
served, refused, late = ([a for a in answers if (a[0], a[1]) == told] for told in ((400, "invalid_grant"), (503, "unavailable"), (503, "timed_out")))
print(f"# {len(served)} logins were judged, in {statistics.median(a[3] for a in served) * 1000:.0f} ms (median); "
      f"{len(refused)} refused, in {statistics.median(a[3] for a in refused) * 1000:.0f} ms; {len(late)} timed out", flush=True)
t.equal(len(served) + len(refused) + len(late), len(answers), "each login is judged or refused")
t.ok(len(served) >= ENOUGH, "logins go on", len(served))
t.ok(len(refused) >= ENOUGH, "those that are too many are refused", refused[:3])
t.ok(all(a[2] and int(a[2]) >= 1 for a in refused), "and told when to come again", refused[:3])
judged = statistics.median(a[3] for a in served)
t.ok(statistics.median(a[3] for a in refused) < judged, "at once, sooner than others are judged")
t.equal(statuses, {200}, "everything else is answered meanwhile")
for path, times in took.items():
    print(f"# {path.split('/')[-2 if path == thing else -1]}: {len(times)} requests, median {statistics.median(times) * 1000:.1f} ms, p99 {p99(times) * 1000:.1f} ms", flush=True)
    t.ok(statistics.median(times) < judged / 2, f"and does not wait for hashes: {'a product' if path == thing else path}", statistics.median(times), judged)
t.equal(login(olga.email).get("/v1/me").status, 200, "when the flood is over, one logs in as before")
