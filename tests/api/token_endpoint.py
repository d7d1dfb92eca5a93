#!/usr/bin/env python3
"""The token endpoint answers as RFC 6749 says, and revocation as RFC 7009 does. Runs within tools/with-api. TAP."""
import base64
import urllib.parse

from api import PASSWORD, Client, Tap, login, psql, register

t = Tap()
nobody = Client()
TOKEN, REVOKE = "/v1/oauth/token", "/v1/oauth/revoke"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
olga = register("olga")
GRANT = {"grant_type": "password", "username": olga.email, "password": PASSWORD}
QUOTED = urllib.parse.quote(olga.email)


def check_error(answer, error, claim):
    """Tests that an answer is an error of section 5.2 of RFC 6749."""
    try:
        body = answer.json()
    except ValueError:
        body = {}
    good = (answer.status == 400 and body.get("error") == error and set(body) == {"error", "error_description"} and
            answer.headers["content-type"] == "application/json" and answer.headers["cache-control"] == "no-store")
    # What a description may have (section 5.2).
    good = good and all(" " <= c <= "~" and c not in '"\\' for c in body["error_description"])
    return t.ok(good, claim, answer, answer.headers)


def check_tokens(answer, claim):
    """Tests that an answer is one of section 5.1 of RFC 6749."""
    body = answer.json() if answer.status == 200 else {}
    return t.ok(answer.status == 200 and set(body) == {"access_token", "token_type", "expires_in", "refresh_token"} and
                body["token_type"] == "Bearer" and body["expires_in"] == 900 and body["access_token"] and body["refresh_token"] and
                answer.headers["content-type"] == "application/json" and answer.headers["cache-control"] == "no-store" and
                answer.headers["pragma"] == "no-cache", claim, answer, answer.headers)


# Tokens.
answer = nobody.post(TOKEN, form=GRANT)
check_tokens(answer, "a password gives tokens, which nothing keeps")
t.equal(Client(token=answer.json()["access_token"]).get("/v1/me").json()["id"], olga.id, "by which one is known")
first = answer.json()["refresh_token"]
answer = nobody.post(TOKEN, form={"grant_type": "refresh_token", "refresh_token": first})
check_tokens(answer, "a refresh token gives new ones")
t.ok(answer.json()["refresh_token"] != first, "another refresh token")
t.equal(Client(token=answer.json()["access_token"]).get("/v1/me").json()["id"], olga.id, "and an access token that is good")
check_tokens(nobody.post(TOKEN, form={**GRANT, "scope": "everything", "colour": "red", "client_id": "me", "client_secret": "x"}),
             "scope, client_id and parameters that nobody knows are not looked at")
for name, header in (("a client", "Basic " + base64.b64encode(b"client:secret").decode()), ("a client without a password", "Basic eDo="),
                     ("junk", "Basic ???"), ("a token that is none", "Bearer junk"), ("another scheme", 'Digest username="x"')):
    check_tokens(nobody.post(TOKEN, form=GRANT, headers={"Authorization": header}), f"nor is {name} in Authorization")
for charset in ("", ";charset=UTF-8", '; charset="utf-8"', "; boundary=x"):
    check_tokens(nobody.post(TOKEN, raw=urllib.parse.urlencode(GRANT).encode(), headers={"Content-Type": "application/x-www-form-urlencoded" + charset}),
                 f"a form is one with {charset or 'nothing'} behind it")
check_tokens(nobody.post(TOKEN, raw=f"grant_type=password&&username={QUOTED}&password={PASSWORD.replace(' ', '+')}&".encode(), headers=FORM),
             "blanks may be +, and parts empty")

