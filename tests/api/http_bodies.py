#!/usr/bin/env python3
"""Bodies are read strictly: what is no JSON object in UTF-8 is refused with a code and changes nothing, the type and
the coding that are declared count, and each route has its limit of bytes. Runs within tools/with-api. TAP.
"""
import gzip
import os
import uuid

from api import Client, Tap, key, product, psql, register, why_no_problem

t = Tap()
nobody, mark, olga = Client(), register("mark", ["merchant"]), register("olga")
thing = product(mark)
THING, SKU = f"/v1/products/{thing['id']}", thing["skus"][0]["id"]
JSON = "application/json"


def send(raw, content_type=JSON, method="POST", path="/v1/products", who=mark, **headers):
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if content_type is not None:
        sent["Content-Type"] = content_type
    return who.request(method, path, raw=raw, headers=sent)


def good(**more):
    return b'{"title": "%s", "skus": [{"code": "%s", "price": 100, "currency": "EUR"}]%s}' % (
        more.get("title", b"A thing"), uuid.uuid4().hex.encode(), more.get("more", b""))


def count():
    return psql("SELECT count(*) FROM shop.product")


products = count()
DEEP = b'"attributes": ' + b'{"a": ' * 5 + b"1" + b"}" * 5
# The claim, the body, and a word of the explanation.
for claim, raw, word in [
        ("nothing", b"", "none"), ("a blank", b" ", ""), ("an array", b"[]", "object"), ("an array of objects", b"[{}]", "object"),
        ("null", b"null", "object"),
        ("a number", b"1", "object"), ("a text", b'"title"', "object"), ("half an object", b'{"title": "a', ""),
        ("an object and more", good() + b" x", ""),
        ("two objects", good() + good(), ""), ("a name twice", b'{"title": "a", "title": "b"}', "duplicate"),
        ("a name twice, written differently", b'{"title": "a", "t\\u0069tle": "b"}', "duplicate"),
        ("a name twice, further in", b'{"title": "a", "attributes": {"a": 1, "a": 2}}', "duplicate"),
        ("a comma too many", b'{"title": "a",}', ""), ("single quotes", b"{'title': 'a'}", ""), ("no quotes", b"{title: 1}", ""),
        ("a comment", b'{/* a */ "title": "a"}', ""),
        ("NaN", b'{"title": NaN}', ""), ("Infinity", b'{"title": -Infinity}', ""), ("a leading zero", b'{"title": 01}', ""),
        ("a plus", b'{"title": +1}', ""),
        ("hexadecimal", b'{"title": 0x10}', ""), ("a number that is beyond any", b'{"title": 1e999}', ""),
        ("a number of 400 digits", b'{"title": %s}' % (b"9" * 400), ""),
        ("a BOM", b"\xef\xbb\xbf" + good(), ""), ("UTF-16", good().decode().encode("utf-16"), ""), ("Latin-1", b'{"title": "caf\xe9"}', ""),
        ("half a character", b'{"title": "\xe4\xb8"}', ""), ("an overlong slash", b'{"title": "\xc0\xaf"}', ""),
        ("a surrogate in UTF-8", b'{"title": "\xed\xa0\x80"}', ""),
        ("half a surrogate pair", b'{"title": "\\ud800"}', ""), ("the other half", b'{"title": "\\udc00"}', ""),
        ("the halves the wrong way round", b'{"title": "\\udc00\\ud800"}', ""),
        ("a NUL", b'{"title": "a\x00b"}', ""), ("an escaped NUL", b'{"title": "a\\u0000b"}', "not allowed"),
        ("an escaped NUL in a name", b'{"a\\u0000": 1}', ""),
        ("a line feed in a text", b'{"title": "a\nb"}', ""), ("an escape that is none", b'{"title": "\\x41"}', ""),
        ("a NUL at the end", good() + b"\x00", ""),
        ("too deep objects", b'{"attributes": ' + b'{"a": ' * 16 + b"1" + b"}" * 17, "deep"), ("arrays without end", b"[" * 60000, "deep"),
        ("a form", b"title=a&price=1", "")]:
    answer = send(raw)
    t.ok(why_no_problem(answer, "invalid_body", 400) is None, f"{claim} is no body", answer)
    detail = answer.json().get("detail", "")
    t.ok(word in detail and "JSON_" not in detail and "wrong arguments" not in detail and detail, f"  which is explained: {detail}", answer)
t.equal(count(), products, "nothing came of all these")
for claim, raw, code, pointer in [
        ("a number as a title", b'{"title": 1e300, "skus": []}', ("wrong_type", "invalid_length"), None),
        ("a price of 300 digits", good(more=b', "skus2": 1').replace(b"100", b"9" * 300), ("unknown_field",), "/skus2"),
        ("a price beyond all", good().replace(b"100", b"1" + b"0" * 300), ("out_of_range",), "/skus/0/price"),
        ("a price of 1e30", good().replace(b"100", b"1e30"), ("out_of_range",), "/skus/0/price"),
        ("half a cent", good().replace(b"100", b"0.5"), ("wrong_type",), "/skus/0/price"),
        ("a title that is an object", good(title=b"x").replace(b'"x"', b"{}"), ("wrong_type",), "/title"),
        ("a control character", good(title=b"a\\u0007b"), ("invalid_characters",), "/title"), ("an empty name", b'{"": 1}', ("unknown_field",), "/"),
        ("a name with a slash", b'{"a/b~c": 1}', ("unknown_field",), "/a~1b~0c"), ("__proto__", b'{"__proto__": {}}', ("unknown_field",),
                                                                                   "/__proto__")]:
    answer = send(raw)
    t.ok(answer.status == 422 and answer.code in code and why_no_problem(answer) is None and pointer in (None, answer.json().get("pointer")),
         f"{claim} is refused: {code[0]}", answer)
