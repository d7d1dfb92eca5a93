"""The final account of tools/sale: what the buyers were told against what the database holds."""
import os

# Each check is a row: a sentence, and what contradicts it, if anything. All see the same moment.
CHECKS = r"""
BEGIN ISOLATION LEVEL REPEATABLE READ;
CREATE TEMP TABLE told (at bigint, account_id bigint, key text, status integer, code text, order_id text, latency bigint);
\copy told FROM PSTDIN_FILE WITH (DELIMITER ' ', NULL '-')
CREATE TEMP TABLE bought AS
SELECT b.account_id, u.key, u.order_id, u.quantity FROM shop.sale_buyer AS b, unnest(b.keys, b.order_ids, b.quantities) AS u (key, order_id, quantity)
WHERE b.sale_id = :sale;
CREATE TEMP TABLE placed AS
SELECT o.account_id, o.id, o.status, o.total, o.expires_at, sum(l.quantity) AS quantity
FROM shop.order AS o JOIN shop.order_line AS l ON l.account_id = o.account_id AND l.order_id = o.id AND l.stock_id = :sale
WHERE o.sale_id = :sale GROUP BY o.account_id, o.id;
CREATE TEMP TABLE held AS SELECT h.owner, h.quantity, h.state FROM holdfast.holds AS h WHERE h.sku = :sale AND h.state IN ('held', 'pinned', 'confirmed');

SELECT format('%s units: %s sold, %s held, %s left', s.quantity, t.sold, t.held, t.available),
       CASE WHEN t.sold + t.held + t.available <> s.quantity OR least(t.sold, t.held, t.available) < 0 THEN 'that is no sum' END
FROM shop.sale AS s JOIN holdfast.stock AS t ON t.sku = s.id WHERE s.id = :sale
UNION ALL
SELECT format('%s orders: %s', count(*), (SELECT string_agg(format('%s %s', n, status), ', ') FROM (SELECT status, count(*) AS n FROM placed GROUP BY status ORDER BY status) AS x)),
       (SELECT string_agg(coalesce(b.order_id, p.id)::text, ' ') FROM bought AS b FULL JOIN placed AS p ON p.id = b.order_id AND p.account_id = b.account_id
        WHERE b.order_id IS NULL OR p.id IS NULL OR abs(b.quantity) <> p.quantity)
FROM placed
UNION ALL
SELECT format('each has its units, held or sold: %s holds', count(*)),
       (SELECT string_agg(format('%s (%s, %s)', coalesce(p.id, h.owner), coalesce(p.status, 'no order'), coalesce(h.state, 'no hold')), ' ')
        FROM (SELECT * FROM placed WHERE status <> 'cancelled' AND NOT (status = 'pending_payment' AND expires_at <= clock_timestamp())) AS p
        FULL JOIN (SELECT h.* FROM held AS h) AS h ON h.owner = p.id
        WHERE p.quantity IS DISTINCT FROM h.quantity OR (h.state = 'confirmed') <> (p.status IN ('paid', 'shipped', 'completed', 'returned')))
FROM held
UNION ALL
SELECT format('one order a key: %s keys', count(*)),
       (SELECT string_agg(format('account %s, key %s', account_id, key), ' ') FROM (SELECT account_id, key FROM bought GROUP BY account_id, key HAVING count(*) > 1) AS x)
FROM bought
UNION ALL
SELECT format('no account has more than %s', s.per_account_limit),
       (SELECT string_agg(format('account %s: %s', x.account_id, x.n), ' ')
        FROM (SELECT p.account_id, sum(p.quantity) AS n FROM placed AS p JOIN held AS h ON h.owner = p.id GROUP BY p.account_id) AS x WHERE x.n > s.per_account_limit)
FROM shop.sale AS s WHERE s.id = :sale
UNION ALL
SELECT format('%s purchases were acknowledged, and all of them are there', count(*)),
       (SELECT string_agg(format('account %s, key %s, order %s', t.account_id, t.key, t.order_id), ' ') FROM told AS t
        WHERE t.status = 201 AND NOT EXISTS (SELECT FROM bought AS b JOIN placed AS p ON p.id = b.order_id AND p.account_id = b.account_id
                                             WHERE b.account_id = t.account_id AND b.key = t.key AND b.order_id::text = t.order_id))
FROM told WHERE status = 201
UNION ALL
SELECT format('nobody has what he was not told of; orders whose buyers never got an answer: %s', (SELECT count(*) FROM told AS t JOIN bought AS b USING (account_id, key) WHERE t.status = 0)),
       (SELECT string_agg(format('account %s, key %s, order %s', b.account_id, b.key, b.order_id), ' ') FROM bought AS b
        WHERE NOT EXISTS (SELECT FROM told AS t WHERE t.account_id = b.account_id AND t.key = b.key AND (t.status = 0 OR t.order_id = b.order_id::text)))
UNION ALL
SELECT format('%s were told that it is sold out, and nothing was left', count(*)),
       CASE WHEN count(*) > 0 AND NOT EXISTS (SELECT FROM placed WHERE status = 'cancelled' OR (status = 'pending_payment' AND expires_at <= clock_timestamp()))
            THEN (SELECT format('%s units are left', t.available) FROM holdfast.stock AS t WHERE t.sku = :sale AND t.available > 0) END
FROM told WHERE code = 'sold_out'
UNION ALL
SELECT format('%s orders are paid, each once', count(*)),
       (SELECT string_agg(format('order %s: %s of %s', p.id, x.captured, p.total), ' ') FROM placed AS p
        CROSS JOIN LATERAL (SELECT coalesce(sum(y.captured), 0) AS captured FROM holdfast.payments AS y WHERE y.account_id = p.account_id AND y.owner = p.id) AS x
        WHERE x.captured <> CASE WHEN p.status IN ('paid', 'shipped', 'completed', 'returned') THEN p.total ELSE 0 END)
FROM placed WHERE status IN ('paid', 'shipped', 'completed', 'returned')
UNION ALL
SELECT 'holdfast.verify() finds nothing', (SELECT string_agg(v::text, ' ') FROM holdfast.verify() AS v)
UNION ALL
SELECT 'shop.verify() finds nothing', (SELECT string_agg(v::text, ' ') FROM shop.verify() AS v);
ROLLBACK;
"""
LONG = 200


