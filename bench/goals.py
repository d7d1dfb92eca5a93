"""The goals B1 to B7, B20, those of keys and those of the cache.

Each is a figure of one round, whose median over the rounds is judged.
"""
import contextlib
from statistics import median


class Figures:
    """Those of one round, by arm and by clients or lines: committed rows a second, where nothing else is asked for."""

    def __init__(self, runs):
        self.by_clients = {(run['arm'], run['clients']): run for run in runs if 'lines' not in run}
        self.by_lines = {(run['arm'], run['lines']): run['rate'] for run in runs if 'lines' in run}

    def at(self, arm, clients, figure='rate'):
        return self.by_clients[arm, clients][figure]

    def ratio(self, arm, other, clients, figure='rate'):
        return self.at(arm, clients, figure) / self.at(other, clients, figure)

    def kept(self, arm):
        """What is left at 500 clients of the best over 1 to 500."""
        return self.at(arm, 500) / max(self.at(arm, clients) for clients in (1, 8, 32, 128, 500))


def definitions():
    """(id, what, relation, goal, unit, figure of a round); without a goal a figure is only shown."""
    yield ('B1', 'reserve / for_update, 500 clients', '>=', 35, 'ratio',
           lambda r: r.ratio('reserve', 'for_update', 500))
    yield ('', 'the most that B1 can be here: insert_only / for_update, 500', '', None, 'ratio',
           lambda r: r.ratio('insert_only', 'for_update', 500))
    yield ('B2', 'reserve / plain_update, 500 clients', '>=', 25, 'ratio',
           lambda r: r.ratio('reserve', 'plain_update', 500))
    yield ('', 'the most that B2 can be here: insert_only / plain_update, 500', '', None, 'ratio',
           lambda r: r.ratio('insert_only', 'plain_update', 500))
    for clients in (32, 128, 500):
        yield ('B3', f'reserve / insert_only, {clients} clients', '>=', 0.95, 'ratio',
               lambda r, n=clients: r.ratio('reserve', 'insert_only', n))
    for clients in (32, 128, 500):
        yield ('', f'reserve / insert_only_2idx, {clients} clients', '', None, 'ratio',
               lambda r, n=clients: r.ratio('reserve', 'insert_only_2idx', n))
    yield ('B4', 'time of reserve / time of plain_update, 1 client', '<=', 1.05, 'ratio',
           lambda r: r.ratio('plain_update', 'reserve', 1))
    yield ('B5', 'kept of the best at 500 clients: reserve / insert_only', '>=', 0.9, 'ratio',
           lambda r: r.kept('reserve') / r.kept('insert_only'))
    for clients in (32, 128, 500):
        yield ('B6', f'reserve (one SKU) / uniform (1,000 SKUs), {clients} clients', '>=', 0.95, 'ratio',
               lambda r, n=clients: r.ratio('reserve', 'uniform', n))
    yield ('B7', 'batch of 256 lines, one connection, lines/s', '>=', 150000, 'lines/s',
           lambda r: r.by_lines['batch', 256])
    for lines in (1, 16, 256, 1024):
        yield ('B7' if lines == 256 else '', f'batch / batch_insert, {lines} line{"s" if lines > 1 else ""} a call',
               '>=' if lines == 256 else '', 0.5 if lines == 256 else None, 'ratio',
               lambda r, n=lines: r.by_lines['batch', n] / r.by_lines['batch_insert', n])
    yield ('keys', 'claim and complete a key / key_insert, 32 clients', '>=', 0.7, 'ratio',
           lambda r: r.ratio('key_claim', 'key_insert', 32))
    yield ('', 'the same while keys are dropped / key_claim, 32 clients', '', None, 'ratio',
           lambda r: r.ratio('key_rotation', 'key_claim', 32))
    yield ('keys', 'replay a stored answer / key_select, 32 clients', '>=', 0.8, 'ratio',
           lambda r: r.ratio('key_replay', 'key_select', 32))
    yield ('B20', 'order, payment, confirm / reserve, 32 clients', '>=', 0.4, 'ratio',
           lambda r: r.ratio('life', 'reserve', 32))
    yield from cache_definitions()


def cache_definitions():
    yield ('cache', 'cache_watched / cache_unwatched, 32 clients', '>=', 0.93, 'ratio',
           lambda r: r.ratio('cache_watched', 'cache_unwatched', 32))
    yield ('', 'cache_notify / cache_unwatched', '', None, 'ratio',
           lambda r: r.ratio('cache_notify', 'cache_unwatched', 32))
    yield ('', 'cache_outbox / cache_unwatched', '', None, 'ratio',
           lambda r: r.ratio('cache_outbox', 'cache_unwatched', 32))
    yield ('cache', 'cache_no_redis / cache_watched, 32 clients', '>=', 0.95, 'ratio',
           lambda r: without_redis(r, 'rate'))
    yield ('cache', 'median latency of cache_watched / of cache_no_redis', '>=', 0.95, 'ratio',
           lambda r: 1 / without_redis(r, 'p50_ms'))
    yield ('cache', 'commit until the key is gone, beside 4 clients: p99', '<=', 5, 'ms',
           lambda r: r.at('cache_gone', 4, 'p99_ms'))
    for what, figure in (('beside 4 clients: p50', 'p50_ms'), ('alone: p50', 'alone_p50_ms'),
                         ('alone: p99', 'alone_p99_ms')):
        yield ('', f'commit until the key is gone, {what}', '', None, 'ms',
               lambda r, name=figure: r.at('cache_gone', 4, name))
    yield ('', 'a million keys in 10,000 transactions, until all are gone', '', None, 'keys/s',
           lambda r: r.at('cache_burst', 8))
    yield ('', 'a million keys in one transaction, until all are gone', '', None, 'keys/s',
           lambda r: r.at('cache_burst_whole', 1))


def without_redis(r, figure):
    """What is left of a figure when Redis is away; each compared with the unwatched table of the same minute."""
    return r.at('cache_no_redis', 32, figure) / r.at('cache_no_redis', 32, f'unwatched_{figure}') \
        / r.ratio('cache_watched', 'cache_unwatched', 32, figure)


def judge(runs, wanted=definitions):
    """One dictionary for each figure, over the rounds that allow to compute it."""
    rounds = [Figures([run for run in runs if run['round'] == number]) for number in sorted({r['round'] for r in runs})]
    table = []
    for name, what, relation, goal, unit, figure in wanted():
        values = []
        for rates in rounds:
            with contextlib.suppress(KeyError, ZeroDivisionError):
                values.append(figure(rates))
        if not values:
            continue
        reached = median(values)
        ok = None if goal is None else reached >= goal if relation == '>=' else reached <= goal
        table.append({'id': name, 'what': what, 'unit': unit, 'relation': relation, 'goal': goal, 'ok': ok,
                      'reached': round(reached, 3), 'min': round(min(values), 3), 'max': round(max(values), 3)})
    return table
