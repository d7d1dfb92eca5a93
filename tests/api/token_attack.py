#!/usr/bin/env python3
"""No access token but ours is good: none that was forged, changed, signed otherwise, made for others, or has had its
time; on protected and on public routes alike. Runs within tools/with-api, and forges with its keys. TAP.
"""
import base64
import hashlib
import hmac
import http.client
import json
import os
import secrets
import time
import urllib.parse

from api import Answer, Client, Tap, note, product, register, settings, within, why_no_problem

t = Tap()
PROTECTED, PUBLIC = "/v1/me", "/v1/categories"


def text(data):
    """base64url, without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


with open(settings()["token_keys"]) as keys:
    KID, SECRET = keys.readline().split()
SECRET = bytes.fromhex(SECRET)
olga, mark = register("olga"), register("mark", ["merchant"])
thing = product(mark)
HEADER, PAYLOAD, SIGNATURE = olga.token.split(".")
CLAIMS = json.loads(base64.urlsafe_b64decode(PAYLOAD + "=="))
HEAD = json.loads(base64.urlsafe_b64decode(HEADER + "=="))
NOW = int(time.time())


def sign(header, payload, secret=SECRET, digest=hashlib.sha256):
    """A token of these two parts."""
    signature = hmac.new(secret, f"{header}.{payload}".encode(), digest).digest()
    return f"{header}.{payload}.{text(signature)}"


def forge(header=HEADER, secret=SECRET, digest=hashlib.sha256, **changes):
    """A token like Olga's but for these claims; None takes one away."""
    claims = {name: value for name, value in {**CLAIMS, **changes}.items() if value is not None}
    return sign(header, text(json.dumps(claims, separators=(",", ":")).encode()), secret, digest)


def head(**changes):
    """The first part of a token."""
    return text(json.dumps({name: value for name, value in {**HEAD, **changes}.items() if value is not None}, separators=(",", ":")).encode())


def ask(path, *authorization):
    """GET with these headers Authorization, as bytes or text."""
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(os.environ["HF_API"]).netloc, timeout=20)
    connection.putrequest("GET", path)
    for value in authorization:
        connection.putheader("Authorization", value)
    connection.endheaders()
    response = connection.getresponse()
    answer = Answer(response.status, response.getheaders(), response.read())
    connection.close()
    note("GET", path, answer)
    return answer


# What is good.
t.equal((HEAD, set(CLAIMS)), ({"alg": "HS256", "kid": KID, "typ": "JWT"}, {"iss", "aud", "sub", "iat", "exp", "jti"}), "a token says no more than it must")
t.equal((CLAIMS["sub"], CLAIMS["exp"] - CLAIMS["iat"]), (olga.id, 900), "whose it is, and for how long")
good = forge(jti="forged")
t.equal([ask(path, "Bearer " + good).status for path in (PROTECTED, PUBLIC)], [200, 200], "what has the keys can make tokens, or this test proves nothing")
for name, value in (("bearer in small letters", "bearer " + good), ("BEARER in capitals", "BEARER " + good), ("two blanks", "Bearer  " + good),
                    ("a blank behind it", "Bearer " + good + " ")):
    t.equal(ask(PROTECTED, value).status, 200, f"it is good with {name}")
t.equal(ask(PROTECTED, "Bearer " + forge(sub=mark.id)).json()["id"], mark.id, "it is the subject's who is named")
t.equal(ask(PROTECTED, "Bearer " + forge(nbf=NOW - 60)).status, 200, "it may say since when it is good")
t.equal(ask(PROTECTED, "Bearer " + forge(sub="1")).code, "unauthenticated", "a good token of an account that there is not is nobody's")

