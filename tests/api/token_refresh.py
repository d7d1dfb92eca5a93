#!/usr/bin/env python3
"""A refresh token is good once: reuse ends its family, concurrent refreshes have one winner, and an answer that was
lost can be asked for again, for ten seconds. Runs within tools/with-api. TAP.
"""
from api import Client, Tap, at_once, login, psql, register

t = Tap()
nobody = Client()
olga = register("olga")


def refresh(token, client=None):
    """The answer to a refresh."""
    return (client or nobody).post("/v1/oauth/token", form={"grant_type": "refresh_token", "refresh_token": token})


def next_of(token):
    """The token that a token is refreshed to."""
    return refresh(token).json()["refresh_token"]


def passed(seconds):
    """Lets time pass for all families of Olga's."""
    psql(f"UPDATE shop.refresh_family SET rotated_at = rotated_at - interval '{seconds} s', started_at = started_at - interval '{seconds} s', "
         f"expires_at = expires_at - interval '{seconds} s', ends_at = ends_at - interval '{seconds} s' WHERE account_id = {olga.id}")


def reasons():
    """How Olga's families have ended, the last one first."""
    return psql(f"SELECT string_agg(coalesce(reason, 'going on'), ',' ORDER BY started_at DESC) FROM shop.refresh_family WHERE account_id = {olga.id}").split(",")


# Reuse.
one = login(olga.email).refresh
two = next_of(one)
three = next_of(two)
t.equal(len({one, two, three}), 3, "each refresh gives another token")
t.equal(psql(f"SELECT count(*) FROM shop.refresh_token AS r WHERE r::text LIKE '%{three.partition('.')[2]}%'"), "0", "none of which is stored")
other = login(olga.email).refresh
t.equal(refresh(one).code, "invalid_grant", "one that was spent before the last is refused")
t.equal(refresh(three).code, "invalid_grant", "and ends the whole family, whoever has it")
t.equal(psql(f"SELECT string_agg(reason, ' ') FROM shop.refresh_family WHERE account_id = {olga.id}"), "reuse", "for reuse")
t.equal(refresh(other).status, 200, "another login goes on")
t.equal(olga.get("/v1/me").status, 200, "an access token is good until it expires")

# A lost answer.
one = login(olga.email).refresh
two = next_of(one)
again = refresh(one)
t.ok(again.status == 200 and again.json()["refresh_token"] != two, "the token spent last may come again at once", again)
passed(6)
twin = refresh(one)
t.equal(twin.status, 200, "and after 6 s")
twin = next_of(twin.json()["refresh_token"])
t.equal(refresh(two).code, "invalid_grant", "of its successors, the first that is used is good alone")
t.equal(refresh(twin).code, "invalid_grant", "and whoever comes with another ends the family for both")
one = login(olga.email).refresh
two = next_of(one)
passed(11)
t.equal((refresh(one).code, refresh(two).code), ("invalid_grant", "invalid_grant"), "after 11 s it is reuse")

# Nobody else's.
bert = register("bert")
secret = login(olga.email).refresh.partition(".")[2]
t.equal(refresh(f"{bert.id}.{secret}").code, "invalid_grant", "a secret is good for its own account")
t.equal(refresh(f"{olga.id}.{secret}").status, 200, "and trying it otherwise ends nothing")

# Time.
late = login(olga.email).refresh
passed(30 * 86400 - 60)
late = refresh(late)
t.equal(late.status, 200, "a login that was not used goes on before 30 days are over")
passed(30 * 86400 + 60)
t.equal(refresh(late.json()["refresh_token"]).code, "invalid_grant", "and not after")

# At once.
for trial in range(3):
    token = login(olga.email).refresh
    answers = at_once(32, lambda i: refresh(token, Client()))
    odd = [a for a in answers if getattr(a, "status", None) != 200]
    t.equal(odd, [], "32 who refresh one token at once all get an answer: any of theirs may be the one that is lost")
    given = [a.json()["refresh_token"] for a in answers if a not in odd]
    t.equal(len(set(given)), 32, "each another token")
    t.equal(psql(f"SELECT generation FROM shop.refresh_family AS f JOIN shop.refresh_token AS r USING (account_id, generation) WHERE r.family_id = f.id "
                 f"AND f.account_id = {olga.id} AND f.revoked_at IS NULL GROUP BY f.id, generation HAVING count(*) = 32"), "2", "which are of one generation")
    answers = at_once(32, lambda i: refresh(given[i], Client()))
    codes = sorted(str(getattr(a, "code", a) or a.status) for a in answers)
    t.equal(codes, ["200"] + ["invalid_grant"] * 31, "and when all use theirs at once, one wins")
    t.equal(reasons()[0], "reuse", "and the family has ended, because too many had it")
    winner = next(a for a in answers if a.status == 200)
    t.equal(refresh(winner.json()["refresh_token"]).code, "invalid_grant", "for the winner too")
chain = login(olga.email).refresh
for step in range(10):
    answers = at_once(4, lambda i: refresh(chain, Client()))
    chain = answers[step % 4].json()["refresh_token"]
t.equal((refresh(chain).status, reasons()[0]), (200, "going on"), "a client that sends each refresh four times, and keeps one answer, stays logged in")
racers = [login(olga.email).refresh for _ in range(8)]
mixed = at_once(24, lambda i: refresh(racers[i % 8], Client()) if i < 16 else Client().post("/v1/oauth/revoke", form={"token": racers[i % 8]}))
t.equal([a for a in mixed if getattr(a, "status", 500) not in (200, 400)], [], "refreshing and revoking at once is no fault either")
t.equal([refresh(r).code for r in racers], ["invalid_grant"] * 8, "and what is revoked is revoked")
