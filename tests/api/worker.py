"""Workers that a test starts itself, beside that of tools/with-worker, and what the database says of their calls."""
import json
import os
import signal
import subprocess
import time

from api import psql, within, workers

CONF = os.environ["HF_WORKER_CONF"]
RUNAS = os.environ["HF_RUNAS"].split()


def settings():
    """The settings of tools/with-worker's worker."""
    with open(CONF) as file:
        return dict(line.rstrip("\n").split(" = ", 1) for line in file)


class Worker:
    """A worker with settings of its own; None takes one away. It is started at once."""

    number = 0

    def __init__(self, start=True, **changes):
        Worker.number += 1
        self.conf = os.path.join(os.path.dirname(CONF), f"worker-{Worker.number}.conf")
        self.log_path = self.conf + ".log"
        chosen = {**settings(), "simulated": "off", **{name.replace("__", "."): value for name, value in changes.items()}}
        with open(self.conf, "w") as file:
            file.writelines(f"{name} = {value}\n" for name, value in chosen.items() if value is not None)
        open(self.log_path, "w").close()
        self.process = None
        if start:
            self.start()

    def start(self):
        begun = len(self.events("started"))
        with open(self.log_path, "a") as log:
            self.process = subprocess.Popen([*RUNAS, os.environ["HF_WORKER"], self.conf], stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, start_new_session=True)
        if not within(60, lambda: len(self.events("started")) > begun):
            raise RuntimeError("the worker did not start: " + self.log())
        return self

    def log(self):
        with open(self.log_path) as file:
            return file.read()

    def events(self, name=None):
        """Lines of the log that are whole; those of an event."""
        lines = [json.loads(line) for line in self.log().split("\n")[:-1] if line.startswith("{")]
        return [line for line in lines if name is None or line["event"] == name]

    def children(self):
        return workers(self.process.pid)

    def is_told(self):
        """Whether it has heard that it is to end: it has said so to the database."""
        pids = ", ".join(map(str, self.children())) or "0"
        return psql(f"SELECT count(*) FROM shop.worker WHERE pid IN ({pids}) AND stopped_at IS NOT NULL") != "0"

    def kill(self, whole=False):
        """kill -9 of the worker processes, or of their parent as well."""
        victims = self.children() + ([self.process.pid] if whole else [])
        for pid in sorted(victims, key=lambda pid: pid != self.process.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if whole:
            self.process.wait(60)

    def freeze(self, still=True):
        for pid in self.children():
            os.kill(pid, signal.SIGSTOP if still else signal.SIGCONT)

    def stop(self, number=signal.SIGTERM, wait=60):
        """Asks it to end; the exit status, and the seconds that it took."""
        begun = time.monotonic()
        self.process.send_signal(number)
        return self.process.wait(wait), time.monotonic() - begun


def calls(where="true"):
    """Calls as dictionaries."""
    text = psql(f"""SELECT coalesce(json_agg(c), '[]') FROM (
        SELECT c.payment, c.n, c.kind, s.name AS state, c.attempts, c.reference, c.reason, c.provider,
               extract(epoch FROM c.due_at - clock_timestamp()) AS due_in, p.state AS code, p.method,
               (SELECT v.state FROM holdfast.payments AS v WHERE v.account_id = c.account_id AND v.payment = c.payment) AS payment_state
        FROM _holdfast.provider_call AS c JOIN _holdfast.call_state AS s ON s.code = c.state
        JOIN _holdfast.payment AS p ON p.account_id = c.account_id AND p.id = c.payment
        WHERE {where} ORDER BY c.payment, c.n) AS c""")
    return json.loads(text)


def broken():
    """What holdfast.verify() and shop.verify() find."""
    return psql("SELECT * FROM holdfast.verify()"), psql("SELECT * FROM shop.verify()")
