#!/usr/bin/env python3
"""Paths and queries are taken as they are meant: exactly the paths there are, percent-encoding in queries, no
parameter that nobody knows and none twice. Runs within tools/with-api. TAP.
"""
import json
import os
import urllib.parse
import uuid

from api import Client, Tap, product, register, why_no_problem

t = Tap()
nobody, mark, root = Client(), register("mark", ["merchant"]), register("root", ["admin"])
edge = Client(os.environ["HF_EDGE"])
WORD = "qb" + uuid.uuid4().hex[:8]
thing = product(mark, title=f"{WORD} Käse & Brot 100% 奶酪+", tags=["a&b=c", "50% off", "ä"], attributes={"size": "L&XL", "n": 1})
other = product(mark, title=f"{WORD} other", tags=["plain"], attributes={"size": "M"})
ID = thing["id"]

# Paths.
for claim, path in [("a slash at the end", f"/v1/products/{ID}/"), ("a slash at the end of a list", "/v1/products/"),
                    ("two slashes", f"/v1//products/{ID}"), ("two at the beginning", f"//v1/products/{ID}"),
                    ("capitals", f"/V1/products/{ID}"), ("capitals in the middle", f"/v1/Products/{ID}"), ("no version", f"/products/{ID}"),
                    ("another version", f"/v2/products/{ID}"),
                    ("a zero before the id", f"/v1/products/0{ID}"), ("a plus before it", f"/v1/products/+{ID}"), ("a minus", f"/v1/products/-{ID}"),
                    ("a blank", f"/v1/products/%20{ID}"),
                    ("zero", "/v1/products/0"), ("2^63", "/v1/products/9223372036854775808"),
                    ("2^64 and more", "/v1/products/18446744073709551617" + ID), ("a float", f"/v1/products/{ID}.0"),
                    ("letters", "/v1/products/abc"), ("digits of another script", "/v1/products/" + urllib.parse.quote("１２")),
                    ("an encoded slash", f"/v1%2Fproducts/{ID}"), ("an encoded dot", "/v1/products/%2e"),
                    ("an encoded NUL", f"/v1/products/{ID}%00"), ("a dot and a dot", f"/v1/x/../products/{ID}"),
                    ("a parameter in the path", f"/v1/products/{ID};a=b"), ("an extension", f"/v1/products/{ID}.json"),
                    ("one word more", f"/v1/products/{ID}/nothing"), ("SQL", f"/v1/products/{ID}%27%20OR%201=1"), ("no UTF-8", "/v1/products/%ff"),
                    ("half an escape", f"/v1/products/{ID}%4"), ("the root", "/")]:
    answer = nobody.get(path)
    t.ok(answer.status in (400, 404) and answer.code in ("not_found", "malformed") and why_no_problem(answer) is None, f"no product by {claim}",
         answer)
t.equal(nobody.get(f"/v1/orders/{uuid.uuid4()}").status, 401, "what is only for those who are logged in says so first")
for word in ("1", "abc", "0" * 36, "00000000-0000-0000-0000-00000000000g", "{00000000-0000-0000-0000-000000000000}"):
    t.equal(mark.get(f"/v1/orders/{urllib.parse.quote(word)}").code, "not_found", f"no order by {word}")
t.equal(mark.get(f"/v1/orders/{str(uuid.uuid4()).upper()}").code, "not_found", "nor by an id of nothing")
answer = nobody.get("/v1/products/" + "1" * 3000)
t.ok(answer.status in (404, 414) and answer.code in ("not_found", "uri_too_long"), "a long path is refused", answer)
answer = nobody.get("/v1/products?tag=" + "1" * 20000)
t.ok(answer.status in (414, 431) and answer.json()["status"] == answer.status, "and a long query", answer)

# Queries: what each finds.


def found(query, path="/v1/products", who=nobody):
    answer = who.get(f"{path}?merchant={mark.merchant_id}&{query}" if path == "/v1/products" else f"{path}?{query}")
    return [item["id"] for item in answer.json()["items"]] if answer.status == 200 else answer


def q(text):
    return urllib.parse.quote(text, safe="")


for claim, query, wanted in [("an encoded ampersand", f"tag={q('a&b=c')}", [ID]), ("an encoded percent sign", f"tag={q('50% off')}", [ID]),
                             ("a plus for a blank", "tag=50%25+off", [ID]), ("%20 for a blank", "tag=50%25%20off", [ID]),
                             ("lower-case escapes", f"tag={q('a&b=c').lower()}", [ID]), ("escapes that need not be", "tag=%70%6c%61%69%6e",
                                                                                         [other["id"]]),
                                                                                         ("escapes in a name", "%74ag=plain", [other["id"]]),
                                                                                         ("UTF-8", f"tag={q('ä')}", [ID]),
                             ("capitals in a tag", "tag=PLAIN", [other["id"]]), ("two ampersands", "&&tag=plain&&", [other["id"]]),
                             ("an equals sign in a value", "tag=a%26b=c", [ID]),
                             ("JSON", "attributes=" + q(json.dumps({"size": "L&XL"})), [ID]),
                             ("no such tag", "tag=nothing", []), ("all", "", sorted([ID, other["id"]], reverse=True))]:
    got = found(query)
    t.ok(got == wanted or sorted(got) == sorted(wanted), f"products by a query with {claim}", query, got)
