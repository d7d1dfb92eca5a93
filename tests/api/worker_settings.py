#!/usr/bin/env python3
# with-worker: --conf 'simulated = off'
"""A worker that starts has understood all of its settings; one whose settings are wrong says so, and does not start.
conf/worker.conf has them all. It never works as root, and its role in the database may do nothing else. TAP.
"""
import os
import pwd
import re
import subprocess
import tempfile

from api import Tap, psql, within
from worker import RUNAS, Worker, settings

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "../.."))
PROGRAM = os.environ["HF_WORKER"]
t = Tap()


def check(text, runas=()):
    """What worker --check says about a configuration: status and words."""
    with tempfile.NamedTemporaryFile("w", suffix=".conf", dir=home) as file:
        file.write(text)
        file.flush()
        os.chmod(file.name, 0o644)
        done = subprocess.run([*runas, PROGRAM, "--check", file.name], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


source = open(f"{ROOT}/worker/src/config.c").read()
table = {("provider.NAME." if place == "OF" else "") + name: None if otherwise == "NULL" else otherwise.strip('"') for name, place, otherwise in
         re.findall(r'\{"(\w+)", HF_KIND_\w+, (AT|OF)\(\w+\), (NULL|"[^"]*"),', source)}
model = open(f"{ROOT}/conf/worker.conf").read()
defaults = {name: value.strip() for name, value in re.findall(r"^#([\w.]+) =(.*)$", model, re.M)}
given = dict(re.findall(r"^(\w+) = (.*)$", model, re.M))
t.equal(set(defaults) | set(given), set(table), "conf/worker.conf has every setting and no other")
t.equal({name: value for name, value in defaults.items() if value}, {name: value for name, value in table.items() if value}, "it shows the defaults")
t.equal(set(given), {name for name, value in table.items() if value is None and not name.startswith("provider.")}, "and gives what must be given")

with tempfile.TemporaryDirectory() as home:
    os.chmod(home, 0o755)
    good = f"database = dbname=x\nuser = {os.environ.get('USER', 'nobody') if os.getuid() else 'nobody'}\n"
    secret = os.path.join(home, "secret")

    def write(text, mode=0o640):
        with open(secret, "w") as file:
            file.write(text)
        os.chmod(secret, mode)
        if os.getuid() == 0:
            os.chown(secret, pwd.getpwnam("nobody").pw_uid, -1)

    def bank(**more):
        return good + "".join(f"provider.bank.{name} = {value}\n" for name, value in {"url": "https://bank.example/calls", **more}.items())

    t.equal(check(good), (0, ""), "what must be given is enough")
    t.equal(check(good + "clock = on\njobs = off\ndatabase_timeout = 10min\n"), (0, ""), "a worker that is nothing but the clock may take its time")
    t.equal(check(bank()), (0, ""), "a provider needs no more than a URL")
    write("sk_live_x\n")
    t.equal(check(bank(secret_file=secret)), (0, ""), "and may have a secret")
    for claim, text, message in (
            ("an unknown setting", good + "colour = red\n", "line 3: there is no setting colour"),
            ("a setting that is given twice", good + "workers = 1\nworkers = 1\n", "workers is given twice"),
            ("no database", "workers = 1\n", "database is not given"),
            ("a line that is none", good + "workers\n", "line 3"),
            ("no workers", good + "workers = 0\n", 'workers cannot be "0"'),
            ("too many workers", good + "workers = 65\n", "workers"),
            ("a time without a unit", good + "lease = 60\n", "lease"),
            ("a time that is too short", good + "poll_interval = 1ms\n", "poll_interval"),
            ("a number beyond all numbers", good + "batch = 99999999999999999999\n", "batch"),
            ("less than nothing", good + "batch = -1\n", "batch"),
            ("a switch that is half on", good + "simulated = yes\n", "simulated"),
            ("a provider without a URL", good + "provider.bank.calls = 1\n", "provider.bank.url is not given"),
            ("an unknown setting of a provider", bank(colour="red"), "provider.bank.colour"),
            ("a provider without a name", good + "provider..url = http://x/\n", "provider..url"),
            ("a provider whose name is none", good + "provider.Bank.url = http://x/\n", "provider.Bank.url"),
            ("the prefix alone", good + "provider.bank = x\n", "provider.bank"),
            ("more providers than 16", good + "".join(f"provider.p{n}.url = http://x/\n" for n in range(17)), "provider.p16.url"),
            ("a URL that is none", bank(url="bank.example"), "provider.bank.url"),
            ("a file for a URL", bank(url="file:///etc/passwd"), "provider.bank.url"),
            ("another protocol", bank(url="gopher://bank.example/"), "provider.bank.url"),
            ("a URL with a query", bank(url="http://bank.example/?a=b"), "provider.bank.url"),
            ("a URL with a user", bank(url="http://shop:secret@bank.example/"), "provider.bank.url"),
            ("a timeout beyond half of the lease", bank(timeout="31s"), "provider.bank.timeout is more than half of lease"),
            ("a clock that keeps jobs waiting beyond half of their lease", good + "clock = on\ndatabase_timeout = 31s\n", "database_timeout is more than half of lease"),
            ("a secret that is not there", bank(secret_file=home + "/none"), "provider.bank.secret_file: No such file"),
            ("a provider that is simulated twice", good + "simulated = on\nprovider.simulated.url = http://x/\n", "simulated must be off")):
        code, said = check(text)
        t.ok(code == 1 and message in said, f"refused: {claim}", code, said)
    for claim, text, mode, message in (("that everybody may read", "the-secret\n", 0o644, "others than user and group"), ("that is empty", "", 0o640, "empty"), ("with an empty line", "\n", 0o640, "empty"),
                                       ("that is too long", "x" * 2000, 0o640, "too long"), ("with a line end inside a header", "a\rX-Evil: b\n", 0o640, None), ("with a blank", "a b\n", 0o640, "printable")):
        write(text, mode)
        code, said = check(bank(secret_file=secret))
        if message is None:
            t.ok(code == 0, f"a secret {claim} ends there", code, said)
        else:
            t.ok(code == 1 and message in said and "the-secret" not in said, f"refused: a secret {claim}", code, said)
    t.equal(subprocess.run([PROGRAM], capture_output=True).returncode, 2, "without a file it says how to use it")
    if os.getuid() == 0:
        code, said = check("database = dbname=x\nuser = root\n")
        t.ok(code == 1 and "user must not be" in said, "refused: to work as root", code, said)
        code, said = check("database = dbname=x\nuser = no-such-user\n")
        t.ok(code == 1 and "there is no" in said, "refused: a user that is none", code, said)

# Started by root, it becomes its user.
if os.getuid() == 0:
    worker = Worker(start=False)
    log = open(worker.log_path, "a")
    worker.process = subprocess.Popen([PROGRAM, worker.conf], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    within(60, lambda: worker.events("started"))
    status = [open(f"/proc/{pid}/status").read() for pid in [worker.process.pid, *worker.children()]]
    wanted = os.stat(os.path.dirname(worker.conf)).st_uid
    t.equal({tuple(re.search(r"^Uid:\t(.*)$", s, re.M)[1].split()) for s in status}, {(str(wanted),) * 4}, "started by root it becomes its user, for good")
    t.equal({re.search(r"^NoNewPrivs:\t(\d)", s, re.M)[1] for s in status}, {"1"}, "and never becomes more")
    worker.stop()


# Its role.
def refused(sql):
    try:
        psql(sql, "shop_worker")
    except subprocess.CalledProcessError as error:
        return "permission denied" in error.stderr
    return False


for sql in ("SELECT * FROM shop.account", "SELECT * FROM holdfast.payments", "SELECT * FROM _holdfast.webhook_secret", "SELECT holdfast.add_provider('x')", "SELECT holdfast.receive(1, 1)",
            "SELECT holdfast.set_webhook_secret('simulated', 'x')", "SELECT * FROM rest.order_list(1, '{}')", "CREATE TABLE holdfast.x ()"):
    t.ok(refused(sql), f"shop_worker may not: {sql}")
