"""What the chaos tests and the soak share: people who shop without a pause and keep a journal, and hands
for the servers of the stack.

A buyer sends an order with a key until it is answered: again when the answer was lost, was 503, or said that
the first one is still being worked on. The journal has the order that each key was told of. Others read
what is cached, and what never is; a merchant changes what is cached. Every answer is noted with its times.
"""
import collections
import http.client
import json
import os
import random
import signal
import subprocess
import threading
import time
import urllib.parse
import uuid

from api import Answer, Client, product, psql, register, settings, why_no_problem

TIMEOUT = int(settings().get("request_timeout", "5s").removesuffix("s"))  # seconds
SLACK = 10                     # seconds that an answer may take beyond it, on a machine that has other things to do
STALE = 5                      # seconds that a read may be behind at most; 2 are promised
EDGE, API = os.environ["HF_EDGE"], os.environ["HF_API"]
RUNAS = os.environ["HF_RUNAS"].split()
DATA = os.environ["HF_DATA"]
os.environ.pop("HF_JOURNAL", None)  # too many answers, and nginx's are not of the contract

# kind: what was asked; begun: seconds of the monotonic clock; status: 0 if the answer was lost.
Note = collections.namedtuple("Note", "kind begun took status wrong")


class Bought:
    """What a key was sent with, and the order that it was answered with."""

    def __init__(self, token, body):
        self.token, self.body, self.order = token, body, None

    def __repr__(self):
        return f"{self.body} {self.order}"


def within(seconds, condition, pause=0.02):
    """How many seconds it took until the condition was true; None if it was not in time."""
    begun = time.monotonic()
    while not condition():
        if time.monotonic() > begun + seconds:
            return None
        time.sleep(pause)
    return time.monotonic() - begun


def percentile(values, part):
    values = sorted(values)
    return values[min(int(len(values) * part), len(values) - 1)] if values else 0.0