# Errors.
for error, claim, raw in (
        ("invalid_request", "nothing is no request", b""),
        ("invalid_request", "nor is one without grant_type", f"username={QUOTED}&password=12345678".encode()),
        ("invalid_request", "an empty grant_type is none", f"grant_type=&username={QUOTED}&password=12345678".encode()),
        ("invalid_request", "a password needs a username", b"grant_type=password&password=12345678"),
        ("invalid_request", "which is not empty", b"grant_type=password&username=&password=12345678"),
        ("invalid_request", "a username needs a password", f"grant_type=password&username={QUOTED}".encode()),
        ("invalid_request", "which is not empty either", f"grant_type=password&username={QUOTED}&password=".encode()),
        ("invalid_request", "a refresh needs a token", b"grant_type=refresh_token"),
        ("invalid_request", "which is not empty either", b"grant_type=refresh_token&refresh_token="),
        ("invalid_request", "no parameter comes twice", f"grant_type=password&username={QUOTED}&username={QUOTED}&password=12345678".encode()),
        ("invalid_request", "not grant_type either", b"grant_type=refresh_token&grant_type=password&refresh_token=x"),
        ("invalid_request", "nor one that nobody knows", b"grant_type=refresh_token&refresh_token=x&a=1&a=1"),
        ("invalid_request", "nor one whose name is written otherwise", b"grant_type=refresh_token&refresh_token=x&refresh%5ftoken=x"),
        ("invalid_request", "half an escape is none", b"grant_type=password&username=%f&password=12345678"),
        ("invalid_request", "a NUL is none", b"grant_type=password&username=a%00b&password=12345678"),
        ("invalid_request", "what is no UTF-8 is none", b"grant_type=password&username=%ff&password=12345678"),
        ("invalid_request", "a hundred parameters are too many", b"&".join(b"a%d=1" % i for i in range(100))),
        ("invalid_request", "JSON in a form's clothes is no form", b'{"grant_type": "password"}'),
        ("unsupported_grant_type", "a grant of another kind is none of ours", b"grant_type=client_credentials"),
        ("unsupported_grant_type", "nor is one with a code", b"grant_type=authorization_code&code=x"),
        ("unsupported_grant_type", "nor in capitals", f"grant_type=Password&username={QUOTED}&password=x".encode()),
        ("invalid_grant", "a wrong password is no grant", f"grant_type=password&username={QUOTED}&password=12345678".encode()),
        ("invalid_grant", "nor is an empty one of blanks", f"grant_type=password&username={QUOTED}&password=+".encode()),
        ("invalid_grant", "nor a long one", f"grant_type=password&username={QUOTED}&password={'x' * 5000}".encode()),
        ("invalid_grant", "nor an address that nobody has", b"grant_type=password&username=nobody%40example.org&password=12345678"),
        ("invalid_grant", "nor one that is none", b"grant_type=password&username='--&password=12345678"),
        ("invalid_grant", "nor a very long one", b"grant_type=password&username=" + b"x" * 9000 + b"&password=12345678"),
        ("invalid_grant", "nor a refresh token that is junk", b"grant_type=refresh_token&refresh_token=junk"),
        ("invalid_grant", "nor one of the right form", f"grant_type=refresh_token&refresh_token={olga.id}.{'A' * 43}".encode()),
        ("invalid_grant", "nor one of nobody", f"grant_type=refresh_token&refresh_token=1.{'A' * 43}".encode()),
        ("invalid_grant", "nor one of nobody at all", f"grant_type=refresh_token&refresh_token=-1.{'A' * 43}".encode()),
        ("invalid_grant", "nor one of too large an account", f"grant_type=refresh_token&refresh_token=9223372036854775808.{'A' * 43}".encode()),
        ("invalid_grant", "nor an access token", f"grant_type=refresh_token&refresh_token={olga.token}".encode())):
    check_error(nobody.post(TOKEN, raw=raw, headers=FORM), error, f"{error}: {claim}")
check_error(nobody.post(TOKEN + "?" + urllib.parse.urlencode(GRANT), form={}), "invalid_request", "invalid_request: what is in the query does not count")
answer = nobody.post(TOKEN, form={"grant_type": "password", "username": olga.email + "\0", "password": PASSWORD})
check_error(answer, "invalid_request", "an address does not end at a NUL")
for kind, more in (("JSON", {"body": GRANT}), ("no type", {"raw": urllib.parse.urlencode(GRANT).encode()}),
                   ("plain text", {"raw": b"grant_type=password", "headers": {"Content-Type": "text/plain"}}),
                   ("another charset", {"raw": b"grant_type=password", "headers": {"Content-Type": FORM["Content-Type"] + "; charset=iso-8859-1"}})):
    answer = nobody.post(TOKEN, **more)
    t.ok(answer.status == 415 and answer.code == "unsupported_media_type" and "x-www-form-urlencoded" in answer.json()["detail"],
         f"{kind} is 415, which says what is wanted", answer)
answer = nobody.get(TOKEN)
t.equal((answer.status, answer.headers.get("allow")), (405, "POST, OPTIONS"), "GET gives no tokens")

# Revocation.
other = login(olga.email)
answer = nobody.post(REVOKE, form={"token": other.refresh, "token_type_hint": "refresh_token"})
t.equal((answer.status, answer.body), (200, b""), "a refresh token is revoked")
check_error(nobody.post(TOKEN, form={"grant_type": "refresh_token", "refresh_token": other.refresh}), "invalid_grant", "and is good no more")
t.equal(nobody.post(REVOKE, form={"token": other.refresh}).status, 200, "revoking it again is as well")
t.equal(psql(f"SELECT string_agg(DISTINCT reason, ',') FROM shop.refresh_family WHERE account_id = {olga.id} AND reason IS NOT NULL"), "logout",
        "for logging out is what it was")
check_tokens(nobody.post(TOKEN, form={"grant_type": "refresh_token", "refresh_token": olga.refresh}), "other logins go on")
spent = login(olga.email)
after = nobody.post(TOKEN, form={"grant_type": "refresh_token", "refresh_token": spent.refresh}).json()
t.equal(nobody.post(REVOKE, form={"token": spent.refresh}).status, 200, "a spent token can be revoked")
check_error(nobody.post(TOKEN, form={"grant_type": "refresh_token", "refresh_token": after["refresh_token"]}), "invalid_grant", "with what came of it")
for name, token in (("junk", "junk"), ("one of the right form", f"{olga.id}.{'A' * 43}"), ("an access token", olga.token), ("a very long one", "x" * 5000)):
    answer = nobody.post(REVOKE, form={"token": token})
    t.equal((answer.status, answer.body), (200, b""), f"{name} is as good as revoked")
t.equal(nobody.post(REVOKE, form={"token": "junk", "token_type_hint": "colour"}).status, 200, "a hint is not looked at")
check_tokens(nobody.post(TOKEN, form=GRANT, headers={"Authorization": "Bearer " + olga.token}), "who is logged in can log in")
check_error(nobody.post(REVOKE, form={}), "invalid_request", "nothing cannot be revoked")
check_error(nobody.post(REVOKE, form={"token": ""}), "invalid_request", "nor an empty token")
check_error(nobody.post(REVOKE, raw=b"token=a&token=b", headers=FORM), "invalid_request", "nor two at once")
t.equal(nobody.post(REVOKE, {"token": "a"}).status, 415, "nor by JSON")
