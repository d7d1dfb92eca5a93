#!/usr/bin/env python3
"""An account reads and changes its own profile, and no change is lost; it gets a picture, and becomes a merchant once.
Runs within tools/with-api. TAP.
"""
import os
import struct
import uuid
import zlib

from api import Client, Tap, at_once, psql, register, why_no_problem, within

t = Tap()
olga, bert, nobody = register("olga"), register("bert"), Client()

me = olga.get("/v1/me")
t.equal({**me.json(), "created_at": None},
        {"id": olga.id, "email": olga.email, "name": "olga", "roles": ["user"], "locale": "en", "avatar": None,
         "merchant_id": None, "created_at": None}, "an account sees itself")
t.equal(me.headers["cache-control"], "private, no-cache", "which no shared cache keeps")
t.equal(me.headers["etag"], '"1"', "with an ETag")
t.equal(olga.get("/v1/me", headers={"If-None-Match": '"1"'}).status, 304, "by which it is not sent again")
t.equal(nobody.get("/v1/me").code, "unauthenticated", "nobody is nobody")

# Changes.
answer = olga.patch("/v1/me", {"name": "Olga Ek"}, headers={"If-Match": '"1"'})
t.ok(answer.status == 200 and answer.json()["name"] == "Olga Ek" and answer.headers["etag"] == '"2"', "a name is changed", answer)
t.equal(answer.json()["locale"], "en", "and what was not given stays")
answer = olga.patch("/v1/me", {"name": "Lost"}, headers={"If-Match": '"1"'})
t.ok(why_no_problem(answer, "precondition_failed", 412) is None and '"2"' in answer.json()["detail"],
     "a change of what has changed meanwhile is refused, and the ETag is told", answer)
t.equal(olga.patch("/v1/me", {"name": "Lost"}).code, "precondition_required", "and one without If-Match")
answer = olga.patch("/v1/me", {"locale": "sv-SE"}, headers={"If-Match": "*", "Content-Type": "application/merge-patch+json"})
t.equal((answer.status, answer.json()["locale"]), (200, "sv-SE"), "a language is changed, as merge patch too")
t.equal(olga.patch("/v1/me", {}, headers={"If-Match": '"3"'}).headers["etag"], '"3"', "no change is no change")
t.equal(olga.patch("/v1/me", {"locale": "sv-SE"}, headers={"If-Match": '"3"'}).headers["etag"], '"3"', "nor is the same again")
for code, pointer, change in (
        ("unknown_field", "/email", {"email": "other@example.org"}),
        ("unknown_field", "/roles", {"roles": ["admin"]}),
        ("unknown_field", "/password", {"password": "another password"}),
        ("missing_field", "/name", {"name": None}),
        ("wrong_type", "/name", {"name": 1}),
        ("invalid_length", "/name", {"name": ""}),
        ("invalid_length", "/name", {"name": "x" * 201}),
        ("invalid_characters", "/name", {"name": "a\rb"}),
        ("invalid_characters", "/name", {"name": "a\x7fb"}),
        ("wrong_type", "/locale", {"locale": ["sv"]}),
        ("invalid_value", "/locale", {"locale": "sv_SE"}),
        ("invalid_length", "/locale", {"locale": "en" + "-abcdefgh" * 5})):
    answer = olga.patch("/v1/me", change, headers={"If-Match": "*"})
    wrong = why_no_problem(answer, code, 422)
    t.ok(wrong is None and answer.json()["pointer"] == pointer, f"{code} at {pointer}: {str(change)[:40]}", wrong, answer)
t.equal(olga.patch("/v1/me", raw=b"{", headers={"If-Match": "*", "Content-Type": "application/json"}).code, "invalid_body", "half a body is none")
t.equal(olga.get("/v1/me").headers["etag"], '"3"', "what was refused has changed nothing")
answers = at_once(10, lambda i: Client(token=olga.token).patch("/v1/me", {"name": f"Olga {i}"}, headers={"If-Match": '"3"'}).status)
t.equal(sorted(map(str, answers)), ["200"] + ["412"] * 9, "of ten changes of one version at once, one is made")


