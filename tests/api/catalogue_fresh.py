#!/usr/bin/env python3
"""Caches never show yesterday's: what is changed through the API or by psql shows at once, by id, in lists, by category,
in searches and by If-None-Match, in every worker, to everybody; and what a cache answers is what the database would,
byte for byte. Runs within tools/with-api. TAP.

Staleness is measured from the answer to the change to the moment when the last request was sent that got the old
state: some milliseconds, which are printed; what is in a cache and nobody takes out lives for an hour.
"""
import gzip
import re
import threading
import time
import urllib.parse
import uuid

from api import Client, Tap, key, product, psql, register, within

CONNECTIONS = 6
BOUND = 5  # seconds; a machine that has other things to do takes some, but 2 are promised whatever happens

t = Tap()
mark, olga, root = register("mark", ["merchant"]), register("olga"), register("root", ["admin"])
top = root.post("/v1/categories", {"name": f"Top {uuid.uuid4().hex}"}).json()["id"]
sub = root.post("/v1/categories", {"name": "Sub", "parent_id": top}).json()["id"]
elsewhere = root.post("/v1/categories", {"name": f"Else {uuid.uuid4().hex}"}).json()["id"]


def everybody():
    """Clients enough for each worker to have some of nobody's and of olga's; the ids of requests begin with their worker's own."""
    clients, workers = [], {}
    while len(clients) < CONNECTIONS or min(map(len, workers.values())) < 2 or len(workers) < 2:
        client = Client(token=olga.token if len(clients) % 3 == 2 else None)
        workers.setdefault(client.get("/health").headers["x-request-id"][:12], []).append(client)
        clients.append(client)
        if len(clients) > 200:
            break
    return clients + [mark, root], workers


clients, workers = everybody()
t.equal(len(workers), 2, "the clients are spread over both workers")


def cached():
    """Reads so far that a worker's own memory has answered."""
    text = clients[0].send("GET", "/metrics", None, {}).body.decode()
    return int(re.search(r'^holdfast_cache_reads_total\{layer="near"\} (\d+)', text, re.M)[1])


before = cached()
shown = []  # how long the old was seen: after each change, in each view, by each client


def watch(claim, change, views, new):
    """Warms all views up, makes a change, and watches them until all show the new state: new(view, answer)."""
    for view in views:
        for client in clients:
            client.send("GET", view, None, auth(client))
    for client in clients:
        if all(new(view, client.send("GET", view, None, auth(client))) for view in views):
            t.ok(False, f"{claim}: the old state shows before", views)
            return
    change()
    changed = time.monotonic()
    stale = {(view, n): 0.0 for view in views for n in range(len(clients))}
    waiting = set(stale)
    while waiting and time.monotonic() < changed + 3 * BOUND:
        for view, n in sorted(waiting):
            asked = time.monotonic()
            answer = clients[n].send("GET", view, None, auth(clients[n]))
            if new(view, answer):
                waiting.discard((view, n))
            else:
                stale[view, n] = asked - changed
                last = answer
    back = [(view, n) for view, n in stale if (view, n) not in waiting and not new(view, clients[n].send("GET", view, None, auth(clients[n])))]
    shown.extend(stale.values())
    t.ok(not waiting and max(stale.values()) < BOUND, f"{claim}: all see it, the last after {max(stale.values()) * 1000:.1f} ms",
         {v for v, _ in waiting}, *([last] if waiting else []))
    t.ok(not back, "  and nobody sees the old again", back)


def auth(client):
    return {"Authorization": f"Bearer {client.token}"} if client.token else {}


def sql(text):
    return lambda: psql(text)


WORD = "qc" + uuid.uuid4().hex[:8]
thing = product(mark, title=f"{WORD} first", category_id=sub, tags=[WORD])
near = product(mark, title=f"{WORD} neighbour", category_id=sub)
ID, SKU = thing["id"], thing["skus"][0]["id"]
BY_ID, RELATED = f"/v1/products/{ID}", f"/v1/products/{near['id']}/related"
LISTS = ["/v1/products?limit=100&sort=new", f"/v1/products?merchant={mark.merchant_id}", f"/v1/products?category={sub}",
         f"/v1/products?category={top}&merchant={mark.merchant_id}",
         f"/v1/products?tag={WORD}", f"/v1/search?q={WORD}", f"/v1/search?q={WORD}&category={top}&facets=true", RELATED]
