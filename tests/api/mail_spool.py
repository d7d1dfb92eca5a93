#!/usr/bin/env python3
# with-stack:
# with-worker: --conf 'jobs = off'
"""Without a mail server, each mail becomes a file of the spool, once however often it is written; a disk that is full, or a directory
that is gone, makes mails wait and loses none. Without either, mails wait. Settings and templates that are wrong are refused. TAP.
"""
import glob
import os
import shutil
import stat
import subprocess

from api import Tap, psql, register, within
import post
from worker import RUNAS, Worker, settings

t = Tap()
post.fresh()
spool = post.home()
mark = register("mark", ["merchant"])


def files(where=spool):
    return sorted(os.listdir(where))


def shipped(n=1):
    """So many mails to be sent; the names of their files."""
    made = []
    for _ in range(n):
        who, _ = post.account("Anna")
        order = post.order(who, mark.merchant_id)
        post.enqueue("order_shipped", account_id=who, order_id=order)
        made.append((who, order))
    return made


worker = Worker(jobs="on", mail_spool=spool, poll_interval="50ms", mail_from="shop@mail.test")
(who, order), = shipped()
t.ok(within(60, lambda: files() == [f"order_shipped.{order}.eml"]), "a mail is a file that is called like it", files())
path = f"{spool}/order_shipped.{order}.eml"
mail = post.read(path)
t.equal((post.faults(mail), mail["Message-ID"], mail["From"].addresses[0].addr_spec), ([], f"<order_shipped.{order}@mail.test>", "shop@mail.test"), "it is a correct one")
t.equal(mail.raw.count(b"\n") - mail.raw.count(b"\r\n"), 0, "as it would go over the wire")
t.equal(stat.S_IMODE(os.stat(path).st_mode), 0o640, "which user and group may read")
was = os.stat(path).st_ino
t.ok(within(60, lambda: post.left() == ""), "the job is done")
post.enqueue("order_shipped", account_id=who, order_id=order)
t.ok(within(60, lambda: os.stat(path).st_ino != was and post.left() == ""), "told of again, it is written again")
t.equal(files(), [f"order_shipped.{order}.eml"], "to the same file")

# A disk that is full is a directory that cannot be written to, here.
os.rename(spool, spool + ".away")
made = shipped(3)
t.ok(within(60, lambda: worker.events("away")), "a spool that is gone is said to be away", worker.log())
t.ok(within(60, lambda: psql("SELECT count(*), max(attempts) FROM shop.job WHERE kind = 'mail' AND lease IS NULL") == "3|0"), "mails wait, untried", post.left())
os.rename(spool + ".away", spool)
t.ok(within(60, lambda: len(files()) == 4 and post.left() == ""), "and are written once it is back", files())
t.equal(post.dead(), {}, "none was lost")
worker.stop()
small = post.home()
try:
    mounted = os.getuid() == 0 and subprocess.run(["mount", "-t", "tmpfs", "-o", f"size=16k,mode=0700,uid={post.USER}", "none", small], capture_output=True).returncode == 0
    if mounted:
        worker = Worker(jobs="on", mail_spool=small, poll_interval="50ms")
        made = shipped(8)
        t.ok(within(60, lambda: any("No space" in line["message"] for line in worker.events("away"))), "a full disk is away", worker.log())
        t.ok(all(not post.faults(post.read(name)) for name in glob.glob(small + "/*.eml")), "what is there is whole")
        seen = set()

        def emptied():
            for name in glob.glob(small + "/*.eml"):
                seen.add(os.path.basename(name))
                os.unlink(name)
            return {f"order_shipped.{order}.eml" for _, order in made} <= seen
        t.ok(within(60, emptied), "as files are taken away, the others come", sorted(seen), post.left())
        t.equal([name for name in os.listdir(small) if not name.endswith(".eml")], [], "and nothing half is left behind")
        worker.stop()
finally:
    if os.path.ismount(small):
        subprocess.run(["umount", small], check=True)

