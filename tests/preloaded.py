"""Imported once, in the fork server of `forked.py`: what the app imports and is not its own, and what runs the app.

Nothing of it reads the app's settings when it is imported. A warning is an error, as in the processes of the app themselves.
"""

import importlib
import sys
import warnings
from pathlib import Path

LIBRARIES = (
    "flask msal jwt requests babel msgspec flask_session.base identity.flask redis.cluster gunicorn.workers.gthread"
)

with warnings.catch_warnings():
    warnings.simplefilter("error")
    for name in LIBRARIES.split():
        importlib.import_module(name)
sys.path.insert(0, str(Path(__file__).parent))
importlib.import_module("forked")
