#!/usr/bin/env python3
# with-api: --conf 'cors_origins = *'
"""With cors_origins = * a page of any origin may call; without that setting, none. Runs within tools/with-api. TAP."""
import os

from api import Client, Tap

t = Tap()
client = Client()
for origin in ("https://shop.example.com", "http://localhost:3000", "null", "app://thing"):
    answer = client.request("OPTIONS", "/v1/products", headers={"Origin": origin, "Access-Control-Request-Method": "POST"})
    t.ok(answer.status == 204 and answer.headers.get("access-control-allow-origin") in (origin, "*") and
         "POST" in answer.headers["access-control-allow-methods"],
         f"a page of {origin} may ask", answer.headers)
    answer = client.get("/v1/products", headers={"Origin": origin})
    t.ok(answer.headers.get("access-control-allow-origin") in (origin, "*") and "access-control-allow-credentials" not in answer.headers,
         "  and read, but not as whoever has a cookie", answer.headers)
    t.ok(answer.headers["access-control-allow-origin"] == "*" or "origin" in answer.headers["vary"], "  and caches know", answer.headers)
edge = Client(os.environ["HF_EDGE"]).get("/v1/products", headers={"Origin": "https://a.example"})
t.ok(edge.headers.get("access-control-allow-origin") in ("https://a.example", "*"), "through nginx too", edge.headers)
