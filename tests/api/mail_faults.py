#!/usr/bin/env python3
# with-stack:
# with-worker: --conf 'jobs = off'
"""A mail server that misbehaves: what it refuses for ever is dead, what it refuses for now is tried again, and when it refuses
everybody, hangs or is gone, mails wait untried; others are not held up; a mail that was taken and not confirmed comes again with
the same Message-ID. TAP.
"""
import socket
import threading
import time

from api import Tap, psql, register, within
from peace import in_peace
import post
from worker import Worker

t = Tap()
mark = register("mark", ["merchant"])


class Server:
    """A server of mail, as plain as can be, that plays tricks: by words in the local part of the recipient, or with everybody."""

    def __init__(self, port=0):
        self.mails, self.connections, self.trick, self.talks = [], 0, "", []
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", port))
        self.listener.listen(64)
        self.port, self.open = self.listener.getsockname()[1], []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                one, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            self.open.append(one)
            threading.Thread(target=self.serve, args=(one,), daemon=True).start()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for one in self.open:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def serve(self, one):
        try:
            self.talk(one, one.makefile("rb"))
        except (OSError, ValueError):
            pass
        finally:
            one.close()

    def play(self, one, trick, place):
        """Does what a trick such as rcpt-550 says at its place; True if that was the answer. Who hangs does so until he is left."""
        name, _, what = trick.partition("-")
        if name != place:
            return False
        if what == "hang":
            one.recv(1)
            raise OSError
        if what == "drop":
            raise OSError
        if what.startswith("slow"):
            time.sleep(float(what[4:]))
            return False
        one.sendall(f"{what}-no\r\n{what} 4.0.0 <somebody@example.org> not now, a@b\r\n".encode() if what != "garbage" else b"\xff\xfe\r\n")
        if what == "421":
            raise OSError
        return True

    def talk(self, one, lines):
        if not self.play(one, self.trick, "hello"):
            one.sendall(b"220 here\r\n")
        to = ""
        for line in lines:
            word, reply = line.split()[0].upper() if line.split() else b"", b"250 ok\r\n"
            trick = self.trick or to.split("+")[0]
            if word == b"MAIL":
                to = ""
            elif word == b"RCPT":
                to = line.decode().partition("<")[2].partition("@")[0]
                trick = self.trick or to.split("+")[0]
            if word == b"QUIT":
                if self.play(one, trick, "quit") or trick.endswith("+quit"):
                    continue
                one.sendall(b"221 bye\r\n")
                return
            if self.play(one, trick, {b"EHLO": "ehlo", b"HELO": "ehlo"}.get(word, word.decode().lower())):
                # After a refusal he says nothing more: who waits for his last word waits for ever.
                if b"RCPT" == word and trick.endswith("550") or word == b"MAIL":
                    trick = "quit-hang"
                    for line in lines:
                        if line.startswith(b"QUIT"):
                            one.recv(1)
                            return
                continue
            if word == b"EHLO":
                reply = b"250-here\r\n250-SIZE\r\n250 8BITMIME\r\n"
            elif word == b"DATA":
                one.sendall(b"354 go on\r\n")
                data = b""
                for line in lines:
                    if line == b".\r\n":
                        break
                    data += line[1:] if line.startswith(b".") else line
                if self.play(one, trick, "end"):
                    continue
                self.mails.append((to, post.parse(data)))
                if self.play(one, trick, "lost"):
                    continue
            one.sendall(reply)


def send(trick="", mails=1):
    """Mails to be sent to somebody whose address says what the server is to do."""
    for _ in range(mails):
        who, address = post.account("Anna", f"{trick}+{time.monotonic_ns()}@example.org" if trick else None)
        post.enqueue("order_shipped", account_id=who, order_id=post.order(who, mark.merchant_id))
    return address


def mail_jobs():
    return psql("SELECT count(*) FROM shop.job WHERE kind IN ('mail', 'order_shipped')")


