"""The running stack as tools/sale sees it: where it is, its database, its REST API, and accounts with tokens."""
import base64
import datetime
import hashlib
import hmac
import http.client
import json
import os
import subprocess
import time
import urllib.parse
import uuid

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RUNNING = os.path.join(ROOT, "var", "running")
WANTED = ("HF_EDGE", "HF_API", "HF_API_CONF", "HF_STAGE", "PGHOST", "PGPORT", "PGUSER", "PGDATABASE")
NOT_RUNNING = "no stack is running here; start one in another terminal with make run"


class StackError(Exception):
    pass


class Refused(Exception):
    pass


class Stack:
    """The stack of make run, which tools/run has written down, or the one in whose environment this runs."""

    def __init__(self, this):
        self.environment = dict(os.environ) if this else self.read_running()
        missing = [name for name in WANTED if not self.environment.get(name)]
        if missing:
            raise StackError(f"{', '.join(missing)} missing; --on-this-stack is for tools/with-api" if this else NOT_RUNNING)
        self.edge, self.api = self.environment["HF_EDGE"], self.environment["HF_API"]
        self.conf = self.read_conf()
        try:
            self.ask("GET", "/health", None, None, 200)
        except (OSError, http.client.HTTPException):
            raise StackError(NOT_RUNNING) from None

    @staticmethod
    def read_running():
        try:
            with open(RUNNING, encoding="utf-8") as file:
                return {**os.environ, **dict(line.rstrip("\n").split("=", 1) for line in file)}
        except FileNotFoundError:
            raise StackError(NOT_RUNNING) from None
        except PermissionError:
            raise StackError(f"{RUNNING} is not to be read; run this as the user who runs make run") from None

    def read_conf(self):
        try:
            with open(self.environment["HF_API_CONF"], encoding="utf-8") as file:
                return {name.strip(): value.strip() for name, _, value in (line.partition("=") for line in file)}
        except FileNotFoundError:
            raise StackError(NOT_RUNNING) from None

    # -- The database -----------------------------------------------------------------------------------------

    def sql(self, text, **variables):
        """Runs SQL as the superuser; the rows, as lists of texts."""
        words = ["psql", "-XqAt", "-F", "\t", "-v", "ON_ERROR_STOP=1", *(w for name, value in variables.items() for w in ("-v", f"{name}={value}"))]
        done = subprocess.run(words, input=text, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise StackError(done.stderr.strip())
        return [line.split("\t") for line in done.stdout.splitlines()]

    def has_worker(self):
        """Whether a worker, who does provider calls, is connected."""
        return self.sql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'shop_worker' AND datname = current_database()")[0][0] != "0"

    def do_provider_calls(self, stop):
        """Does the calls to the simulated provider as long as no worker is there."""
        while not stop.wait(0.3):
            if not self.has_worker():
                self.sql("SELECT holdfast.simulate_provider(10000)")

    # -- The REST API -----------------------------------------------------------------------------------------

    def ask(self, method, path, body, token, status, key=False):
        """One request, at the edge, that must be answered with this status: the JSON."""
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(self.edge).netloc, timeout=40)
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {}),
                   **({"Idempotency-Key": str(uuid.uuid4())} if key else {})}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        if answer.status != status:
            raise Refused(f"{method} {path}: {answer.status} {text.decode('utf-8', 'replace')[:300]}")
        return json.loads(text) if text.startswith(b"{") else None

    def login(self, email, password):
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(self.edge).netloc, timeout=40)
        form = urllib.parse.urlencode({"grant_type": "password", "username": email, "password": password})
        connection.request("POST", "/v1/oauth/token", form, {"Content-Type": "application/x-www-form-urlencoded"})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        if answer.status != 200:
            raise Refused(f"{email} cannot log in: {answer.status} {text.decode('utf-8', 'replace')[:300]}")
        return json.loads(text)["access_token"]

    @staticmethod
    def time(seconds):
        return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).isoformat()

    # -- The buyers ---------------------------------------------------------------------------------------------

    def make_buyers(self, n, path):
        """Opens accounts that cannot log in, and writes a file of them and their access tokens."""
        self.sql("SELECT holdfast.add_provider('simulated') WHERE NOT EXISTS (SELECT FROM _holdfast.provider WHERE name = 'simulated')")
        accounts = self.sql("INSERT INTO shop.account (name) SELECT format('Buyer %s', i) FROM generate_series(1, :n) AS i RETURNING id", n=n)
        sign = self.signer()
        with open(path, "w", encoding="ascii") as file:
            file.writelines(f"{account} {sign(account)}\n" for account, in accounts)

    def signer(self):
        """Signs access tokens as api/src/token.c does, with the first key of the stack's file."""
        with open(self.conf["token_keys"], encoding="ascii") as file:
            kid, secret = next(line.split()[:2] for line in file if line.strip() and not line.startswith("#"))
        try:
            secret = bytes.fromhex(secret)
        except ValueError:
            secret = base64.urlsafe_b64decode(secret + "=" * (-len(secret) % 4))
        head = encode({"alg": "HS256", "kid": kid, "typ": "JWT"})
        claims = {"iss": self.conf.get("token_issuer", "holdfast"), "aud": self.conf.get("token_audience", "holdfast"), "iat": int(time.time()), "exp": int(time.time()) + 3600}

        def sign(account):
            text = head + b"." + encode({**claims, "sub": account, "jti": uuid.uuid4().hex})
            return (text + b"." + base64.urlsafe_b64encode(hmac.digest(secret, text, hashlib.sha256)).rstrip(b"=")).decode()
        return sign

    def build_crowd(self, work):
        """The load generator, built into the stage if that is ours to write."""
        build = os.path.join(self.environment["HF_STAGE"], "build")
        build = os.path.join(build if os.access(build, os.W_OK) else work, "crowd")
        done = subprocess.run(["make", "-s", "--no-print-directory", "-C", os.path.join(ROOT, "tools", "crowd"), f"BUILD={build}"], check=False)
        if done.returncode != 0:
            raise StackError("the crowd cannot be built")
        return os.path.join(build, "crowd")


def encode(thing):
    return base64.urlsafe_b64encode(json.dumps(thing, separators=(",", ":")).encode()).rstrip(b"=")
