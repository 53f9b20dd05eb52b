"""Run command lines in forks of a process that has imported everything, since a start takes seconds.

A program without threads. It reads lines of JSON, and prints the process id of each fork and then its exit code.
"""

import importlib
import json
import os
import signal
import sys
import time
import traceback
from functools import partial

from streamgmm.cli import main
from streamgmm.estimator import complete_fit
from streamgmm.persistence.session import CheckpointSession

LATER = ("dask.threaded", "distributed", "streamgmm.cli.verbs", "tqdm.auto", "zarr")  # imported where first used


def dawdle():
    """A fit keeps generations at once, not after a second, and rests after each step, so that it can be stopped."""
    open_writer, watch = complete_fit.open_model_writer, CheckpointSession.watch
    complete_fit.open_model_writer = lambda model, min_seconds: open_writer(model)
    CheckpointSession.watch = lambda guard, fit_state: (watch(guard, fit_state), time.sleep(0.05))


def run(command, errors, slowly):
    """Exit code of one command line, as a process that a shell started would have it."""
    # a shell starts what runs in its background deaf to SIGINT, this program perhaps among it
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT, 0o600), sys.stderr.fileno())
    if slowly:
        dawdle()
    return main(command)


if __name__ == "__main__":
    for name in LATER:
        importlib.import_module(name)
    say = partial(print, flush=True)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            code = 1
            try:
                code = run(**json.loads(line))
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        say(child)
        say(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
