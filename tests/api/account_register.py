#!/usr/bin/env python3
"""Whoever registers gets an account that he can log in to; an address is taken however it is written; and what is
wrong with a registration is said, with a pointer, before anything is stored. Runs within tools/with-api. TAP.
"""
import uuid

from api import PASSWORD, Client, Tap, at_once, login, psql, why_no_problem

t = Tap()
nobody = Client()
mark = uuid.uuid4().hex[:10]
ACCOUNTS = f"SELECT count(*) FROM shop.account WHERE email ILIKE '%{mark}%'"


def body(**changes):
    """A registration; a change to None takes a field away."""
    fields = {"email": f"new-{mark}@example.org", "password": PASSWORD, "name": "Olga Ek", **changes}
    return {name: value for name, value in fields.items() if value is not None}


# What can be wrong: status, code, pointer, what is sent.
JSON = {"Content-Type": "application/json"}
for status, code, pointer, more in (
        (400, "invalid_body", None, {"raw": b"", "headers": JSON}),
        (400, "invalid_body", None, {"raw": b"{", "headers": JSON}),
        (400, "invalid_body", None, {"raw": b"[]", "headers": JSON}),
        (400, "invalid_body", None, {"raw": b'{"email": "a", "email": "b"}', "headers": JSON}),
        (400, "invalid_body", None, {"raw": b'{"email": "\xff"}', "headers": JSON}),
        (400, "invalid_body", None, {"body": body(password="12345678\0")}),
        (413, "payload_too_large", None, {"body": body(name="x" * 70000)}),
        (415, "unsupported_media_type", None, {"form": body()}),
        (422, "unknown_field", "/roles", {"body": body(roles=["admin"])}),
        (422, "unknown_field", "/id", {"body": body(id="1")}),
        (422, "unknown_field", "/password_hash", {"body": body(password_hash="$argon2id$x")}),
        (422, "missing_field", "/email", {"body": body(email=None)}),
        (422, "missing_field", "/password", {"body": body(password=None)}),
        (422, "missing_field", "/name", {"body": body(name=None)}),
        (422, "missing_field", "/email", {"body": {**body(), "email": None}}),
        (422, "missing_field", "/password", {"body": {**body(), "password": None}}),
        (422, "wrong_type", "/email", {"body": body(email=1)}),
        (422, "wrong_type", "/password", {"body": body(password=12345678)}),
        (422, "wrong_type", "/password", {"body": body(password=[PASSWORD])}),
        (422, "wrong_type", "/name", {"body": body(name={})}),
        (422, "wrong_type", "/locale", {"body": body(locale=1)}),
        (422, "invalid_length", "/password", {"body": body(password="")}),
        (422, "invalid_length", "/password", {"body": body(password="1234567")}),
        (422, "invalid_length", "/password", {"body": body(password="äöüßéèê")}),
        (422, "invalid_length", "/password", {"body": body(password="x" * 257)}),
        (422, "invalid_length", "/password", {"body": body(password="ä" * 129)}),
        (422, "invalid_length", "/email", {"body": body(email=mark + "x" * 250 + "@example.org")}),
        (422, "invalid_length", "/name", {"body": body(name=" ")}),
        (422, "invalid_length", "/name", {"body": body(name="x" * 201)}),
        (422, "invalid_characters", "/name", {"body": body(name="Olga\nBcc: everybody")}),
        (422, "invalid_characters", "/email", {"body": body(email=f"{mark}\x01@example.org")}),
        (422, "invalid_value", "/email", {"body": body(email=mark)}),
        (422, "invalid_value", "/email", {"body": body(email=f"{mark}@localhost")}),
        (422, "invalid_value", "/email", {"body": body(email=f"{mark}@a@example.org")}),
        (422, "invalid_value", "/email", {"body": body(email=f"Olga <{mark}@example.org>")}),
        (422, "invalid_value", "/email", {"body": body(email=f"{mark}@example.org,b@example.org")}),
        (422, "invalid_value", "/locale", {"body": body(locale="English")})):
    answer = nobody.post("/v1/accounts", **more)
    wrong = why_no_problem(answer, code, status)
    what = str(more.get("body") or more.get("raw") or more.get("form"))[:60].replace("\n", " ")
    t.ok(wrong is None and answer.json().get("pointer") == pointer, f"{code} at {pointer}: {what}", wrong, answer)
    if code.startswith("invalid"):
        t.ok(answer.json().get("detail"), "  which says what is wanted, or wrong", answer)
