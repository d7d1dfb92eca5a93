#!/usr/bin/env python3
# Usage: tests/api/pg.py
#
# Claims of the application's database module (api/src/pg*.c), in a server of its own whose
# requests are statements: pg_module/module.c. Runs under tools/with-stack, which it starts itself.
import functools
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
import peace  # noqa: E402

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "../.."))
SOURCES = ["loop.c", "pg.c", "pg_conninfo.c", "pg_connection.c", "pg_pipeline.c"]
TIMEOUT = 3.0  # of a request, in the module's configuration
GRACE = 2.0  # that the server has beyond it
LATE = 10  # seconds that anything may be late on a machine that has other things to do
TRIES = 5

if "HF_DATA" not in os.environ:
    stack = os.path.join(ROOT, "tools/with-stack")
    # Backends are killed here.
    os.execv(stack, [stack, "--fast", "--no-redis", "--expect-crash", "--conf",
                     "superuser_reserved_connections=3", os.path.realpath(__file__), *sys.argv[1:]])

RUNAS = os.environ["HF_RUNAS"].split()
tests = 0
failed = 0


def ok(good, claim, *details):
    global tests, failed
    tests += 1
    print(f"{'ok' if good else 'not ok'} {tests} - {claim}", flush=True)
    if not good:
        failed += 1
        for detail in details:
            print("#", str(detail).replace("\n", "\n# "), flush=True)
    return good


def equal(got, wanted, claim):
    return ok(got == wanted, claim, f"got    {got!r}", f"wanted {wanted!r}")


in_peace = functools.partial(peace.in_peace, ok, TRIES)


def sql(text):
    run = subprocess.run(["psql", "-XAtqc", text], capture_output=True, text=True)
    if run.returncode != 0:
        raise RuntimeError(run.stderr)
    return run.stdout.strip()


def wait_for(condition, seconds=30.0):
    """Waits until it is true; the seconds that took, or None."""
    begin = time.monotonic()
    while time.monotonic() - begin < seconds:
        if condition():
            return time.monotonic() - begin
        time.sleep(0.02)
    return None


