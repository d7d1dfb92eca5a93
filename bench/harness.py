"""What run and profile share: the private server, the arms, and how one arm is run and counted.

Every run of an arm has a database of its own, made fresh and dropped afterwards, so that no arm finds the dead rows,
grown indexes or split lanes of another one.
"""
import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
ARMS_DIR = BENCH / 'arms'

# The same server for all arms: durable, and large enough that no checkpoint falls into an arm.
SETTINGS = {
    'fsync': 'on',
    'synchronous_commit': 'on',
    'full_page_writes': 'on',
    'autovacuum': 'on',
    'shared_buffers': '1GB',
    'wal_buffers': '64MB',
    'min_wal_size': '4GB',
    'max_wal_size': '32GB',
    'checkpoint_timeout': '1h',
    'max_connections': '700',
    'max_worker_processes': '16',
}
DURABLE = ('fsync', 'synchronous_commit', 'full_page_writes')
SHOWN = (*SETTINGS, 'wal_level', 'wal_sync_method', 'wal_compression', 'commit_delay', 'shared_preload_libraries')

DATABASE = 'holdfast_bench'
END_MARGIN = 0.2  # the last part of a run, in which clients may be ending already


class Arm:
    """A way to do something: its script is arms/<script>.sql, its rows arrive in `table` (None: it only reads)."""

    def __init__(self, name, table, what, skus=1, always_holds=True, setup=None):
        self.name = name
        self.script = name
        self.environment = {}  # of its pgbench
        self.table = table
        self.what = what
        self.skus = skus
        self.always_holds = always_holds  # every transaction of the script commits its rows
        self.setup = setup  # arms/<setup>.sql comes after schema.sql
        self.ours = table == '_holdfast.hold' or name == 'life'
        self.has_stock = table == 'bench.hold' and 'insert' not in name

    def settle(self):
        """What is still to be done in its new database when all tables are there."""

    def run(self, clients, warmup, seconds, lines=None):
        return run_arm(self, clients, warmup, seconds, lines)


ARMS = {arm.name: arm for arm in (
    Arm('for_update', 'bench.hold', 'SELECT FOR UPDATE, UPDATE, INSERT in one PL/pgSQL function'),
    Arm('for_update_client', 'bench.hold', 'the same as five statements of the client'),
    Arm('plain_update', 'bench.hold', 'UPDATE WHERE available >= n and INSERT in one statement'),
    Arm('optimistic', 'bench.hold', 'version column, retry in a PL/pgSQL function'),
    Arm('optimistic_client', 'bench.hold', 'version column, retry by the client', always_holds=False),
    Arm('advisory', 'bench.hold', 'pg_advisory_xact_lock, UPDATE, INSERT in one PL/pgSQL function'),
    Arm('insert_only', 'bench.hold_bare', 'INSERT of a hold, time-ordered primary key only'),
    Arm('insert_only_2idx', 'bench.hold', 'INSERT of a hold, indexes and CHECKs of the extension'),
    Arm('reserve', '_holdfast.hold', 'holdfast.reserve() of one SKU'),
    Arm('uniform', '_holdfast.hold', 'holdfast.reserve() over 1,000 SKUs', skus=1000),
    Arm('batch', '_holdfast.hold', 'holdfast.reserve_batch(), lines a call'),
    Arm('batch_insert', 'bench.hold', 'INSERT SELECT of the same lines, indexes of the extension'),
    Arm('key_claim', 'bench.claimed_key', 'claim_key() and complete_key() in one statement', setup='keys'),
    Arm('key_insert', 'bench.inserted_key', 'INSERT of the same columns with the same unique index', setup='keys'),
    Arm('key_rotation', None, 'key_claim, while keys are dropped after a second or two', setup='keys'),
    Arm('key_replay', None, 'claim_key() of one of 100,000 stored answers', setup='keys'),
    Arm('key_select', None, 'SELECT of the same by primary key', setup='keys'),
    Arm('life', 'bench.sale', 'reserve(), create_payment(), claim_calls(), record_results(): sold and captured',
        always_holds=False, setup='provider'),
)}


class BenchError(Exception):
    """The run cannot be trusted, or cannot go on."""


def enter_stack(script, arguments):
    """Starts this script again inside a private server; returns only when it is inside one."""
    if os.environ.get('HF_BENCH') == 'inside':
        return
    options = [word for name, value in SETTINGS.items() for word in ('--conf', f'{name}={value}')]
    environment = {**os.environ, 'HF_BENCH': 'inside'}
    with_stack = str(ROOT / 'tools' / 'with-stack')
    os.execve(with_stack, [with_stack, '--no-extension', *options, '--', script, *arguments], environment)


