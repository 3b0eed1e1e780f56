"""Runs LocalStack until the standard input ends, so that it never outlives whoever started it."""

import os
import runpy
import signal
import threading


def stop_at_end_of_input():
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


threading.Thread(target=stop_at_end_of_input, daemon=True).start()
runpy.run_module("localstack.runtime.main", run_name="__main__")