class Api:
    """Kore with the module, one worker; what is left of them in the end is killed."""

    running = []

    def __init__(self, directory, **settings):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self.log_name = os.path.join(directory, f"log.{self.port}")
        conf = os.path.join(directory, f"conf.{self.port}")
        with open(conf, "w", encoding="utf-8") as file:
            file.write(f"""
load {directory}/pg_module.so
server api {{
    bind 127.0.0.1 {self.port}
    tls no
}}
workers 1
worker_set_affinity 0
worker_max_connections 1024
worker_rlimit_nofiles 2048
worker_accept_threshold 1
root {directory}
pidfile {directory}/pid.{self.port}
http_request_limit 1024
http_request_ms 1000
http_keepalive_time 60
http_header_timeout 65
domain * {{
    attach api
    route ^/.*$ page
}}
""")
        conninfo = settings.pop("CONNINFO", "host={0} port={1} user=postgres dbname={2}".format(
            os.environ["PGHOST"], os.environ["PGPORT"], os.environ["PGDATABASE"]))
        environment = {"PATH": os.environ["PATH"], "CONNINFO": conninfo,
                       "TIMEOUT": str(int(TIMEOUT * 1000)), **settings}
        with open(self.log_name, "wb") as log:
            self.process = subprocess.Popen(
                RUNAS + os.environ.get("HF_KORE", "kore").split() + ["-c", conf, "-f", "-n", "-r"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
        Api.running.append(self.process)
        wait_for(self.answers, 60)

    def get(self, path, connection=None):
        own = connection is None
        connection = connection or self.connect()
        connection.request("GET", path)
        text = connection.getresponse().read().decode()
        if own:
            connection.close()
        return text

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def answers(self):
        try:
            return self.get("/noop") == "noop"
        except OSError:
            return False

    def state(self):
        return json.loads(self.get("/state"))

    def send(self, lane, statement, *values):
        return self.get(f"/send/{lane}/{statement}/" + ",".join(map(str, values))).splitlines()

    def flood(self, lane, statement, value, n):
        self.get(f"/flood/{lane}/{statement}/{value}/{n}")

    def is_quiet(self):
        state = self.state()
        return state["left"] == 0 and state["accepted"] == state["answered"]

    def is_up(self):
        return self.state()["up"] == [2, 4, 1, 2, 1]

    def log(self):
        with open(self.log_name, encoding="utf-8") as log:
            return log.read()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


class Probe(threading.Thread):
    """Asks for /noop all the time, and knows how long that took, in milliseconds."""

    def __init__(self, api):
        super().__init__()
        self.api, self.going, self.took = api, True, []
        self.start()

    def run(self):
        connection = self.api.connect()
        while self.going:
            begin = time.monotonic()
            self.api.get("/noop", connection)
            self.took.append((time.monotonic() - begin) * 1000)
            time.sleep(0.001)

    def end(self):
        """Says whether the worker never waited: for the database that would have been until it is given up."""
        self.going = False
        self.join()
        took = sorted(self.took)
        usual, slowest = took[len(took) * 95 // 100], took[-1]
        print(f"# {len(took)} other requests, p95 {usual:.1f} ms, slowest {slowest:.1f} ms")
        ok(slowest < 1000 * (TIMEOUT + GRACE), "meanwhile other requests do not wait", usual, slowest)


def backends():
    """The pids of the backends that serve the module."""
    return [int(pid) for pid in sql(
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'holdfast_api'").split()]


def server_pids():
    """The postmaster and all that it has started."""
    with open(os.path.join(os.environ["HF_DATA"], "postmaster.pid"), encoding="utf-8") as file:
        postmaster = int(file.readline())
    found = [postmaster]
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8") as file:
                if int(file.read().rsplit(")", 1)[1].split()[1]) == postmaster:
                    found.append(int(name))
        except OSError:
            pass
    return found


def kill(pids, number):
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def restart(mode):
    with open(os.environ["HF_LOG"], "ab") as log:
        subprocess.run(RUNAS + ["pg_ctl", "-D", os.environ["HF_DATA"], "-s", "-w", "-m", mode,
                                "restart"],
                       check=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def accounts(api, what):
    """Every statement that was accepted has one answer."""
    wait_for(api.is_quiet, 60)
    state = api.state()
    ok(state["accepted"] == state["answered"] and state["twice"] == 0 and
       state["answered"] == state["rows"] + state["refused"] + state["lost"] and
       state["waiting"] == [0] * 5 and state["lost"] == state["lost_counted"],
       f"{what}, every accepted statement has exactly one answer", state)
    return state


def check_answers(api):
    equal(api.send("read", "one", 41), ["rows 1 42"], "a statement is answered with its rows")
    equal(api.send("read", "divide", 0), ["refused 22012"], "an error is told by its SQLSTATE")
    equal(api.send("read", "one", "x"), ["refused 22P02"], "so is a value of the wrong type")
    equal(api.send("read", "echo", "nul"), ["refused 22021"], "a NUL is refused and does not cut")
    equal(api.send("read", "big", 3000000)[0][:10], "rows 1 xxx", "a long answer comes whole")
    equal(api.send("write", "copy", 1), ["lost"], "COPY loses its connection, not the worker")
    equal(api.send("read", "echo", "y" * 200), ["rows 1 " + "y" * 40], "so does a long value")


def check_groups(api):
    before = api.state()
    values = [1, 2, 0, 5, 0, 10, 1, 0, 2, 5] * 6
    wanted = ["refused 22012" if v == 0 else f"rows 1 {10 // v}" for v in values]
    equal(api.send("read", "divide", *values), wanted,
          "a read gets its own answer, whatever its neighbours do")
    after = api.state()
    ok(after["statements"] - before["statements"] > len(values),
       "those that a neighbour's error skipped were sent again", before, after)
    before = api.state()
    equal(api.send("read", "one", *range(60)), [f"rows 1 {i + 1}" for i in range(60)],
          "reads of one pass are answered in order")
    after = api.state()
    equal([after["statements"] - before["statements"], after["batches"] - before["batches"]],
          [60, 2], "and share one Sync a connection")


def check_writes(api):
    sql("TRUNCATE pg_test")
    equal(api.send("write", "insert", 1, 0, 2, 0, 5, 10), [
        "rows 1 10", "refused 22012", "rows 1 5", "refused 22012", "rows 1 2", "rows 1 1"],
          "a write is answered for itself")
    equal(sql("SELECT string_agg(n::text, ' ' ORDER BY n) FROM pg_test"), "1 2 5 10",
          "a write whose neighbour failed is committed")
    equal(sorted(line[:13] for line in api.send("write", "deferred", 7, 7, 8)),
          ["refused 23505", "rows 1 xxxxxx", "rows 1 xxxxxx"],
          "a write whose commit fails is refused, though its rows had come")
    equal(sql("SELECT count(*) FROM pg_test_deferred"), "2", "and is not there")

    def spread():
        begin = time.monotonic()
        answers = api.send("write", "sleep", 0.5, 0.5, 0.5, 0.5)
        took = time.monotonic() - begin
        return answers == ["rows 1 "] * 4 and took < 1.5, answers, took

    in_peace("writes spread over the connections that have nothing to do", spread)


def check_lanes(api):
    def beside():
        ends = []
        slow = threading.Thread(target=lambda: ends.append(api.send("slow", "sleep", 2.5)))
        slow.start()
        api.send("read", "one", 1)
        api.send("write", "one", 1)
        good = not ends
        slow.join()
        return good, ends

    in_peace("a statement of another lane does not wait for a slow one", beside)
    begin = time.monotonic()
    equal(api.send("read", "sleep", 5), ["refused 57014"],
          "the server ends a statement before the request's time is over")
    took = time.monotonic() - begin
    ok(TIMEOUT * 0.8 < took < TIMEOUT + LATE, "in time", took)
    holder = subprocess.Popen(["psql", "-XAtq"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    holder.stdin.write("SELECT pg_advisory_lock(5);\n")
    holder.stdin.flush()
    wait_for(lambda: sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == "1")
    equal(api.send("write", "lock", 5), ["refused 55P03"], "and a wait for a lock before that")
    holder.communicate()


def check_full(api):
    values = ["0.1"] * 60
    answers = api.send("slow", "sleep", *values)
    equal([answers.count("rows 1 "), answers.count("full")], [32, 28],
          "a lane accepts as many statements as its queue has room for")

    def alone():
        begin = time.monotonic()
        answers = sorted(api.send("purchase", "sleep", 0.5, 0.5, 0.5))
        took = time.monotonic() - begin
        return answers == ["full", "rows 1 ", "rows 1 "] and took < 1, answers, took

    in_peace("that of purchases as many as it has connections, each of which runs alone", alone)

    def ended():
        begin = time.monotonic()
        answer = api.send("purchase", "sleep", 9)
        took = time.monotonic() - begin
        return answer == ["refused 57014"] and TIMEOUT * 0.3 < took < TIMEOUT * 0.8, answer, took

    in_peace("and the server ends one so early that there is time for another", ended)


def check_stale(api):
    equal(api.send("read", "changing", 3), ["rows 1 3"], "a function answers")
    sql("DROP FUNCTION pg_test_changing; CREATE FUNCTION pg_test_changing(n int8, OUT a text, OUT b"
        " text) LANGUAGE sql AS $$ SELECT 'new', n::text $$")
    ends = [api.send("read", "changing", 3)[0] for _ in range(6)]
    up = wait_for(lambda: api.send("read", "changing", 3) == ["rows 1 new"] and api.is_up())
    ok(up is not None and "lost" not in ends,
       "a function that returns something else by now is prepared anew", ends, up)
    ends = [api.send("write", "changing", 3)[0] for _ in range(6)]
    up = wait_for(lambda: api.send("write", "changing", 3) == ["rows 1 new"] and api.is_up())
    ok(up is not None and "refused 40001" in ends and set(ends) <= {"refused 40001", "rows 1 new", "full"},
       "a write that did not run for that may be tried again", ends, up)


def check_memory(api):
    api.flood("read", "one", 1, 20000)
    wait_for(api.is_quiet, 60)
    before = api.state()
    api.flood("read", "one", 1, 100000)
    took = wait_for(api.is_quiet, 120)
    after = api.state()
    ok(took is not None and after["rows"] - before["rows"] == 100000 and
       after["memory"] - before["memory"] < 65536,
       "100,000 reads leave no memory behind", before, after)
    print(f"# {100000 / took:.0f} reads a second, {after['memory'] - before['memory']} bytes more")
    before = after
    api.flood("write", "divide", 0, 20000)
    wait_for(api.is_quiet, 120)
    after = api.state()
    ok(after["refused"] - before["refused"] == 20000 and
       after["memory"] - before["memory"] < 65536, "nor do 20,000 errors", before, after)


def recover(api, what, losses=0):
    """Waits until so many connections were lost in all, all are up, and each lane answers."""
    wait_for(lambda: api.state()["reconnects"] >= losses)
    took = wait_for(api.is_up)
    ok(took is not None, f"{what}, all connections are up again", api.state(), api.log()[-600:])
    print(f"# {what}: up after {took or -1:.2f} s")
    wait_for(api.is_quiet, 60)
    answers = [api.send(lane, "one", 1) for lane in ("read", "write", "slow", "purchase", "live")]
    equal(answers, [["rows 1 2"]] * 5, f"{what}, every lane answers again")


def check_terminated(api):
    probe = Probe(api)
    equal(len(backends()), 10, "there is a backend for each connection")

    def terminated():
        nonlocal losses
        wait_for(api.is_up)
        losses = api.state()["reconnects"] + 10
        sleeper = []
        thread = threading.Thread(target=lambda: sleeper.append(api.send("write", "sleep", 2.5)))
        thread.start()
        wait_for(lambda: sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'holdfast_api'"
                             " AND wait_event = 'PgSleep'") == "1")
        api.flood("read", "one", 1, 40000)
        sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'holdfast_api'")
        thread.join()
        wait_for(lambda: api.state()["reconnects"] >= losses)
        return sleeper == [["lost"]], sleeper

    losses = 0
    in_peace("a write whose backend is terminated is lost", terminated)
    recover(api, "after pg_terminate_backend", losses)
    accounts(api, "after pg_terminate_backend")
    probe.end()


def check_read_again(api):
    before = api.state()
    victim = int(api.send("read", "pid", 0)[0].split()[2])
    answers = []
    threads = [threading.Thread(target=lambda: answers.extend(api.send("read", "sleep", 1.5)))
               for _ in range(4)]
    for thread in threads:
        thread.start()
        time.sleep(0.02)
    time.sleep(0.1)
    sql(f"SELECT pg_terminate_backend({victim})")
    for thread in threads:
        thread.join()
    after = api.state()
    ok(answers == ["rows 1 "] * 4 and after["lost"] == before["lost"],
       "a read whose connection is lost is answered by another", answers)
    recover(api, "after the loss of one connection", before["reconnects"] + 1)


def check_killed(api):
    probe, before = Probe(api), api.state()
    api.flood("read", "one", 1, 60000)
    time.sleep(0.05)
    kill(backends()[:1], signal.SIGKILL)
    recover(api, "after kill -9 of a backend", before["reconnects"] + 10)
    accounts(api, "after kill -9 of a backend")
    probe.end()


def check_restarted(api):
    for mode in "fast", "immediate":
        before = api.state()
        api.flood("write", "one", 1, 10000000)
        probe = Probe(api)
        restart(mode)
        api.flood("write", "one", 1, 0)
        recover(api, f"after a restart ({mode}) under load", before["reconnects"] + 10)
        accounts(api, f"after a restart ({mode}) under load")
        probe.end()


def check_frozen(api):
    before = api.state()
    frozen = server_pids()
    answers = []

    def ask(lane):
        begin = time.monotonic()
        answer = api.send(lane, "one", 1)
        answers.append((lane, answer, time.monotonic() - begin))

    probe = Probe(api)
    kill(frozen, signal.SIGSTOP)
    try:
        threads = [threading.Thread(target=ask, args=(lane,)) for lane in ("read", "write")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        api.flood("write", "big", 10, 5000)
        full = wait_for(lambda: api.state()["full"] > before["full"])
        wait_for(lambda: api.state()["up"][1] == 0)
        refused = api.send("write", "one", 1)
        api.flood("write", "big", 10, 0)
        time.sleep(2.5)  # long enough for a try to connect to be given up
    finally:
        kill(frozen, signal.SIGCONT)
    limit = TIMEOUT + GRACE + LATE
    ok(len(answers) == 2 and all(
        answer == ["lost"] and TIMEOUT + GRACE - 0.2 < took < limit for _, answer, took in answers),
       "a statement on a frozen server is lost within its bound", answers)
    ok(full is not None and refused == ["full"],
       "what finds no connection, or no room, is refused at once", full, refused)
    probe.end()
    recover(api, "after the server was frozen")
    accounts(api, "after the server was frozen")


def check_crowded(directory):
    sql("ALTER ROLE tester CONNECTION LIMIT 3")
    conninfo = "host={0} port={1} user=tester dbname={2}".format(
        os.environ["PGHOST"], os.environ["PGPORT"], os.environ["PGDATABASE"])
    api = Api(directory, CONNINFO=conninfo)
    wait_for(lambda: sum(api.state()["up"]) == 3)
    equal(sum(api.state()["up"]), 3, "of too many connections some are up")
    ok(wait_for(lambda: "too many connections" in api.log()) is not None, "the log says that there are too many", api.log())
    sql("ALTER ROLE tester CONNECTION LIMIT -1")
    recover(api, "after there were too many connections")
    api.stop()
    state_line = api.log().splitlines()[-1]
    ok(api.log().count("database_lost") <= 6, "and does not say it again and again", api.log())
    ok("stopped accepted=5 answered=5" in api.log(), "a worker ends when told to", state_line)


def check_unprepared(directory):
    sql("ALTER FUNCTION pg_test_changing RENAME TO pg_test_gone")
    api = Api(directory)
    wait_for(lambda: api.log().count("database_lost") >= 5)
    time.sleep(1.0)
    equal([api.state()["up"], api.send("read", "one", 1)], [[0, 0, 0, 0, 0], ["full"]],
          "no connection is up while a statement cannot be prepared")
    log = api.log()
    ok("cannot prepare changing" in log and log.count("database_lost") == 5,
       "the log says which, once a lane", log)
    sql("ALTER FUNCTION pg_test_gone RENAME TO pg_test_changing")
    recover(api, "after the function is there")
    api.stop()


def check_read_only(directory):
    sql("ALTER ROLE tester SET default_transaction_read_only = on")
    conninfo = "host={0},{0} port={1} user=tester dbname={2} password='never\\'shown'".format(
        os.environ["PGHOST"], os.environ["PGPORT"], os.environ["PGDATABASE"])
    api = Api(directory, CONNINFO=conninfo)
    time.sleep(0.5)
    equal(api.state()["up"], [0, 0, 0, 0, 0], "a server that only reads is not connected to")
    sql("ALTER ROLE tester RESET default_transaction_read_only")
    recover(api, "after it writes again")
    ok("shown" not in api.log(), "no password is in the log", api.log())
    api.stop()


def check_silent_host(directory):
    """The first endpoint accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        conninfo = "host=localhost,{0} port={3},{1} user=postgres dbname={2}".format(
            os.environ["PGHOST"], os.environ["PGPORT"], os.environ["PGDATABASE"],
            silent.getsockname()[1])
        api = Api(directory, CONNINFO=conninfo)
        took = wait_for(api.is_up)
        ok(took is not None, "a host that is silent is passed over", took, api.log())
        api.stop()


def check_stopped(directory):
    def stopped():
        api = Api(directory)
        wait_for(api.is_up)
        frozen = server_pids()
        kill(frozen, signal.SIGSTOP)
        try:
            api.flood("write", "one", 1, 300)
            wait_for(lambda: api.state()["left"] == 0)
            begin = time.monotonic()
            api.stop()
            took = time.monotonic() - begin
        finally:
            kill(frozen, signal.SIGCONT)
        return took < TIMEOUT + GRACE / 2 and "stopped accepted=300 answered=300" in api.log(), took, api.log()

    in_peace("a worker ends at once though the server is frozen, and answers what waits", stopped)


def build(directory):
    with open("/usr/share/kore/features", encoding="utf-8") as file:
        features = file.read().replace("-I", "-isystem ").split()
    source = os.path.join(ROOT, "api/src")
    subprocess.run([os.environ.get("CC", "cc"), "-std=gnu11", "-D_GNU_SOURCE", "-O2", "-g", "-Wall",
                    "-Wextra", "-Werror", "-fPIC", "-fno-common", "-shared", f"-I{source}",
                    "-isystem", "/usr/share/kore/include", *features,
                    "-o", f"{directory}/pg_module.so",
                    os.path.join(ROOT, "tests/api/pg_module/module.c"),
                    *(os.path.join(source, name) for name in SOURCES), "-lpq"], check=True)


def prepare_database():
    sql("CREATE ROLE tester LOGIN PASSWORD 'never''shown'")
    sql("CREATE TABLE pg_test (n int8); CREATE TABLE pg_test_deferred"
        " (n int8 UNIQUE DEFERRABLE INITIALLY DEFERRED);"
        " CREATE FUNCTION pg_test_changing(n int8) RETURNS int8 LANGUAGE sql AS 'SELECT n';"
        " GRANT ALL ON pg_test, pg_test_deferred TO tester")


def check_all(directory):
    api = Api(directory)
    wait_for(api.is_up)
    equal(api.state()["up"], [2, 4, 1, 2, 1], "the lanes have the connections that are configured")
    for check in (check_answers, check_groups, check_writes, check_lanes, check_full, check_stale,
                  check_memory, check_read_again, check_terminated, check_killed, check_frozen,
                  check_restarted):
        if wanted(check):
            wait_for(api.is_up)
            check(api)
    accounts(api, "in the end")
    ok("died" not in api.log(), "no worker died", api.log())
    api.stop()
    for check in (check_crowded, check_unprepared, check_read_only, check_silent_host,
                  check_stopped):
        if wanted(check):
            check(directory)


def wanted(check):
    return len(sys.argv) < 2 or check.__name__[6:] in sys.argv[1:]


def main():
    directory = tempfile.mkdtemp(prefix="holdfast-pg.")
    try:
        os.chmod(directory, 0o777)
        build(directory)
        prepare_database()
        check_all(directory)
    finally:
        for process in Api.running:
            process.terminate()
        shutil.rmtree(directory)
    print(f"1..{tests}")
    return failed > 0


sys.exit(main())
