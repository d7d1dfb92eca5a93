"""What the tests of the API share: a client, people, the database, and TAP.

A test is a program that runs within tools/with-api. Each answer that a client gets is written into the
journal HF_JOURNAL (a line of JSON each), which tests/api/contract.py compares with the contract in the end.
"""
import atexit
import base64
import hashlib
import hmac
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import uuid

PASSWORD = "correct horse battery"


class Answer:
    """An answer: status, headers with names in lower case (the last of each counts), body."""

    def __init__(self, status, headers, body):
        self.status, self.body = status, body
        self.headers = {name.lower(): value for name, value in headers}

    def json(self):
        return json.loads(self.body)

    @property
    def code(self):
        """The code of the problem that this is, or None."""
        try:
            body = self.json()
        except ValueError:
            return None
        return body.get("code") or body.get("error") if isinstance(body, dict) else None

    def __repr__(self):
        return f"{self.status} {self.body[:300]!r}"


class Client:
    """A client with a connection of its own, and perhaps a token."""

    def __init__(self, base=None, token=None, timeout=60):
        self.base = base or os.environ["HF_API"]
        self.token, self.timeout, self.connection = token, timeout, None

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None

    def request(self, method, path, body=None, form=None, headers=None, raw=None):
        """Sends a request: body as JSON, form as a form, or raw bytes. Headers are added, or taken away by None."""
        sent = {"Accept": "application/json"}
        data = raw
        if body is not None:
            data, sent["Content-Type"] = json.dumps(body).encode(), "application/json"
        elif form is not None:
            data, sent["Content-Type"] = urllib.parse.urlencode(form).encode(), "application/x-www-form-urlencoded"
        if self.token:
            sent["Authorization"] = "Bearer " + self.token
        for name, value in (headers or {}).items():
            if value is None:
                sent.pop(name, None)
            else:
                sent[name] = value
        answer = self.send(method, path, data, sent)
        note(method, path, answer)
        return answer

    def send(self, method, path, data, headers):
        for attempt in (1, 2):
            if self.connection is None:
                self.connection = http.client.HTTPConnection(urllib.parse.urlsplit(self.base).netloc, timeout=self.timeout)
            fresh = self.connection.sock is None
            try:
                self.connection.request(method, path, data, headers)
                response = self.connection.getresponse()
                answer = Answer(response.status, response.getheaders(), response.read())
                if response.will_close:
                    self.close()
                return answer
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                self.close()
                # An idle connection may have been closed meanwhile; a new one may not.
                if fresh or attempt == 2:
                    raise

    def get(self, path, **more):
        return self.request("GET", path, **more)

    def post(self, path, body=None, **more):
        return self.request("POST", path, body, **more)

    def put(self, path, body=None, **more):
        return self.request("PUT", path, body, **more)

    def patch(self, path, body=None, **more):
        return self.request("PATCH", path, body, **more)

    def delete(self, path, **more):
        return self.request("DELETE", path, **more)


def key():
    """Headers with a new Idempotency-Key."""
    return {"Idempotency-Key": str(uuid.uuid4())}


def note(method, path, answer):
    """Writes an answer into the journal."""
    journal = os.environ.get("HF_JOURNAL")
    if not journal:
        return
    line = json.dumps({"method": method, "path": path, "status": answer.status, "headers": answer.headers,
                       "body": answer.body.decode("utf-8", "replace")})
    with open(journal, "a") as file:
        file.write(line + "\n")


def login(email, password=PASSWORD, base=None):
    """A client who is logged in; its refresh token is .refresh."""
    client = Client(base)
    answer = client.post("/v1/oauth/token", form={"grant_type": "password", "username": email, "password": password})
    if answer.status != 200:
        raise RuntimeError(f"{email} cannot log in: {answer}")
    client.token, client.refresh = answer.json()["access_token"], answer.json()["refresh_token"]
    return client


def register(name, roles=(), base=None):
    """A new person, logged in: .email, .id, .merchant_id. Roles: merchant, admin."""
    email = f"{name}-{uuid.uuid4().hex[:10]}@example.org"
    answer = Client(base).post("/v1/accounts", {"email": email, "password": PASSWORD, "name": name})
    if answer.status != 201:
        raise RuntimeError(f"{email} cannot register: {answer}")
    account = answer.json()["id"]
    if "admin" in roles:
        psql(f"UPDATE shop.account SET roles = roles || '{{admin}}' WHERE id = {account}")
    client = login(email, base=base)
    client.email, client.id, client.merchant_id = email, account, None
    if "merchant" in roles:
        answer = client.post("/v1/merchants", {"name": f"{name} & Co {uuid.uuid4().hex[:6]}"})
        client.merchant_id = answer.json()["id"]
        client.token = login(email, base=base).token
    return client


def token_of(account, like):
    """An access token of any account, whether or not it is there, by the key that the application signs with: like another one."""
    with open(settings()["token_keys"]) as keys:
        secret = bytes.fromhex(keys.read().split()[1])
    head, claims, _ = like.split(".")
    claims = json.loads(base64.urlsafe_b64decode(claims + "==")) | {"sub": str(account)}
    signed = head + "." + base64.urlsafe_b64encode(json.dumps(claims, sort_keys=True, separators=(",", ":")).encode()).rstrip(b"=").decode()
    return signed + "." + base64.urlsafe_b64encode(hmac.new(secret, signed.encode(), hashlib.sha256).digest()).rstrip(b"=").decode()


