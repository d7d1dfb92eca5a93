"""What tests/api/cache.py stands on: the module under Kore, Redis, the database, and TAP."""
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.realpath(__file__))
ROOT = os.path.realpath(os.path.join(HERE, "../../.."))
RUNAS = os.environ.get("HF_RUNAS", "").split()
PREFIX = "holdfast:holdfast_test:"
TIMEOUT = 0.25  # of Redis, in the module's settings

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


def note(text):
    print("#", text, flush=True)


def wait_for(condition, seconds=30.0):
    """Waits until it is true; the seconds that took, or None."""
    begin = time.monotonic()
    while time.monotonic() - begin < seconds:
        if condition():
            return time.monotonic() - begin
        time.sleep(0.005)
    return None


def percentile(values, part):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else 0.0


class Client:
    """One connection to the module."""

    def __init__(self, port):
        self.port = port
        self.socket = None

    def get(self, path, timeout=60.0):
        """The body of an answer, in words."""
        if self.socket is None:
            self.socket = socket.create_connection(("127.0.0.1", self.port))
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(timeout)
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        data = b""
        while b"\r\n\r\n" not in data:
            more = self.socket.recv(65536)
            if not more:
                raise ConnectionError("the server has closed the connection")
            data += more
        head, body = data.split(b"\r\n\r\n", 1)
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        while len(body) < length:
            body += self.socket.recv(65536)
        if not head.startswith(b"HTTP/1.1 200"):
            raise ConnectionError(head.decode())
        return body.decode().split()

    def send(self, path):
        """Asks without waiting for the answer."""
        self.socket = socket.create_connection(("127.0.0.1", self.port))
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    def close(self):
        if self.socket is not None:
            self.socket.close()
        self.socket = None


class Redis:
    """A connection to Redis that speaks as little of its protocol as is needed."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(os.environ["HF_REDIS"])
        self.file = self.socket.makefile("rb")

    def send(self, *words):
        data = b"*%d\r\n" % len(words)
        for word in words:
            raw = word if isinstance(word, bytes) else str(word).encode()
            data += b"$%d\r\n%s\r\n" % (len(raw), raw)
        self.socket.sendall(data)

    def read(self):
        line = self.file.readline().rstrip(b"\r\n")
        if not line:
            raise ConnectionError("Redis is gone")
        kind, rest = line[:1], line[1:]
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2].decode()
        if kind == b"*":
            return [self.read() for _ in range(int(rest))]
        return line.decode()

    def run(self, *words):
        self.send(*words)
        return self.read()

    def name(self, kind, key):
        return f"{PREFIX}{self.run('GET', PREFIX + 'heartbeat')}:{kind}:{{{key}}}"


class Database:
    """A psql that lives on."""

    def __init__(self):
        self.psql = subprocess.Popen(["psql", "-XAtq"], stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, text=True, bufsize=1)

    def run(self, text):
        """Runs a statement; the first line of what it answers."""
        self.psql.stdin.write(text + ";\nSELECT 'done';\n")
        self.psql.stdin.flush()
        first = None
        while True:
            line = self.psql.stdout.readline().rstrip("\n")
            if line == "done":
                return first
            first = line if first is None else first

    def change(self, item):
        return int(self.run(f"UPDATE item SET version = version + 1 WHERE id = {item} RETURNING version"))

    def sync(self):
        self.run("SELECT holdfast.cache_sync('10 s')")


class Server:
    """The module under Kore, with one worker."""

    def __init__(self, near_cache=16 << 20, redis=None):
        self.directory = tempfile.mkdtemp(prefix="holdfast-cache.")
        os.chmod(self.directory, 0o711)
        subprocess.run([os.path.join(HERE, "build"), self.directory], check=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.write("settings", f"""database host={os.environ['PGHOST']} port={os.environ['PGPORT']} dbname={os.environ['PGDATABASE']} user={os.environ['PGUSER']} gssencmode=disable sslmode=disable
redis unix:{redis or os.environ['HF_REDIS']}
prefix {PREFIX}
near_cache {near_cache}
redis_timeout {int(TIMEOUT * 1000)}
""")
        self.write("kore.conf", f"""load {self.directory}/cache.so