post.fresh()
server = Server()
psql("UPDATE shop.job_kind SET backoff = '50 ms', backoff_max = '100 ms', attempts = 3 WHERE kind = 'mail'")
settings_of_mail = {"jobs": "on", "mail_server": f"smtp://127.0.0.1:{server.port}", "mail_tls": "off", "mail_spool": "", "poll_interval": "50ms", "mail_jobs": "4",
                    "mail_timeout": "30s"}
worker = Worker(**settings_of_mail)
send(mails=30)
t.ok(within(60, lambda: len(server.mails) == 30 and mail_jobs() == "0"), "mails are sent", len(server.mails), post.left())
t.ok(server.connections <= 4, f"over few connections ({server.connections})")
t.equal([post.faults(mail) for _, mail in server.mails if post.faults(mail)], [], "as they were written")

# Refused for ever, or for now, at each step.
for place in ("rcpt", "data", "end"):
    address = send(f"{place}-550")
    t.ok(within(60, lambda: any("550-no 550 4.0.0 <********************> not now" in why for why in post.dead().values())), f"5xx to {place}: dead, with the server's words", post.dead(), post.left())
    t.equal(psql("SELECT string_agg(attempts::text, ',') FROM shop.job_dead WHERE kind = 'mail'"), "1", "at once")
    psql("DELETE FROM shop.job_dead")
    send(f"{place}-450")
    t.ok(within(60, lambda: any("450 4.0.0 <********************> not now" in why for why in post.dead().values())), f"4xx to {place}: tried again, until it has been tried enough", post.dead(), post.left())
    t.equal(psql("SELECT string_agg(attempts::text, ',') FROM shop.job_dead WHERE kind = 'mail'"), "3", "as often as mails are")
    psql("DELETE FROM shop.job_dead")
    send(f"{place}-drop")
    t.ok(within(60, lambda: len(post.dead()) == 1), f"connection lost at {place}: tried again, and not without end", post.dead(), post.left())
    psql("DELETE FROM shop.job_dead")
got = len(server.mails)
address = send("lost-drop")
t.ok(within(60, lambda: len(post.dead()) == 1), "a mail that is taken each time, and never confirmed, is sent until it has been tried enough")
taken = [mail for to, mail in server.mails[got:] if address.startswith(to)]
t.equal((len(taken), len({mail["Message-ID"] for mail in taken})), (3, 1), "always with the same Message-ID")
psql("DELETE FROM shop.job_dead")

# Nobody is held up.
t.equal(worker.events("away"), [], "for all that, nobody was said to be away")
worker.stop()


def hang():
    """One that hangs until its time is over. A server that says nothing for so long when he is called is away, also when his machine is stopped."""
    hasty = Worker(**{**settings_of_mail, "mail_timeout": "1s"})
    send("end-hang")
    over = within(60, lambda: len(post.dead()) == 1 and mail_jobs() == "0")
    seen = post.dead(), post.left(), psql("SELECT string_agg(DISTINCT attempts::text, ',') FROM shop.job_dead"), hasty.events("away")
    hasty.stop()
    psql("DELETE FROM shop.job_dead")
    return over and seen[2:] == ("3", []), *seen


in_peace(t.ok, 3, "what hangs ends with its time limit, and is dead after as many attempts as a mail has; nor is anybody away for that", hang)
worker = Worker(**{**settings_of_mail, "mail_timeout": "120s"})
got = len(server.mails)
for _ in range(3):
    send("end-hang")
hanging = "SELECT count(*) FROM shop.job WHERE kind = 'mail' AND lease IS NOT NULL"
t.ok(within(60, lambda: psql(hanging) == "3"), "three hang")
send(mails=20)
t.ok(within(60, lambda: len(server.mails) == got + 20), "and others go out", len(server.mails) - got, post.left())
t.ok(within(60, lambda: mail_jobs() == "3") and psql(hanging) == "3", "meanwhile", post.left())


