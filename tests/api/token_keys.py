#!/usr/bin/env python3
# with-api: --only-edge
"""Keys are changed without logging anybody out: a new one on top signs, the old ones verify until they are taken away;
and a file of keys that is not good is not run with. Runs within tools/with-api, behind nginx. TAP.
"""
import base64
import json
import os
import secrets
import subprocess

from api import Client, Tap, login, register, settings, use_keys

EDGE = os.environ["HF_EDGE"]
t = Tap()
FILE = settings()["token_keys"]
with open(FILE) as keys:
    OLD = keys.read()


def kid(token):
    """Which key signed a token."""
    part = token.split(".")[0]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))["kid"]


def status(token):
    """Of a request with the token."""
    answer = Client(EDGE, token).get("/v1/me")
    return answer.code or answer.status


NEW = f"key-2 {secrets.token_hex(64)}\n"
olga = register("olga", base=EDGE)
old = olga.token
t.equal((kid(old), status(old)), ("key-1", 200), "the first key signs")

use_keys("# The new one.\n" + NEW + "\n" + OLD)
t.equal(status(old), 200, "with a new key on top, tokens of the old one are good")
new = login(olga.email, base=EDGE).token
t.equal((kid(new), status(new)), ("key-2", 200), "and the new one signs")
answer = Client(EDGE).post("/v1/oauth/token", form={"grant_type": "refresh_token", "refresh_token": olga.refresh})
t.equal((answer.status, kid(answer.json()["access_token"])), (200, "key-2"), "a login of before is refreshed to it")

use_keys(NEW)
t.equal((status(old), status(new)), ("invalid_token", 200), "once the old key is taken away, its tokens are good no more")
refreshed = Client(EDGE).post("/v1/oauth/token", form={"grant_type": "refresh_token", "refresh_token": answer.json()["refresh_token"]})
t.equal((refreshed.status, status(refreshed.json()["access_token"])), (200, 200), "and whoever had one refreshes it")
use_keys(f"key-2 {base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b'=').decode()}\n" + OLD)
t.equal((status(old), status(new)), (200, "invalid_token"), "a key of the same name is another key")

SHORT = secrets.token_hex(31)
for claim, text, message in (("no key", "# none\n", "no key"), ("a short key", f"a {SHORT}\n", "32 to 64 bytes"), ("a long key", f"a {'0' * 130}\n", "32 to 64 bytes"),
                             ("half a line", "a\n", "line 1"), ("a name that is none", f"a/b {SHORT}00\n", "line 1"), ("words behind it", f"a {SHORT}00 x\n", "line 1"),
                             ("one name twice", OLD + OLD, "another key")):
    try:
        use_keys(text)
        failed = False
    except subprocess.CalledProcessError:
        failed = True
    with open(os.environ["HF_API_LOG"], errors="replace") as log:
        said = log.read()
    t.ok(failed and message in said, f"it does not run with {claim}, and says why", said[-500:])
    t.ok(SHORT not in said, "but not what the secret is")
    t.equal(status(old), 200, "and the old one goes on")
os.chmod(FILE, 0o644)
try:
    use_keys(OLD)
    t.ok(False, "nor with a file that everybody can read")
except subprocess.CalledProcessError:
    t.equal(status(old), 200, "nor with a file that everybody can read")
os.chmod(FILE, 0o600)
