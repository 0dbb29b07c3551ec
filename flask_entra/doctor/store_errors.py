"""Why the session store cannot be used, in words of our own: those of Redis and of operating systems are English, or any."""

from __future__ import annotations

from flask_entra.commands import Command
from flask_entra.doctor.findings import unreadable
from flask_entra.pages.languages import Text
from flask_entra.pages.languages import Text as _
from flask_entra.sessions.redis_address import read_address

_RUNS = _("Check the address, and that Redis runs.")
_NO_ANSWER, _NOTHING, _NO_HOST = (
    _("Redis does not answer in time"),
    _("nothing answers at this address and port"),
    _("there is no such host"),
)
UNREACHABLE = (_NO_ANSWER, _NOTHING, _NO_HOST)  # what may be otherwise where the app runs
# What an error of Redis says, in lower case, to what that means and the mend. The first that fits counts.
_REDIS = (
    (
        ("are no cluster",),
        _("it names several servers that are no cluster, so that each would have sessions of its own"),
        _("Name one server, or write redis+sentinel:// and the hosts of Sentinel."),
    ),
    (
        ("may not run cluster slots",),
        _("Redis is a cluster, and the user may not ask it where its keys are"),
        _("Allow the Redis user the command CLUSTER SLOTS."),
    ),
    (
        ("noauth", "authentication required", "hello must be called"),
        _("Redis wants a password"),
        _("Write it into the address: redis://default:PASSWORD@host:6379/0, percent-encoded."),
    ),
    (
        ("wrongpass", "invalid password", "invalid username-password", "wrong number of arguments for 'auth'"),
        _("Redis does not accept the password"),
        _("Correct the password in the address; a name before the colon is that of a Redis user."),
    ),
    (
        ("without any password configured", "no password is set"),
        _("a password is given, and Redis has none"),
        _("Remove the password from the address."),
    ),
    (
        ("noperm",),
        _("the Redis user lacks a permission"),
        _("Allow it to read and write the keys session:* and lock:*."),
    ),
    (
        ("hostname mismatch", "ip address mismatch"),
        _("the certificate of Redis is for another host name"),
        _("Write the name that the certificate has into the address."),
    ),
    (
        ("certificate verify failed", "certificate_verify_failed"),
        _("the certificate of Redis is not trusted"),
        _("Add ?ssl_ca_certs= and the path of a PEM file to the address."),
    ),
    (
        ("wrong_version_number", "wrong version number", "record layer failure", "record_layer_failure"),
        _("Redis does not answer by TLS at this port"),
        _("Write redis:// instead of rediss://, or the port that has TLS."),
    ),
    (
        ("connection closed by server", "connection reset", "errno 104", "error 104"),
        _("Redis closes the connection"),
        _("If it wants TLS, write rediss:// instead of redis://."),
    ),
    (
        ("db index is out of range", "invalid db index"),
        _("Redis has no database of this number"),
        _("Correct the number at the end of the address."),
    ),
    (("timeout", "timed out"), _NO_ANSWER, _RUNS),
    (("refused", "errno 111", "error 111"), _NOTHING, _RUNS),
    (("name or service", "getaddrinfo", "nodename", "name resolution", "no address"), _NO_HOST, _RUNS),
    (("readonly",), _("it is a replica, which cannot be written"), _("Write the address of the primary.")),
    (
        ("outofmemory", "oom command"),
        _("Redis has no memory left"),
        _("Give it more, and leave its maxmemory-policy at noeviction."),
    ),
    (
        ("knows no such master",),
        _("Sentinel does not answer, or knows no such master that does"),
        _("Check the hosts, and the master's name after them: that of the line sentinel monitor."),
    ),
    (
        ("redis-entraid",),
        _("signing in to it by Entra ID needs the package redis-entraid"),
        _("Install it: %(command)s", command=Command("python", "-m", "pip", "install", "redis-entraid")),
    ),
)


# What the store of files says of a folder that it refuses.
_FOLDERS = {
    "others may write to": _("others may write to the folder"),
    "belongs to another user": _("the folder belongs to another user"),
    "is a link": _("the folder for sessions in it is a link"),
    "was not made by this app": _("the folder for sessions in it was not made by this app"),
}


def explained(error: Exception, redis_url: str) -> tuple[Text, Text]:
    """What keeps the store from being used, to be read after `cannot be used:`, and the mend.

    :param error: the store's, caused by the library's own.
    :param redis_url: the setting, which can be read as an address; empty for a store of files.
    """
    cause = error.__cause__
    if not redis_url:
        refused = next((reason for sign, reason in _FOLDERS.items() if sign in str(error)), None)
        return refused or unreadable(cause if isinstance(cause, OSError) else None), _(
            "Check the path, its owner and its permissions, or choose another folder."
        )
    # redis-py takes some of Redis's error codes out of its words: they are in the name of the exception then.
    said = f"{error} {cause} {type(cause).__name__}".lower()
    if read_address(redis_url).tls and "time" in said:  # a Redis without TLS waits for the rest of a command
        said = "wrong_version_number"
    for signs, reason, mend in _REDIS:
        if any(sign in said for sign in signs):
            return reason, mend
    return _("Redis does not answer as it should (%(kind)s)", kind=type(cause or error).__name__), _RUNS