VIEWS = [BY_ID] + LISTS


def shows(text):
    return lambda view, answer: answer.status == 200 and text.encode() in answer.body


def item(answer):
    return next((i for items in answer.json().values() if isinstance(items, list) for i in items if isinstance(i, dict) and i.get("id") == ID), None)


def has(field, value):
    """The thing is in the view, with this value."""
    def new(view, answer):
        if answer.status != 200:
            return False
        found = answer.json() if view == BY_ID else item(answer)
        return bool(found) and found[field] == value
    return new


def there(view, answer):
    return answer.status == 200 and (view == BY_ID or item(answer) is not None)


def hidden(status):
    """Gone, but for a draft's owner and admins by id."""
    return lambda view, answer: answer.status == status if view == BY_ID else answer.status == 200 and item(answer) is None


def patch(**body):
    def change():
        answer = mark.patch(BY_ID, body, headers={"If-Match": "*"})
        assert answer.status == 200, answer
    return change


def post(path):
    def change():
        answer = mark.post(path)
        assert answer.status == 200, answer
    return change


watch("a title, by PATCH", patch(title=f"{WORD} second"), VIEWS, has("title", f"{WORD} second"))
watch("a title, by psql", sql(f"UPDATE shop.product SET title = '{WORD} third' WHERE id = {ID}"), VIEWS, has("title", f"{WORD} third"))
watch("a price, by PATCH", patch(skus=[{"id": SKU, "code": thing["skus"][0]["code"], "price": 1234, "currency": "EUR"}]), VIEWS, has("price", 1234))
watch("a price, by psql", sql(f"UPDATE shop.sku SET price = 777 WHERE id = {SKU}"), VIEWS, has("price", 777))
watch("tags, by PATCH", patch(tags=[WORD, "new-tag"]), VIEWS, has("tags", [WORD, "new-tag"]))
watch("a description, by psql", sql(f"UPDATE shop.product SET description = 'hand made' WHERE id = {ID}"), [BY_ID], has("description", "hand made"))
psql(f"INSERT INTO shop.image (product_id, original) VALUES ({ID}, 'a.png')")
SIZE = f'{{"name": "small", "width": 1, "height": 1, "type": "image/png", "file": "{WORD}.png"}}'
watch("a picture that is ready", sql(f"UPDATE shop.image SET state = 'ready', sizes = '[{SIZE}]' WHERE product_id = {ID}"), VIEWS, shows(f"{WORD}.png"))
drafts, clients = clients, [c for c in clients if c not in (mark, root)]  # who must not see drafts
watch("unpublish", post(BY_ID + "/unpublish"), VIEWS, hidden(404))
watch("publish", post(BY_ID + "/publish"), VIEWS, there)
watch("unpublish by psql", sql(f"UPDATE shop.product SET published_at = NULL WHERE id = {ID}"), VIEWS, hidden(404))
watch("publish by psql", sql(f"UPDATE shop.product SET published_at = now() WHERE id = {ID}"), VIEWS, there)
clients = drafts
watch("another category, by PATCH", patch(category_id=elsewhere), [f"/v1/products?category={sub}", f"/v1/search?q={WORD}&category={sub}"], hidden(0))
watch("and back, by psql", sql(f"UPDATE shop.product SET category_id = {sub} WHERE id = {ID}"),
      [f"/v1/products?category={sub}", f"/v1/search?q={WORD}&category={sub}"], there)
watch("a category that moves", lambda: root.patch(f"/v1/categories/{sub}", {"parent_id": elsewhere}),
      [f"/v1/products?category={elsewhere}", f"/v1/search?q={WORD}&category={elsewhere}"], there)
watch("a category that moves, where it was", lambda: root.patch(f"/v1/categories/{sub}", {"parent_id": top}),
      [f"/v1/products?category={elsewhere}", f"/v1/search?q={WORD}&category={elsewhere}"], hidden(0))
watch("a category's name", lambda: root.patch(f"/v1/categories/{sub}", {"name": f"Sub {WORD}"}), ["/v1/categories"], shows(f"Sub {WORD}"))
watch("a category's name, by psql", sql(f"UPDATE shop.category SET name = 'Sub by hand {WORD}' WHERE id = {sub}"), ["/v1/categories"],
      shows(f"Sub by hand {WORD}"))
