#!/usr/bin/env python3
"""A client that a public generator makes of GET /openapi.json works unchanged: it compiles strictly, logs in, shops and
sells, and reads problems (generated_client.ts). Runs within tools/with-api. TAP.

The generator and the compiler are installed once, from the npm registry, into ${XDG_CACHE_HOME:-~/.cache}/holdfast; without
npm, or with a Node that is too old for them, this is skipped.
"""
import os
import shutil
import subprocess
import tempfile
import time

from api import PASSWORD, Tap, npm, psql, register

GENERATOR, VERSION = "@hey-api/openapi-ts", "0.90.0"
COMPILER = "typescript@5.9.3"
OLDEST_NODE = (20, 19)
STRICT = "--strict --noUncheckedIndexedAccess --target es2022 --lib es2022,dom,dom.iterable --module commonjs --moduleResolution node10".split()
t = Tap()


def node_version():
    """The version of Node, or (0, 0) where there is none, or no npm."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        return 0, 0
    said = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(map(int, said.strip().lstrip("v").split(".")[:2]))


def run(*words, where):
    return subprocess.run(words, capture_output=True, text=True, timeout=300, check=False, cwd=where)


def shop(script):
    """Runs the script, with the provider of payments doing its part meanwhile; returns its exit status and what it said."""
    merchant, customer = register("mark", ["merchant"]), register("olga")
    psql("SELECT holdfast.add_provider('simulated', p_backoff => '1 s')")
    with tempfile.TemporaryFile("w+") as said:
        words = ["node", script, os.environ["HF_EDGE"], merchant.email, customer.email, PASSWORD]
        with subprocess.Popen(words, stdout=said, stderr=subprocess.STDOUT) as node:
            end = time.monotonic() + 120
            while node.poll() is None and time.monotonic() < end:
                psql("SELECT holdfast.simulate_provider()")
                time.sleep(0.1)
            node.kill()
        said.seek(0)
        return node.returncode, said.read()


def main():
    packages = npm(f"openapi-ts-{VERSION}", f"{GENERATOR}@{VERSION}", COMPILER) if node_version() >= OLDEST_NODE else None
    if packages is None:
        t.ok(True, "the generated client # SKIP it cannot be had from npm, or there is no Node of version 20.19 or later")
        return
    programs = os.path.join(packages, ".bin")
    with tempfile.TemporaryDirectory() as work:
        source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "generated_client.ts")
        script = shutil.copy(source, work)
        done = run(f"{programs}/openapi-ts", "--silent", "--input", os.environ["HF_EDGE"] + "/openapi.json", "--output", f"{work}/generated", where=work)
        if not t.ok(done.returncode == 0, "a client is generated from /openapi.json", done.stdout, done.stderr):
            return
        done = run(f"{programs}/tsc", *STRICT, "--outDir", f"{work}/built", script, where=work)
        if not t.ok(done.returncode == 0, "what it says of types is what a program wants", done.stdout, done.stderr):
            return
        status, said = shop(f"{work}/built/generated_client.js")
        for line in said.splitlines():
            good, _, claim = line.partition(" ")
            if good in ("ok", "no"):
                t.ok(good == "ok", claim)
            else:
                print(f"# {line}")
        t.ok(status == 0, "it comes to its end")


main()
