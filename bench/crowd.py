"""Fills a session store: `python -m bench.crowd FOLDER COOKIE COUNT`, with the app's settings in the environment.

The session that the cookie names in that folder is stored COUNT times over by the app's own code, sealed under ids of their
own. Prints the cookie of one of the copies.
"""

from __future__ import annotations

import sys
from pathlib import Path

from app import app
from sessions import FileStore, SealedSession, SealedSessionInterface


def main() -> None:
    folder, cookie, count = sys.argv[1:]
    name, _, sid = cookie.partition("=")
    data, _seconds = SealedSessionInterface(app, FileStore(Path(folder)))._retrieve_session_data(sid)
    target = app.session_interface
    for _ in range(int(count)):
        copy = SealedSession(target, None)
        copy.update(data)
        copy.new = True
        target._upsert_session(app.permanent_session_lifetime, copy, copy.sid)
    print(f"{name}={copy.sid}")


if __name__ == "__main__":
    main()