def product(merchant, price=1000, units=10, **more):
    """A new published product of one SKU with units in stock; the SKU's id is in ["skus"][0]["id"]."""
    body = {"title": f"Thing {uuid.uuid4().hex[:8]}", "published": True,
            "skus": [{"code": uuid.uuid4().hex[:12], "price": price, "currency": "EUR"}], **more}
    made = merchant.post("/v1/products", body).json()
    if units:
        merchant.post(f"/v1/skus/{made['skus'][0]['id']}/receipts", {"quantity": units, "reference": "test"})
    return made


def why_no_problem(answer, code=None, status=None):
    """What keeps an answer from being a good problem document, with this code and status; None if nothing does."""
    try:
        body = answer.json()
    except ValueError:
        return f"no JSON: {answer}"
    wanted = {"type": "/problems/" + str(body.get("code")), "status": answer.status, "request_id": answer.headers.get("x-request-id")}
    if code is not None:
        wanted["code"] = code
    if status is not None:
        wanted["status"] = status
    wrong = [name for name, value in wanted.items() if body.get(name) != value]
    wrong += [name for name in ("title", "code", "type") if not body.get(name)]
    wrong += [name for name in body if name not in ("type", "title", "status", "code", "detail", "pointer", "request_id")]
    for name, value in (("content-type", "application/problem+json"), ("cache-control", "no-store")):
        if answer.headers.get(name) != value:
            wrong.append(name)
    if answer.status == 401 and not answer.headers.get("www-authenticate", "").startswith("Bearer"):
        wrong.append("www-authenticate")
    return f"{', '.join(wrong)}: {answer} {answer.headers}" if wrong else None


def psql(sql, user=None):
    """Runs SQL as the superuser of the stack, or another user; its output, fields separated by |."""
    words = ["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-c", sql]
    if user:
        words[1:1] = ["-U", user]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


def announced():
    """What has been committed until now has reached the caches: who asks from now on is not told one thing first, and then another."""
    psql("SELECT holdfast.cache_sync('60 s')")


def within(seconds, condition):
    """Whether the condition came true in time. What is waited for needs the processor, too: whoever asks for long asks less often."""
    end, pause = time.monotonic() + seconds, 0.02
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(pause)
        pause = min(1.2 * pause, 0.1)
    return True


def workers(parent=None):
    """The processes of the application, or of another parent, that are alive."""
    parent, found = parent or int(open(os.environ["HF_API_PID"]).read()), []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            state, above = open(f"/proc/{name}/stat").read().rpartition(") ")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(above) == parent and state != "Z":
            found.append(int(name))
    return found


def at_once(n, act):
    """What act(0) to act(n - 1) return, which n threads do at once; an exception is what it returns."""
    results, barrier = [None] * n, threading.Barrier(n)

    def run(i):
        barrier.wait()
        try:
            results[i] = act(i)
        except Exception as error:
            results[i] = error

    threads = [threading.Thread(target=run, args=(i,)) for i in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def settings():
    """The application's."""
    with open(os.environ["HF_API_CONF"]) as file:
        return dict(line.strip().split(" = ", 1) for line in file if " = " in line)


def reload(**others):
    """Replaces the application by one with other settings (api/reload). Only with --only-edge."""
    conf = os.environ["HF_API_CONF"]
    with open(conf) as file:
        lines = [line for line in file if line.split(" =")[0] not in others]
    with open(conf, "w") as file:
        file.writelines(lines + [f"{name} = {value}\n" for name, value in others.items()])
    with open(os.environ["HF_API_LOG"], "a") as log:
        subprocess.run([*os.environ["HF_RUNAS"].split(), os.environ["HF_API_DIR"] + "/reload", conf], check=True,
                       stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=120)


def use_keys(text):
    """Replaces the application by one whose file of keys says this."""
    with open(settings()["token_keys"], "w") as file:
        file.write(text)
    reload()


def npm(name, *packages):
    """The directory of packages from the npm registry, installed once into the cache; None without npm, or if they cannot be had."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    home = os.path.join(cache, "holdfast", name)
    if shutil.which("npm") is None or shutil.which("node") is None:
        return None
    if not os.path.isdir(home):
        os.makedirs(os.path.dirname(home), exist_ok=True)
        new = tempfile.mkdtemp(dir=os.path.dirname(home))
        words = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", new, *packages]
        good = subprocess.run(words, check=False).returncode == 0
        try:
            if good:
                os.rename(new, home)
        except OSError:  # somebody else was quicker
            pass
        shutil.rmtree(new, ignore_errors=True)
    return os.path.join(home, "node_modules") if os.path.isdir(home) else None


class Tap:
    """Counts and prints tests; the plan is printed at the end, and failures make the exit status 1."""

    def __init__(self):
        self.n = self.failed = 0
        atexit.register(self.plan)

    def ok(self, good, claim, *seen):
        self.n += 1
        self.failed += not good
        print(f"{'' if good else 'not '}ok {self.n} - {claim}", flush=True)
        if not good:
            for what in seen:
                print(f"# {what!r}", flush=True)
        return bool(good)

    def equal(self, got, wanted, claim):
        return self.ok(got == wanted, claim, f"got {got!r}, wanted {wanted!r}")

    def plan(self):
        print(f"1..{self.n}", flush=True)
        if self.failed:
            sys.stdout.flush()
            os._exit(1)
