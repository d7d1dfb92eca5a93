#!/usr/bin/env python3
# with-stack:
# with-worker: --conf 'jobs = off'
"""Mails at a real mail server, Debian's Exim: what arrives is a correct mail in the language of who gets it, whatever he and his
goods are called; it goes over TLS, to nobody but the server that has the certificate, and with a password where one is wanted. TAP.
"""
import html
import sys

from api import Client, Tap, psql, register, within
import post
from worker import Worker

t = Tap()
if post.EXIM is None:
    print("1..0 # SKIP Exim is not here")
    sys.exit()
post.fresh()
where = post.home()
ca, good = post.authority(where), post.certificate(where, "good")
secret = post.write(f"{where}/secret", post.PASSWORD + "\n")
exim = post.Exim(good)
mark = register("mark", ["merchant"])


def worker(port, **more):
    return Worker(**{"jobs": "on", "mail_server": f"smtp://localhost:{port}", "mail_ca_file": ca, "mail_user": "shop", "mail_password_file": secret,
                     "mail_from": '"Höldfast, the \\"shop\\"" <shop@mail.test>', "mail_link": "https://shop.example/x", "mail_spool": "", "poll_interval": "100ms", **more})


def arrived(n, at=exim):
    if not post.within(60, lambda: len(at.mails()) >= n):
        print(f"# {len(at.mails())} of {n} mails; left: {post.left()}; dead: {post.dead()}; {sender.log()}")
    return at.mails()


# Each mail in each language, made by what happens in the shop.
sender = worker(exim.port)
expected = {}
for locale, name in (("en", "Anna O'Neil"), ("zh-CN", "王小明"), ("fr", "Élodie")):
    client = register("x")
    psql(f"UPDATE shop.account SET name = '{name.replace(chr(39), chr(39) * 2)}', locale = '{locale}' WHERE id = {client.id}")
    order = post.order(client.id, mark.merchant_id, "Kopfhörer <Nuss> & 胡桃木耳机", 3, 123456)
    for kind in ("order_placed", "order_expiring"):
        psql(f"SELECT shop.enqueue('{kind}', jsonb_build_object('account_ids', ARRAY['{client.id}'], 'order_ids', ARRAY['{order}']))")
    for kind in ("payment_received", "order_shipped"):
        post.enqueue(kind, account_id=client.id, order_id=order)
    psql(f"SELECT shop.enqueue('payment_refunded', jsonb_build_object('account_id', '{client.id}', 'order_id', '{order}', 'payment_id', gen_random_uuid(), 'refunded', 98765))")
    Client().post("/v1/password-resets", {"email": client.email})
    expected[client.email] = (locale, name, order)
mails = arrived(18)
t.equal(len(mails), 18, "what happens in the shop makes six mails for each of three buyers")
t.equal([post.faults(mail) for mail in mails if post.faults(mail)], [], "each is a correct mail")
seen = {(mail["To"].addresses[0].addr_spec, mail["Message-ID"].split(".")[0][1:]) for mail in mails}
t.equal(len(seen), 18, "each is another one, of the six templates")
names = {mail["To"].addresses[0].addr_spec: mail["To"].addresses[0].display_name for mail in mails}
t.equal(names, {to: name for to, (_, name, _) in expected.items()}, "to people by their names")
t.equal({(a.display_name, a.addr_spec) for mail in mails for a in mail["From"].addresses}, {('Höldfast, the "shop"', "shop@mail.test")}, "from the shop by its name")
t.equal({mail["Auto-Submitted"] for mail in mails}, {"auto-generated"}, "no person has written it, and it says so")
t.equal({(expected[mail["To"].addresses[0].addr_spec][0], mail["Content-Language"]) for mail in mails}, {("en", "en"), ("zh-CN", "zh"), ("fr", "en")},
        "in the language of who gets it, or in English")
wrong = []
for mail in mails:
    locale, name, order = expected[mail["To"].addresses[0].addr_spec]
    kind, plain, rich = mail["Message-ID"].split(".")[0][1:], post.text(mail), post.text(mail, "html")
    wanted = [name, "https://shop.example/x/"]
    if kind == "password_reset":
        wanted += ["/password-reset#"]
    else:
        wanted += [order, "Kopfhörer <Nuss> & 胡桃木耳机", "WH-1", "€1,234.56", "€3,703.68", f"/orders/{order}"] + ["€987.65"] * (kind == "payment_refunded")
    wrong += [(kind, locale, word) for word in wanted if word not in plain or html.escape(word, True).replace("&#x27;", "&#39;") not in rich]
    wrong += [(kind, locale, word) for word in ("{{", "}}", "<img", "src=", "http://") if word in plain + rich]
    wrong += [(kind, locale, "language")] * (("您好" in plain) != locale.startswith("zh"))
    wrong += [(kind, locale, "subject")] * (not mail["Subject"] or "\n" in mail["Subject"])
