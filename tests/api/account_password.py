#!/usr/bin/env python3
"""A password is changed by who knows it, or by who gets the mail of a reset; either logs out everywhere. The link of a
reset is good once, for an hour, and only the last one; whoever asks for one learns nothing of who has an account.
Runs within tools/with-api. TAP.
"""
import uuid

from api import PASSWORD, Client, Tap, at_once, login, psql, register, why_no_problem

t = Tap()
nobody = Client()
NEW, NEWER = "another horse battery", "a third horse battery"


def can_log_in(email, password):
    """Whether the password is good."""
    return nobody.post("/v1/oauth/token", form={"grant_type": "password", "username": email, "password": password}).status == 200


def refresh(client):
    """The status, or error, of refreshing the client's token."""
    answer = nobody.post("/v1/oauth/token", form={"grant_type": "refresh_token", "refresh_token": client.refresh})
    return answer.code or answer.status


def mails(account):
    """The tokens in the mails of resets that wait to be sent, oldest first."""
    found = psql(f"SELECT payload ->> 'token' FROM shop.job WHERE kind = 'password_reset' AND payload ->> 'account_id' = '{account}' ORDER BY id")
    return found.split()


# Changing it.
olga = register("olga")
for code, pointer, sent in (
        ("missing_field", "/current_password", {"password": NEW}),
        ("missing_field", "/password", {"current_password": PASSWORD}),
        ("wrong_type", "/password", {"current_password": PASSWORD, "password": 12345678}),
        ("invalid_length", "/password", {"current_password": PASSWORD, "password": "short"}),
        ("invalid_length", "/password", {"current_password": PASSWORD, "password": "x" * 257}),
        ("unknown_field", "/name", {"current_password": PASSWORD, "password": NEW, "name": "a"}),
        ("wrong_password", "/current_password", {"current_password": PASSWORD + "!", "password": NEW})):
    answer = olga.put("/v1/me/password", sent)
    wrong = why_no_problem(answer, code, 422)
    t.ok(wrong is None and answer.json()["pointer"] == pointer, f"{code} at {pointer}", wrong, answer)
t.equal(nobody.put("/v1/me/password", {"current_password": PASSWORD, "password": NEW}).code, "unauthenticated", "nobody changes none")
t.ok(can_log_in(olga.email, PASSWORD) and not can_log_in(olga.email, NEW), "what was refused has changed nothing")

phone, laptop = login(olga.email), login(olga.email)
answer = phone.put("/v1/me/password", {"current_password": PASSWORD, "password": NEW})
t.equal((answer.status, answer.body), (204, b""), "a password is changed")
t.equal((can_log_in(olga.email, NEW), can_log_in(olga.email, PASSWORD)), (True, False), "the new one is good, the old one is not")
t.equal([refresh(c) for c in (olga, phone, laptop)], ["invalid_grant"] * 3, "and everybody is logged out")
t.equal(olga.put("/v1/me/password", {"current_password": PASSWORD, "password": NEWER}).code, "wrong_password", "the old one changes nothing more")
answers = at_once(4, lambda i: Client(token=phone.token).put("/v1/me/password", {"current_password": NEW, "password": f"{NEWER} {i}"}))
t.equal(sorted(str(getattr(a, "status", a)) for a in answers), ["204", "422", "422", "422"], "of four changes at once, one is made")
won = [i for i in range(4) if can_log_in(olga.email, f"{NEWER} {i}")]
t.ok(len(won) == 1 and answers[won[0]].status == 204, "and its password is good", won, answers)

# Logging out.
olga = register("olga")
phone, laptop = login(olga.email), login(olga.email)
t.equal(nobody.delete("/v1/me/tokens").code, "unauthenticated", "nobody logs nobody out")
t.equal(phone.delete("/v1/me/tokens").status, 204, "one can log out everywhere")
t.equal([refresh(c) for c in (olga, phone, laptop)], ["invalid_grant"] * 3, "and nothing can be refreshed any more")
t.equal(laptop.get("/v1/me").status, 200, "access tokens are good until they expire")
t.equal(login(olga.email).get("/v1/me").status, 200, "and one may log in again")

# Asking for a reset.
bert, carl = register("bert"), register("carl")
asked = nobody.post("/v1/password-resets", {"email": bert.email})
stranger = nobody.post("/v1/password-resets", {"email": f"nobody-{uuid.uuid4().hex[:10]}@example.org"})
t.equal((asked.status, asked.body), (202, b""), "a reset is asked for")
t.equal((stranger.status, stranger.body, set(stranger.headers)), (asked.status, asked.body, set(asked.headers)), "for an address that nobody has as well")
for code, sent in (("missing_field", {}), ("wrong_type", {"email": 1}), ("invalid_value", {"email": "bert"}), ("invalid_length", {"email": "b" * 300}),
                   ("invalid_characters", {"email": "a\x02@example.org"}), ("unknown_field", {"email": bert.email, "locale": "en"})):
    answer = nobody.post("/v1/password-resets", sent)
    t.ok(why_no_problem(answer, code, 422) is None, f"{code}: what is no address is refused", answer)
