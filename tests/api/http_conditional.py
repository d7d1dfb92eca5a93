#!/usr/bin/env python3
"""Validators do what RFC 9110 says: ETag and 304, If-Match with 412 and 428, compressed answers with ETags of their
own that work as well, and Cache-Control that lets nobody keep what is not his. Runs within tools/with-api. TAP.
"""
import gzip
import os

from api import Client, Tap, announced, key, note, product, register, why_no_problem

t = Tap()
nobody, mark, olga = Client(), register("mark", ["merchant"]), register("olga")
# Long enough to be worth compressing.
thing = product(mark, description="A thing of beauty is a joy for ever. " * 60)
THING = f"/v1/products/{thing['id']}"
announced()


def get(path, encoding=None, who=nobody, **headers):
    """A GET whose body is what came, perhaps compressed."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if encoding is not None:
        sent["Accept-Encoding"] = encoding
    if who.token:
        sent["Authorization"] = "Bearer " + who.token
    answer = who.send("GET", path, None, sent)
    if answer.status == 304:
        note("GET", path, answer)
    return answer


# ETag and If-None-Match.
for claim, path, who in [("a product", THING, nobody), ("a product, for its owner", THING, mark), ("a list", "/v1/products", nobody),
                         ("a search", "/v1/search?q=thing", nobody), ("categories", "/v1/categories", nobody), ("an account", "/v1/me", mark),
                         ("what is related", THING + "/related", nobody), ("a merchant", f"/v1/merchants/{mark.merchant_id}", nobody),
                         ("orders", "/v1/orders", olga), ("sales", "/v1/sales", nobody), ("the contract", "/openapi.json", nobody),
                         ("a page", "/docs", nobody)]:
    first = get(path, who=who)
    tag = first.headers.get("etag", "")
    t.ok(first.status == 200 and tag[:1] == tag[-1:] == '"' and len(tag) > 2, f"{claim} has an ETag", first.headers)
    good, bad = [tag, "W/" + tag, f'"x", {tag}', f'"x",W/"y",{tag},"z"', "*", f"  {tag} ".strip(),
                 tag[:-1] + '-gzip"'], ['"x"', tag[:-1] + 'x"', f'"x{tag[1:]}', '"x", "y"', tag.strip('"')]
    for header in good:
        answer = get(path, who=who, If_None_Match=header)
        if not t.ok(answer.status == 304 and answer.body == b"" and answer.headers.get("etag") == tag and "content-length" not in answer.headers and
                    "content-type" not in answer.headers and answer.headers["cache-control"] == first.headers["cache-control"] and
                    answer.headers["vary"] == first.headers["vary"], f"  304 to {header[:60]}", answer, answer.headers):
            break
    t.ok(all(get(path, who=who, If_None_Match=header).body == first.body for header in bad), "  200 to what is another's, or none")
answer = nobody.get("/v1/products/1", headers={"If-None-Match": "*"})
t.equal(answer.status, 404, "what is not there is not there, whatever the client has")
changed = mark.patch(THING, {"title": "Another"}, headers={"If-Match": '"%d"' % mark.get(THING).json()["version"], "If-None-Match": "*"})
t.equal(changed.status, 200, "If-None-Match is for GET")
t.equal(changed.headers.get("etag"), '"%d"' % changed.json()["version"], "a changed product comes with its new ETag")
old = thing["version"]
t.equal(get(THING, who=mark, If_None_Match=f'"{old}"').status, 200, "and the old one is not good any more")

# Compressed answers.
announced()
for claim, path, who in [("a product", THING, nobody), ("a product, for its owner", THING, mark), ("the contract", "/openapi.json", nobody),
                         ("a page's script", "/docs/docs.js", nobody)]:
    plain = get(path, "identity", who)
    tag = plain.headers["etag"]
    t.ok("content-encoding" not in plain.headers, f"{claim} comes as it is to whoever wants it so")
    for encoding in ("gzip", "deflate, gzip, br", "GZIP", "gzip;q=0.5", "gzip; q=1.0", "br;q=1.0, gzip;q=0.001", "*, gzip"):
        packed = get(path, encoding, who)
        if not t.ok(packed.headers.get("content-encoding") == "gzip" and len(packed.body) < len(plain.body) and
                    gzip.decompress(packed.body) == plain.body and
                    packed.headers["etag"] == tag[:-1] + '-gzip"' and int(packed.headers["content-length"]) == len(packed.body),
                    f"  compressed, the same to whoever takes {encoding}", packed.headers):
            break
    for encoding in ("gzip;q=0", "gzip; q=0", "gzip ;q=0.000", "deflate", "xgzip", "gzipped", "x-gzip-like", "br, gzip;q=0.0", ""):
        answer = get(path, encoding, who)
        t.ok("content-encoding" not in answer.headers and answer.body == plain.body and answer.headers["etag"] == tag,
             f"  as it is to Accept-Encoding {encoding!r}", answer.headers)
    t.ok("accept-encoding" in plain.headers["vary"] and "accept-encoding" in packed.headers["vary"], "  which caches are told")
    # A cache that has the one must not be told that it is the other.
    answer = get(path, "gzip", who, If_None_Match=tag[:-1] + '-gzip"')
    t.ok(answer.status == 304 and answer.headers["etag"] == tag[:-1] + '-gzip"' and "content-encoding" not in answer.headers,
         "  304 names the one that it is about", answer.headers)
answer = get(f"/v1/products/{product(mark, units=0)['id']}", "gzip")
t.ok("content-encoding" not in answer.headers, "what is short is not compressed", answer.headers)
answer = mark.send("PATCH", THING, b'{"description": "%s"}' % (b"long " * 500), {"Content-Type": "application/json",
                                                                                 "Authorization": "Bearer " + mark.token,
                                                                                 "If-Match": "*", "Accept-Encoding": "gzip"})
t.ok(answer.status == 200 and "content-encoding" not in answer.headers and answer.json(), "nor what answers a change", answer.headers)
answer = get("/v1/products?limit=1000", "gzip")
t.ok(answer.status == 422 and answer.json(), "nor a problem", answer.headers)
edge = Client(os.environ["HF_EDGE"])
announced()
packed = get(THING, "gzip", edge)
t.ok(packed.headers.get("content-encoding") == "gzip" and gzip.decompress(packed.body) == get(THING).body, "through nginx the same", packed.headers)
t.equal(get(THING, "gzip", edge, If_None_Match=packed.headers["etag"]).status, 304, "and its ETag is good")

# If-Match.


def version():
    return mark.get(THING).json()["version"]


def patch(match, path=THING, who=mark, body=None):
    return who.patch(path, body or {"title": f"Title {match}"[:60].replace('"', "'")}, headers={"If-Match": match})


for claim, form in [("its ETag", '"%d"'), ("*", "*"), ("several", '"x", "%d"'), ("several, close together", '"x","%d","y"'),
                    ("that of the compressed answer", '"%d-gzip"'),
                    ("that among several", '"1-gzip" , "%d-gzip"')]:
    before = version()
    answer = patch(form % before if "%" in form else form)
    t.ok(answer.status == 200 and answer.json()["version"] == before + 1, f"If-Match with {claim} lets a change through", answer)
for claim, form in [("an old one", '"1"'), ("a weak one, which is never good enough", 'W/"%d"'), ("one without quotes", "%d"), ("another's", '"x"'),
                    ("half of one", '"%d'),
                    ("a lot of them", ", ".join(f'"{n}x"' for n in range(500)))]:
    before = version()
    answer = patch(form % before if "%" in form else form)
    t.ok(why_no_problem(answer, "precondition_failed", 412) is None and version() == before, f"If-Match with {claim} does not", answer)
before = version()
many = ", ".join([f'"{n}x-gzip"' for n in range(60)] + [f'"{before}-gzip"'])
t.equal(patch(many).status, 200, "a long list is read to its end")
for claim, path, who in [("a product", THING, mark), ("an account", "/v1/me", mark), ("a merchant", f"/v1/merchants/{mark.merchant_id}", mark)]:
    body = {"name": "Renamed"} if who is mark and path != THING else {"title": "Renamed"}
    answer = who.patch(path, body)
    t.ok(why_no_problem(answer, "precondition_required", 428) is None, f"{claim} cannot be changed without If-Match", answer)
    tag = who.get(path).headers["etag"]
    t.equal(patch('"x"', path, who, body).status, 412, "  nor with another's")
    answer = patch(tag, path, who, body)
    t.ok(answer.status == 200 and answer.headers["etag"] != tag, "  but with its own, which then is another", answer, answer.headers)
    t.equal(patch(tag, path, who, body).status, 412, "  and the change is not lost to who comes second")
goner = product(mark)
path = f"/v1/products/{goner['id']}"
t.equal(mark.delete(path, headers={"If-Match": '"77"'}).status, 412, "DELETE heeds If-Match")
t.equal(nobody.get(path).status, 200, "  and deletes nothing then")
t.equal(mark.delete(path).status, 204, "but needs none")
order = olga.post("/v1/orders", {"items": [{"sku_id": thing["skus"][0]["id"], "quantity": 1}]}, headers=key())
path = order.headers["location"]
t.ok(order.headers.get("etag") == olga.get(path).headers["etag"], "an order that is made comes with its ETag", order.headers)
t.equal(olga.post(path + "/cancel", headers={"If-Match": '"77"'}).status, 412, "an order is not cancelled as what it is not")
t.equal(olga.post(path + "/cancel", headers={"If-Match": order.headers["etag"]}).status, 200, "but as what it is")

# Who may keep an answer.
for claim, path, who, wanted in [("public to nobody", THING, nobody, "public, no-cache"), ("a list", "/v1/products", nobody, "public, no-cache"),
                                 ("anything to whoever is logged in", THING, olga, "private, no-cache"),
                                 ("an account", "/v1/me", olga, "private, no-cache"),
                                 ("orders", "/v1/orders", olga, "private, no-cache"), ("the contract", "/openapi.json", nobody, "public, no-cache")]:
    t.equal(who.get(path).headers.get("cache-control"), wanted, f"{claim}: {wanted}")
login = nobody.post("/v1/oauth/token", form={"grant_type": "password", "username": olga.email, "password": "correct horse battery"})
t.equal(login.headers.get("cache-control"), "no-store", "tokens are kept by nobody (RFC 6749, section 5.1)")