t.equal(count(), products, "nothing came of these either")
for claim, raw, field, wanted in [("blanks around", b" \r\n\t" + good() + b"\r\n ", "title", "A thing"),
                                  ("any order, any character", good(title="灯泡 🌱 é\\u0301 \\ud83c\\udf31".encode()), "title", "灯泡 🌱 é\u0301 🌱"),
                                  ("escapes", good(title=b"a\\u002fb\\/c\\\\d\\\"e"), "title", 'a/b/c\\d"e'),
                                  ("100 as 1e2", good().replace(b"100", b"1e2"), "price", 100),
                                  ("100 as 100.0", good().replace(b"100", b"100.0"), "price", 100),
                                  ("null for what may be missing", good(more=b', "category_id": null, "tags": null'), "tags", []),
                                  ("as deep as it may be", good(more=b", " + DEEP), "version", 1)]:
    answer = send(raw)
    t.ok(answer.status == 201 and answer.json()[field] == wanted, f"{claim} is fine", answer)

# Content-Type and Content-Encoding.
for content_type in ("application/json", "application/json; charset=utf-8", 'application/json;charset="UTF-8"', "Application/JSON ; Charset=UTF-8",
                     "application/json; charset=utf-8; x=y"):
    t.equal(send(good(), content_type).status, 201, f"{content_type} is read")
for content_type in (None, "text/plain", "text/json", "application/jsonp", "application/json-patch+json", "application/merge-patch+json",
                     "application/json; charset=iso-8859-1",
                     "application/json; charset=utf-16", "application/json; charset=utf-88", "application/xml", "multipart/form-data; boundary=x",
                     "application/x-www-form-urlencoded", "json", "*/*"):
    answer = send(good(), content_type)
    t.ok(why_no_problem(answer, "unsupported_media_type", 415) is None and "application/json" in answer.json()["detail"], f"{content_type} is not",
         answer)
for content_type, status in (("application/merge-patch+json", 200), ("application/json", 200), ("application/json-patch+json", 415)):
    t.equal(send(b'{"title": "Patched"}', content_type, "PATCH", THING, If_Match="*").status, status, f"PATCH with {content_type}: {status}")
for coding in ("gzip", "deflate", "br", "identity"):
    answer = send(gzip.compress(good()) if coding == "gzip" else good(), Content_Encoding=coding)
    t.ok(why_no_problem(answer, "unsupported_media_type", 415) is None and "Content-Encoding" in answer.json()["detail"],
         f"Content-Encoding: {coding} is not read", answer)
answer = nobody.request("POST", "/v1/oauth/token", body={"grant_type": "password"})
t.ok(answer.status == 415 and "x-www-form-urlencoded" in answer.json()["detail"], "where a form is wanted, JSON is not read", answer)
answer = send(b"grant_type=password&grant_type=password", "application/x-www-form-urlencoded", "POST", "/v1/oauth/token", nobody)
t.ok(answer.status == 400 and answer.code == "invalid_request", "a form with a parameter twice is refused (RFC 6749, section 3.2)", answer)

# Where no body is wanted.
for raw, content_type, status in ((None, None, 200), (b"", None, 200), (b"", JSON, 200), (b"{}", JSON, 200), (b'{"a": 1}', JSON, 422),
                                  (b"{}", "text/plain", 415), (b"x", JSON, 400), (b"[]", JSON, 400)):
    answer = send(raw, content_type, "POST", THING + "/publish")
    t.equal(answer.status, status, f"publish with {raw!r} as {content_type}: {status}")

# Sizes. The margin is what the JSON around takes.
for claim, path, limit, who, headers in [("a product", "/v1/products", 64 << 10, mark, {}), ("an account", "/v1/accounts", 64 << 10, nobody, {}),
                                         ("an order", "/v1/orders", 64 << 10, olga, key()),
                                         ("a login", "/v1/oauth/token", 64 << 10, nobody, {}),
                                         ("a batch of orders", "/v1/orders/batch", 4 << 20, olga, key()),
                                         ("a webhook", "/v1/webhooks/simulated", 64 << 10, nobody, {}),
                                         ("a picture", THING + "/images", 8 << 20, mark, {}),
                                         ("what is not there", "/v1/nothing", 64 << 10, nobody, {})]:
    at, above = b'{"x": "' + b"y" * (limit - 9) + b'"}', b'{"x": "' + b"y" * (limit - 8) + b'"}'
    for base in (None, os.environ["HF_EDGE"]):
        client = Client(base, who.token)
        fits = client.request("POST", path, raw=at, headers={"Content-Type": JSON, **headers})
        answer = client.request("POST", path, raw=above, headers={"Content-Type": JSON, **headers})
        t.ok(fits.status not in (413, 500, 502, 503) and why_no_problem(answer, "payload_too_large", 413) is None,
             f"{claim}: {limit} bytes are read, one more is 413{' at the edge' if base else ''}", fits, answer)
        client.close()
t.equal(nobody.get("/v1/categories").status, 200, "all is well in the end")
