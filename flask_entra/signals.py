"""What happens to people, as signals (https://flask.palletsprojects.com/signals/). The sender is the app; no signal has a token.

`signed_in`: somebody has signed in. `user`: the ID token's claims.
`signed_out`: somebody has signed out. `user`: likewise.
`token_refreshed`: a person's access token has been renewed. `user`: likewise; `scopes`: those that it is for.
`access_denied`: a page was refused. `user`: likewise, or those of a caller's token; `error`: `NotAllowed`, `MembershipUnknown`,
`SignInRefused` or `CallerRefused`.

A signal is sent during the request, after what it tells of. What a receiver raises fails the request.
"""

from __future__ import annotations

from blinker import Namespace

_signals = Namespace()
signed_in = _signals.signal("signed-in")
signed_out = _signals.signal("signed-out")
token_refreshed = _signals.signal("token-refreshed")
access_denied = _signals.signal("access-denied")