class Shopper:
    """A client whose lost answers are no errors, on a connection that it keeps."""

    def __init__(self, base, token=None, timeout=TIMEOUT + SLACK + 10):
        self.host = urllib.parse.urlsplit(base).netloc
        self.timeout, self.connection = timeout, None
        self.headers = {"Accept": "application/json"}
        if token:
            self.headers["Authorization"] = "Bearer " + token

    def send(self, method, path, body=None, **headers):
        """The answer; None if it was lost. A connection that had ended before is no loss: it says so at once."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()} | self.headers
        if body is not None:
            body, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
        while True:
            fresh = self.connection is None
            try:
                if fresh:
                    self.connection = http.client.HTTPConnection(self.host, timeout=self.timeout)
                begun = time.monotonic()
                self.connection.request(method, path, body, headers)
                response = self.connection.getresponse()
                answer = Answer(response.status, response.getheaders(), response.read())
                if response.will_close:
                    self.close()
                return answer
            except (OSError, http.client.HTTPException):
                self.close()
                if fresh or method != "GET" or time.monotonic() > begun + 0.05:
                    return None

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None


def what_is_wrong(answer):
    """Why this is no answer that was promised, or None."""
    if answer is None or answer.status < 400 or answer.code in ("idempotency_key_in_flight", "precondition_failed"):
        return None
    if answer.status != 503:
        return f"{answer}"
    if not answer.headers.get("retry-after", "").isdigit():
        return f"no Retry-After: {answer}"
    return why_no_problem(answer, status=503)


class Load:
    """
    Shoppers in threads, half of them behind the edge, each at `pace` requests a second. with Load() as load:
    they shop until the end, and each buyer is answered for the last key that it sent.
    """

    def __init__(self, buyers=6, cached=6, uncached=6, changers=1, pace=15):
        self.pace, self.notes, self.journal, self.behind = pace, [], {}, []
        self.merchant = register("seller", ["merchant"])
        self.products = [product(self.merchant, units=10 ** 7) for _ in range(8)]
        self.people = [register("buyer") for _ in range(3)]
        self.changed = {made["id"]: (0, 0.0) for made in self.products}  # the version that was acknowledged, and when
        self.ended = threading.Event()
        self.threads = []
        for work, count in ((self.buy, buyers), (self.read_cached, cached), (self.read_uncached, uncached),
                            (self.change, changers)):
            self.threads += [threading.Thread(target=self.work, args=(work, n), daemon=True) for n in range(count)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.ended.set()
        for thread in self.threads:
            thread.join(120)

    def work(self, work, number):
        token = (self.merchant if work == self.change else self.people[number % len(self.people)]).token
        shopper = Shopper((EDGE, API)[number % 2], token if work != self.read_cached else None)
        while not self.ended.is_set():
            begun = time.monotonic()
            work(shopper)
            self.ended.wait(max(0, begun + random.uniform(0.5, 1.5) / self.pace - time.monotonic()))
        shopper.close()

    def ask(self, kind, shopper, *request, **headers):
        """One request, noted; None if it was not done: lost, or to be sent again, after the time that was told."""
        begun = time.monotonic()
        answer = shopper.send(*request, **headers)
        self.notes.append(Note(kind, begun, time.monotonic() - begun, answer.status if answer else 0, what_is_wrong(answer)))
        if answer is not None and answer.status < 400:
            return answer
        self.ended.wait(float(answer.headers.get("retry-after", 0.1)) if answer is not None else 0.05)
        return None

    def buy(self, shopper):
        key, body = str(uuid.uuid4()), {"items": [{"sku_id": random.choice(self.products)["skus"][0]["id"], "quantity": 1}]}
        bought = self.journal[key] = Bought(shopper.headers["Authorization"].split()[1], body)
        give_up = time.monotonic() + 60
        while bought.order is None and time.monotonic() < give_up:
            answer = self.ask("order", shopper, "POST", "/v1/orders", body, Idempotency_Key=key)
            if answer is not None:
                bought.order = answer.json()["id"]
            elif self.ended.is_set():
                time.sleep(0.1)

    def read_cached(self, shopper):
        number = random.choice(self.products)["id"]
        if random.random() < 0.2:
            self.ask("cached", shopper, "GET", random.choice(["/v1/categories", "/v1/products?limit=5", "/v1/search?q=thing"]))
            return
        begun = time.monotonic()
        version, when = self.changed[number]
        answer = self.ask("cached", shopper, "GET", f"/v1/products/{number}")
        if answer is not None and begun > when + STALE and version_of(answer) < version:
            self.behind.append((number, version_of(answer), version, begun - when))

    def read_uncached(self, shopper):
        path = random.choice(["/v1/me", "/v1/orders?limit=3", f"/v1/skus/{random.choice(self.products)['skus'][0]['id']}/stock"])
        self.ask("uncached", shopper, "GET", path)

    def change(self, shopper):
        """Gives a product the next version. If the answer is lost it may have been done, or be done yet."""
        number = random.choice(self.products)["id"]
        now = self.ask("change", shopper, "GET", f"/v1/products/{number}")
        if now is None:
            return
        version = version_of(now) + 1
        answer = self.ask("change", shopper, "PATCH", f"/v1/products/{number}", {"title": f"Thing {version}"},
                          If_Match=now.headers["etag"])
        if answer is not None:
            self.changed[number] = (version, time.monotonic())

    # What is to be said of it.

    def during(self, begun, ended=None, kinds=("order", "cached", "uncached", "change")):
        """The notes of what was asked in this time."""
        ended = ended or time.monotonic()
        return [note for note in self.notes if begun <= note.begun < ended and note.kind in kinds]

    def took(self, part, begun, ended, *kinds):
        """A percentile of milliseconds of what was answered with success in this time."""
        return 1000 * percentile([n.took for n in self.during(begun, ended, kinds) if 0 < n.status < 400], part)

    def counts(self, begun, ended=None):
        return dict(collections.Counter(f"{n.kind} {n.status}" for n in self.during(begun, ended)))

    def check_phase(self, t, name, begun, lost=True):
        """What holds whatever happens: answers in time, and no error but 503. Returns when it was looked at."""
        ended = time.monotonic()
        notes = self.during(begun, ended)
        wrong = [note for note in notes if note.wrong]
        t.ok(not wrong, f"{name}: what is not answered with success is 503, with Retry-After", len(wrong), wrong[:2])
        slow = [note for note in notes if note.took > TIMEOUT + SLACK]
        t.ok(notes and not slow, f"{name}: every answer comes within request_timeout + {SLACK} s", len(slow), slow[:2])
        if not lost:
            t.equal([n for n in notes if n.status == 0][:2], [], f"{name}: no answer is lost")
        return ended

    def check_end(self, t):
        """After the load: nobody waits, the journal is the database, nothing is stale."""
        t.ok(within(60, lambda: waiting() == 0, 0.5) is not None, "in the end nobody waits", waiting())
        told = [bought.order for bought in self.journal.values() if bought.order]
        t.ok(len(told) == len(self.journal) > 20, "every key was answered with an order", len(told), len(self.journal))
        people = ", ".join(str(person.id) for person in self.people)
        there = psql(f"SELECT id FROM shop.order WHERE account_id IN ({people})").split()
        t.equal(len(set(told)), len(told), "each with another")
        t.equal(set(told) - set(there), set(), "every order that was acknowledged is there")
        t.equal(set(there) - set(told), set(), "and none that nobody was told of: no key made two")
        t.equal((psql("SELECT * FROM holdfast.verify()"), psql("SELECT * FROM shop.verify()")), ("", ""),
                "every unit and every order is accounted for")
        self.check_replays(t)
        t.equal(self.behind[:3], [], f"no read was behind by more than {STALE} s")
        time.sleep(STALE)  # what was cached before the last changes may be read no longer
        lost = [(number, version) for number, (version, _) in self.changed.items()
                if version_of(Client(API).get(f"/v1/products/{number}")) < version]
        t.equal(lost, [], "every change that was acknowledged is there")
        self.check_cache(t)

    def check_replays(self, t):
        wrong = []
        for key in random.sample(sorted(self.journal), min(40, len(self.journal))):
            bought = self.journal[key]
            answer = ask_again(bought, key)
            if answer.status != 201 or answer.json()["id"] != bought.order or answer.headers.get("idempotency-replayed") != "true":
                wrong.append((key, bought, answer))
        t.equal(wrong[:1], [], "a key that is sent once more is answered as before")

    def check_cache(self, t):
        """Compares all that is cached with the database, on connections of their own, which go to both workers."""
        wrong = []
        pages = [(f"/v1/products/{made['id']}", f"rest.product_get(NULL, {made['id']})") for made in self.products]
        pages += [("/v1/products?limit=5", "rest.product_list(NULL, '{\"limit\": \"5\"}')"),
                  ("/v1/search?q=thing", "rest.product_search(NULL, '{\"q\": \"thing\"}')"),
                  ("/v1/categories", "rest.category_list(NULL)")]
        for path, function in pages:
            said = json.loads(psql(f"SELECT body FROM {function}"))
            for number in range(6):
                answer = Client((API, EDGE)[number % 2]).get(path)
                if answer.status != 200 or answer.json() != said:
                    wrong.append((path, answer, said))
        t.equal(wrong[:1], [], "all that is cached is what the database has")


def ask_again(bought, key):
    """What is answered to the key once more: at last, if the machine has stood still, or what was sent first is still under way."""
    end = time.monotonic() + 60
    while True:
        answer = Client(API, bought.token).post("/v1/orders", bought.body, headers={"Idempotency-Key": key})
        if answer.status < 400 or (answer.status != 503 and answer.code != "idempotency_key_in_flight") or time.monotonic() > end:
            return answer
        time.sleep(0.2)


def version_of(answer):
    word = answer.json()["title"].split()[-1]
    return int(word) if word.isdigit() else 0


def metrics():
    """The figures of the application by name, with the labels."""
    lines = Client(API).get("/metrics").body.decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if line and line[0] != "#"}


def waiting():
    """
    Requests that are open, and statements that wait, but for this one and what it reads itself. Another worker's figures may be of
    the moment when it was asked for them last: then they have that request, until it looks again a second later.
    """
    figures = metrics()
    own = {"holdfast_http_requests_open": 1, 'holdfast_database_statements_waiting{lane="read"}': 1}
    return sum(max(value - own.get(name, 0), 0) for name, value in figures.items()
               if name.startswith(("holdfast_http_requests_open", "holdfast_database_statements_waiting")))


# The processes of the stack.

def processes(name):
    """The pids of the stack's processes of PostgreSQL or Redis, told by their directory; orphans as well."""
    directory = DATA if name == "postgres" else os.path.dirname(os.environ["HF_REDIS_LOG"])
    script = 'for p in /proc/[0-9]*; do [ "$p/cwd" -ef "$1" ] && read -r n <"$p/comm" && [[ $n = "$2"* ]] && echo "${p##*/}"; done; true'
    done = subprocess.run([*RUNAS, "bash", "-c", script, "processes", directory, name], capture_output=True, text=True)
    return [int(pid) for pid in done.stdout.split()]


