"""A stored session of each version that there has been, for `test_upgrades.py`: a record that cannot be read signs everybody out.

`.venv/bin/python tests/kept_sessions.py` adds that of the present version; run it for each release.
"""

import importlib.metadata
import json
import tempfile
import time
from pathlib import Path

import flask
from visitor import cookie_name

from flask_entra import Auth
from flask_entra.testing import sign_in

KEPT = Path(__file__).with_suffix(".json")
AUTHORITY = "https://login.microsoftonline.com/22222222-2222-4222-8222-222222222222"
SETTINGS = {"CLIENT_ID": "11111111-1111-4111-8111-111111111111", "CLIENT_SECRET": "s" * 40, "AUTHORITY": AUTHORITY}
FAR = 4_102_444_800  # the year 2100: it does not expire meanwhile


def read():
    """Each version, with the session's cookie, the name of its record in a store, and the record."""
    return json.loads(KEPT.read_text()) if KEPT.exists() else {}


def write():
    now, time.time = time.time, lambda: FAR
    try:
        with tempfile.TemporaryDirectory() as folder:
            app = flask.Flask(__name__)
            app.config.update(
                {f"ENTRA_{name}": value for name, value in SETTINGS.items()}, ENTRA_SESSION_FILE_DIR=folder
            )
            Auth(app)
            client = app.test_client()
            sign_in(
                client,
                name="Adèle Vance",
                roles=["Orders.Approve"],
                scopes=["User.Read"],
                access_token="access-token-of-a-test",
            )
            with client.session_transaction() as session:
                session["cart"] = ["a book"]
            (record,) = Path(folder).glob("sealed-sessions/" + "?" * 64)
            cookie = client.get_cookie(cookie_name(app)).value
            kept = {"cookie": cookie, "name": record.name, "record": record.read_bytes().hex()}
    finally:
        time.time = now
    KEPT.write_text(json.dumps({**read(), importlib.metadata.version("flask-entra"): kept}, indent=1) + "\n")


if __name__ == "__main__":
    write()