t.equal(wrong, [], "in text and in HTML it says what is to be said, with money as people write it, and loads nothing")
t.equal({mail["Message-ID"] for mail in mails if "order" in mail["Message-ID"]},
        {f"<{kind}.{order}@mail.test>" for _, _, order in expected.values() for kind in ("order_placed", "order_expiring", "order_shipped")}, "its Message-ID is made of the thing")
tokens = {to: post.text(mail).split("#")[1].split()[0] for mail in mails for to in [mail["To"].addresses[0].addr_spec] if "reset" in mail["Message-ID"]}
t.equal({Client().put(f"/v1/password-resets/{token}", {"password": "quite another one"}).status for token in tokens.values()}, {204}, "its link sets a new password")
t.ok(all("P=esmtpsa" in line and "A=plain:shop" in line for line in exim.log().splitlines() if " <= " in line), "all went over TLS, with the password")
t.ok(within(60, lambda: post.left() == "") and exim.log().count("A=plain:shop") == 18, "each once, and nothing is left to do")

# Hostile and strange names.
strange = {"Bobby\\r\\nBcc: evil@evil.example": None, "Bobby\\r\\nBcc evil": "Bobby  Bcc evil", "\"; <evil@evil.example>, Eve": None, "x" * 200: "x" * 200, "王" * 60: "王" * 60, "Zoë 🎉 O''Hara \\\"Z\\\" \\\\": "Zoë 🎉 O'Hara \"Z\" \\",
           "=?utf-8?q?evil?=": "=?utf-8?q?evil?=", "Visit http://evil.example now": None, "evil.example": None, "Dr. J. R. Ewing, Jr.": "Dr. J. R. Ewing, Jr.", "\\u202eevil\\u2066": "evil",
           "{{token}}": "{{token}}", "   ": None}
got = len(exim.mails())
people = {}
for name in strange:
    who, address = post.account(name.replace("''", "'"))
    post.enqueue("order_shipped", account_id=who, order_id=post.order(who, mark.merchant_id, name.replace("''", "'") + "\\r\\n.\\r\\n{{link}}</p><script>"))
    people[address] = name
mails = [mail for mail in arrived(got + len(strange)) if mail["To"].addresses[0].addr_spec in people]
t.equal(len(mails), len(strange), "people with strange names get their mails")
t.equal([(people[mail["To"].addresses[0].addr_spec], post.faults(mail)) for mail in mails if post.faults(mail)], [], "which are correct")
t.equal({mail["Bcc"] for mail in mails} | {len(mail["To"].addresses) for mail in mails}, {None, 1}, "and go to nobody else")
wrong = [(strange[people[to]], name) for mail in mails for name, to in [post.recipient(mail)] if (strange[people[to]] or "") != name]
t.equal(wrong, [], "under their names, if these could not be taken for addresses")
t.equal([post.text(mail, "html").count("<script>") + post.text(mail).count("\n.\n") for mail in mails], [0] * len(mails), "nothing of a name is HTML, or another line")
money = {("JPY", 1234567): "¥1,234,567", ("KWD", 1234567): "KWD\u00a01,234.567", ("CNY", 1999): "CN¥19.99", ("USD", 5): "$0.05"}
got = len(exim.mails())
who, address = post.account("Rich")
for currency, amount in money:
    post.enqueue("order_shipped", account_id=who, order_id=post.order(who, mark.merchant_id, "x", 1, amount, currency))
texts = [post.text(mail) for mail in arrived(got + len(money)) if mail["To"].addresses[0].addr_spec == address]
t.equal([words for words in money.values() if not any("Total: " + words in text for text in texts)], [], "money has the digits of its currency")

# Addresses.
got = len(exim.mails())
bad = ["ärger@example.org", "a\\r\\nRCPT TO:<evil@evil.example>@example.org", "no address", "a b@example.org", "<x>@example.org", "x@-example.org", "x@" + "a" * 70 + ".org", "@example.org"]
for address in bad + ["anna@bücher.example", "o''brien+tag@example.org"]:
    who, _ = post.account("Bad", address.replace("''", "'"))
    post.enqueue("order_shipped", account_id=who, order_id=post.order(who, mark.merchant_id))
mails = arrived(got + 2)
t.equal(sorted(a for a in (mail["To"].addresses[0].addr_spec for mail in mails) if "xn--" in a or "tag" in a),
        ["anna@xn--bcher-kva.example", "o'brien+tag@example.org"], "a foreign domain is written as servers know it, and odd letters are good")
