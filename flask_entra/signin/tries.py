"""How often the answer to a sign-in may be tried: each try is a token request with the app's credential."""

from __future__ import annotations

import threading
from collections import OrderedDict

from flask_entra.signin.errors import SignInError

# A person tries again while the authority does not answer. (Each process counts by itself.)
TRIES_AT_MOST = 6
SIGN_INS_COUNTED = 10_000


class Tries:
    """Counts the tries of the latest sign-ins. Safe to share among threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: OrderedDict[str, int] = OrderedDict()

    def count(self, state: str) -> None:
        """Count a try.

        :param state: the sign-in's.
        :raises SignInError: it has been tried too often.
        """
        with self._lock:
            count = self._counts[state] = self._counts.pop(state, 0) + 1
            if len(self._counts) > SIGN_INS_COUNTED:
                self._counts.popitem(last=False)
        if count > TRIES_AT_MOST:
            raise SignInError("invalid_grant", "this sign-in has been tried too often")
