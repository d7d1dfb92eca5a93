#!/usr/bin/python3
# with-api: --conf 'token_ttl = 6s'
"""Libraries for OAuth 2.0 that know nothing of Holdfast work with it unchanged: they log in, ask, refresh when a token has
expired, report errors by name, and log out. Runs within tools/with-api, with Debian's Python for Debian's libraries. TAP.

The one for JavaScript is installed once, from the npm registry, into ${XDG_CACHE_HOME:-~/.cache}/holdfast; without npm it is skipped.
"""
import os
import subprocess
import time

from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from oauthlib.oauth2 import InvalidGrantError, LegacyApplicationClient, OAuth2Error, UnsupportedGrantTypeError
from requests_oauthlib import OAuth2Session

from api import PASSWORD, Client, Tap, npm, register, within

os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"
API = os.environ["HF_API"]
TOKEN, REVOKE, ME = f"{API}/v1/oauth/token", f"{API}/v1/oauth/revoke", f"{API}/v1/me"
PACKAGE, VERSION = "oauth4webapi", "3.8.8"
t = Tap()
olga = register("olga")


def expired(session):
    """Waits until the session's token has expired, as the session sees it."""
    return within(60, lambda: session.token["expires_at"] < time.time() - 0.1)


def error_of(kind, act):
    """What act() raises, if it is of this kind."""
    try:
        act()
    except kind as error:
        return error
    return None


# requests-oauthlib.
updates = []
session = OAuth2Session(client=LegacyApplicationClient(client_id="shop-app"), auto_refresh_url=TOKEN, token_updater=updates.append)
first = session.fetch_token(TOKEN, username=olga.email, password=PASSWORD)
t.ok(first["token_type"] == "Bearer" and first["refresh_token"], "requests-oauthlib logs in", list(first))
t.equal(session.get(ME).json()["id"], olga.id, "and asks who it is")
t.ok(expired(session), "its token expires")
bare = OAuth2Session(token={"access_token": first["access_token"], "token_type": "Bearer"}).get(ME)
t.equal((bare.status_code, bare.json()["detail"]), (401, "it has expired"), "and is refused")
answer = session.get(ME)
t.equal((answer.status_code, answer.json()["id"]), (200, olga.id), "it refreshes it by itself")
t.ok(updates and updates[-1]["refresh_token"] != first["refresh_token"], "and gets another refresh token", updates)
t.ok(expired(session) and session.get(ME).status_code == 200, "as often as need be")
client = LegacyApplicationClient(client_id="shop-app")
t.ok(isinstance(error_of(OAuth2Error, lambda: OAuth2Session(client=client).fetch_token(TOKEN, username=olga.email, password="wrong password")), InvalidGrantError),
     "a wrong password is an InvalidGrantError")
client.grant_type = "urn:example:other"
t.ok(isinstance(error_of(OAuth2Error, lambda: OAuth2Session(client=client).fetch_token(TOKEN, username=olga.email, password=PASSWORD)), UnsupportedGrantTypeError),
     "another grant is an UnsupportedGrantTypeError")
answer = session.post(REVOKE, data={"token": session.token["refresh_token"], "token_type_hint": "refresh_token"}, withhold_token=True)
t.equal(answer.status_code, 200, "it logs out")
t.ok(isinstance(error_of(OAuth2Error, lambda: session.refresh_token(TOKEN)), InvalidGrantError), "and cannot refresh any more")

# Authlib, which shows who the client is by Basic.
updates = []
session = AuthlibSession("shop-app", "secret", scope="profile", token_endpoint=TOKEN, update_token=lambda token, **_: updates.append(token))
first = session.fetch_token(TOKEN, username=olga.email, password=PASSWORD)
t.equal(session.get(ME).json()["id"], olga.id, "Authlib logs in and asks")
t.ok(expired(session) and session.get(ME).status_code == 200, "it refreshes by itself")
t.ok(updates and updates[-1]["refresh_token"] != first["refresh_token"], "and gets another refresh token", updates)
error = error_of(OAuthError, lambda: AuthlibSession("shop-app").fetch_token(TOKEN, username=olga.email, password="wrong password"))
t.ok(error and error.error == "invalid_grant" and error.description, "a wrong password is invalid_grant, with a description", error)
t.equal(session.revoke_token(REVOKE, token=session.token["refresh_token"], token_type_hint="refresh_token").status_code, 200, "it logs out")
error = error_of(OAuthError, lambda: session.refresh_token(TOKEN, session.token["refresh_token"]))
t.equal(error and error.error, "invalid_grant", "and cannot refresh any more")
answer = Client().post("/v1/oauth/token", form={"grant_type": "refresh_token", "refresh_token": olga.refresh})
t.equal(answer.status, 200, "whoever else is logged in stays so")


# oauth4webapi.
packages = npm(f"{PACKAGE}-{VERSION}", f"{PACKAGE}@{VERSION}")
if packages is None:
    t.ok(True, "oauth4webapi # SKIP it cannot be had from npm")
else:
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "oauth_client.mjs")
    done = subprocess.run(["node", script, os.path.join(packages, PACKAGE, "build", "index.js"), API, olga.email, PASSWORD], capture_output=True, text=True, timeout=120, check=False)
    for line in done.stdout.splitlines():
        good, _, claim = line.partition(" ")
        t.ok(good == "ok", claim)
    t.ok(done.returncode == 0 and done.stdout, "oauth4webapi has come to its end", done.stdout, done.stderr)