t.ok(within(60, lambda: len(post.dead()) == len(bad)) and all("address" in reason for reason in post.dead().values()), "what is no address is dead, with the reason", post.dead())
t.ok("evil.example" not in exim.log(), "and nobody is written to by it")
post.enqueue("order_shipped", account_id=(nobody := post.account("Nobody", "nobody@example.org")[0]), order_id=post.order(nobody, mark.merchant_id))
t.ok(within(60, lambda: any("no such user here" in reason for reason in post.dead().values())), "one that the server does not know is dead, with his words", post.dead())
psql("DELETE FROM shop.job_dead")

# Whoever should not get mail gets none.
gone, _ = post.account("Gone")
order = post.order(gone, mark.merchant_id)
psql(f"UPDATE shop.account SET suspended_at = now() WHERE id = {gone}")
post.enqueue("order_shipped", account_id=gone, order_id=order)
mute = psql("INSERT INTO shop.account (name) VALUES ('mute') RETURNING id")
post.enqueue("order_shipped", account_id=mute, order_id=post.order(mute, mark.merchant_id))
got = len(exim.mails())
t.ok(within(60, lambda: post.left() == "") and post.dead() == {} and len(exim.mails()) == got, "who is suspended or has no address gets nothing, and that is no failure")
t.equal(sender.stop()[0], 0, "the worker ends well")

# Other ways in: TLS from the first byte, and a server that knows AUTH LOGIN alone.
for claim, scheme, way in (("over TLS from the first byte", "smtps", {"smtps": True}), ("with the password by AUTH LOGIN", "smtp", {"plain": False})):
    there = post.Exim(good, **way)
    sender = worker(there.port, mail_server=f"{scheme}://localhost:{there.port}", mail_tls="off" if scheme == "smtps" else "required")
    who, address = post.account("Anna")
    post.enqueue("order_shipped", account_id=who, order_id=post.order(who, mark.merchant_id))
    t.equal([mail["To"].addresses[0].addr_spec for mail in arrived(1, there)], [address], f"a mail goes out {claim}")
    came = [line for line in there.log().splitlines() if " <= " in line]
    t.ok(len(came) == 1 and "P=esmtpsa" in came[0] and ("A=login:shop" if scheme == "smtp" else "A=plain:shop") in came[0], "encrypted, and as us", came)
    t.equal(sender.stop()[0], 0, "and the worker ends well")
    sender = worker(there.port, mail_server=f"{scheme}://localhost:{there.port}", mail_password_file=post.write(f"{where}/wrong", "not-the-password\n"))
    post.enqueue("order_shipped", account_id=who, order_id=post.order(who, mark.merchant_id))
    t.ok(within(60, lambda: sender.events("away")) and len(there.mails()) == 1, "with another password nothing goes out", sender.log())
    sender.stop()
    post.fresh()
    there.stop()

# What must not go out, waits.
plain, other = post.Exim(None, login=False), post.Exim(post.certificate(where, "other", "other.example"), login=False)
expired = post.Exim(post.certificate(where, "expired", days=-1), login=False)
wrong_secret = post.write(f"{where}/wrong", "not-the-password\n")
who, _ = post.account("Wait")
post.enqueue("order_shipped", account_id=who, order_id=post.order(who, mark.merchant_id))
anonymous = {"mail_user": "", "mail_password_file": ""}
for claim, port, more in (("a server that does not know our password", exim.port, {"mail_password_file": wrong_secret}),
                          ("a server without TLS, where it is required", plain.port, anonymous),
                          ("a server with an expired certificate", expired.port, anonymous),
                          ("a server with somebody else's certificate", other.port, anonymous),
                          ("a server whose certificate nobody knows", exim.port, {**anonymous, "mail_ca_file": ""}),
                          ("a server that is not there", post.free_port(), anonymous)):
    sender = worker(port, **more)
    untried = lambda: psql("SELECT attempts, lease FROM shop.job WHERE kind = 'mail'") == "0|"
    t.ok(within(60, lambda: sender.events("away") and untried()), f"{claim} is said to be away", sender.log())
    sender.stop()
    t.ok(untried() and post.dead() == {}, "and the mail waits, untried", post.left(), post.dead())
t.equal([len(server.mails()) for server in (plain, other, expired)], [0, 0, 0], "none of them got it")
sender = worker(plain.port, mail_tls="opportunistic", **anonymous)
t.equal(len(arrived(1, plain)), 1, "opportunistic: it goes without TLS where there is none")
sender.stop()
for server in (exim, plain, other, expired):
    server.stop()
