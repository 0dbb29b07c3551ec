"""How long anything may take that waits for somebody else, in seconds."""

CONNECT_SECONDS = 3.0  # to find out a host's addresses and to connect to one of them, together
HANDSHAKE_SECONDS = 3.0  # for TLS
ANSWER_SECONDS = 7.0  # from when a request has been sent until its whole answer is there
REQUEST_SECONDS = CONNECT_SECONDS + HANDSHAKE_SECONDS + ANSWER_SECONDS

LOCK_SECONDS = (
    REQUEST_SECONDS + 2
)  # to wait for another request of the same session, which may make a request to the tenant
