#!/usr/bin/env python3
# with-worker: --provider simulated
"""The buyer's whole way, as payment_way.py has it, with the simulated provider that is a server: the test cards do the same. Runs
within tools/with-api (HF_API) and tools/with-worker --provider. TAP.
"""
import os
import runpy

runpy.run_path(os.path.join(os.path.dirname(os.path.abspath(__file__)), "payment_way.py"), run_name="__main__")
