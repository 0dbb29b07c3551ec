"""`python -m tests.hurried MODULE …`: as `python -m MODULE …`, with a fraction of the deadlines for the tenant and for Graph.

A test then waits for them a second, and not seven. What they are is in `flask_entra/deadlines.py`.
"""

import runpy
import sys

from flask_entra import deadlines
from flask_entra.signin import cached_document

deadlines.CONNECT_SECONDS = deadlines.HANDSHAKE_SECONDS = 1.0
deadlines.ANSWER_SECONDS = 1.5  # longer than `cached_document.SLOW_SECONDS`
cached_document.FAIL_FAST_SECONDS = 1

if __name__ == "__main__":
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