def psql(sql, database='postgres', files=(), variables=None):
    """Runs SQL and returns the rows as lists of strings."""
    command = ['psql', '-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-d', database]
    for name, value in (variables or {}).items():
        command += ['-v', f'{name}={value}']
    for file in files:
        command += ['-f', str(file)]
    if sql:
        command += ['-c', sql]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchError(f'psql: {done.stderr.strip()}')
    return [line.split('|') for line in done.stdout.splitlines() if line]


def psql_value(sql, database='postgres'):
    return psql(sql, database)[0][0]


def check_server():
    """The settings that matter, as the server has them; refuses a server that is not durable."""
    names = ', '.join(f"'{name}'" for name in SHOWN)
    settings = dict(psql(f"SELECT name, current_setting(name) FROM pg_settings WHERE name IN ({names}) ORDER BY name"))
    for name in DURABLE:
        if settings[name] != 'on':
            raise BenchError(f'{name} is {settings[name]}: nothing that is not durable is measured')
    filesystem = filesystem_of(os.environ['HF_DATA'])
    if filesystem in ('tmpfs', 'ramfs'):
        raise BenchError(f'the data directory is on {filesystem}; set TMPDIR to a directory on a disk')
    settings['filesystem'] = filesystem
    return settings


def filesystem_of(path):
    return subprocess.run(['stat', '-f', '-c', '%T', path], capture_output=True, text=True, check=True).stdout.strip()


def prepare_wal():
    """Makes WAL segments that are recycled later; not so many that a throttled disk is slow afterwards."""
    psql("SELECT count(pg_logical_emit_message(false, 'bench', repeat('x', 1000000))) FROM generate_series(1, 300)")
    psql('CHECKPOINT')


def fsync_rate(seconds=0.5):
    """fdatasync calls a second after 8 kB writes, on the filesystem of the data directory."""
    path = Path(os.environ['HF_DATA']).parent / 'fsync-rate'
    size, block = 16 << 20, 8192
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.write(handle, b'\0' * size)
        os.fsync(handle)
        data, count, start = b'\1' * block, 0, time.monotonic()
        while time.monotonic() - start < seconds:
            os.pwrite(handle, data, count * block % size)
            os.fdatasync(handle)
            count += 1
        return count / (time.monotonic() - start)
    finally:
        os.close(handle)
        path.unlink()


def create_database(arm):
    drop_database()
    psql(f'CREATE DATABASE {DATABASE}')
    psql('CREATE EXTENSION holdfast', DATABASE)
    psql('', DATABASE, [ARMS_DIR / 'schema.sql'])
    if arm.ours:
        psql('', DATABASE, [ARMS_DIR / 'stock.sql'], {'skus': arm.skus})
    if arm.setup:
        psql('', DATABASE, [ARMS_DIR / f'{arm.setup}.sql'])
    arm.settle()
    psql('VACUUM ANALYZE', DATABASE)
    psql('CHECKPOINT', DATABASE)


def drop_database():
    psql(f'DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)')


def pgbench_command(arm, clients, seconds, lines=None):
    command = ['pgbench', '-M', 'prepared', '-n', '-j', str(min(2, clients)), '-c', str(clients), '-T', str(seconds)]
    if lines:
        command += ['-D', f'lines={lines}']
    return [*command, '-f', str(ARMS_DIR / f'{arm.script}.sql'), DATABASE]


def run_arm(arm, clients, warmup, seconds, lines=None):
    """Runs one arm once, from a new database to a checked and dropped one; returns its figures."""
    create_database(arm)
    checkpoints = checkpoint_count()
    rotation = start_rotation() if arm.name == 'key_rotation' else None
    cpu_before, start = cpu_of_children(), time.monotonic()
    done = subprocess.run(pgbench_command(arm, clients, warmup + seconds, lines), capture_output=True, text=True,
                          check=False)
    elapsed = time.monotonic() - start
    load_cpu = (cpu_of_children() - cpu_before) / elapsed / os.cpu_count()
    if arm.table:
        result = count_rows(arm, warmup, warmup + seconds - END_MARGIN)
    else:
        result = count_reads(done, warmup + seconds)
    if rotation:
        result.update(stop_rotation(rotation))
    result['load_cpu'] = round(load_cpu, 3)
    problems = find_problems(arm, done, result, lines or 1)
    if checkpoint_count() != checkpoints:
        problems.append('a checkpoint fell into the run')
    if problems:
        result['problems'] = problems
    drop_database()
    return result


def cpu_of_children():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def checkpoint_count():
    return int(psql_value('SELECT checkpoints_timed + checkpoints_req FROM pg_stat_bgwriter'))