watch("a new category", lambda: root.post("/v1/categories", {"name": f"New {WORD}"}), ["/v1/categories"], shows(f"New {WORD}"))
MERCHANT = f"/v1/merchants/{mark.merchant_id}"
watch("a merchant's name", lambda: mark.patch(MERCHANT, {"name": f"Mark {WORD}"}, headers={"If-Match": "*"}), [MERCHANT], shows(f"Mark {WORD}"))
watch("a merchant's name, by psql", sql(f"UPDATE shop.merchant SET name = 'By hand {WORD}' WHERE id = {mark.merchant_id}"), [MERCHANT],
      shows(f"By hand {WORD}"))
watch("what was bought together, by psql", sql(f"INSERT INTO shop.bought_together VALUES ({near['id']}, {ID}, 3)"), [RELATED], lambda view,
      answer: [i["id"] for i in answer.json()["bought_together"]] == [ID])
sale = mark.post("/v1/sales", {"sku_id": SKU, "price": 500, "quantity": 2, "starts_at": "2099-01-01T00:00:00Z", "ends_at": "2099-02-01T00:00:00Z",
                               "per_account_limit": 1}).json()["id"]
mark.post(f"/v1/sales/{sale}/preheat")
SALES = [f"/v1/sales/{sale}", "/v1/sales?limit=100", f"/v1/sales?merchant={mark.merchant_id}"]
watch("a product's title, in its sales", patch(title=f"{WORD} on sale"), SALES, shows(f"{WORD} on sale"))
watch("a sale that is closed", lambda: mark.post(f"/v1/sales/{sale}/close"), SALES[:1], shows("closed"))
extra = []
watch("a new product", lambda: extra.append(product(mark, title=f"{WORD} extra", category_id=sub, tags=[WORD])["id"]), LISTS, shows(f"{WORD} extra"))
watch("DELETE", lambda: mark.delete(BY_ID), VIEWS, hidden(410))
ID = extra[0]
BY_ID, VIEWS = f"/v1/products/{ID}", [f"/v1/products/{ID}"] + LISTS
watch("deleted by psql", sql(f"UPDATE shop.product SET deleted_at = now() WHERE id = {ID}"), VIEWS, hidden(410))
shown.sort()
most = shown[int(len(shown) * 0.95)]
print(f"# of {len(shown)} views 95 of 100 were new after {most * 1000:.1f} ms, all after {shown[-1] * 1000:.1f} ms", flush=True)

t.ok(cached() - before > len(shown), f"{cached() - before} answers came from a worker's own memory")

# What a client has kept is not said to be good when it is not.
ID = near["id"]
BY_ID = f"/v1/products/{ID}"
for claim, path, change in [("a product, by PATCH", BY_ID, patch(title=f"{WORD} kept")),
                            ("a product, by psql", BY_ID, sql(f"UPDATE shop.product SET title = '{WORD} by hand' WHERE id = {ID}")),
                            ("its price, by psql", BY_ID, sql(f"UPDATE shop.sku SET price = 4321 WHERE product_id = {ID}")),
                            ("a merchant, by psql", MERCHANT, sql(f"UPDATE shop.merchant SET name = 'Again {WORD}' WHERE id = {mark.merchant_id}")),
                            ("a list, by psql", f"/v1/products?merchant={mark.merchant_id}",
                             sql(f"UPDATE shop.product SET title = '{WORD} again' WHERE id = {ID}"))]:
    old = [(client, client.get(path)) for client in (Client(), olga, mark)]
    change()
    for client, answer in old:
        within(3 * BOUND, lambda: client.get(path).body != answer.body)  # each worker hears of it by itself
        again = client.get(path, headers={"If-None-Match": answer.headers["etag"]})
        t.ok(again.status == 200 and again.body != answer.body and again.headers["etag"] != answer.headers["etag"],
             f"changed is {claim}, and so is its ETag", again, answer.headers["etag"])

def still(body):
    """A body without its countdowns, which follow from the clock."""
    return re.sub(rb'"(starts|ends)_in" : \d+', b"", body)


