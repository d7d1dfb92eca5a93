"""The live view of tools/sale: a screen that is drawn again and again, or a line each second."""
import http.client
import json
import shutil
import sys
import urllib.parse

WIDTH = 40


class View:
    def __init__(self, options, url, sale):
        self.units, self.buyers, self.sale, self.url = options.units, options.buyers, sale, url
        self.screen = sys.stdout.isatty()
        self.left, self.state, self.source = options.units, "scheduled", "-"
        self.drawn = 0

    # -- What the sale says of itself -----------------------------------------------------------------------------

    def watch(self, stop):
        """Follows the sale by its server-sent events; where there are none, asks again and again."""
        while not stop.is_set():
            try:
                connection = http.client.HTTPConnection(urllib.parse.urlsplit(self.url).netloc, timeout=1)
                connection.request("GET", f"/v1/sales/{self.sale}/events", headers={"Accept": "text/event-stream"})
                answer = connection.getresponse()
                if answer.status == 200:
                    self.source = "events"
                    self.follow(answer, stop)
                else:
                    answer.read()
                    self.poll(connection, stop)
                connection.close()
            except (OSError, ValueError, http.client.HTTPException):
                stop.wait(0.2)

    def follow(self, answer, stop):
        for line in answer:
            if stop.is_set():
                return
            if line.startswith(b"data:"):
                self.learn(json.loads(line[5:]))

    def poll(self, connection, stop):
        self.source = "polling"
        while not stop.wait(0.25):
            connection.request("GET", f"/v1/sales/{self.sale}")
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 200:
                return
            self.learn(json.loads(text))

    def learn(self, sale):
        self.left, self.state = sale.get("left", self.left), sale.get("state", self.state)

    # -- What is shown --------------------------------------------------------------------------------------------

    def before(self, seconds):
        if self.screen:
            self.draw([f"starts in {seconds:.1f} s"])

    def show(self, line):
        """A line of the crowd: everything so far, and the rate and the latencies since the last one."""
        if "time" not in line:
            return
        late, codes = line["latency_us"], {**line["codes"], **{name: n for name, n in line["errors"].items() if n}}
        answers = "  ".join(f"{status}: {n}" for status, n in line["status"].items())
        refused = "  ".join(f"{code}: {n}" for code, n in sorted(codes.items(), key=lambda one: -one[1]))
        again = "  ".join(f"{code}: {n}" for code, n in line["retried"].items())
        latency = "   ".join(f"{name} {late[name] / 1000:.1f}" for name in ("p50", "p90", "p99", "max")) + " ms" if late["count"] else "-"
        if not self.screen:
            print(f"{line['time']:6.1f} s  {line['rate']:8.0f} purchases/s  sold {line['sold']:6}  left {self.left:6}  paid {line['paid']:6}"
                  f"  latency {latency}   {refused}", flush=True)
            return
        sold = min(line["sold"] / self.units, 1)
        self.draw([
            f"{line['time']:6.1f} s   {self.state}   left {self.left} ({self.source})",
            f"  sold      [{'#' * int(sold * WIDTH):{WIDTH}}] {line['sold']} of {self.units}",
            f"  paid      [{'#' * int(line['paid'] / self.units * WIDTH):{WIDTH}}] {line['paid']}, never: {line['abandoned']}",
            f"  purchases {line['rate']:8.0f}/s   latency {latency}",
            f"  answers   {answers or '-'}",
            f"  refused   {refused or '-'}",
            f"  again     {again or '-'}   hung up: {line['left']}   asked twice: {line['same']}"])

    def draw(self, lines):
        width = shutil.get_terminal_size().columns
        if self.drawn:
            sys.stdout.write(f"\x1b[{self.drawn}A")
        sys.stdout.write("".join(f"\x1b[2K{line[:width - 1]}\n" for line in lines))
        # What was longer before.
        if self.drawn > len(lines):
            sys.stdout.write("\x1b[J")
        self.drawn = len(lines)
        sys.stdout.flush()

    def end(self, said):
        late = said["latency_us"]
        print(f"\n{said['requests']} purchases in {said['seconds']:.2f} s, {said['rate_all']:.0f}/s; latency p50 {late['p50'] / 1000:.1f}  p90 {late['p90'] / 1000:.1f}"
              f"  p99 {late['p99'] / 1000:.1f}  max {late['max'] / 1000:.1f} ms, pauses before asking again included; the crowd took {said['cpu_seconds']:.2f} s of a core.")
        for kind, of in said["kinds"].items():
            told = ", ".join(f"{status}: {n}" for status, n in of["status"].items())
            codes = ", ".join(f"{code}: {n}" for code, n in of["codes"].items())
            print(f"  {kind:9} {of['requests']:6}   {told}{'   ' + codes if codes else ''}   p50 {of['latency_us']['p50'] / 1000:.1f} ms  p99 {of['latency_us']['p99'] / 1000:.1f} ms")
        again = ", ".join(f"{code}: {n}" for code, n in said["retried"].items())
        print(f"  asked again: {again or 'nobody'}; hung up: {said['left']}; asked twice: {said['same'] + said['different']}; never pay: {said['abandoned']}", flush=True)