def account(stack, sale, journal, said=None):
    """Prints the account; the exit status: 1 if anything does not add up. said: what the crowd said, if it was just here."""
    rows = stack.sql(CHECKS.replace("PSTDIN_FILE", "'" + os.path.abspath(journal).replace("'", "''") + "'"), sale=sale)
    if len(rows) < 11:
        rows.append([f"there is a sale {sale}", "there is none"])
    if said:
        rows += crowd_checks(said, rows)
    print("\nThe account:")
    wrong = 0
    for claim, contradiction in rows:
        wrong += contradiction != ""
        print(f"  {'NOT ' if contradiction else 'ok  '}{claim}")
        if contradiction:
            print(f"        {contradiction[:LONG]}{' …' if len(contradiction) > LONG else ''}")
    print(f"\n{'It adds up.' if wrong == 0 else 'THIS IS NOT WHAT HOLDFAST PROMISES.'}", flush=True)
    return 1 if wrong else 0


def crowd_checks(said, rows):
    """What the crowd has seen with its own eyes."""
    broken = {f"{kind} {status}": n for kind, of in said["kinds"].items() for status, n in of["status"].items() if int(status) >= 500 or status == "0"}
    yield ["every request was answered in the end, none by a fault", ", ".join(f"{name}: {n}" for name, n in broken.items()) + (
        f" unfinished: {said['unfinished']}" if said["unfinished"] else "")]
    yield [f"whoever asked again with his key got the same order: {said['same']}", f"{said['different']} got another" if said["different"] else ""]
    strange = {name: n for name, n in said["errors"].items() if n and name in ("bad_answer", "no_length", "extra_bytes")}
    yield ["every answer was well formed", ", ".join(f"{name}: {n}" for name, n in strange.items())]
    paid = next(int(claim.split()[0]) for claim, _ in rows if "orders are paid" in claim)
    yield [f"{said['paid']} saw their order paid", "" if said["paid"] <= paid else f"{paid} are"]
