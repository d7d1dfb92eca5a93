"""The cache's arms: what a watched table costs those who write, and how soon the cache knows.

What watching costs is little beside what a machine does to a run of seconds. So the arms that update rows take turns
of half a second in one database, each with a schema of its own: all clients stay connected, and those of an arm are
held while it is not its turn. Rows are changed here, not added, so they are counted by a column that every UPDATE
increments.
"""
import contextlib
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import harness

TURN = 0.5
PAUSE = 0.1  # after a turn, in which transactions under way come to their end; they count
PATIENCE = 60  # seconds that the worker may take for whatever it is
LATENCIES = 0.25  # part of the transactions whose latency pgbench writes down
BURST_KEYS = 1_000_000
BURST_ROWS = 100  # rows of a transaction in arms/cache_burst.sql

WATCH = "SELECT holdfast.watch('item', 'item:{id}', 'tag:items')"
KEYS = 2  # that one UPDATE names
TRIGGER = 'CREATE TRIGGER tell AFTER INSERT OR UPDATE OR DELETE ON item FOR EACH ROW EXECUTE FUNCTION {}()'


class CacheArm(harness.Arm):
    """One with a schema of its own, in which `prepare` is done last."""

    def __init__(self, name, what, prepare='', script='cache_update'):
        super().__init__(name, 'item', what)
        self.prepare = prepare
        self.script = script
        self.watched = 'watch(' in prepare
        self.environment = {'PGOPTIONS': f'-c search_path={name}'}

    def settle(self):
        harness.psql('', harness.DATABASE, [harness.ARMS_DIR / 'cache.sql'],
                     {'schema': self.name, 'prepare': self.prepare})
        if self.watched:
            await_worker()

    def count_changes(self):
        """A moment, and the sum of all changes at it."""
        moment, changes = harness.psql(f'''
            SELECT extract(epoch FROM statement_timestamp()), sum(changes) FROM {self.name}.item''', harness.DATABASE)[0]
        return float(moment), int(changes)


class UpdateArm(CacheArm):
    """Single rows are updated by primary key."""

    def __init__(self, name, what, prepare='', redis_away=False):
        super().__init__(name, what, prepare)
        self.redis_away = redis_away


class GoneArm(CacheArm):
    """How soon after a commit its key is gone (gone.c): first alone, then beside clients that update other rows."""

    def run(self, clients, warmup, seconds, lines=None):
        del lines
        harness.create_database(self)
        before, result, problems = status(), {}, []
        with tempfile.TemporaryDirectory(prefix='holdfast-bench.') as directory:
            subprocess.run([harness.BENCH / 'build', directory], check=True)
            gone = [f'{directory}/gone', os.environ['HF_REDIS'], prefix(), str(seconds)]
            result.update({f'alone_{name}': figure for name, figure in self.measure(gone, problems).items()})
            with Load(self, clients) as load:
                time.sleep(warmup)
                result.update(self.measure(gone, problems))
                if load.process.poll() is not None:
                    problems.append('pgbench ended early')
        problems += compare(before, caught_up(), None, result)
        if problems:
            result['problems'] = problems
        harness.drop_database()
        return result

    def measure(self, command, problems):
        done = subprocess.run(command, capture_output=True, text=True, check=False,
                              env={**os.environ, **self.environment, 'PGDATABASE': harness.DATABASE})
        if done.returncode != 0 or not done.stdout:
            problems.append(f'gone ended with {done.returncode}: {done.stderr.strip()}')
        latencies = [int(line) / 1000 for line in done.stdout.split()]
        return {'commits': len(latencies), 'p50_ms': percentile(latencies, 50), 'p99_ms': percentile(latencies, 99)}