root {self.directory}
server main {{
	bind 127.0.0.1 {self.port}
	tls no
}}
workers 1
worker_max_connections 2000
worker_rlimit_nofiles 4096
worker_accept_threshold 1
worker_set_affinity 0
http_request_limit 2000
http_keepalive_time 60
http_header_timeout 65
http_hsts_enable 0
pidfile {self.directory}/pid
domain * {{
	attach main
	route /item item
	route /flood flood
	route /stats stats
	route /noop noop
}}
""")
        self.log = open(os.path.join(self.directory, "log"), "w", encoding="utf-8")
        self.start()

    def write(self, name, text):
        path = os.path.join(self.directory, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, 0o644)

    def start(self):
        # Kore writes its pid there.
        os.chmod(self.directory, 0o777)
        self.kore = subprocess.Popen(
            [*RUNAS, "kore", "-c", os.path.join(self.directory, "kore.conf"), "-f", "-n", "-r"],
            cwd=self.directory, stdout=self.log, stderr=self.log, start_new_session=True)
        if wait_for(self.answers) is None:
            sys.exit(f"Bail out! the module does not start: {self.said()}")
        self.worker = self.stats()["pid"]

    def answers(self):
        try:
            Client(self.port).get("/noop", 1)
            return True
        except OSError:
            return False

    def said(self):
        with open(os.path.join(self.directory, "log"), encoding="utf-8") as file:
            return file.read()

    def stats(self):
        words = self.get("/stats")
        return {words[i]: int(words[i + 1]) for i in range(0, len(words), 2)}

    def get(self, path, timeout=60.0):
        client = Client(self.port)
        try:
            return client.get(path, timeout)
        finally:
            client.close()

    def memory(self):
        """Resident bytes of the worker."""
        with open(f"/proc/{self.worker}/statm", encoding="utf-8") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    def is_ready(self):
        stats = self.stats()
        self.get("/item?id=1")
        return stats["up"] == 1 and stats["on"] == 1 and stats["alive"] == 1

    def stop(self):
        self.kore.send_signal(signal.SIGTERM)
        self.kore.wait()
        self.log.close()
        shutil.rmtree(self.directory)


class Load:
    """Clients that ask for random items until they are stopped, and keep what they saw."""

    def __init__(self, port, clients, path):
        self.port = port
        self.path = path
        self.stopped = False
        self.seen = []  # (asked at, seconds, words or the error, path)
        self.threads = [threading.Thread(target=self.run, args=(i,)) for i in range(clients)]
        for thread in self.threads:
            thread.start()

    def run(self, number):
        client = Client(self.port)
        turn = number
        while not self.stopped:
            turn += 1
            path = self.path(turn)
            begin = time.monotonic()
            try:
                words = client.get(path)
            except (OSError, ConnectionError) as error:
                words = ["error", str(error)]
                client.close()
            self.seen.append((begin, time.monotonic() - begin, words, path))
            time.sleep(0.001)
        client.close()

    def stop(self):
        self.stopped = True
        for thread in self.threads:
            thread.join()
        return self.seen


class Impostor:
    """Listens like a Redis, greets like one, and answers all else with the same bytes."""

    def __init__(self, path):
        self.answer = b""
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(path)
        os.chmod(path, 0o777)
        self.socket.listen(100)
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                threading.Thread(target=self.serve, args=(self.socket.accept()[0],), daemon=True).start()
            except OSError:
                return

    def serve(self, client):
        try:
            while data := client.recv(65536):
                if data == b"*1\r\n$4\r\nPING\r\n":
                    client.sendall(b"+PONG\r\n")
                elif self.answer is None:
                    return client.close()
                else:
                    client.sendall(self.answer)
        except OSError:
            pass

    def close(self):
        self.socket.close()


def redis_pid():
    with open(os.environ["HF_REDIS_PID"], encoding="utf-8") as file:
        return int(file.read())


def redis_start():
    subprocess.Popen([*RUNAS, "redis-server", os.environ["HF_REDIS_CONF"]], start_new_session=True,
                     stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def cache_worker():
    run = subprocess.run(["psql", "-XAtqc", "SELECT pid FROM pg_stat_activity WHERE backend_type = 'holdfast cache'"],
                         capture_output=True, text=True, check=True)
    return int(run.stdout)


def is_published():
    """Does the cache worker keep a heartbeat?"""
    try:
        return Redis().run("GET", PREFIX + "heartbeat") is not None
    except OSError:
        return False
