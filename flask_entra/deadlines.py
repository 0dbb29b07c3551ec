"""Time limits, in seconds, for waiting on another machine."""

CONNECT_SECONDS = 3.0  # to find out a host's addresses and to connect to one of them, together
HANDSHAKE_SECONDS = 3.0  # for TLS
ANSWER_SECONDS = 7.0  # from when a request has been sent until its whole answer is there
# For a file, which may take as long as it needs: so many bytes at least come within ANSWER_SECONDS of waiting.
LEAST_BYTES = 16 * 1024
REQUEST_SECONDS = CONNECT_SECONDS + HANDSHAKE_SECONDS + ANSWER_SECONDS
# To wait for another request of the same session, which may be making a request to the tenant.
LOCK_SECONDS = REQUEST_SECONDS + 2