class BurstArm(CacheArm):
    """A million keys at once: how long until Redis knows, and what becomes of the worker."""

    def __init__(self, name, what, whole):
        rows = f'INSERT INTO crowd SELECT FROM generate_series(1, {BURST_KEYS});' if whole else ''
        super().__init__(name, what, f"{rows} SELECT holdfast.watch('crowd', 'crowd:{{id}}')", 'cache_burst')
        self.whole = whole

    def run(self, clients, warmup, seconds, lines=None):
        del warmup, seconds, lines
        harness.create_database(self)
        before, start = status(), time.monotonic()
        if self.whole:
            harness.psql(f'UPDATE {self.name}.crowd SET changes = changes + 1', harness.DATABASE)
        else:
            self.insert(clients)
        committed = time.monotonic()
        after = caught_up()
        end = time.monotonic()
        result = {'rate': round(BURST_KEYS / (end - start), 1), 'commit_seconds': round(committed - start, 3),
                  'drain_seconds': round(end - committed, 3)}
        problems = compare(before, after, BURST_KEYS, result)
        rows = int(harness.psql_value(f'SELECT count(*) FROM {self.name}.crowd', harness.DATABASE))
        if rows != BURST_KEYS:
            problems.append(f'{rows} rows are there')
        if problems:
            result['problems'] = problems
        harness.drop_database()
        return result

    def insert(self, clients):
        command = harness.pgbench_command(self, clients, 0)
        command[command.index('-T'):command.index('-T') + 2] = ['-t', str(BURST_KEYS // BURST_ROWS // clients)]
        done = subprocess.run(command, capture_output=True, text=True, check=False,
                              env={**os.environ, **self.environment})
        if done.returncode != 0:
            raise harness.BenchError(f'pgbench: {done.stderr.strip()}')


UPDATES = {arm.name: arm for arm in (
    UpdateArm('cache_unwatched', 'UPDATE of one of 100,000 rows by primary key, and nobody is told'),
    UpdateArm('cache_watched', 'the same, watched: a key and a tag', WATCH),
    UpdateArm('cache_notify', 'the same with a trigger that calls pg_notify()', TRIGGER.format('notify_item')),
    UpdateArm('cache_outbox', 'the same with a trigger that inserts into a table', TRIGGER.format('write_outbox')),
    UpdateArm('cache_no_redis', 'the same, watched, while Redis is frozen', WATCH, redis_away=True),
)}
OTHERS = {arm.name: arm for arm in (
    GoneArm('cache_gone', 'from commit until the key is gone', WATCH),
    BurstArm('cache_burst', 'a million keys in 10,000 transactions', whole=False),
    BurstArm('cache_burst_whole', 'a million keys in one transaction', whole=True),
)}
# How many change rows; who measures is not counted.
OTHERS_CLIENTS = {'cache_gone': 4, 'cache_burst': 8, 'cache_burst_whole': 1}
ARMS = {**UPDATES, **OTHERS}


class Load:
    """A pgbench that runs until it is told to end, and can be held meanwhile."""

    def __init__(self, arm, clients):
        self.arm = arm
        self.logs = tempfile.TemporaryDirectory(prefix='holdfast-bench.')
        command = harness.pgbench_command(arm, clients, 3600)
        command[1:1] = ['-l', '--log-prefix', f'{self.logs.name}/log', '--sampling-rate', str(LATENCIES)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                        env={**os.environ, **arm.environment})
        self.done = None
        self.rows = None  # when it was held last

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()
        self.logs.cleanup()

    def hold(self):
        self.process.send_signal(signal.SIGSTOP)
        time.sleep(PAUSE)
        self.rows = self.arm.count_changes()[1]

    def turn(self):
        """Lets it run for a while: beginning and end, rows, seconds of processor of pgbench itself."""
        rows, cpu, begin = self.rows, cpu_of(self.process.pid), time.time()
        self.process.send_signal(signal.SIGCONT)
        time.sleep(TURN)
        end = time.time()
        self.hold()
        return begin, end, self.rows - rows, cpu_of(self.process.pid) - cpu

    def end(self):
        """Ends it by the signal that ends any pgbench when its time is up, so that it says what it has done."""
        if self.done is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(signal.SIGALRM)
            output, errors = self.process.communicate(timeout=PATIENCE)
            self.done = subprocess.CompletedProcess(self.process.args, self.process.returncode, output, errors)
        return self.done

    def figures(self, turns):
        """Those of some of its turns."""
        self.end()
        elapsed = sum(end - begin for begin, end, *_ in turns)
        latencies = [latency for moment, latency in read_latencies(self.logs.name)
                     if any(begin <= moment <= end for begin, end, *_ in turns)]
        return {'rate': round(sum(turn[2] for turn in turns) / elapsed, 1), 'p50_ms': percentile(latencies, 50),
                'load_cpu': round(sum(turn[3] for turn in turns) / elapsed / os.cpu_count(), 3)}


class Together(harness.Arm):
    """A database for several arms."""

    def __init__(self, arms):
        super().__init__('together', None, '')
        self.arms = arms

    def settle(self):
        for arm in self.arms:
            arm.settle()


def take_turns(names, clients, warmup, seconds):
    """Runs all these arms for so many seconds each; returns their figures by name.

    First those whose Redis is there; then it is frozen, and cache_unwatched takes turns with the others once more.
    """
    arms, turns = [UPDATES[name] for name in names], max(1, round(seconds / TURN))
    harness.create_database(Together(arms))
    checkpoints, states, frozen = harness.checkpoint_count(), [status()], {}
    with contextlib.ExitStack() as stack:
        loads = {arm.name: stack.enter_context(start_load(arm, clients, warmup)) for arm in arms}
        turned = run_turns([load for load in loads.values() if not load.arm.redis_away], turns)
        states.append(caught_up())
        keys = KEYS * sum(load.rows for load in loads.values() if load.arm.watched)
        if any(arm.redis_away for arm in arms):
            with frozen_redis():
                await_state('no redis')
                frozen = run_turns([load for name, load in loads.items()
                                    if load.arm.redis_away or name == 'cache_unwatched'], turns)
                await_state('no redis')
            states.append(caught_up())
        results = {name: finish(load, turned, frozen, loads, states, keys) for name, load in loads.items()}
    if harness.checkpoint_count() != checkpoints:
        for result in results.values():
            result.setdefault('problems', []).append('a checkpoint fell into the run')
    harness.drop_database()
    return results


def finish(load, turned, frozen, loads, states, keys):
    """The figures of one arm that took turns, and what was wrong."""
    arm = load.arm
    done = load.end()
    result = load.figures((frozen if arm.redis_away else turned)[arm.name])
    if arm.redis_away and 'cache_unwatched' in frozen:
        beside = loads['cache_unwatched'].figures(frozen['cache_unwatched'])
        result.update({f'unwatched_{figure}': beside[figure] for figure in ('rate', 'p50_ms')})
    result['rows'] = arm.count_changes()[1]
    problems = harness.find_problems(arm, done, result, 1)
    if arm.redis_away:
        problems += compare(states[1], states[2], None, result)
    elif arm.watched:
        problems += compare(states[0], states[1], keys, result)
    if problems:
        result['problems'] = problems
    return result


def start_load(arm, clients, warmup):
    load = Load(arm, clients)
    time.sleep(warmup)
    load.hold()
    return load


def run_turns(loads, turns):
    """So many turns of each, in an order that is reversed every time; returns them by arm."""
    taken = {load.arm.name: [] for load in loads}
    for number in range(turns):
        for load in loads[::-1] if number % 2 else loads:
            taken[load.arm.name].append(load.turn())
    return taken


def status():
    """What the extension says of the cache, and the worker's pid."""
    row = harness.psql('''
        SELECT s.state, s.published, s.coalesced, s.lost, s.generations,
               (SELECT pid FROM pg_stat_activity WHERE backend_type = 'holdfast cache' AND datname = current_database())
        FROM holdfast.cache_status s''', harness.DATABASE)[0]
    return {'state': row[0], **{name: int(value or 0) for name, value in zip(
        ('published', 'coalesced', 'lost', 'generations', 'pid'), row[1:])}}


def await_state(state):
    end = time.monotonic() + PATIENCE
    while status()['state'] != state:
        if time.monotonic() > end:
            raise harness.BenchError(f'the state of the cache does not become "{state}": {status()}')
        time.sleep(0.05)


def caught_up():
    """The status when all that was committed has reached Redis; a frozen one may have to be found again first."""
    harness.psql(f"SELECT holdfast.cache_sync('{PATIENCE} s')", harness.DATABASE)
    return status()


def await_worker():
    await_state('on')
    caught_up()


def compare(before, after, keys, result):
    """What went wrong between two looks at the status: so many keys (None: any) are told, or the generation raised."""
    told, lost, raised = (sum(after[name] - before[name] for name in names)
                          for names in (('published', 'coalesced'), ('lost',), ('generations',)))
    result.update({'told': told, 'lost': lost, 'raised': raised})
    problems = []
    if after['state'] != 'on':
        problems.append(f'the state of the cache is "{after["state"]}"')
    if after['pid'] != before['pid']:
        problems.append('the cache worker is not the same as before')
    if lost and not raised:
        problems.append(f'{lost} commits were lost, and the generation was not raised')
    if keys and not raised and told != keys:
        problems.append(f'{keys} keys were to be told, and {told} were')
    return problems


def read_latencies(directory):
    """What pgbench wrote down: when, in seconds, and how many milliseconds it took."""
    for path in Path(directory).iterdir():
        for line in path.read_text().splitlines():
            words = line.split()
            yield int(words[4]) + int(words[5]) / 1e6, int(words[2]) / 1000


def percentile(values, part):
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, len(ordered) * part // 100)], 3) if ordered else 0


def cpu_of(pid):
    """Seconds of processor that a process has used so far."""
    words = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf('SC_CLK_TCK')


def prefix():
    """What the names in Redis begin with."""
    return harness.psql_value('SHOW holdfast.cache_prefix', harness.DATABASE).replace('%d', harness.DATABASE)


@contextlib.contextmanager
def frozen_redis():
    """Redis answers nobody while it lasts: worse than being gone, for that is noticed at once."""
    pid = Path(os.environ['HF_REDIS_PID']).read_text().strip()
    signal_redis('STOP', pid)
    try:
        yield
    finally:
        signal_redis('CONT', pid)


def signal_redis(name, pid):
    subprocess.run([*os.environ['HF_RUNAS'].split(), 'kill', f'-{name}', pid], check=True)


def describe(run):
    """What is to be said of a run that is not one of rows a second."""
    if 'drain_seconds' in run:
        raised = f'the generation was raised {run["raised"]} times' if run['raised'] else 'each one by name'
        return (f'{run["rate"]:>10,.0f} keys/s  (committed in {run["commit_seconds"]:.1f} s, '
                f'{run["drain_seconds"]:.2f} s later Redis knew, {raised})')
    return (f'p50 {run["p50_ms"]:.2f} ms, p99 {run["p99_ms"]:.2f} ms beside {run["clients"]} clients; '
            f'alone {run["alone_p50_ms"]:.2f} ms, {run["alone_p99_ms"]:.2f} ms')