def count_rows(arm, begin, end):
    """Committed rows a second: those whose held_at lies between two points after the first row."""
    total, counted, first, units = psql(f'''
        WITH hold AS (SELECT extract(epoch FROM held_at - min(held_at) OVER ()) AS second, quantity FROM {arm.table})
        SELECT count(*),
               count(*) FILTER (WHERE second >= {begin} AND second < {end}),
               count(*) FILTER (WHERE second < 1),
               COALESCE(sum(quantity), 0)
        FROM hold''', DATABASE)[0]
    result = {'rate': round(int(counted) / (end - begin), 1), 'first_second': int(first), 'rows': int(total),
              'units': int(units)}
    if arm.ours:
        result['lanes'] = int(psql_value('SELECT count(*) FROM _holdfast.stock_lane WHERE sku = 1', DATABASE))
    return result


def count_reads(done, seconds):
    """Answers a second, of an arm that commits nothing."""
    processed = re.search(r'number of transactions actually processed: (\d+)', done.stdout)
    return {'rate': round(int(processed[1]) / seconds, 1) if processed else 0}


def start_rotation():
    """A session that drops idempotency keys as soon as they are between one and two seconds old."""
    session = subprocess.Popen(['psql', '-X', '-q', '-A', '-t', '-d', DATABASE], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)
    session.stdin.write("SET holdfast.key_retention = '1s';\nSELECT holdfast.rotate_keys() \\watch 0.1\n")
    session.stdin.flush()
    return session


def stop_rotation(session):
    """How often a table was dropped, and what is left in both."""
    session.send_signal(signal.SIGINT)
    output = session.communicate()[0]
    keys, size = psql('''
        SELECT (SELECT count(*) FROM _holdfast.idempotency_0) + (SELECT count(*) FROM _holdfast.idempotency_1),
               pg_total_relation_size('_holdfast.idempotency_0') + pg_total_relation_size('_holdfast.idempotency_1')''', DATABASE)[0]
    return {'rotations': output.split().count('t'), 'keys': int(keys), 'megabytes': int(size) >> 20}


def find_problems(arm, done, result, lines):
    """What makes a run worthless: failures, rows lost after they were acknowledged, stock that does not add up."""
    problems = []
    processed = re.search(r'number of transactions actually processed: (\d+)', done.stdout)
    errors = [line for line in done.stderr.splitlines() if 'error' in line.lower() or 'aborted' in line]
    if done.returncode != 0 or errors or not processed:
        problems.append(f'pgbench ended with {done.returncode}: {"; ".join(errors[:3])}'[:400])
    if not result['rate']:
        problems.append('no row in the time that counts: the disk stood still, or the arm does')
    if processed and arm.table and arm.always_holds and result['rows'] != int(processed[1]) * lines:
        problems.append(f'{processed[1]} transactions were acknowledged, {result["rows"]} rows are there')
    if arm.name == 'key_replay' and psql_value('SELECT count(*) FROM _holdfast.idempotency_0', DATABASE) != '100000':
        problems.append('keys were claimed that should have been replayed')
    if arm.name == 'key_rotation' and (result['rotations'] < 2 or result['keys'] > 4 * result['rate']):
        problems.append(f'{result["rotations"]} tables were dropped, {result["keys"]} keys are left')
    if arm.ours:
        broken = int(psql_value('SELECT count(*) FROM holdfast.verify()', DATABASE))
        if broken:
            problems.append(f'holdfast.verify() finds {broken} broken invariants')
    if arm.has_stock:
        taken = int(psql_value('SELECT 1000000000 - available FROM bench.stock WHERE sku = 1', DATABASE))
        if taken != result['units']:
            problems.append(f'{taken} units were taken, {result["units"]} are held')
    return problems


def machine():
    """What the figures were measured on."""
    model = re.search(r'model name\s*:\s*(.*)', Path('/proc/cpuinfo').read_text(encoding='ascii', errors='replace'))
    uname = os.uname()
    return {
        'cores': os.cpu_count(),
        'cpu': model[1].strip() if model else uname.machine,
        'memory_mb': os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') >> 20,
        'kernel': f'{uname.sysname} {uname.release} {uname.machine}',
        'postgresql': psql_value('SHOW server_version'),
        'load_before': round(os.getloadavg()[0], 2),
    }


def choose(text, known, what):
    """The items of a comma-separated list, each of which must be known."""
    items = [item.strip() for item in text.split(',') if item.strip()]
    unknown = [item for item in items if item not in known]
    if unknown or not items:
        sys.exit(f'unknown {what}: {", ".join(unknown) or "(none given)"}; there are {", ".join(known)}')
    return items