def backends():
    """The pids of the application's sessions."""
    return [int(pid) for pid in psql("SELECT pid FROM pg_stat_activity WHERE application_name = 'holdfast_api'").split()]


def workers():
    """The pids of the application's workers that are alive."""
    parent, found = open(os.environ["HF_API_PID"]).read().strip(), []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            state, above = open(f"/proc/{name}/stat").read().rpartition(") ")[2].split()[:2]
        except OSError:
            continue
        if above == parent and state != "Z":
            found.append(int(name))
    return found


def edge_workers():
    """The pids of nginx's workers."""
    parent = open(os.path.join(os.path.dirname(os.environ["HF_API_CONF"]), "nginx.pid")).read().strip()
    return [int(pid) for pid in subprocess.run(["pgrep", "-P", parent], capture_output=True, text=True).stdout.split()]


def files(pids):
    """The descriptors that these processes have open, all together."""
    return sum(len(subprocess.run([*RUNAS, "ls", f"/proc/{pid}/fd"], capture_output=True, text=True).stdout.split()) for pid in pids)


def memory(pids):
    """The bytes of each process that are its own."""
    return [int(line.split()[1]) * 1024 for pid in pids for line in open(f"/proc/{pid}/status") if line.startswith("RssAnon")]


def send(signal_, pids):
    for pid in pids:
        try:
            os.kill(pid, signal_)
        except ProcessLookupError:
            pass