# What is not.
other = secrets.token_bytes(32)
middle = PAYLOAD[:20] + ("A" if PAYLOAD[20] != "A" else "B") + PAYLOAD[21:]
evil = text(json.dumps({**CLAIMS, "sub": mark.id}, separators=(",", ":")).encode())
CORPUS = [("nothing", ""), ("a dot", "."), ("two dots", ".."), ("three dots", "..."), ("junk", "junk"), ("junk with dots", "a.b.c"),
          ("JSON", "{}"), ("no signature", f"{HEADER}.{PAYLOAD}"), ("an empty signature", f"{HEADER}.{PAYLOAD}."),
          ("a signature alone", f"..{SIGNATURE}"), ("no header", f".{PAYLOAD}.{SIGNATURE}"), ("no payload", f"{HEADER}..{SIGNATURE}"),
          ("a fourth part", good + ".x"), ("a dot at the end", good + "."), ("half a token", good[:len(good) // 2]), ("one character less", good[:-1]),
          ("one character more", good + "A"), ("padding", good + "="), ("a blank within", good.replace(".", " .", 1)), ("two tokens", f"{good} {good}"),
          ("two tokens with a comma", f"{good}, {good}"), ("a parameter", f"{good}, realm=x"), ("quotes", f'"{good}"'), ("another scheme within", f"Bearer {good}"),
          ("in small letters", good.lower()), ("backwards", good[::-1]), ("escaped", good.replace(".", "%2e")),
          ("the standard alphabet", sign(HEADER, PAYLOAD).replace("-", "+").replace("_", "/") + "+"),
          ("a refresh token", olga.refresh), ("1 kB", "x" * 1000), ("4 kB", "x" * 4096), ("4 kB behind our header", HEADER + "." + "x" * 4000)]
CORPUS += [(f"alg {alg}", f"{head(alg=alg)}.{evil}.") for alg in ("none", "None", "NONE", "nOnE", "")]
CORPUS += [(f"alg {alg}, signed as before", sign(head(alg=alg), PAYLOAD)) for alg in ("none", "hs256", "HS384", "RS256", "ES256", "EdDSA", None, 0, ["HS256"])]
CORPUS += [("alg HS384, with its hash", sign(head(alg="HS384"), PAYLOAD, digest=hashlib.sha384)),
           ("alg HS512, with its hash", sign(head(alg="HS512"), PAYLOAD, digest=hashlib.sha512)),
           ("HS512 said to be HS256", sign(HEADER, PAYLOAD, digest=hashlib.sha512)),
           ("alg twice", sign(text(f'{{"alg":"none","alg":"HS256","kid":"{KID}","typ":"JWT"}}'.encode()), PAYLOAD)),
           ("another kid", sign(head(kid="key-2"), PAYLOAD)), ("no kid", sign(head(kid=None), PAYLOAD)), ("an empty kid", sign(head(kid=""), PAYLOAD, b"")),
           ("a kid that is a path", sign(head(kid="../../../dev/null"), PAYLOAD, b"")), ("a kid that is SQL", sign(head(kid="' OR 1=1 --"), PAYLOAD)),
           ("a kid that is a number", sign(head(kid=1), PAYLOAD)), ("a key in the header", sign(head(jwk={"kty": "oct", "k": text(other)}), PAYLOAD, other)),
           ("a URL of keys", sign(head(jku="http://127.0.0.1:1/"), PAYLOAD, other)), ("crit", sign(head(crit=["exp"]), PAYLOAD)),
           ("typ of something else", sign(head(typ="logout+jwt"), PAYLOAD)), ("a header of other blanks", sign(text(json.dumps(HEAD).encode()), PAYLOAD)),
           ("a header that is none", sign(text(b"HS256"), PAYLOAD)),
           ("another key", forge(secret=other)), ("an empty key", forge(secret=b"")), ("the kid as key", forge(secret=KID.encode())),
           ("the key as it stands in the file", forge(secret=SECRET.hex().encode())), ("a key cut short", forge(secret=SECRET.rstrip(b"\0")[:-1])),  # to HMAC, zeros at its end are nothing
           ("a changed payload", f"{HEADER}.{middle}.{SIGNATURE}"), ("another's payload", f"{HEADER}.{evil}.{SIGNATURE}"),
           ("another's signature", f"{HEADER}.{PAYLOAD}.{mark.token.split('.')[2]}"), ("a signature of zeros", f"{HEADER}.{PAYLOAD}.{'A' * 43}"),
           ("a signature of the payload alone", f"{HEADER}.{PAYLOAD}.{text(hmac.new(SECRET, PAYLOAD.encode(), hashlib.sha256).digest())}")]
CORPUS += [("expired", forge(exp=NOW - 1, iat=NOW - 900)), ("expired now", forge(exp=NOW, iat=NOW - 900)), ("exp of before all time", forge(exp=-1)),
           ("exp 0", forge(exp=0)), ("no exp", forge(exp=None)), ("exp as text", forge(exp=str(NOW + 900))), ("exp as a fraction", forge(exp=NOW + 900.5)),
           ("exp true", forge(exp=True)), ("exp beyond all time", forge(exp=10 ** 15)), ("exp beyond all numbers", forge(exp=10 ** 30)),
           ("exp before iat", forge(iat=NOW + 900, exp=NOW + 800)), ("no iat", forge(iat=None)), ("iat as text", forge(iat=str(NOW))),
           ("not good yet", forge(nbf=NOW + 300)), ("nbf as text", forge(nbf=str(NOW - 300))), ("nbf as a fraction", forge(nbf=NOW - 0.5)),
           ("another issuer", forge(iss="holdfast.example.org")), ("no issuer", forge(iss=None)), ("a list of issuers", forge(iss=["holdfast"])),
           ("another audience", forge(aud="other")), ("no audience", forge(aud=None)), ("a list of audiences", forge(aud=["other", "holdfast"])),
           ("an audience that begins so", forge(aud="holdfast2")), ("no subject", forge(sub=None)), ("subject as a number", forge(sub=int(olga.id))),
           ("an empty subject", forge(sub="")), ("subject 0", forge(sub="0")), ("a negative subject", forge(sub="-1")), ("a subject with a plus", forge(sub="+1")),
           ("a subject with a zero", forge(sub="0" + olga.id)), ("a subject with a blank", forge(sub=f" {olga.id}")), ("subject and more", forge(sub=f"{olga.id} OR 1=1")),
           ("a subject that is too large", forge(sub="9223372036854775808")), ("a list of subjects", forge(sub=[olga.id])), ("no jti", forge(jti=None)),
           ("an empty jti", forge(jti="")), ("staff as text", forge(staff="true"))]
for name, payload in (("no payload", b""), ("a payload that is no JSON", b"junk"), ("null", b"null"), ("a list", json.dumps([CLAIMS]).encode()),
                      ("text", json.dumps(json.dumps(CLAIMS)).encode()), ("a claim twice", json.dumps(CLAIMS)[:-1].encode() + f',"sub":"{mark.id}"}}'.encode()),
                      ("more behind the claims", json.dumps(CLAIMS).encode() + b"{}"), ("no UTF-8", json.dumps(CLAIMS)[:-1].encode() + b',"a":"\xff"}'),
                      ("a subject with a NUL", json.dumps({**CLAIMS, "sub": olga.id + "\0"}).encode()), ("deep claims", b"[" * 700)):
    CORPUS.append((f"signed {name}", sign(HEADER, text(payload))))

for name, token in CORPUS:
    problems = []
    for path in (PROTECTED, PUBLIC):
        answer = ask(path, "Bearer " + token)
        problems.append(why_no_problem(answer, "invalid_token", 401))
        if 'error="invalid_token"' not in answer.headers.get("www-authenticate", ""):
            problems.append(answer.headers)
    t.ok(problems == [None, None], f"invalid_token: {name}", problems)
for name, value in (("no scheme", good), ("Basic", "Basic " + base64.b64encode(b"olga:secret").decode()), ("Basic with a token", "Basic " + good),
                    ("Token", "Token " + good), ("Bearer alone", "Bearer"), ("Bearer and a colon", "Bearer: " + good)):
    answers = [ask(path, value) for path in (PROTECTED, PUBLIC)]
    t.equal([(a.status, a.code) for a in answers], [(401, "invalid_token")] * 2, f"invalid_token: {name}")
t.equal([ask(path, "Bearer " + forge(exp=NOW - 1, iat=NOW - 900)).json().get("detail") for path in (PROTECTED, PUBLIC)], ["it has expired"] * 2,
        "who comes too late is told so")
for name, values in (("two tokens", ("Bearer " + good, "Bearer " + mark.token)), ("the same twice", ("Bearer " + good,) * 2), ("an empty one", ("",)),
                     ("a token and Basic", ("Basic eDp5", "Bearer " + good)), ("bytes that are no text", (b"Bearer \xff\xfe",)), ("a NUL", (b"Bearer a\0b",)),
                     ("a tab", ("Bearer\t" + good,))):
    answer = ask(PUBLIC, *values)
    t.equal((answer.status, answer.code), (400, "malformed"), f"two headers, or none that can be read, are refused before: {name}")
t.equal(ask(PUBLIC, "Bearer " + "x" * 100000).status, 431, "and so are 100 kB")
t.equal(ask(PROTECTED, "Bearer " + good).status, 200, "after all of that, what is good is good")
t.equal(Client().get(PROTECTED + "?access_token=" + good).code, "unauthenticated", "a token in a query is none")
t.equal(Client(token=forge(staff=True)).post("/v1/products", {"title": "a"}).code, "forbidden", "staff is only a word: roles are asked of the database")

# Time passes.
short = forge(iat=NOW - 60, exp=int(time.time()) + 8, jti="short")
t.equal([ask(PROTECTED, "Bearer " + short).status for _ in range(4)], [200] * 4, "a token is good until its time has come")
t.ok(within(60, lambda: ask(PROTECTED, "Bearer " + short).status == 401), "and then it is not, though it is known")