def give_back():
    """Told to end while they hang. It has two seconds to give them back; what it could not hangs again."""
    if worker.process.poll() is not None:
        psql("UPDATE shop.job SET lease = NULL, leased_until = NULL, attempts = 0 WHERE kind = 'mail'")
        worker.start()
        within(60, lambda: psql(hanging) == "3")
    status, took = worker.stop()
    back = psql("SELECT count(*), max(attempts) FROM shop.job WHERE kind = 'mail' AND lease IS NULL")
    return status == 0 and took < 30 and back == "3|0", status, took, back


in_peace(t.ok, 3, "told to end, the worker gives them up, and back", give_back)
psql("DELETE FROM shop.job WHERE kind = 'mail'; DELETE FROM shop.job_key; DELETE FROM shop.job_log WHERE event = 'release'")
worker = Worker(**settings_of_mail)

# Whoever says goodbye to one recipient does so to nobody else.
got, said = len(server.mails), len(worker.events("away"))
for trick in ("rcpt-421", "end-421"):
    send(trick)
send(mails=5)
t.ok(within(60, lambda: len(server.mails) == got + 5), "who is told 421 holds nobody up", len(server.mails) - got, post.left())
t.ok(within(60, lambda: len(post.dead()) == 2 and mail_jobs() == "0"), "each time is an attempt, of which there are so many", post.dead(), post.left())
t.equal(psql("SELECT string_agg(DISTINCT attempts || ' ' || (error LIKE '421% <********************> not now, ***'), ',') FROM shop.job_dead"), "3 true", "and the reason is there")
t.equal(worker.events("away")[said:], [], "the server is not taken for away")
psql("DELETE FROM shop.job_dead")

# Whoever refuses everybody is away.
worker.stop()
worker = Worker(**{**settings_of_mail, "mail_timeout": "10s"})
for claim, trick in (("no service at connect", "hello-554"), ("nothing at connect", "hello-hang"), ("rubbish at connect", "hello-garbage"),
                     ("a refused sender", "mail-550"), ("lost at EHLO", "ehlo-drop")):
    server.trick, got, said = trick, len(server.mails), len(worker.events("away"))
    for one in server.open:  # no connection from before
        try:
            one.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
    seen = server.connections
    address = send()
    t.ok(within(60, lambda: server.connections > seen and psql("SELECT count(*) FROM shop.job_log WHERE kind = 'mail' AND event = 'release'") != "0"),
         f"{claim}: the mail is given back", worker.log()[-500:], post.left())
    t.equal((post.dead(), psql("SELECT coalesce(max(attempts), 0) <= 1 AND coalesce(bool_and(error IS NULL), true) FROM shop.job WHERE kind = 'mail'")), ({}, "t"), "that was no attempt")
    server.trick = ""
    t.ok(within(60, lambda: [to for to, _ in server.mails[got:] if address.startswith(to)]), "and it goes out when he is well again", post.left(), worker.log()[-500:])
    t.ok(within(60, lambda: mail_jobs() == "0"), "once and for all")
    psql("DELETE FROM shop.job_log WHERE kind = 'mail' AND event = 'release'")

# Gone, and back.
port = server.port
server.close()
address = send(mails=5)
t.ok(within(60, lambda: psql("SELECT count(*) FROM shop.job_log WHERE kind = 'mail' AND event = 'release'") != "0"), "a server that is gone: mails are given back")
server = Server(port)
t.ok(within(60, lambda: len(server.mails) == 5 and mail_jobs() == "0"), "and go out when he is there again", len(server.mails), post.left())
server.trick = "rcpt-slow0.3"
send(mails=4)
t.ok(within(60, lambda: len(server.mails) == 9), "a slow one is waited for")
server.trick = ""
begun = time.monotonic()
t.equal(worker.stop()[0], 0, "the worker ends well")
t.equal([line["event"] for line in worker.events() if line["level"] == "error"], [], "and had nothing to complain of but servers")
psql("UPDATE shop.job_kind SET backoff = '2 min', backoff_max = '8 h', attempts = 10 WHERE kind = 'mail'")
