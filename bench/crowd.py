"""Fills a session store: `python -m bench.crowd FOLDER COOKIE COUNT`, with the app's settings in the environment.

The session that the cookie names in that folder is stored COUNT times over by the app's own code, sealed under ids of their
own and noted as somebody else's each. Prints the cookie of one of the copies.
"""

from __future__ import annotations

import sys
from pathlib import Path

from app import app
from flask_entra.sessions.files import FileStore
from flask_entra.sessions.session import Session
from flask_entra.signin.current_user import USER


def main() -> None:
    folder, cookie, count = sys.argv[1:]
    name, _, sid = cookie.partition("=")
    state = app.extensions["flask_entra"]
    lifetime, owner = state.config.idle_seconds, state.config.owner
    data = dict(Session(FileStore(Path(folder)), lifetime, sid, owner=owner))
    target = state.store
    for number in range(int(count)):
        copy = Session(target, lifetime, None, owner=owner, index=state.index)
        copy.update({**data, USER: {**data[USER], "sub": f"person-{number}", "sid": f"session-{number}"}})
        copy.save()
    print(f"{name}={copy.sid}")


if __name__ == "__main__":
    main()