# Neither.
shipped()
worker = Worker(jobs="on", mail_spool="", poll_interval="50ms")
t.ok(within(60, lambda: psql("SELECT string_agg(kind, ',') FROM shop.job WHERE lease IS NULL AND kind IN ('mail', 'order_shipped')") == "mail"), "without server and spool the events are relayed")
t.equal((psql("SELECT attempts FROM shop.job WHERE kind = 'mail'"), files()), ("0", files()), "and the mails wait for a worker that can send them")
worker.stop()


def check(**changes):
    """What worker --check says."""
    one = Worker(start=False, **{"jobs": "on", "mail_spool": spool, **changes})
    done = subprocess.run([*RUNAS, os.environ["HF_WORKER"], "--check", one.conf], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


t.equal(check(), (0, ""), "settings that are good")
secret = post.write(f"{spool}/secret", "x\n")
loose = post.write(f"{spool}/loose", "x\n", 0o644)
for claim, changes, words in (
        ("a spool that is not there", {"mail_spool": spool + "/no"}, "mail_spool"), ("one that is not ours", {"mail_spool": "/proc"}, "mail_spool"),
        ("a sender that is none", {"mail_from": "nobody"}, "mail_from"), ("two", {"mail_from": "a@b.c, d@e.f"}, "mail_from"),
        ("a link that is none", {"mail_link": "shop.example"}, "mail_link"), ("one with a query", {"mail_link": "http://x/?"}, "mail_link"),
        ("a server that is no URL of mail", {"mail_server": "http://localhost"}, "mail_server"), ("with a password in it", {"mail_server": "smtp://a:b@localhost"}, "mail_server"),
        ("TLS that is no word", {"mail_server": "smtp://x", "mail_tls": "yes"}, "mail_tls"),
        ("a user without password", {"mail_server": "smtp://x", "mail_user": "shop"}, "mail_password_file"),
        ("a password that would go without TLS", {"mail_server": "smtp://x", "mail_tls": "opportunistic", "mail_user": "shop", "mail_password_file": secret}, "mail_user needs TLS"),
        ("a password that others may read", {"mail_server": "smtp://x", "mail_user": "shop", "mail_password_file": loose}, "others than user and group"),
        ("a CA that is not there", {"mail_server": "smtp://x", "mail_ca_file": spool + "/no"}, "mail_ca_file"),
        ("templates that are not there", {"mail_templates": spool}, "order_expiring.subject")):
    status, said = check(**changes)
    t.ok(status == 1 and words in said, f"refused: {claim}", said)

templates = f"{post.home()}/t"
for claim, place, text, words in (
        ("a tag that is not ended", "en/order_placed.text", "one\ntwo {{name\n", "en/order_placed.text line 2"),
        ("a value that does not exist", "zh/order_placed.html", "\n\n{{nmae}}", "zh/order_placed.html line 3: there is no value {{nmae}}"),
        ("a section that is not ended", "en/order_placed.html", "{{#lines}}\nx\n", "{{#lines}} is not ended"),
        ("sections that cross", "en/order_placed.html", "{{#lines}}{{#name}}{{/lines}}{{/name}}", "{{/lines}} where {{/name}} should be"),
        ("an end of nothing", "en/order_placed.html", "{{/lines}}", "ends nothing"),
        ("a file that is not there", "en/order_placed.html", "{{>no.html}}", "no.html"),
        ("a file above", "en/order_placed.html", "{{>../secret}}", "begins no tag"),
        ("a file within itself", "en/order_placed.html", "{{>order_placed.html}}", "contains itself"),
        ("one that a file of it is to end", "en/foot.html", "{{/lines}}", "ends nothing")):
    shutil.rmtree(templates, ignore_errors=True)
    shutil.copytree(settings()["mail_templates"], templates)
    with open(f"{templates}/{place}", "w") as file:
        file.write(text)
    subprocess.run(["chown", "-R", f"{post.USER}", os.path.dirname(templates)], check=not os.getuid())
    status, said = check(mail_templates=templates)
    t.ok(status == 1 and words in said, f"refused: a template with {claim}", said)
