"""tools/simulated-provider as tests start it, kill it and ask it."""
import atexit
import http.client
import json
import os
import signal
import subprocess
import tempfile
import urllib.parse

from api import within

PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tools/simulated-provider")


class Provider:
    """A simulated provider with a ledger of its own; options without their dashes. It is started at once."""

    def __init__(self, secret="", webhook_secret="", **options):
        self.home = tempfile.TemporaryDirectory()
        self.port, self.secret, self.process = 0, secret, None
        for name, text in (("secret", secret), ("webhook_secret", webhook_secret)):
            if text:
                options[name + "_file"] = self.write(name, text)
        self.options = options
        atexit.register(lambda: self.process.kill())
        self.start()

    def write(self, name, text):
        path = os.path.join(self.home.name, name)
        with open(path, "w") as file:
            file.write(text + "\n")
        return path

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self):
        port_file = os.path.join(self.home.name, "port")
        if os.path.exists(port_file):
            os.remove(port_file)
        words = [PROGRAM, "--ledger", os.path.join(self.home.name, "ledger"), "--port", str(self.port), "--port-file", port_file]
        for name, value in self.options.items():
            words += ["--" + name.replace("_", "-"), str(value)]
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        if not within(60, lambda: os.path.exists(port_file)):
            raise RuntimeError("the simulated provider did not start")
        with open(port_file) as file:
            self.port = int(file.read())
        return self

    def stop(self, number=signal.SIGKILL):
        self.process.send_signal(number)
        self.process.wait(60)

    def change(self, **options):
        """Starts it anew with other options."""
        self.stop()
        self.options.update(options)
        self.start()

    def ask(self, method, path, form=None, key=None, timeout=30, **headers):
        """A request: the status, the answer, its headers."""
        sent = {"Authorization": "Bearer " + self.secret, **headers}
        if key:
            sent["Idempotency-Key"] = key
        if method == "POST":
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, "/v1" + path, urllib.parse.urlencode(form or {}) if method == "POST" else None, sent)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read()), {name.lower(): value for name, value in answer.getheaders()}
        finally:
            connection.close()

    def statement(self):
        """All lines of the ledger."""
        lines, more = [], True
        while more:
            page = self.ask("GET", f"/balance_transactions?limit=100&starting_after={lines[-1]['id'] if lines else 'txn_0'}")[1]
            lines, more = lines + page["data"], page["has_more"]
        return lines
