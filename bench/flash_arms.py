"""The arms of bench/flash: who sells, what the crowd asks for, and how what was sold is counted.

Each run has a sale of its own, in which every account may buy one unit, and every buyer comes once. What was sold is
counted where it is kept, and must be what the crowd was told.
"""
import json
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import harness

ACCOUNTS = 400_000
BUYERS_A_SECOND = 50_000  # more than anybody serves here; who came twice would be refused
UNITS = 1_000_000
PATIENCE = 30  # seconds, for the last answers
OPPONENTS = harness.BENCH / 'opponents'
DATABASE = os.environ.get('PGDATABASE')


class Bench:
    """What all runs share: programs, buyers with their tokens, and the way to the application."""

    def __init__(self, seconds):
        self.scratch = tempfile.TemporaryDirectory(prefix='holdfast-bench.')
        self.directory = Path(self.scratch.name)
        self.programs = Path(os.environ['HF_FLASH_PROGRAMS'])
        self.url = os.environ['HF_API']
        self.crowd = min(int(BUYERS_A_SECOND * seconds) + 10_000, ACCOUNTS - 1)
        self.buyers = self.directory / 'buyers'
        self.mint(self.buyers, 2, ACCOUNTS, self.crowd)
        self.mint(self.directory / 'first', 1, 1, 1)
        self.first_token = (self.directory / 'first').read_text().split()[1]
        load_functions()

    def mint(self, path, first, last, count, *sale):
        with open(path, 'w', encoding='ascii') as file:
            subprocess.run([self.programs / 'mint', os.environ['HF_API_CONF'], *map(str, (first, last, count, *sale))], stdout=file, check=True)

    def tickets(self, sale):
        path = self.directory / 'tickets'
        self.mint(path, 2, ACCOUNTS, self.crowd, sale)
        return path

    def crowd_command(self, mode, path, sale, connections, seconds, *more):
        """The crowd's command line. `path` stands where the sale's id does: an opponent's name, or the id again."""
        words = [self.programs / 'crowd', '--url', self.url, '--mode', mode, '--sale', path, '--header', f'X-Sale: {sale}',
                 '--buyers', self.buyers, '--connections', connections, '--seconds', seconds, '--grace', PATIENCE, '--json', *more]
        if mode != 'ticket':
            words += ['--tickets', self.tickets(sale)]
        return [str(word) for word in words]

    def buy_one(self, sale):
        """The unit of a sale of one unit goes to somebody who is not in the crowd."""
        self.mint(self.directory / 'ticket', 1, 1, 1, sale)
        ticket = (self.directory / 'ticket').read_text().split()[1]
        words = ['curl', '-s', '-o', '/dev/null', '-w', '%{http_code}', '-H', 'Content-Type: application/json', '-H', f'Idempotency-Key: first-{sale}',
                 '-H', f'Authorization: Bearer {self.first_token}', '-d', json.dumps({'ticket': ticket, 'quantity': 1}),
                 f'{self.url}/v1/sales/{sale}/purchases']
        status = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        if status != '201':
            raise harness.BenchError(f'a single purchase: status {status}')