# What is answered is what the database says: byte for byte, from each layer, compressed or not.
order = olga.post("/v1/orders", {"items": [{"sku_id": near["skus"][0]["id"], "quantity": 1}]}, headers=key())
for path, call in [(f"/v1/products/{near['id']}", f"product_get(NULL, {near['id']})"), (f"/v1/products/{near['id']}/related",
                                                                                        f"product_related(NULL, {near['id']})"),
                                                                                        ("/v1/categories", "category_list(NULL)"),
                   (MERCHANT, f"merchant_get(NULL, {mark.merchant_id})"), (f"/v1/products?merchant={mark.merchant_id}",
                                                                           f"""product_list(NULL, '{{"merchant": "{mark.merchant_id}"}}')"""),
                   (f"/v1/products?category={sub}&sort=-price", f"""product_list(NULL, '{{"category": "{sub}", "sort": "-price"}}')"""),
                   (f"/v1/search?q={WORD}&facets=true", f"""product_search(NULL, '{{"q": "{WORD}", "facets": "true"}}')"""),
                   (f"/v1/search?q={urllib.parse.quote('奶酪')}", "product_search(NULL, '{\"q\": \"奶酪\"}')"),
                   (f"/v1/sales/{sale}", f"sale_get(NULL, {sale})"), ("/v1/sales?limit=3", "sale_list(NULL, '{\"limit\": \"3\"}')")]:
    # A row of text, as psql prints it.
    wanted = still(psql(f"SELECT body FROM rest.{call}", "shop_api").encode())

    def all_agree():
        """Once each worker has been told of the last change."""
        global asked, bodies, tags
        asked = [client.send("GET", path, None, {**auth(client), **more}) for client in clients if client not in (mark, root)
                 for more in ({}, {"Accept-Encoding": "gzip"}) for _ in (1, 2)]
        bodies = {still(gzip.decompress(a.body) if a.headers.get("content-encoding") == "gzip" else a.body) for a in asked}
        tags = {a.headers["etag"].replace("-gzip", "") for a in asked}
        return bodies == {wanted} and len(tags) == 1

    within(BOUND, all_agree)
    t.ok(bodies == {wanted} and len(tags) == 1, f"{path.split('?')[0]}: {len(asked)} answers of all layers are what the database says", bodies,
         wanted, tags)
    if not path.startswith("/v1/products/") and "sales" not in path:
        t.ok(root.get(path).body == wanted, "  and what it tells an admin", root.get(path))

# Under load: readers who never stop, a writer by the API and by psql in turn, and nobody reads what is over.
acks, reads, end = [(time.monotonic(), f"{WORD} 0")], [], threading.Event()
mark.patch(BY_ID, {"title": f"{WORD} 0"}, headers={"If-Match": "*"})
acks[0] = (time.monotonic(), f"{WORD} 0")


def reader(n):
    client = Client(token=olga.token if n % 3 == 2 else None)
    views = [BY_ID, f"/v1/products?merchant={mark.merchant_id}", f"/v1/search?q={WORD}"]
    i = n
    while not end.is_set():
        i += 1
        asked = time.monotonic()
        answer = client.send("GET", views[i % 3], None, auth(client))
        body = answer.json()
        title = body["title"] if i % 3 == 0 else next(x["title"] for x in body["items"] if x["id"] == ID)
        reads.append((asked, title))


threads = [threading.Thread(target=reader, args=(n,)) for n in range(CONNECTIONS)]
for thread in threads:
    thread.start()
began = time.monotonic()
for n in range(1, 1000):
    passed = time.monotonic() - began
    if passed > 4 and len(reads) > 200 and len(acks) > 10 or passed > 60:
        break
    title = f"{WORD} {n}"
    if n % 3 == 0:
        psql(f"UPDATE shop.product SET title = '{title}' WHERE id = {ID}")
    else:
        mark.patch(BY_ID, {"title": title}, headers={"If-Match": "*"})
    acks.append((time.monotonic(), title))
    time.sleep(0.02)
end.set()
for thread in threads:
    thread.join()
over = {title: acks[n + 1][0] for n, (_, title) in enumerate(acks[:-1])}
late = sorted(max(0.0, asked - over.get(title, asked)) for asked, title in reads)
t.ok(len(reads) > 200 and len(acks) > 10, f"{len(reads)} reads while there were {len(acks)} changes")
t.ok(late[-1] < BOUND, f"95 of 100 showed nothing older than {late[int(len(late) * 0.95)] * 1000:.1f} ms, none than {late[-1] * 1000:.1f} ms")
t.ok(within(3 * BOUND, lambda: all(client.get(BY_ID).json()["title"] == acks[-1][1] for client in clients)), "and in the end all show the last one")