class Frozen:
    """with Frozen(pids): these processes stand still; they always go on afterwards."""

    def __init__(self, pids):
        self.pids = pids

    def __enter__(self):
        send(signal.SIGSTOP, self.pids)

    def __exit__(self, *_):
        send(signal.SIGCONT, self.pids)


def as_server(*words):
    """Runs a command as the servers' user, in a session of its own."""
    with open(os.environ["HF_LOG"], "a") as log:
        subprocess.run([*RUNAS, *words], check=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)


def pg_ctl(*words):
    as_server("pg_ctl", "-D", DATA, "-w", "-t", "60", *words)


def redis(*words):
    return subprocess.run(["timeout", "20", "redis-cli", "-s", os.environ["HF_REDIS"], *words],
                          capture_output=True, text=True).stdout.strip()


def start_redis():
    """Starts Redis, which is not running; returns when it answers."""
    with open(os.environ["HF_REDIS_LOG"], "a") as log:
        subprocess.Popen([*RUNAS, "redis-server", os.environ["HF_REDIS_CONF"]], stdin=subprocess.DEVNULL, stdout=log,
                         stderr=log, start_new_session=True)
    if within(60, lambda: redis("ping") == "PONG") is None:
        raise RuntimeError("Redis did not start")


def kill_redis():
    send(signal.SIGKILL, processes("redis-server"))
    if within(60, lambda: not processes("redis-server")) is None:
        raise RuntimeError("Redis does not die")