def processor_seconds():
    """What the servers' processes have used so far, by server."""
    with open(os.environ['HF_API_PID'], encoding='ascii') as api, open(Path(os.environ['HF_DATA'], 'postmaster.pid'), encoding='ascii') as postmaster, \
            open(os.environ['HF_REDIS_PID'], encoding='ascii') as of_redis:
        servers = {int(api.readline()): 'application', int(postmaster.readline()): 'postgresql', int(of_redis.readline()): 'redis'}
    used = dict.fromkeys(servers.values(), 0.0)
    for stat in Path('/proc').glob('[0-9]*/stat'):
        try:
            pid, fields = int(stat.parent.name), stat.read_text(encoding='utf-8', errors='replace').rpartition(') ')[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        server = servers.get(pid) or servers.get(int(fields[1]))
        if server:
            used[server] += (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')
    return used


def sql(text):
    return harness.psql_value(text, DATABASE)


def redis(*words):
    return subprocess.run(['redis-cli', '-s', os.environ['HF_REDIS'], *map(str, words)], capture_output=True, text=True, check=True).stdout.strip()


def load_functions():
    with open(OPPONENTS / 'sell.lua', 'rb') as file:
        subprocess.run(['redis-cli', '-s', os.environ['HF_REDIS'], '-x', 'FUNCTION', 'LOAD', 'REPLACE'], stdin=file, capture_output=True, check=True)


def forget_redis():
    """Takes away what the opponents keep in Redis, and leaves the application's own."""
    script = ("local found = redis.call('SCAN', ARGV[1], 'MATCH', 'flash:*', 'COUNT', 20000) "
              "for i = 1, #found[2], 1000 do redis.call('UNLINK', unpack(found[2], i, math.min(i + 999, #found[2]))) end return found[1]")
    cursor = '0'
    while True:
        cursor = redis('EVAL', script, 0, cursor)
        if cursor == '0':
            return


class Arm:
    """One who sells."""

    name = what = None
    mode, status = 'purchase', 201
    ours = False  # whether the application's invariants are at stake
    units = UNITS

    def __init__(self, bench):
        self.bench = bench

    def path(self, sale):
        return self.name.removeprefix('purchase_').removesuffix('_aof').removeprefix('redis_')

    def begin(self, sale):
        pass

    def count(self, sale):
        """How many were sold; None: nothing is."""
        return None

    def end(self, sale):
        """Further figures of the run that has ended."""
        return {}

    def new_sale(self):
        sale = sql(f"SELECT shop.create_sale(1, 1, 500, {self.units}, clock_timestamp(), clock_timestamp() + interval '1 day', 1)")
        harness.psql(f'SELECT shop.preheat_sale({sale})', DATABASE)
        return sale

    def run(self, connections, seconds, *more):
        """One run, checked."""
        sale = self.new_sale()
        self.begin(sale)
        try:
            time.sleep(0.1)
            command = self.bench.crowd_command(self.mode, self.path(sale), sale, connections, seconds, *more)
            before = processor_seconds()
            said = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
            used = {**{server: after - before[server] for server, after in processor_seconds().items()}, 'crowd': said['cpu_seconds']}
        except BaseException:
            self.end(sale)
            raise
        figures = {'rate': said['rate'], 'p50_ms': said['latency_us']['p50'] / 1000, 'p99_ms': said['latency_us']['p99'] / 1000,
                   'requests': said['requests'], 'load_cpu': round(said['cpu_share'] / os.cpu_count(), 3),
                   'cpu_us': {server: round(1e6 * seconds_used / max(said['requests'], 1), 1) for server, seconds_used in used.items()}, **self.end(sale)}
        problems = self.find_problems(said, sale)
        if problems:
            figures['problems'] = problems
        return figures

    def find_problems(self, said, sale):
        problems = []
        told = said['status'].get(str(self.status), 0)
        others = {status: n for status, n in said['status'].items() if status != str(self.status)}
        if others or said['connection_errors'] or said['unfinished']:
            problems.append(f'other answers: {others} {said["codes"]}, connections lost: {said["connection_errors"]}, unfinished: {said["unfinished"]}')
        sold = self.count(sale)
        if sold is not None and sold != told:
            problems.append(f'{told} were told that they have bought, {sold} have')
        if self.ours:
            problems += broken_invariants('holdfast.verify()')
        return problems


def broken_invariants(*tables):
    return [f'{table} is not empty' for table in tables if sql(f'SELECT count(*) FROM {table}') != '0']


class Noop(Arm):
    name, what, status = 'noop_post', 'a bare handler: an answer of 11 bytes to the same request', 200

    def path(self, sale):
        return 'noop'


class Purchase(Arm):
    name, what, ours = 'purchase', 'the application', True

    def path(self, sale):
        return sale

    def count(self, sale):
        return int(sql(f'SELECT count(*) FROM shop.order WHERE sale_id = {sale}'))


class SoldOut(Purchase):
    name, what, mode, status, units = 'sold_out', 'the application, when nothing is left', 'sold_out', 410, 1

    def begin(self, sale):
        self.bench.buy_one(sale)

    def count(self, sale):
        return None


class Ticket(Purchase):
    name, what, mode = 'ticket', 'the application gives out tickets', 'ticket'

    def count(self, sale):
        return None


class One(Arm):
    name, what = 'purchase_one', 'one query per request: a lean function of its own'

    def begin(self, sale):
        harness.psql(f'INSERT INTO flash.stock VALUES ({sale}, {UNITS})', DATABASE)

    def count(self, sale):
        orders, taken = harness.psql(f'''SELECT (SELECT count(*) FROM flash.order WHERE sale_id = {sale}),
            {UNITS} - (SELECT available FROM flash.stock WHERE sale_id = {sale})''', DATABASE)[0]
        harness.psql('TRUNCATE flash.order, flash.buyer, flash.stock', DATABASE)
        return int(orders) if orders == taken else -1


class Redis(Arm):
    name, what = 'redis', 'Redis alone, nothing durable'

    def begin(self, sale):
        redis('SET', f'flash:stock:{sale}', UNITS)

    def count(self, sale):
        sold = UNITS - int(redis('GET', f'flash:stock:{sale}'))
        forget_redis()
        return sold


class RedisAof(Redis):
    name, what = 'redis_aof', 'Redis alone, appendfsync always'

    def path(self, sale):
        return 'redis'

    def begin(self, sale):
        super().begin(sale)
        switch_aof('always')

    def end(self, sale):
        redis('CONFIG', 'SET', 'appendonly', 'no')
        return {}


def switch_aof(how):
    redis('CONFIG', 'SET', 'appendfsync', how)
    redis('CONFIG', 'SET', 'appendonly', 'yes')
    while 'aof_rewrite_in_progress:0' not in redis('INFO', 'persistence') or 'aof_rewrite_scheduled:0' not in redis('INFO', 'persistence'):
        time.sleep(0.02)


class RedisWriter(Redis):
    name, what = 'redis_writer', 'Redis, and a process that writes the orders to PostgreSQL later'
    writer = None

    def begin(self, sale):
        super().begin(sale)
        self.forget_orders()
        self.start_writer()

    def forget_orders(self):
        redis('DEL', 'flash:orders')
        harness.psql("TRUNCATE flash.written_order; UPDATE flash.position SET stream_id = '0'", DATABASE)

    def start_writer(self):
        self.writer = subprocess.Popen([self.bench.programs / 'writer', os.environ['HF_REDIS']], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.writer.stdout.readline()  # it is there

    def end(self, sale):
        """What is left is written after the crowd has gone; the figures are of all."""
        begun, backlog = time.monotonic(), int(redis('XLEN', 'flash:orders'))
        written = self.end_writer()
        return {'backlog': backlog, 'backlog_seconds': round(time.monotonic() - begun, 3), 'written': written['orders'],
                'durable_p50_ms': written['p50_ms'], 'durable_p99_ms': written['p99_ms']}

    def end_writer(self):
        self.writer.send_signal(signal.SIGTERM)
        output, errors = self.writer.communicate(timeout=120)
        if self.writer.returncode != 0:
            raise harness.BenchError(f'the writer: {errors}')
        return json.loads(output)

    def written(self, sale):
        return int(sql(f'SELECT count(*) FROM flash.written_order WHERE sale_id = {sale}'))

    def count(self, sale):
        written = self.written(sale)
        return written if super().count(sale) == written else -1


ARMS = {arm.name: arm for arm in (Noop, Purchase, One, Redis, RedisAof, RedisWriter, SoldOut, Ticket)}
