#!/usr/bin/env python3
# with-api: --only-edge --expect-crash --conf 'drain_timeout = 20s' --conf 'request_timeout = 15s'
"""The application starts with a good configuration only, is replaced without a failed request, ends in
peace, and comes back after a crash. Runs within tools/with-api, behind nginx. TAP.
"""
import http.client
import json
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
import urllib.parse

from api import Client, Tap, psql, register, within, workers

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "../.."))
EDGE, CONF, DIR = os.environ["HF_EDGE"], os.environ["HF_API_CONF"], os.environ["HF_API_DIR"]
PID_FILE, LOG = os.environ["HF_API_PID"], os.environ["HF_API_LOG"]
RUNAS = os.environ["HF_RUNAS"].split()
GOOD = open(CONF).read()
os.environ.pop("HF_JOURNAL", None)  # answers of nginx are not of the contract
t = Tap()


def pid():
    return int(open(PID_FILE).read())


def alive(process):
    try:
        return open(f"/proc/{process}/stat").read().rpartition(") ")[2][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def status(path="/health", base=EDGE):
    """The status of a GET on a connection of its own; 0 if there is no answer."""
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(base).netloc, timeout=60)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def changed(**settings):
    """The good configuration with other settings; None takes one away."""
    lines = [line for line in GOOD.splitlines() if line.split(" =")[0] not in settings]
    return "\n".join(lines + [f"{name} = {value}" for name, value in settings.items() if value is not None]) + "\n"


def write_conf(text):
    with open(CONF, "w") as file:
        file.write(text)


