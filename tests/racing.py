"""What each process of `test_session_races.py` does, and the journal in which all of them write it down."""

import logging
import os
import random
from pathlib import Path

from flask_entra.sessions import files
from flask_entra.sessions.files import FileStore
from flask_entra.sessions.index import Index
from flask_entra.sessions.session import Session
from flask_entra.signin import noted
from flask_entra.signin.current_user import USER

ISSUER = "https://login.example"
PEOPLE, AT_AUTHORITY = ("adele", "pradeep"), ("s1", "s2", "s3")
BYSTANDER = "megan"  # uses sessions, and nobody ends one of hers
PROCESSES, STEPS = 4, 40
LATEST = 6  # sessions that a process chooses from, so that others are just using the same one
WHATS = {"sign_in": 3, "look": 2, "change": 4, "renew": 5, "sign_out": 4, "revoke": 2, "prune": 1, "put_back": 2}


def index_of(store):
    return Index(store, lambda: [b"secret"], "app", 86400, noted.about, noted.labels)


def session_of(store, sid=None):
    return Session(store, 3600, sid, 86400, "app", index_of(store))


def signed_in(store, person, at_authority, **more):
    session = session_of(store)
    session.begin({USER: {"iss": ISSUER, "sub": person, "sid": at_authority}, "number": 0, **more})
    session.save()
    return session


def store_at(address):
    if "://" not in address:
        return FileStore(Path(address))
    from flask_entra.sessions.redis import RedisStore

    return RedisStore(address, threads=8)


class Journal:
    """A file to which each process adds lines, in one order for all.

    in PERSON SID: somebody has signed in. from OLD NEW: a session has got a new id. out SID: it has been ended.
    revoked PERSON LINES: whatever the person had when the journal had so many lines has been ended. back SID: an old copy of an
    ended session is about to be put back.
    """

    def __init__(self, path):
        self._path = path

    def add(self, *words):
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(file, (" ".join(map(str, words)) + "\n").encode())
        os.close(file)

    def lines(self):
        return [line.split() for line in self._path.read_text().splitlines()]


class History:
    """What the lines of a journal say must be."""

    def __init__(self, lines):
        self.person, self.parent, self.put_back = {}, {}, set()
        ended, began = set(), {}
        for number, (what, first, *more) in enumerate(lines):
            if what == "in":
                self.person[more[0]], began[more[0]] = first, number
            elif what == "from":
                self.parent[more[0]], self.person[more[0]] = first, self.person[first]
            elif what == "out":
                ended.add(first)
            elif what == "back":
                self.put_back.add(first)
            else:
                ended |= {sid for sid, at in began.items() if self.person[sid] == first and at < int(more[0])}
        # With a session, whatever goes on from it has ended; a copy of one that is put back begins anew.
        self.ended = {sid for sid in self.person if self._has_ended(sid, ended)}

    def _has_ended(self, sid, ended):
        while sid and sid not in self.put_back:
            if sid in ended:
                return True
            sid = self.parent.get(sid)
        return False

    def root(self, sid):
        while sid in self.parent:
            sid = self.parent[sid]
        return sid


class Racer:
    """One of the processes."""

    def __init__(self, address, journal, seed):
        self.store, self.journal, self.rng = store_at(address), Journal(journal), random.Random(seed)
        self.index, self.copies, self.wrong = index_of(self.store), {}, []
        self.seed, self.number = seed, 0

    def run(self):
        for _ in range(STEPS):
            (what,) = self.rng.choices(list(WHATS), WHATS.values())
            getattr(self, what)()
        return self.wrong

    def opened(self):
        """One of the latest sessions, whosever it is, and its id; twice None if it is alive no more."""
        history = History(self.journal.lines())
        sid = self.rng.choice(list(history.person)[-LATEST:])
        session = session_of(self.store, sid)
        if USER not in session:
            return None, None
        if sid in history.ended and sid in History(self.journal.lines()).ended:  # not put back meanwhile
            self.wrong.append(f"{sid} had ended, and is open")
        if session[USER]["sub"] != history.person[sid]:
            self.wrong.append(f"{sid} is somebody else's")
        return sid, session

    def sign_in(self):
        person = self.rng.choice((*PEOPLE, BYSTANDER))
        self.number += 1
        # No two of them begin in one browser in the same second.
        began = {"at": self.number, "browser": str(self.seed)}
        session = signed_in(self.store, person, self.rng.choice(AT_AUTHORITY), **{noted.BEGAN: began})
        self.journal.add("in", person, session.sid)

    def look(self):
        self.opened()

    def change(self):
        sid, session = self.opened()
        if session:
            if (record := self.store.get(session.key)) is not None:
                self.copies[sid] = session.key, record
            session["number"] = self.rng.randrange(9)
            session.save()

    def renew(self):
        sid, session = self.opened()
        if session:
            session.regenerate()
            session.save()  # before that, nobody is told the new id
            self.journal.add("from", sid, session.sid)

    def sign_out(self):
        sid, session = self.opened()
        if session and session[USER]["sub"] != BYSTANDER:
            session.clear()
            session.save()
            self.journal.add("out", sid)

    def revoke(self):
        person, lines = self.rng.choice(PEOPLE), len(self.journal.lines())
        for entry in self.index.find(noted.by_person(ISSUER, person)):
            self.index.end(entry)
        self.journal.add("revoked", person, lines)

    def prune(self):
        self.store.prune(0)

    def put_back(self):
        if ended := sorted(self.copies.keys() & History(self.journal.lines()).ended):
            sid = self.rng.choice(ended)
            self.journal.add("back", sid)
            self.store.add(*self.copies.pop(sid), 3600)


def begin_together(barrier):
    """Prepare a process of the pool."""
    global _barrier
    _barrier = barrier
    logging.disable()  # hundreds of sessions that have ended
    files.WRITE_SECONDS = 60  # a machine under load is no fault of the store's


def race(address, journal, seed):
    """Do many things with sessions, while others do so too.

    :return: what was wrong.
    """
    racer = Racer(address, journal, seed)
    _barrier.wait(60)
    return racer.run()