# The picture.
def png(size=2):
    """A picture."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = b"".join(b"\0" + b"\x80\x20\x20" * size for _ in range(size))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


PNG = {"Content-Type": "image/png"}
answer = olga.put("/v1/me/avatar", raw=png(), headers=PNG)
t.ok(answer.status == 202 and answer.headers["location"] == "/v1/me" and answer.json()["avatar"]["state"] == "uploaded", "a picture is taken", answer)
name = psql(f"SELECT avatar ->> 'original' FROM shop.account WHERE id = {olga.id}")
with open(os.path.join(os.environ["HF_UPLOADS"], name), "rb") as file:
    t.equal(file.read(), png(), "and kept as it came")
t.equal(psql(f"SELECT count(*) FROM shop.job WHERE kind = 'image_uploaded' AND payload ->> 'account_id' = '{olga.id}'"), "1",
        "there is a job to make its sizes")
for status, code, more in (
        (401, "unauthenticated", {"headers": PNG, "who": nobody}),
        (415, "unsupported_media_type", {"headers": {"Content-Type": "image/gif"}, "raw": b"GIF89a"}),
        (415, "unsupported_media_type", {"headers": {"Content-Type": "image/svg+xml"}, "raw": b"<svg/>"}),
        (415, "unsupported_media_type", {"headers": {}}),
        (422, "invalid_picture", {"headers": {"Content-Type": "image/jpeg"}}),
        (422, "invalid_picture", {"headers": PNG, "raw": b"<script>"}),
        (422, "invalid_picture", {"headers": PNG, "raw": b""})):
    answer = more.pop("who", olga).put("/v1/me/avatar", **{"raw": png(), **more})
    wrong = why_no_problem(answer, code, status)
    t.ok(wrong is None, f"{code}: a picture as {more['headers'].get('Content-Type')}", wrong)
t.equal(psql(f"SELECT avatar ->> 'original' FROM shop.account WHERE id = {olga.id}"), name, "which leaves the old one")

# Merchants.
shop = f"Ek & Daughters {uuid.uuid4().hex[:6]}"
for code, pointer, sent in (("missing_field", "/name", {}), ("wrong_type", "/name", {"name": 1}), ("invalid_length", "/name", {"name": ""}),
                            ("invalid_characters", "/name", {"name": "a\nb"}), ("unknown_field", "/account_id", {"name": "a", "account_id": bert.id})):
    answer = olga.post("/v1/merchants", sent)
    wrong = why_no_problem(answer, code, 422)
    t.ok(wrong is None and answer.json()["pointer"] == pointer, f"{code} at {pointer}: {sent}", wrong, answer)
t.equal(nobody.post("/v1/merchants", {"name": shop}).code, "unauthenticated", "nobody becomes no merchant")
answers = at_once(8, lambda i: Client(token=olga.token).post("/v1/merchants", {"name": shop}))
t.equal(sorted(str(getattr(a, "status", a)) for a in answers), ["201"] + ["409"] * 7, "an account becomes a merchant once, however often it asks at once")
made = next(a for a in answers if a.status == 201)
merchant = f"/v1/merchants/{made.json()['id']}"
t.ok(made.headers["location"] == merchant and made.json()["name"] == shop, "and is told where it is", made, made.headers)
answer = olga.post("/v1/merchants", {"name": shop})
t.ok(why_no_problem(answer, "merchant_exists", 409) is None, "a second time it is told that it is one", answer)
me = olga.get("/v1/me").json()
t.equal((me["roles"], me["merchant_id"]), (["user", "merchant"], made.json()["id"]), "it has the role, with the token that it had")
t.equal(olga.get(merchant).json(), nobody.get(merchant).json(), "everybody sees the merchant")
t.equal(set(nobody.get(merchant).json()), {"id", "name", "created_at"}, "and not whose it is")
etag = nobody.get(merchant).headers["etag"]
renamed = olga.patch(merchant, {"name": shop + "!"}, headers={"If-Match": etag})
t.equal((renamed.status, renamed.json()["name"]), (200, shop + "!"), "its owner renames it")
t.ok(within(60, lambda: nobody.get(merchant).json()["name"] == shop + "!"), "and everybody sees that, once the cache has been told")
t.equal(olga.patch(merchant, {"name": "Lost"}, headers={"If-Match": etag}).code, "precondition_failed", "but not from an old version")
t.equal(olga.patch(merchant, {"name": "Lost"}).code, "precondition_required", "nor from none")
t.equal(bert.patch(merchant, {"name": "Lost"}, headers={"If-Match": "*"}).code, "forbidden", "and nobody else does")
for status, code, who, sent in (
        (400, "invalid_body", olga, {"raw": b"[1]", "headers": {"If-Match": "*", "Content-Type": "application/json"}}),
        (401, "unauthenticated", nobody, {"body": {"name": "Lost"}, "headers": {"If-Match": "*"}}),
        (401, "invalid_token", Client(token="junk"), {"body": {"name": "Lost"}, "headers": {"If-Match": "*"}}),
        (415, "unsupported_media_type", olga, {"raw": b"name=Lost", "headers": {"If-Match": "*"}}),
        (422, "missing_field", olga, {"body": {"name": None}, "headers": {"If-Match": "*"}}),
        (422, "wrong_type", olga, {"body": {"name": 1}, "headers": {"If-Match": "*"}}),
        (422, "invalid_length", olga, {"body": {"name": ""}, "headers": {"If-Match": "*"}}),
        (422, "invalid_characters", olga, {"body": {"name": "a\nb"}, "headers": {"If-Match": "*"}}),
        (422, "unknown_field", olga, {"body": {"account_id": bert.id}, "headers": {"If-Match": "*"}})):
    wrong = why_no_problem(who.patch(merchant, **sent), code, status)
    t.ok(wrong is None, f"{code}: {sent}", wrong)
t.equal(olga.patch("/v1/merchants/1", {"name": "Lost"}, headers={"If-Match": "*"}).code, "not_found", "nor can one be changed that there is not")
t.equal(nobody.get(merchant, headers={"If-None-Match": nobody.get(merchant).headers["etag"]}).status, 304, "what one has is not sent again")
for more in ({"raw": b"{", "headers": {"Content-Type": "application/json"}}, {"raw": b"a=b"}, {"body": {"name": shop}, "headers": {"Authorization": "Bearer x"}}):
    answer = bert.post("/v1/merchants", **more)
    t.ok(why_no_problem(answer) is None, f"nor can one be made of {list(more.values())}", answer)
t.equal(bert.get("/v1/me").json()["merchant_id"], None, "who was refused is none")
t.equal(nobody.get("/v1/merchants/1").code, "not_found", "a merchant that is none is not found")
t.equal(psql(f"SELECT name FROM shop.merchant WHERE account_id = {olga.id}"), shop + "!", "what was refused has changed nothing")