NO_JSON = ((400, "invalid_body", {"raw": b"{", "headers": {"Content-Type": "application/json"}}), (415, "unsupported_media_type", {"form": {"a": "b"}}))
for status, code, sent in NO_JSON:
    t.ok(why_no_problem(nobody.post("/v1/password-resets", **sent), code, status) is None, f"{code}: what is no JSON is refused")
    t.ok(why_no_problem(nobody.put("/v1/password-resets/x", **sent), code, status) is None, "with a link as well")
first = mails(bert.id)
t.equal((len(first), len(mails(carl.id))), (1, 0), "one mail is written, to who has the address")
nobody.post("/v1/password-resets", {"email": bert.email.upper()})
second = [token for token in mails(bert.id) if token not in first]
t.equal(len(second), 1, "and another one to the same address in capitals")
token = second[0]
t.ok(token.startswith(bert.id + ".") and len(token) == len(bert.id) + 44, "its token is 32 bytes of chance", token)
t.equal(psql(f"SELECT count(*) FROM shop.password_reset AS r WHERE r::text LIKE '%{token.partition('.')[2]}%'"), "0", "which are not stored with the account")
t.ok(can_log_in(bert.email, PASSWORD) and bert.get("/v1/me").status == 200, "asking changes nothing")

# Finishing it.
RESET = "/v1/password-resets/"
for status, code, at, sent in (
        (404, "invalid_reset_token", first[0], {"password": NEW}),
        (404, "invalid_reset_token", "junk", {"password": NEW}),
        (404, "invalid_reset_token", "1." + token.partition(".")[2], {"password": NEW}),
        (404, "invalid_reset_token", token[:-1] + ("A" if token[-1] != "A" else "B"), {"password": NEW}),
        (404, "invalid_reset_token", token + "x", {"password": NEW}),
        (404, "invalid_reset_token", carl.id + "." + token.partition(".")[2], {"password": NEW}),
        (422, "missing_field", token, {}),
        (422, "missing_field", token, {"password": None}),
        (422, "invalid_length", token, {"password": "short"}),
        (422, "wrong_type", token, {"password": 1}),
        (422, "unknown_field", token, {"password": NEW, "email": "new@example.org"})):
    answer = nobody.put(RESET + at, sent)
    t.ok(why_no_problem(answer, code, status) is None, f"{code}: {sent} at {at[:6]}", answer)
t.ok(can_log_in(bert.email, PASSWORD), "what was refused has changed nothing")
answers = at_once(4, lambda i: Client().put(RESET + token, {"password": f"{NEW} {i}"}))
t.equal(sorted(str(getattr(a, "status", a)) for a in answers), ["204", "404", "404", "404"], "of four who come with one link at once, one sets a password")
winner = [a.status for a in answers].index(204)
t.equal((can_log_in(bert.email, f"{NEW} {winner}"), can_log_in(bert.email, PASSWORD)), (True, False), "which is good, and the old one is not")
t.equal(refresh(bert), "invalid_grant", "and everybody is logged out")
t.equal(nobody.put(RESET + token, {"password": NEWER}).code, "invalid_reset_token", "the link is used up")

# Links that are void.
nobody.post("/v1/password-resets", {"email": carl.email})
late = mails(carl.id)[-1]
psql(f"UPDATE shop.password_reset SET expires_at = expires_at - interval '61 minutes' WHERE account_id = {carl.id}")
t.equal(nobody.put(RESET + late, {"password": NEW}).code, "invalid_reset_token", "a link is void after an hour")
nobody.post("/v1/password-resets", {"email": carl.email})
late = mails(carl.id)[-1]
psql(f"UPDATE shop.password_reset SET expires_at = expires_at - interval '59 minutes' WHERE account_id = {carl.id}")
t.equal(nobody.put(RESET + late, {"password": NEW}).status, 204, "but not after 59 minutes")
carl = login(carl.email, NEW)
me = carl.get("/v1/me").json()
nobody.post("/v1/password-resets", {"email": me["email"]})
t.equal(carl.put("/v1/me/password", {"current_password": NEW, "password": NEWER}).status, 204, "who knows the password changes it")
t.equal(nobody.put(RESET + mails(me["id"])[-1], {"password": NEW}).code, "invalid_reset_token", "which makes links void")
root = register("root", ["admin"])
nobody.post("/v1/password-resets", {"email": me["email"]})
before = mails(me["id"])
root.post(f"/v1/admin/accounts/{me['id']}/suspend")
t.equal(nobody.put(RESET + before[-1], {"password": NEW}).code, "invalid_reset_token", "and so does a suspension")
t.equal(nobody.post("/v1/password-resets", {"email": me["email"]}).status, 202, "the suspended can ask as anybody can")
t.equal(mails(me["id"]), before, "but get no mail")
