#!/usr/bin/env python3
# with-api: --limits
"""tools/sale plays a sale whose account adds up, and says so; and when a single row is not what a buyer was told, it says
that, and which. Runs within tools/with-api. TAP.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

from api import PASSWORD, Tap, psql, register

ROOT = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
BUYERS, UNITS = 300, 120
t = Tap()
work = tempfile.TemporaryDirectory(prefix="holdfast-sale.")
JOURNAL = os.path.join(work.name, "journal")


def sale(*words, program=os.path.join(ROOT, "tools", "sale")):
    """Exit status and output of tools/sale."""
    done = subprocess.run([sys.executable, program, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout


def broken(said):
    """The sentences of the account that do not hold."""
    return re.findall(r"^  NOT (.*)$", said, re.M)


mark = register("mark", ["merchant"])
status, said = sale("--on-this-stack", "--buyers", BUYERS, "--units", UNITS, "--connections", 50, "--merchant", mark.email, PASSWORD,
                    "--leave", 0.2, "--twice", 0.2, "--abandon", 0.3, "--journal", JOURNAL)
SALE = re.search(r"^Sale (\d+) of", said, re.M)[1]
with open(JOURNAL, encoding="utf-8") as file:
    journal = [line.split() for line in file]
told = [line for line in journal if line[3] == "201"]
t.ok(status == 0 and not broken(said) and "It adds up." in said, "a sale is played, and its account adds up", status, said)
t.equal(re.findall(r"^  ok  (\w+) +\S", said.partition("buyers on")[0], re.M)[:5], ["stock", "lanes", "window", "product", "price"], "after the check-list of preheating")
t.equal(len(told), UNITS, f"{BUYERS} buyers bought {UNITS} units")
t.equal(psql(f"SELECT count(*), count(DISTINCT account_id) FROM shop.order WHERE sale_id = {SALE}"), f"{UNITS}|{UNITS}", "so the database says, each one")
paid = int(psql(f"SELECT count(*) FROM shop.order WHERE sale_id = {SALE} AND status = 'paid'"))
t.ok(0 < paid < UNITS and f"{paid} sold, {UNITS - paid} held, 0 left" in said, "some paid, and some did not", paid)
t.ok(re.search(r"asked again: .*; hung up: [1-9]\d*; asked twice: [1-9]\d*; never pay: [1-9]", said) is not None, "some hung up, and some asked twice")
t.ok(re.search(rf"^ +[\d.]+ s .* sold +{UNITS} +left +\d+ +paid +\d+ ", said, re.M) is not None, "it tells how it goes")

# The account alone, and what it finds when something is amiss.
status, said = sale("--on-this-stack", "--account", SALE, "--journal", JOURNAL)
t.ok(status == 0 and not broken(said), "the account can be done again", status, said)
_, account, key, _, _, order, _ = told[0]
BUYER = f"WHERE sale_id = {SALE} AND account_id = {account}"
for claim, forth, back, sentence in [
        ("a purchase is gone", f"CREATE TABLE gone AS SELECT * FROM shop.sale_buyer {BUYER}; DELETE FROM shop.sale_buyer {BUYER}", "INSERT INTO shop.sale_buyer SELECT * FROM gone; DROP TABLE gone",
         f"{UNITS} purchases were acknowledged, and all of them are there"),
        ("another key", f"UPDATE shop.sale_buyer SET keys = '{{somebody-else}}' {BUYER}", f"UPDATE shop.sale_buyer SET keys = '{{{key}}}' {BUYER}", "nobody has what he was not told of; orders whose buyers never got an answer: 0"),
        ("a key twice", f"UPDATE shop.sale_buyer SET keys = keys || keys, order_ids = order_ids || order_ids, quantities = quantities || quantities {BUYER}",
         f"UPDATE shop.sale_buyer SET keys = keys[1:1], order_ids = order_ids[1:1], quantities = quantities[1:1] {BUYER}", f"one order a key: {UNITS + 1} keys"),
        ("a unit too many", f"UPDATE _holdfast.stock_lane SET available = available + 1 WHERE sku = {SALE} AND lane = (SELECT min(lane) FROM _holdfast.stock_lane WHERE sku = {SALE})",
         f"UPDATE _holdfast.stock_lane SET available = available - 1 WHERE sku = {SALE} AND lane = (SELECT min(lane) FROM _holdfast.stock_lane WHERE sku = {SALE})", f"{UNITS} units: {paid} sold, {UNITS - paid} held, 1 left"),
        ("two units", f"UPDATE shop.order_line SET quantity = 2, amount = 2 * unit_price WHERE order_id = '{order}'", f"UPDATE shop.order_line SET quantity = 1, amount = unit_price WHERE order_id = '{order}'",
         f"each has its units, held or sold: {UNITS} holds"),
        ("too much for one account", f"UPDATE shop.sale SET per_account_limit = 1 WHERE id = {SALE}; UPDATE shop.order_line SET quantity = 2, amount = 2 * unit_price WHERE order_id = '{order}'",
         f"UPDATE shop.order_line SET quantity = 1, amount = unit_price WHERE order_id = '{order}'", "no account has more than 1"),
        ("paid without money", f"UPDATE shop.order SET status = 'paid' WHERE id = (SELECT min(id::text)::uuid FROM shop.order WHERE sale_id = {SALE} AND status = 'pending_payment'); ",
         f"UPDATE shop.order AS o SET status = 'pending_payment' WHERE sale_id = {SALE} AND status = 'paid' AND NOT EXISTS (SELECT FROM holdfast.payments AS p WHERE p.account_id = o.account_id AND p.owner = o.id)",
         f"{paid + 1} orders are paid, each once")]:
    psql(forth)
    status, said = sale("--on-this-stack", "--account", SALE, "--journal", JOURNAL)
    t.ok(status == 1 and sentence in broken(said) and "THIS IS NOT" in said, f"it is noticed: {claim}", status, said)
    psql(back)
for claim, line in (("an acknowledged purchase that is nowhere", [*told[0][:2], "a-key-that-nobody-knows", *told[0][3:]]), ("another order", [*told[0][:5], told[1][5], told[0][6]])):
    other = os.path.join(work.name, "other")
    with open(other, "w", encoding="utf-8") as file:
        file.writelines(" ".join(one) + "\n" for one in [*[one for one in journal if one[2] != key or "key" in line[2]], line])
    status, said = sale("--on-this-stack", "--account", SALE, "--journal", other)
    t.ok(status == 1 and any("were acknowledged" in one for one in broken(said)), f"it is noticed: {claim}", status, said)
t.equal(sale("--on-this-stack", "--account", SALE, "--journal", JOURNAL)[0], 0, "everything put right, it adds up again")
t.equal(sale("--on-this-stack", "--account", 77, "--journal", JOURNAL)[0], 1, "of a sale that there is not, nothing does")

# Somewhere without a stack.
os.mkdir(os.path.join(work.name, "tools"))
for name in ("sale", "sale_account.py", "sale_stack.py", "sale_view.py"):
    shutil.copy(os.path.join(ROOT, "tools", name), os.path.join(work.name, "tools", name))
status, said = sale(program=os.path.join(work.name, "tools", "sale"))
t.ok(status != 0 and "make run" in said and "Traceback" not in said, "without a stack it says what to do", status, said)
status, said = sale("--on-this-stack", "--merchant", mark.email, "a wrong password")
t.ok(status != 0 and "cannot log in" in said and "Traceback" not in said, "and without a merchant what is wrong", status, said)
