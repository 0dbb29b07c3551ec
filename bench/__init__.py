"""How fast the app is, against the quickstart's way and against bare Flask: `python -m bench`.

Three contestants show the same pages from the same templates, each under gunicorn with the same workers:

- the app, as it is: sessions sealed, every answer with its security headers, in the visitor's language;
- the quickstart's way (`bench/apps/quickstart.py`): identity and requests, used as their documentation shows;
- bare Flask (`bench/apps/bare.py`): the page and nothing else. No session, no sign-in, no translation, no headers.

The tenant is the sandbox's. Graph is `bench/upstream.py`, which answers one profile over real TLS, fast enough not to be
what is measured; a relay (`bench/relay.py`) puts it at a distance. Everything is on loopback. Figures of one machine mean
nothing on another, so the contestants are loaded in turns, round after round, and what counts is the median ratio.
"""