def check(text):
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write(text)
        file.flush()
        done = subprocess.run([f"{DIR}/serve", "--check", file.name], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stderr


def start():
    """Starts an instance as with-api does, which takes over; its pid, when it answers."""
    with open(LOG, "a") as log:
        process = subprocess.Popen([*RUNAS, f"{DIR}/serve", CONF], stdin=subprocess.DEVNULL, stdout=log,
                                   stderr=log, start_new_session=True)
    if not within(60, lambda: pid() == process.pid):
        raise RuntimeError("an instance did not start")
    return process


def reload():
    """The exit status of api/reload, and what it and the new instance said, which goes on to say it there."""
    begin = os.path.getsize(LOG)
    with open(LOG, "a") as log:
        done = subprocess.run([*RUNAS, f"{DIR}/reload", CONF], stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=120)
    return done.returncode, open(LOG, errors="replace").read()[begin:]


class Load:
    """Clients that ask and change without a pause, half of them on connections that they keep. What is no
    2xx is in .failures, and so is a connection that broke."""

    def __init__(self, token, clients=8):
        self.token, self.failures, self.answers, self.end = token, [], 0, False
        self.threads = [threading.Thread(target=self.run, args=(n,)) for n in range(clients)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.end = True
        for thread in self.threads:
            thread.join()

    def run(self, n):
        connection = None
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json", "If-Match": "*"}
        for i in range(1 << 30):
            if self.end:
                break
            if connection is None:
                connection = http.client.HTTPConnection(urllib.parse.urlsplit(EDGE).netloc, timeout=60)
            try:
                if i % 3 == 0:
                    connection.request("PATCH", "/v1/me", json.dumps({"name": f"Name {n} {i}"}), headers)
                else:
                    connection.request("GET", "/v1/categories" if i % 3 == 1 else "/v1/me", headers=headers)
                answer = connection.getresponse()
                body = answer.read()
                self.answers += 1
                if not 200 <= answer.status < 300:
                    self.failures.append((answer.status, body[:200]))
                # Pauses make connections idle, behind nginx too.
                time.sleep((0, 0.002, 0.02)[i % 3])
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                connection = None
                continue
            if n % 2:
                connection.close()
                connection = None


# The configuration.
source = open(f"{ROOT}/api/src/config.c").read()
table = {name: otherwise.strip('"') if otherwise != "NULL" else None for name, otherwise in
         re.findall(r'\{"(\w+)", (?:HF_KIND_\w+,\s*AT\(\w+\),\s*)(NULL|"[^"]*")', source)}
launcher = set(re.findall(r'\{"(\w+)", ANY_LAUNCHER\}', source))
model = open(f"{ROOT}/conf/api.conf").read()
defaults = dict(re.findall(r"^#(\w+) =[ ]*(.*)$", model, re.M))
given = dict(re.findall(r"^(\w+) = (.*)$", model, re.M))
t.equal(set(defaults) | set(given), set(table) | launcher, "conf/api.conf has every setting and no other")
t.equal({name: defaults.get(name) for name in table if name not in given},
        {name: otherwise for name, otherwise in table.items() if otherwise is not None},
        "it shows the defaults, and gives what must be given")
t.equal(check(model)[0], 0, "it is a good configuration itself")

for claim, text, message in (
        ("an unknown setting", changed(colour="red"), "colour"),
        ("a setting that is given twice", GOOD + "workers = 2\n", "workers"),
        ("a time without a unit", changed(request_timeout="5"), "request_timeout"),
        ("a limit that is none", changed() + "limit.read.global = 5 a second\n", "limit.read.global"),
        ("a limit that is given twice", changed() + 2 * "limit.read.global = 5/1s\n", "limit.read.global"),
        ("a limit with a burst below zero", changed() + "limit.read.global = 5/1s burst -5\n", "limit.read.global"),
        ("no database", changed(database=None), "database"),
        ("no workers", changed(workers="0"), "workers"),
        ("a number of workers that is none", changed(workers="two"), "workers"),
        ("too many connections", changed(max_connections="70000"), "max_connections"),
        ("an address without a port", changed(listen="127.0.0.1"), "listen"),
        ("the name of a host to listen on", changed(listen="localhost:8080"), "listen"),
        ("a socket that is no path", changed(listen="unix:api.sock"), "listen"),
        ("a socket whose path is too long", changed(listen="unix:/tmp/" + "x" * 100), "listen"),
        ("a pid file that is no path", changed(pid_file="api.pid"), "pid_file"),
        ("a path with a blank, which Kore cannot read", changed(pid_file="/tmp/a b/api.pid"), "pid_file")):
    code, said = check(text)
    t.ok(code == 1 and message in said, f"serve --check refuses {claim}", code, said)

with tempfile.TemporaryDirectory() as elsewhere, http.client.socket.create_server(("127.0.0.1", 0)) as taken:
    if RUNAS:
        subprocess.run(["chown", "--reference", os.path.dirname(PID_FILE), elsewhere], check=True)
    own = f"{elsewhere}/api.conf"
    with open(own, "w") as file:
        file.write(changed(listen=f"127.0.0.1:{taken.getsockname()[1]}", pid_file=f"{elsewhere}/api.pid"))
    done = subprocess.run([*RUNAS, f"{DIR}/serve", own], capture_output=True, text=True, timeout=60)
    left = lambda: set(os.listdir(elsewhere)) - {"api.conf"}
    t.ok(done.returncode != 0 and within(60, lambda: not left()),
         "at an address that is taken it does not start, and leaves nothing", done, left())

# The process.
first = pid()
t.equal(len(workers(first)), 2, "there are as many workers as were asked for")
uids = {os.stat(f"/proc/{process}").st_uid for process in {first, *workers(first)}}
t.equal(uids, {os.stat(PID_FILE).st_uid}, "all of it runs as the user of the pid file")
t.ok(0 not in uids, "who is not root")
os.kill(first, signal.SIGHUP)
for process in workers(first):
    os.kill(process, signal.SIGHUP)
time.sleep(0.3)
t.equal([status("/v1/categories") for _ in range(10)], [200] * 10, "SIGHUP does no harm")

# Replacing it.
me = register("reloader", base=EDGE)
t.equal(status("/bench/noop"), 404, "the old configuration has no /bench/noop")
write_conf(changed(bench="on"))
with Load(me.token) as load:
    time.sleep(0.5)
    codes = []
    for _ in range(3):
        codes.append(reload())
        time.sleep(0.3)
t.equal([code for code, _ in codes], [0, 0, 0], "three reloads under load succeed")
t.equal(load.failures[:5], [], f"and none of {load.answers} requests fails, of kept connections and new ones")
t.equal(status("/bench/noop"), 200, "the new configuration counts")
t.ok(pid() != first and not alive(first), "the old process is gone")

second = pid()
write_conf(changed(workers="none"))
with Load(me.token, 2) as load:
    refused = reload()
    time.sleep(0.3)
t.ok(refused[0] != 0 and "workers" in refused[1], "a bad configuration is not reloaded", refused)
t.equal((pid(), load.failures[:5]), (second, []), "and the old process goes on, without a failed request")

with tempfile.NamedTemporaryFile() as empty:
    os.chmod(empty.name, 0o640)
    if RUNAS:
        subprocess.run(["chown", "--reference", PID_FILE, empty.name], check=True)
    write_conf(changed(token_keys=empty.name))
    with Load(me.token, 2) as load:
        refused = reload()
        time.sleep(0.3)
t.ok(refused[0] != 0 and "old one goes on" in refused[1], "nor one that does not start", refused)
t.equal((pid(), load.failures[:5]), (second, []), "and the old process goes on here too")
write_conf(changed(listen="127.0.0.1:1"))
t.ok("taken over" in reload()[1], "an address that cannot be taken over is not reloaded")
write_conf(GOOD)

# Ending it.
locker = subprocess.Popen(["psql", "-XqAt"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
locker.stdin.write("BEGIN; LOCK TABLE shop.account; SELECT 'locked';\n")
locker.stdin.flush()
locker.stdout.readline()
answers = []
asking = threading.Thread(target=lambda: answers.append(Client(EDGE, me.token).patch("/v1/me", {"name": "Late"},
                                                                                  headers={"If-Match": "*"})))
asking.start()
waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'shop.account'::regclass"
t.ok(within(60, lambda: psql(waits) != "0"), "a change is under way")
os.kill(second, signal.SIGTERM)
time.sleep(0.7)
t.ok(alive(second), "told to end, it waits for it")
locker.communicate("COMMIT;\n")
asking.join()
t.equal((answers[0].status, psql(f"SELECT name FROM shop.account WHERE id = {me.id}")), (200, "Late"),
        "what was under way is finished and answered")
t.ok(within(60, lambda: not alive(second)), "then it ends")
gone = Client(EDGE).get("/v1/categories")
t.equal((gone.status, gone.code, gone.headers.get("retry-after")), (503, "unavailable", "1"),
        "after that nginx says 503, and when to come back")

# Starting it again, and crashes.
third = start()
t.equal(status(), 200, "a new process takes the place of the old one's socket")
before = workers(third.pid)
victim = min(before)
os.kill(victim, signal.SIGKILL)
killed = time.monotonic()
t.ok(within(60, lambda: victim not in workers(third.pid) and len(workers(third.pid)) == 2), "a killed worker is replaced")
good = within(60, lambda: [status("/v1/categories") for _ in range(20)] == [200] * 20)
took = time.monotonic() - killed
t.ok(good, "all requests are answered again")
print(f"# after {took:.2f} s", flush=True)
t.equal(open(LOG, errors="replace").read().count("restarting worker"), 1, "nothing else has crashed")

orphans = workers(third.pid)
os.kill(third.pid, signal.SIGKILL)
third.wait()
t.ok(within(60, lambda: not any(map(alive, orphans))), "workers whose parent was killed end by themselves")
for line in subprocess.run(["ipcs", "-m", "-p"], capture_output=True, text=True).stdout.splitlines():
    words = line.split()
    if len(words) == 4 and words[2] == str(third.pid):
        subprocess.run([*RUNAS, "ipcrm", "-m", words[0]], check=False)
fourth = start()
t.equal(status("/v1/categories"), 200, "and it can be started again")
