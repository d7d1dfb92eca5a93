"""What bench/flash measures besides: freshness, overload, orders that are lost, and what another load generator says."""
import json
import os
import signal
import subprocess
import time
from statistics import median

import flash_arms
import harness

KILL_AFTER = 1.5
LOSS_SECONDS = 3
CONNECTIONS = 500


def percentile(values, percent):
    return sorted(values)[min(len(values) * percent // 100, len(values) - 1)]


def measure(options, bench, runs):
    """Figures of the whole run, as runs of no clients and of round 1, so that goals.py finds them."""
    results = []

    def note(result):
        results.append({'round': 1, 'clients': 0, **result})
        print(f'   {result}', flush=True)

    print('-- besides', flush=True)
    for workers in (options.workers, 4):
        note(fresh(options, bench, workers))
    if 'purchase' in options.arms:
        note(overload(options, bench, runs))
    if 'redis_writer' in options.arms:
        for kill in (kill_redis, kill_redis_everysec, kill_writer):
            note(kill(bench))
    for name in ('noop_post', 'purchase'):
        note(ask_wrk(options, bench, flash_arms.ARMS[name](bench)))
    return results


def fresh(options, bench, workers):
    """B17: each commit, until every worker has stopped serving what was before. Four workers are of an instance of its own."""
    command = ['bash', '-c', 'where=${HF_API#http://}; exec "$0" "${where%:*}" "${where#*:}" "$@"', bench.programs / 'fresh',
               '2', workers, 2 if options.quick else 15]
    if workers != options.workers:
        command = [harness.ROOT / 'tools' / 'with-api', '--workers', workers, *command]
    said = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if said.returncode != 0:
        raise harness.BenchError(said.stderr.strip())
    old, new = zip(*((int(word) / 1000 for word in line.split()) for line in said.stdout.splitlines()))
    return {'arm': 'fresh' if workers == options.workers else f'fresh_{workers}', 'workers': workers, 'commits': len(old),
            'p50_ms': percentile(old, 50), 'p99_ms': percentile(old, 99), 'new_p50_ms': percentile(new, 50), 'new_p99_ms': percentile(new, 99)}


def overload(options, bench, runs):
    """Purchases at capacity, and twice as many, who come whether or not those before them have been served."""
    capacity = median(run['rate'] for run in runs if run['arm'] == 'purchase' and run['clients'] == max(
        each['clients'] for each in runs if each['clients'] <= CONNECTIONS))
    arm, result, problems = flash_arms.Purchase(bench), {'arm': 'overload', 'capacity': capacity}, []
    for share, name in ((0.9, 'capacity'), (2, 'overload')):
        sale = arm.new_sale()
        said = crowd(bench.crowd_command('purchase', sale, sale, 8000, options.seconds, '--rate', round(share * capacity), '--timeout', '20'))
        bought, told = arm.count(sale), said['status'].get('201', 0)
        if bought != told or said['connection_errors'] or set(said['status']) - {'201', '503'}:
            problems.append(f'{name}: {told} were told that they have bought, {bought} have; {said["status"]}, {said["errors"]}')
        result.update({f'{name}_offered': said['offered'], f'{name}_accepted': told, f'{name}_status': said['status'],
                       f'{name}_p99_ms': said['latency_accepted_us']['p99'] / 1000})
        if name == 'overload':
            result['refused_p99_ms'] = said['latency_refused_us']['p99'] / 1000
    result['p99_ratio'] = round(result['overload_p99_ms'] / result['capacity_p99_ms'], 2)
    problems += flash_arms.broken_invariants('holdfast.verify()', 'shop.verify()')
    return {**result, **({'problems': problems} if problems else {})}


def crowd(command):
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def interrupted(bench, arm, kill):
    """A run in whose middle something is killed: the sale, and how many were told that they have bought."""
    sale = arm.new_sale()
    arm.begin(sale)
    command = bench.crowd_command('purchase', 'writer', sale, CONNECTIONS, LOSS_SECONDS)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    time.sleep(KILL_AFTER)
    backlog = flash_arms.redis('XLEN', 'flash:orders')
    kill()
    said = json.loads(process.communicate(timeout=60)[0])
    return sale, said['status'].get('201', 0), int(backlog)


def signal_redis(number):
    with open(os.environ['HF_REDIS_PID'], encoding='ascii') as file:
        os.kill(int(file.read()), number)


def start_redis(*words):
    """Starts the stack's Redis again, with what the opponents need in it."""
    subprocess.Popen(['setsid', *os.environ['HF_RUNAS'].split(), 'redis-server', os.environ['HF_REDIS_CONF'], *words],
                     stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while subprocess.run(['redis-cli', '-s', os.environ['HF_REDIS'], 'PING'], capture_output=True, text=True, check=False).stdout.strip() != 'PONG':
        if time.monotonic() > end:
            raise harness.BenchError('Redis does not come back')
        time.sleep(0.05)
    flash_arms.load_functions()


def kill_redis(bench, *words):
    """kill -9 of Redis; then it comes back, and the writer goes on with what there is."""
    arm = flash_arms.RedisWriter(bench)
    sale, told, backlog = interrupted(bench, arm, lambda: signal_redis(signal.SIGKILL))
    arm.writer.communicate()
    start_redis(*words)
    arm.start_writer()
    arm.end_writer()
    written = arm.written(sale)
    flash_arms.forget_redis()
    return {'arm': 'kill_redis', 'told': told, 'written': written, 'lost': max(told - written, 0), 'behind': backlog}


def kill_redis_everysec(bench):
    """The same with a file that is synced each second: it survives the death of the process, not that of the machine."""
    flash_arms.switch_aof('everysec')
    result = kill_redis(bench, '--appendonly', 'yes', '--appendfsync', 'everysec')
    flash_arms.redis('CONFIG', 'SET', 'appendonly', 'no')
    return {**result, 'arm': 'kill_redis_everysec'}


def kill_writer(bench):
    """kill -9 of the writer; another one goes on where it was."""
    arm = flash_arms.RedisWriter(bench)

    def kill():
        arm.writer.kill()
        arm.writer.communicate()
        arm.start_writer()

    sale, told, backlog = interrupted(bench, arm, kill)
    arm.end_writer()
    written = arm.written(sale)
    flash_arms.forget_redis()
    return {'arm': 'kill_writer', 'told': told, 'written': written, 'lost': max(told - written, 0), 'behind': backlog}


def ask_wrk(options, bench, arm):
    """The same requests by wrk, which does not wait for the last answers: the rate should be much the same as by the crowd."""
    sale = arm.new_sale()
    words = ['wrk', '-t1', f'-c{CONNECTIONS}', f'-d{max(1, round(options.seconds))}', '--latency', '-s', flash_arms.OPPONENTS / 'buy.lua',
             f'{bench.url}/v1/sales/{arm.path(sale)}/purchases']
    environment = {**os.environ, 'BUYERS': str(bench.buyers), 'TICKETS': str(bench.tickets(sale)), 'SALE': sale}
    said = subprocess.run([str(word) for word in words], env=environment, capture_output=True, text=True, check=True).stdout
    figures = json.loads(said.splitlines()[-1])
    return {'arm': f'wrk_{arm.name}', 'rate': round(figures['requests'] / figures['seconds'], 1), 'p50_ms': figures['p50'], 'p99_ms': figures['p99'],
            'refused': figures['refused'], 'lost': figures['lost']}