for claim, text, wanted in [("a word", WORD, {ID, other["id"]}), ("Chinese", f"{WORD} 奶酪", {ID}), ("an ampersand", f"{WORD} Käse & Brot", {ID}),
                            ("a percent sign", f"{WORD} 100%", {ID}), ("accents that are missing", f"{WORD} kase", {ID}),
                            ("capitals", f"{WORD} OTHER".upper(), {other["id"]})]:
    t.ok(wanted <= set(found(f"q={q(text)}", "/v1/search")) and set(found(f"q={q(text)}", "/v1/search", edge)) >= wanted,
         f"a search with {claim}, through nginx too", text, found(f"q={q(text)}", "/v1/search"))
t.ok(found(f"tag={q('a&b=c')}&limit=1") == [ID] and found(f"limit=1&tag={q('a&b=c')}") == [ID], "the order of parameters does not matter")

# Queries that are wrong.
for claim, query, status, code, pointer in [
        ("a parameter that nobody knows", "colour=red", 422, "unknown_field", "?colour"),
        ("a known one in capitals", "LIMIT=1", 422, "unknown_field", "?LIMIT"), ("one without a name", "=1", 422, "unknown_field", "?"),
        ("one twice", "limit=1&limit=1", 400, "malformed", None), ("one twice, written differently", "limit=1&%6cimit=1", 400, "malformed", None),
        ("half an escape", "tag=%4", 400, "malformed", None), ("no escape at all", "tag=%zz", 400, "malformed", None),
        ("a NUL", "tag=a%00b", 400, "malformed", None), ("no UTF-8", "tag=%ff", 400, "malformed", None),
        ("half a character", "tag=%e4%b8", 400, "malformed", None), ("an overlong slash", "tag=%c0%af", 400, "malformed", None),
        ("a surrogate", "tag=%ed%a0%80", 400, "malformed", None), ("too many parameters", "&".join(f"p{n}=1" for n in range(40)), 400, "malformed",
                                                                   None), ("a limit of letters", "limit=ten", 422, "wrong_type", "?limit"),
        ("an empty limit", "limit=", 422, "wrong_type", "?limit"), ("no value", "limit", 422, "wrong_type", "?limit"),
        ("a price of too many digits", "min_price=" + "9" * 25, 422, "out_of_range", "?min_price"),
        ("a negative price", "max_price=-1", 422, "out_of_range", "?max_price"), ("a category that is no id", "category=x", 422, "invalid_value",
                                                                                  "?category"),
                                                                                  ("a category that is zero", "category=0", 422, "invalid_value",
                                                                                   "?category"),
        ("neither true nor false", "in_stock=yes", 422, "wrong_type", "?in_stock"), ("an order that there is not", "sort=random", 422,
                                                                                     "invalid_value", "?sort"),
                                                                                     ("attributes that are no JSON", "attributes=%7b", 422,
                                                                                      "invalid_value", "?attributes"),
        ("attributes that are no object", "attributes=1", 422, "invalid_value", "?attributes"),
        ("a control character", "tag=a%01b", 422, "invalid_characters", "?tag"), ("a currency that is too long", "currency=EURO", 422,
                                                                                  "invalid_length", "?currency")]:
    for who in (nobody, mark):
        answer = who.get(f"/v1/products?{query}")
        t.ok(why_no_problem(answer, code, status) is None and answer.json().get("pointer") == pointer,
             f"a query with {claim} is refused{' to an owner too' if who is mark else ''}", answer)
for claim, query, code, pointer in [("no q", "limit=1", "missing_field", "?q"), ("an empty q", "q=", "invalid_length", "?q"),
                                    ("a q of blanks", "q=%20%20", "invalid_length", "?q"),
                                    ("a q that is too long", "q=" + "a" * 201, "invalid_length", "?q"),
                                    ("an unknown parameter", "q=a&sort=new", "unknown_field", "?sort")]:
    answer = nobody.get(f"/v1/search?{query}")
    t.ok(why_no_problem(answer, code, 422) is None and answer.json()["pointer"] == pointer, f"a search with {claim} is refused", answer)
# Words that a search could stumble over.
for text in ("'", '"', "\\", "%", "_", "*", ":*", "&", "|", "!", "()", "<->", "a & | b", "'; DROP TABLE shop.product; --", "\u202e", "🌱", "\u0301",
             "x" * 200, "a " * 99, "${jndi:ldap://x}", "\\u0000", "灯", "١٢٣", "ǅ", "\ufeffx"):
    answer = nobody.get("/v1/search?q=" + q(text))
    t.ok(answer.status in (200, 422), f"a search for {text[:30]!r} finds what it finds", answer)
for path in (f"/v1/products/{ID}?x=1", f"/v1/products/{ID}?", "/v1/categories?%zz", "/openapi.json?a=1&a=2"):
    t.equal(nobody.get(path).status, 200, f"{path.split('?')[0][:16]} has no parameters and looks at none: ?{path.split('?')[1]}")