t.equal(psql(ACCOUNTS), "0", "nothing that was refused has opened an account")

# What is right.
answer = nobody.post("/v1/accounts", body(email=f"Olga.Ek-{mark}@Example.ORG", locale="sv"))
t.ok(answer.status == 201 and answer.headers.get("location") == "/v1/me" and answer.headers.get("etag") == '"1"',
     "an account is opened", answer, answer.headers)
account = answer.json()
t.equal((account["email"], account["name"], account["roles"]), (f"Olga.Ek-{mark}@Example.ORG", "Olga Ek", ["user"]),
        "as it was written, with the role user alone")
t.ok("password" not in str(account), "the answer has no password", account)
me = login(f"olga.ek-{mark}@example.org").get("/v1/me").json()
t.equal((me["id"], me["locale"]), (account["id"], "sv"), "its owner logs in, however he writes his address")
t.equal(login(f"OLGA.EK-{mark}@EXAMPLE.ORG").get("/v1/me").json()["id"], account["id"], "in capitals too")
stored = psql(f"SELECT password_hash FROM shop.account WHERE id = {account['id']}")
t.ok(stored.startswith("$argon2id$v=19$") and PASSWORD not in stored, "the password is stored as a hash by argon2id", stored)
t.ok(PASSWORD not in psql(f"SELECT string_agg(a::text, ' ') FROM shop.account AS a WHERE id = {account['id']}"), "and nowhere else")

for again in (f"Olga.Ek-{mark}@Example.ORG", f"olga.ek-{mark}@example.org", f"OLGA.EK-{mark}@EXAMPLE.ORG"):
    answer = nobody.post("/v1/accounts", body(email=again))
    wrong = why_no_problem(answer, "email_taken", 409)
    t.ok(wrong is None and answer.json()["pointer"] == "/email", f"the address is taken, as {again[:7]} too", wrong, answer)
t.equal(nobody.post("/v1/accounts", body(email=f"josé-{mark}@example.org")).status, 201, "an address may have other letters")
t.equal(nobody.post("/v1/accounts", body(email=f"JOSE\u0301-{mark}@example.org")).code, "email_taken",
        "and is the same in capitals and decomposed")
t.equal(nobody.post("/v1/accounts", body(email=f"olgaek-{mark}@example.org")).status, 201, "a dot makes another address")

# Passwords.
for password in ("12345678", "x" * 256, "ä" * 128, "пароль-пароль", "  leading and trailing  ", "a\"b\\c%d&e=f+g h", "🐎🐎🐎🐎🐎🐎🐎🐎"):
    email = f"p{uuid.uuid4().hex[:6]}-{mark}@example.org"
    status = nobody.post("/v1/accounts", body(email=email, password=password)).status
    t.ok(status == 201 and login(email, password).get("/v1/me").status == 200, f"a password may be {password[:20]!r}, all of it", status)
email = f"long-{mark}@example.org"
nobody.post("/v1/accounts", body(email=email, password="x" * 200 + "a"))
grant = {"grant_type": "password", "username": email, "password": "x" * 200 + "b"}
t.equal(nobody.post("/v1/oauth/token", form=grant).code, "invalid_grant", "and its last character counts")

# At once.
email = f"race-{mark}@example.org"
answers = at_once(12, lambda i: Client().post("/v1/accounts", body(email=email.upper() if i % 2 else email)))
codes = sorted(str(getattr(a, "status", a)) for a in answers)
t.equal(codes, ["201"] + ["409"] * 11, "of twelve who register one address at once, one gets it")
t.equal(psql(f"SELECT count(*) FROM shop.account WHERE lower(email) = '{email}'"), "1", "and there is one account")
