"""Slips in the settings, as people make them: each is said once, of the right setting, with the way to mend it."""

import codecs
import os
from pathlib import Path

import pytest
from certificates import as_pem, as_pfx, make_certificate
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from flask_entra.doctor import check_settings
from flask_entra.environment import Dotenv
from flask_entra.settings import SETTINGS, Settings

HERE = Path(__file__).parent
CLIENT, TENANT = "dd96df90-ffaf-4b01-a34d-b3a2abc47d16", "852bedc8-1345-41c8-99f3-2fa1667ffefa"
SECRET = "abc8Q~someSecretValueOfForty.Characters-00"
KEY = "k7Q-long-enough-and-random-0123456789"
HOST, US = "https://login.microsoftonline.com", "https://login.microsoftonline.us"
GRAPH = "https://graph.microsoft.com"
SOUND = {"CLIENT_ID": CLIENT, "CLIENT_SECRET": SECRET, "AUTHORITY": f"{HOST}/{TENANT}"}
LINES = [f"{name}={value}" for name, value in SOUND.items()]


def examined(environ, dotenv):
    """What is found in an environment and a `.env`, once Flask or the app has read that."""
    return check_settings(Settings(SETTINGS, {**dotenv.values, **environ}, dotenv))


def told(finding):
    """A finding as a person reads it."""
    return f"{finding.subject} {finding.found}. {finding.mend}"


def only(findings, setting, level, *words):
    """There is one finding, of this setting and level, with these words."""
    assert [(str(each.setting), each.level) for each in findings] == [(setting, level)], [*map(told, findings)]
    for word in words:
        assert word in told(findings[0])
    assert findings[0].mend


# --- One value --------------------------------------------------------------------------------------------------------

# What is written for which setting, the level, a part of what is found, a part of the mend; with a name, the setting blamed.
VALUES = [
    ("CLIENT_ID", f"“{CLIENT}”", "wrong", "typographic quotes", "Remove"),
    ("CLIENT_ID", f"«{CLIENT}»", "wrong", "typographic quotes", "Remove"),
    ("CLIENT_ID", f'{CLIENT}"', "wrong", "a quote", "Remove"),
    ("CLIENT_ID", f"`{CLIENT}`", "wrong", "quotes", "Remove"),
    ("CLIENT_SECRET", f"’{SECRET}’", "wrong", "typographic quotes", "Remove"),
    ("CLIENT_ID", CLIENT[:8] + "\u200b" + CLIENT[8:], "wrong", "cannot be seen (U+200B)", "Type"),
    ("CLIENT_ID", "\ufeff" + CLIENT, "wrong", "cannot be seen (U+FEFF)", "Type"),
    ("CLIENT_ID", CLIENT.replace("-", "–"), "wrong", "only looks right: – (U+2013)", "Type"),
    ("CLIENT_ID", CLIENT.replace("a", "а"), "wrong", "only looks right", "Type"),
    ("AUTHORITY", f"{HOST.replace('o', 'о')}/{TENANT}", "wrong", "only looks right", "Type"),
    ("CLIENT_SECRET", "\u2060" + SECRET, "wrong", "no client secret has", "Type"),
    ("AUTHORITY", f"{HOST}/\u00ad{TENANT}", "wrong", "cannot be seen", "Type"),
    ("SCOPE", "User.Read\u00a0Mail.Read", "wrong", "cannot be seen (U+00A0)", "Type"),
    ("CLIENT_ID", "${CLIENT_ID}", "wrong", "nothing has replaced", "Write the value"),
    ("AUTHORITY", HOST + "/${TENANT_ID}", "wrong", "nothing has replaced", "Write the value"),
    ("AUTHORITY", HOST + "/%TENANT_ID%", "wrong", "nothing has replaced", "Write the value"),
    ("CLIENT_ID", "$(client-id)", "wrong", "nothing has replaced", "Write the value"),
    ("CLIENT_SECRET", "{{ client_secret }}", "wrong", "nothing has replaced", "Write the value"),
    (
        "CLIENT_SECRET",
        "@Microsoft.KeyVault(SecretUri=https://x.vault.azure.net/secrets/s)",
        "wrong",
        "Key Vault",
        "access",
    ),
    ("CLIENT_ID", f"{{{CLIENT}}}", "wrong", "{ and }", "Remove"),
    ("AUTHORITY", f"{HOST}/<{TENANT}>", "wrong", "< and >", "Remove"),
    ("AUTHORITY", HOST + "/{tenant-id}", "wrong", "placeholder", "Directory (tenant) ID"),
    ("OIDC_AUTHORITY", "https://www.contoso.com/<tenant-id>/v2.0", "wrong", "placeholder", "real value"),
    ("REDIRECT_URI", "https://<your-host>/getAToken", "wrong", "placeholder", "real value"),
    ("CLIENT_ID", "...", "wrong", "placeholder", "Application (client) ID"),
    ("CLIENT_ID", f"CLIENT_ID={CLIENT}", "wrong", "its own name", "NAME=value"),
    ("CLIENT_ID", f"{CLIENT},", "wrong", "comma", "Remove"),
    ("CLIENT_ID", f"Application (client) ID: {CLIENT}", "wrong", "space", "Remove"),
    ("CLIENT_ID", f"api://{CLIENT}", "wrong", "Application ID URI", "Remove api://"),
    ("CLIENT_ID", CLIENT[:-1], "wrong", "is not a GUID", "Overview"),
    ("CLIENT_ID", CLIENT.replace("-", ""), "wrong", "is not a GUID", "Overview"),
    ("CLIENT_SECRET", "abc8Q~some SecretValue", "odd", "space", "Remove"),
    ("CLIENT_SECRET", "abc******************", "wrong", "asterisks", "Value"),
    ("CLIENT_SECRET", CLIENT, "wrong", "the same as CLIENT_ID", "Value"),
    ("CLIENT_SECRET", "A" * 10 + "0" * 30, "odd", "thumbprint", "Value"),
    ("CLIENT_SECRET", "abc8Q~", "odd", "shorter", "Value"),
    # The authority
    ("AUTHORITY", "https://portal.azure.com/#view/Microsoft_AAD_RegisteredApps", "wrong", "a page of the portal", HOST),
    ("AUTHORITY", f"https://entra.microsoft.com/{TENANT}", "wrong", "a page of the portal", HOST),
    ("AUTHORITY", f"https://login.microsoftonline.de/{TENANT}", "wrong", "closed in 2021", "another cloud"),
    ("AUTHORITY", f"https://sts.windows.net/{TENANT}", "wrong", "is not where Entra signs people in", HOST),
    ("AUTHORITY", f"{GRAPH}/{TENANT}", "wrong", "belongs in ENDPOINT", HOST),
    ("AUTHORITY", f"https://login.microsoftonlin.com/{TENANT}", "wrong", "nearly right", "login.microsoftonline.com"),
    ("AUTHORITY", f"{HOST}/{TENANT}?p=b2c", "wrong", "a ? or a #", "Leave out"),
    ("AUTHORITY", f"{HOST}/{TENANT}/contoso", "wrong", "more after the host name", HOST),
    ("AUTHORITY", f"{HOST}/contoso", "wrong", "neither an ID nor a domain name", HOST),
    ("AUTHORITY", f"{HOST}/comon", "wrong", "neither an ID nor a domain name", "Is common meant?"),
    ("AUTHORITY", f"{HOST}/organisations", "wrong", "neither an ID nor a domain name", "Is organizations meant?"),
    ("AUTHORITY", f"https://https://login.microsoftonline.com/{TENANT}", "wrong", "https:// twice", "Remove"),
    ("AUTHORITY", f"https:\\\\login.microsoftonline.com\\{TENANT}", "wrong", "backslash", "slashes"),
    ("AUTHORITY", f"{HOST}/{TENANT}, {HOST}/common", "wrong", "more than one address", "Keep"),
    ("ALLOWED_TENANTS", CLIENT.replace("d", "e"), "wrong", "does not have the tenant of AUTHORITY", TENANT),
    ("ALLOWED_TENANTS", f"{TENANT}, {CLIENT}", "wrong", "Application (client) ID", "tenant IDs"),
    ("ALLOWED_TENANTS", f"{TENANT};{TENANT}", "wrong", "semicolon", "comma"),
    ("API_AUDIENCE", "api://orders, api://more", "wrong", "has commas", "spaces"),
    ("API_AUDIENCE", "https://graph.microsoft.com/", "wrong", "names Microsoft Graph", "of this app"),
    ("API_AUDIENCE", "api://orders/.default", "wrong", "names a scope", "Write api://orders."),
    ("SIGNUPSIGNIN_USER_FLOW", "B2C_1_in", "odd", "no effect", "B2C_TENANT_NAME"),
    # This app
    ("REDIRECT_URI", "localhost:5000/getAToken", "wrong", "is not a URL", "http://localhost:5000/getAToken"),
    ("REDIRECT_URI", "https://localhost:5000/getAToken", "odd", "https on this machine", "http://localhost"),
    ("REDIRECT_URI", "http://localhost:5000/getAToken/", "odd", "ends with a slash", "character for character"),
    ("REDIRECT_URI", "http://localhost:5000/getatoken", "odd", "two capitals", "character for character"),
    ("REDIRECT_URI", "http://localhost:5000/getAToken, https://a.example/x", "wrong", "more than one address", "Keep"),
    ("REDIRECT_URI", "http://localhost:5000/a http://localhost/b", "wrong", "more than one address", "Keep"),
    ("REDIRECT_URI", "http://localhost:5000/getAToken?x=1", "wrong", "a ? or a #", "Leave out"),
    ("APPLICATION_ROOT", "portal", "wrong", "is not a path", "such as /portal"),
    ("APPLICATION_ROOT", "https://app.example/portal", "wrong", "is not a path", "such as /portal"),
    ("APPLICATION_ROOT", "/portal?x", "wrong", "is not a path", "such as /portal"),
    ("REDIRECT_URI", "http://localhost:5000//getAToken", "wrong", "two slashes", "one"),
    ("REDIRECT_URI", "http://localhost:5000/auth//callback", "wrong", "two slashes", "one"),
    ("REDIRECT_URI", "http://localhost:5000/get%41Token", "wrong", "a percent sign", "letters"),
    ("REDIRECT_URI", "http://localhost:5000/auth;v=1", "wrong", "; in its path", "letters"),
    ("REDIRECT_URI", "http://localhost:5000/auth[1]", "wrong", "[ in its path", "letters"),
    ("REDIRECT_URI", "https://*.example.com/getAToken", "wrong", "is not a URL", "as it stands"),
    ("REDIRECT_URI", "http://127.0.0.1:5000/getAToken", "odd", "host other than localhost", "write localhost"),
    ("REDIRECT_URI", "https://me:pw@a.example/getAToken", "wrong", "user name or a password", "Leave it out"),
    # Permissions
    ("SCOPE", "User.Read,Mail.Read", "wrong", "commas", "spaces"),
    ("SCOPE", "User.Read; Mail.Read", "wrong", "semicolons", "spaces"),
    ("SCOPE", "[User.Read]", "wrong", "brackets", "spaces"),
    ("SCOPE", '"User.Read"', "wrong", "quotes", "Remove"),
    ("SCOPE", "User.Raed", "odd", "User.Raed, which may be misspelled", "Is User.Read meant?"),
    ("SCOPE", "User.Read Mails.Read", "odd", "Mails.Read", "Is Mail.Read meant?"),
    ("SCOPE", "UserRead", "odd", "misspelled", "Is User.Read meant?"),
    ("SCOPE", "openid", "odd", "no permission of an API", "User.Read"),
    ("SCOPE", "openid profile offline_access email", "odd", "no permission of an API", "User.Read"),
    ("SCOPE", "User.Read api://x/read", "wrong", "several APIs", "one API"),
    ("SCOPE", f"{GRAPH}/User.Read https://vault.azure.net/user_impersonation", "wrong", "several APIs", "one API"),
    ("SCOPE", "User.Read https://graph.microsoft.us/Mail.Read", "odd", "another API", "ENDPOINT"),
    ("SCOPE", "https://graph.windows.net/User.Read", "wrong", "retired", "Microsoft Graph"),
    ("SCOPE", "api://x/read", "odd", "another API than the one that ENDPOINT calls", "ENDPOINT"),
    # The API
    ("ENDPOINT", "https://graph.windows.net/me", "wrong", "retired", f"{GRAPH}/v1.0/me"),
    ("ENDPOINT", "https://graph.microsoft.de/v1.0/me", "wrong", "closed in 2021", "another cloud"),
    ("ENDPOINT", f"{HOST}/v1.0/me", "wrong", "belongs in AUTHORITY", f"{GRAPH}/v1.0/me"),
    ("ENDPOINT", "https://developer.microsoft.com/graph/graph-explorer", "wrong", "a page", f"{GRAPH}/v1.0/me"),
    ("ENDPOINT", "https://graph.microsft.com/v1.0/me", "wrong", "nearly right", "graph.microsoft.com"),
    ("ENDPOINT", f"{GRAPH}/me", "wrong", "no version", f"{GRAPH}/v1.0/me"),
    ("ENDPOINT", "graph.microsoft.com/v1.0/me", "wrong", "https://", "https"),
    # Redis and the network
    ("REDIS_URL", "localhost:6379", "wrong", "does not begin with redis://", "rediss://, "),
    ("REDIS_URL", "x.redis.cache.windows.net:6380,password=s3cr3t=,ssl=True", "wrong", "for .NET", "rediss://"),
    ("REDIS_URL", "redis://localhost:6379/sessions", "wrong", "database that is not a number", "leave it out"),
    ("REDIS_URL", "redis://localhost:port/0", "wrong", "cannot be read", "Percent-encode"),
    ("REDIS_URL", "rediss+sentinel://a,b", "wrong", "does not name Sentinel's master", "redis+sentinel://host:26379/"),
    ("REDIS_URL", "redis+sentinel://a/sessions/first", "wrong", "database that is not a number", "leave it out"),
    ("REDIS_URL", "redis+sentinel://a/sessions?foo=bar", "wrong", "an option", "remove"),
    ("REDIS_URL", "redis://a.example:6379,password=s3cr3t", "wrong", "for .NET", "rediss://"),
    ("REDIS_URL", "redis://localhost:6379/0?foo=bar", "wrong", "an option", "remove"),
    ("REDIS_URL", "redis://localhost:6379/0?db=x", "wrong", "an option", "remove"),
    ("REDIS_URL", "redis://:k@x.redis.cache.windows.net:6380/0", "wrong", "needs TLS", "rediss://"),
    ("HTTPS_PROXY", "proxy.example:8080", "wrong", "is not the address of a proxy", "http://host:port"),
    ("https_proxy", "http//proxy.example:8080", "wrong", "is not the address of a proxy", "http://host:port"),
    ("HTTPS_PROXY", "http://proxy.example:port", "wrong", "is not the address of a proxy", "http://host:port"),
    ("ALL_PROXY", "socks5://localhost:1080", "wrong", "SOCKS", "http://host:port"),
    ("REQUESTS_CA_BUNDLE", str(HERE / "visitor.py"), "wrong", "no certificates", "PEM"),
    # The rest
    ("CLIENT_CERTIFICATE_PASSWORD", "secret", "odd", "no effect", "path"),
    ("SECRET_KEY", "xxxxxxxxxxxxxxxxxxxx", "wrong", "over and over", "random"),
    ("TRUSTED_PROXY_COUNT", "-1", "wrong", "not a number", "Count"),
    ("TRUSTED_ORIGINS", "https://*.", "wrong", "no origin: https://*.", "scheme and host"),
    ("TRUSTED_ORIGINS", "*", "wrong", "no origin: *", "scheme and host"),
    ("TRUSTED_ORIGINS", "https://a.example/x", "wrong", "no origin: https://a.example/x", "scheme and host"),
    ("TRUSTED_ORIGINS", "https://*.com", "odd", "every site below .com", "your own domain"),
    ("TRUSTED_ORIGINS", "http://a.example", "odd", "without https", "use https"),
    ("THREADS", "0", "wrong", "not a number above 0", "Correct"),
    ("SESSION_IDLE_MINUTES", "0", "wrong", "not a number above 0", "Correct"),
    ("SESSION_IDLE_MINUTES", "half an hour", "wrong", "not a number above 0", "Correct"),
    ("SESSION_MAX_HOURS", "-8", "wrong", "not a number above 0", "Correct"),
    ("SESSION_MAX_HOURS", "1e3", "wrong", "not a number above 0", "Correct"),
    ("THREADS", "100000", "odd", "more than one process can use", "64"),
    ("GROUPS", "managers", "wrong", "no group, or names one twice: managers", "name=id"),
    ("GROUPS", f"managers={TENANT} staff={TENANT}", "wrong", "no group", "a comma between"),
    ("GROUPS", f"managers={TENANT}, staff={TENANT[:-1]}", "wrong", "staff=", "Object ID"),
    ("GROUPS", f"managers={TENANT}, managers={CLIENT}", "wrong", "twice: managers", "name=id"),
    ("GROUPS", f"={TENANT}", "wrong", "no group", "name=id"),
    ("GROUPS", f"{CLIENT}={TENANT}", "wrong", "no group", "name=id"),
    ("DOMAIN_HINT", "contoso", "odd", "is no domain", "such as contoso.com"),
    ("DOMAIN_HINT", "https://contoso.com", "odd", "is no domain", "such as contoso.com"),
    ("DOMAIN_HINT", "adele@contoso.com", "odd", "is no domain", "such as contoso.com"),
    ("REMEMBER_ACCOUNT", "always", "wrong", "neither on nor off", "one of the two"),
    ("SESSION_COOKIE_PERSISTENT", "12 hours", "wrong", "neither on nor off", "one of the two"),
    ("LOG_FORMAT", "JSON", "wrong", "neither text nor json", "one of the two"),
]


def called(row):
    """A slip's name, which does not say where the project lies."""
    return f"{row[0]}={row[1].replace(str(HERE), '')}"[:60].encode("ascii", "replace").decode()


@pytest.mark.parametrize("row", VALUES, ids=called)
def test_each_slip_in_a_value_is_one_finding(tmp_path, row):
    name, value, level, found, mend = row
    instead = {"OIDC_AUTHORITY": "AUTHORITY"}.get(name)
    environ = {each: text for each, text in SOUND.items() if each != instead} | {name: value}
    if name == "REDIS_URL":
        environ["SECRET_KEY"] = KEY
    only(examined(environ, Dotenv(tmp_path / ".env")), name, level, found, mend)


B2C = {"AUTHORITY": "", "B2C_TENANT_NAME": "contoso", "SIGNUPSIGNIN_USER_FLOW": "B2C_1_in"}
# Several settings: what they are, the setting blamed, the level, a part of what is found, a part of the mend.
TOGETHER = [
    ({"CLIENT_ID": TENANT}, "CLIENT_ID", "wrong", "directory (tenant) ID", "Application (client) ID"),
    (
        {"CLIENT_ID": f"{HOST}/{TENANT}", "AUTHORITY": CLIENT},
        "CLIENT_ID + AUTHORITY",
        "wrong",
        "may be swapped",
        "other",
    ),
    (
        {"AUTHORITY": f"{US}/{TENANT}"},
        "ENDPOINT",
        "wrong",
        "another cloud than AUTHORITY",
        "graph.microsoft.us/v1.0/me",
    ),
    ({**B2C, "B2C_TENANT_NAME": "contoso.onmicrosoft.com"}, "B2C_TENANT_NAME", "wrong", "is a domain", "Write contoso"),
    (
        {**B2C, "B2C_TENANT_NAME": "https://contoso.b2clogin.com"},
        "B2C_TENANT_NAME",
        "wrong",
        "a domain",
        "Write contoso",
    ),
    ({**B2C, "SIGNUPSIGNIN_USER_FLOW": ""}, "SIGNUPSIGNIN_USER_FLOW", "wrong", "is missing", "sign-up and sign-in"),
    ({**B2C, "SIGNUPSIGNIN_USER_FLOW": "susi"}, "SIGNUPSIGNIN_USER_FLOW", "wrong", "not the name", "B2C_1_"),
    (
        {"AUTHORITY": "", "OIDC_AUTHORITY": "https://id.example/realm/.well-known/openid-configuration"},
        "OIDC_AUTHORITY",
        "wrong",
        "one endpoint",
        "Leave out",
    ),
    ({"AUTHORITY": "", "OIDC_AUTHORITY": "id.example/realm"}, "OIDC_AUTHORITY", "wrong", "https://", "https"),
    (
        {"APPLICATION_ROOT": "/portal"},
        "REDIRECT_URI",
        "wrong",
        "is not below APPLICATION_ROOT",
        "Begin its path with /portal/",
    ),
]


@pytest.mark.parametrize("row", TOGETHER, ids=lambda row: f"{row[1]} {row[3]}")
def test_each_slip_between_settings_is_one_finding(tmp_path, row):
    changed, name, level, found, mend = row
    only(examined({**SOUND, **changed}, Dotenv(tmp_path / ".env")), name, level, found, mend)


# --- The file -----------------------------------------------------------------------------------------------------------

TEXT = "\n".join([*LINES, "# é"]) + "\n"
# The bytes of `.env`, what is blamed, the level, a part of what is found, a part of the mend.
FILES = {
    "UTF-16 as PowerShell writes it": (TEXT.encode("utf-16"), ".env", "odd", "UTF-16", "UTF-8"),
    "UTF-16, the other order": (codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"), ".env", "odd", "UTF-16", "UTF-8"),
    "UTF-16 without a mark": (TEXT.encode("utf-16-le"), ".env", "odd", "UTF-16", "UTF-8"),
    "UTF-16 without a mark, the other order": (TEXT.encode("utf-16-be"), ".env", "odd", "UTF-16", "UTF-8"),
    "Latin-1": (TEXT.encode("latin-1"), ".env", "odd", "not UTF-8", "UTF-8"),
    "a line that is none": (TEXT.encode() + b"this is 'no setting\n", ".env", "wrong", "line 5", "NAME=value"),
    "a line like YAML": (TEXT.encode() + b"THREADS: 5\n", "THREADS", "wrong", "line 5", "NAME=value"),
    "all like YAML": (
        f"CLIENT_ID: {CLIENT}\n{TEXT.partition(chr(10))[2]}".encode(),
        "CLIENT_ID",
        "wrong",
        "line 1",
        "NAME=value",
    ),
    "a quote that is not closed": (TEXT.encode() + b'\n\nSCOPE="User.Read\n', "SCOPE", "wrong", "line 7", "NAME=value"),
    "a colon, and an equals sign of the value": (
        TEXT.encode() + b"SECRET_KEY:c2VjcmV0=\n",
        ".env",
        "wrong",
        "line 5",
        "NAME=value",
    ),
    "no equals sign": (TEXT.encode() + b"THREADS\n", "THREADS", "wrong", "line 5", "NAME=value"),
    "a duplicate": (f"THREADS=5\n{TEXT}THREADS=6\n".encode(), "THREADS", "odd", "2 times", "line 6"),
    "lower case": (TEXT.encode() + b"threads=5\n", "threads", "odd", "capitals", "THREADS"),
    "a misspelled name": (
        TEXT.encode() + b"REDIRECT_URL=http://localhost/x\n",
        "REDIRECT_URL",
        "odd",
        "no set",
        "REDIRECT_URI",
    ),
    "a hyphen": (TEXT.encode() + b"LOG-FORMAT=json\n", "LOG-FORMAT", "odd", "no setting", "LOG_FORMAT"),
    "lower case, and missing": (
        TEXT.replace("CLIENT_ID", "client_id").encode(),
        "CLIENT_ID",
        "wrong",
        "line 1 of .env says client_id",
        "Write CLIENT_ID.",
    ),
    "misspelled, and missing": (
        TEXT.replace("CLIENT_SECRET", "CLIENT_SECRT").encode(),
        "CLIENT_SECRET",
        "wrong",
        "line 2 of .env says CLIENT_SECRT",
        "Write CLIENT_SECRET.",
    ),
    "another sample's name": (
        f"TENANT_ID={TENANT}\n".encode() + "\n".join(LINES[:2]).encode(),
        "AUTHORITY",
        "wrong",
        "line 1 of .env says TENANT_ID",
        HOST,
    ),
    "a line of PowerShell": (
        f"$env:CLIENT_ID={CLIENT}\n".encode() + "\n".join(LINES[1:]).encode(),
        "CLIENT_ID",
        "wrong",
        "line 1 of .env says $env:CLIENT_ID",
        "Write CLIENT_ID.",
    ),
    "a secret with ${…} in it": (
        TEXT.replace(SECRET, "abc8Q~some${Secret}ValueOfForty").encode(),
        "CLIENT_SECRET",
        "wrong",
        "refers to Secret by ${…}",
        "value itself",
    ),
}


@pytest.mark.parametrize("row", FILES.values(), ids=FILES)
def test_each_slip_in_the_file_is_one_finding(tmp_path, row, monkeypatch):
    data, *finding = row
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_bytes(data)
    only(examined({}, Dotenv.read(tmp_path / ".env")), *finding)


def test_what_other_editors_and_shells_write_is_no_slip(tmp_path):
    for data in (
        codecs.BOM_UTF8 + TEXT.encode(),
        TEXT.replace("\n", "\r\n").encode(),
        "".join(f"export {line}\n" for line in LINES).encode(),
        "".join(f"{line}\n".replace("=", " = ", 1) for line in LINES).encode(),
        f"T={TENANT}\n{TEXT.replace(TENANT, '${T}')}".encode(),
        b"",
    ):
        (tmp_path / ".env").write_bytes(data)
        assert examined(SOUND if not data else {}, Dotenv.read(tmp_path / ".env")) == []


def test_a_setting_that_is_right_has_no_finding(tmp_path):
    for given in (
        {"CLIENT_SECRET": "Ab$(9}{x]%YY%*[=.?@:-_+/<q1"},  # Entra's of before 2021
        {"SCOPE": "User.Read Mail.Send Calendars.Read offline_access"},
        {"SCOPE": f"{GRAPH}/User.Read Mail.Read openid"},
        {"SCOPE": f"{GRAPH}/.default"},
        {"SCOPE": "api://x/read api://x/write", "ENDPOINT": "https://api.example/v1/me"},
        {"AUTHORITY": "", "OIDC_AUTHORITY": "https://id.example/realm", "SCOPE": ""},
        {
            "AUTHORITY": "",
            "OIDC_AUTHORITY": "https://id.example/",
            "SCOPE": "openid https://a.example/x https://b.example/y",
        },
        {**B2C, "SIGNUPSIGNIN_USER_FLOW": "B2C_1_sign-in"},
        {"AUTHORITY": f"{HOST}/contoso.onmicrosoft.com"},
        {"AUTHORITY": "https://contoso.b2clogin.com/contoso.onmicrosoft.com/B2C_1_in", "SCOPE": f"{GRAPH}/User.Read"},
        {"AUTHORITY": "https://contoso.ciamlogin.com/contoso.onmicrosoft.com"},
        {"AUTHORITY": f"{HOST}/organizations", "ALLOWED_TENANTS": TENANT.upper()},
        {"ALLOWED_TENANTS": f"{TENANT}, {CLIENT.replace('d', 'e')}"},
        # A public client.
        {"AUTHORITY": "", "OIDC_AUTHORITY": "https://id.example", "CLIENT_SECRET": "", "SECRET_KEY": KEY},
        {"REDIRECT_URI": "https://bücher.example/auth/callback"},
        {"REDIRECT_URI": "https://приложение.example/वापस"},
        {"REDIRECT_URI": "http://localhost:5000/登录"},
        {"THREADS": "500"},
        {"DOMAIN_HINT": "contoso.onmicrosoft.com", "REMEMBER_ACCOUNT": "True"},
        {"DOMAIN_HINT": "consumers", "REMEMBER_ACCOUNT": "no"},
        {"GROUPS": f"Sales (EMEA) = {TENANT.upper()},staff={CLIENT}, staff={CLIENT},"},
        {"SESSION_IDLE_MINUTES": "0.5", "SESSION_MAX_HOURS": "8.25", "SESSION_COOKIE_PERSISTENT": "0"},
        {"REDIS_URL": "rediss://default:p%2Fw@redis.example:6380/2", "SECRET_KEY": KEY},
        {"REDIS_URL": "unix:///run/redis.sock?db=1", "SECRET_KEY": KEY},
        {"REDIS_URL": "redis://:it's“a\\b,c=d@a.example:6379,b.example:6379", "SECRET_KEY": KEY},
        {"REDIS_URL": "valkeys://a.example/1?socket_timeout=2", "SECRET_KEY": KEY},
        {"REDIS_URL": "rediss+sentinel://:x@a,b:26380/sessions/0?sentinel_password=y", "SECRET_KEY": KEY},
        {"REDIS_URL": "redis+sentinel://a,b/sessions?sentinel_username=w&sentinel_password=y", "SECRET_KEY": KEY},
        {"REDIS_URL": "rediss+entraid://x.westeurope.redis.azure.net:10000", "SECRET_KEY": KEY},
        {"HTTPS_PROXY": "http://me:pw@proxy.example:8080", "NO_PROXY": "localhost,.example"},
        {"SECRET_KEY": "“any” text ${of} 32 or more characters <at> {all}"},
    ):
        assert examined(SOUND | given, Dotenv(tmp_path / ".env")) == [], given


def test_a_value_lost_by_the_encoding_is_read(tmp_path):
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"):
        (tmp_path / ".env").write_bytes("CLIENT_ID=a\nSESSION_FILE_DIR=données\n".encode(encoding))
        assert Dotenv.read(tmp_path / ".env").values == {"CLIENT_ID": "a", "SESSION_FILE_DIR": "données"}


@pytest.mark.parametrize("name", [".env.txt", ".env.sample", ".env.local", "env", ".ENV.TXT", "app.env"])
def test_a_file_of_another_name_is_found(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text(TEXT)
    only(examined({}, Dotenv.read(tmp_path / ".env")), name, "wrong", "only .env is read", "Rename it to .env")


def test_a_folder_in_the_place_of_the_file_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").mkdir()
    only(examined(SOUND, Dotenv.read(tmp_path / ".env")), ".env", "wrong", "it is a folder", "UTF-8")


def test_a_variable_left_over_in_the_shell_is_named_with_both_places(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text(TEXT)
    dotenv = Dotenv.read(tmp_path / ".env")
    other = {"CLIENT_SECRET": "another-secret-of-some-length"}
    found = examined(other, dotenv)
    only(found, "CLIENT_SECRET", "odd", "in the environment than in .env", "Unset")
    assert found[0].place == "environment, instead of .env line 2"
    assert not any(secret in told(found[0]) for secret in (SECRET, *other.values()))
    only(examined({"CLIENT_ID": "<your id>"}, dotenv), "CLIENT_ID", "wrong", "placeholder", "Application")
    assert examined({"CLIENT_ID": "<your id>"}, dotenv)[0].place == "environment, instead of .env line 1"


def test_a_dotenv_that_is_not_to_be_read_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text(TEXT)
    skipped = Dotenv(tmp_path / ".env")
    only(examined(SOUND | {"FLASK_SKIP_DOTENV": "1"}, skipped), ".env", "odd", "FLASK_SKIP_DOTENV", "Unset")
    assert examined(SOUND | {"FLASK_SKIP_DOTENV": "0"}, skipped) == []


def test_a_dotenv_of_another_folder_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text(TEXT)
    (tmp_path / "app").mkdir()
    own, nearest = Dotenv.read(tmp_path / "app" / ".env"), Dotenv.read(tmp_path / ".env")
    found = check_settings(Settings(SETTINGS, nearest.values, own, nearest))
    only(found, ".env", "odd", "gunicorn does not read it", "app/.env" if os.sep == "/" else ".env")
    assert Settings(SETTINGS, nearest.values, own, nearest).source("CLIENT_ID").line == 1


# --- The certificate ----------------------------------------------------------------------------------------------------

PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER


def key_only():
    return as_pem(*make_certificate()).partition(b"-----BEGIN CERT")[0]


def strangers():
    return as_pem(make_certificate()[0], make_certificate(owner="somebody else")[1])


def elliptic():
    key = ec.generate_private_key(ec.SECP256R1())
    return as_pem(key, make_certificate()[1])


PATH, PASSWORD = "CLIENT_CERTIFICATE_PATH", "CLIENT_CERTIFICATE_PASSWORD"
# What is in the file, its password as it is set, the setting blamed, a part of what is found, a part of the mend.
CERTIFICATES = {
    "no key": (lambda: make_certificate()[1].public_bytes(PEM), "", PATH, "no private key", "same file"),
    "no certificate": (key_only, "", PATH, "no certificate", "same file"),
    "of two pairs": (strangers, "", PATH, "do not belong to each other", "made together"),
    "DER": (lambda: make_certificate()[1].public_bytes(DER), "", PATH, "DER", "PEM"),
    "not RSA": (elliptic, "", PATH, "not an RSA key", "RSA"),
    "nonsense": (lambda: b"hello", "", PATH, "neither PEM nor PFX", "PEM"),
    "damaged": (lambda: as_pem(*make_certificate())[:-400], "", PATH, "damaged", "PEM"),
    "PEM, password missing": (lambda: as_pem(*make_certificate(), b"secret"), "", PASSWORD, "is missing", "password"),
    "PEM, password wrong": (
        lambda: as_pem(*make_certificate(), b"secret"),
        "other",
        PASSWORD,
        "not the password",
        "made",
    ),
    "PEM, password for nothing": (lambda: as_pem(*make_certificate()), "other", PASSWORD, "no password", "Remove"),
    "PFX, password missing": (lambda: as_pfx(*make_certificate(), b"secret"), "", PASSWORD, "is missing", "password"),
    "PFX, password wrong": (lambda: as_pfx(*make_certificate(), b"secret"), "other", PASSWORD, "not the pass", "made"),
}


@pytest.mark.parametrize("row", CERTIFICATES.values(), ids=CERTIFICATES)
def test_each_slip_in_a_certificate_is_one_finding(tmp_path, row):
    content, password, name, found, mend = row
    (tmp_path / "app.pem").write_bytes(content())
    environ = SOUND | {"CLIENT_SECRET": "", PATH: str(tmp_path / "app.pem"), PASSWORD: password}
    only(examined(environ, Dotenv(tmp_path / ".env")), name, "wrong", found, mend)


def test_a_chain_of_certificates_is_no_slip(tmp_path):
    key, certificate = make_certificate()
    issuer = make_certificate(owner="an issuer")[1].public_bytes(PEM)
    private, begin, own = as_pem(key, certificate).partition(b"-----BEGIN CERT")
    for content in (issuer + private + begin + own, private + begin + own + issuer, private + issuer + begin + own):
        (tmp_path / "app.pem").write_bytes(content)
        environ = SOUND | {"CLIENT_SECRET": "", PATH: str(tmp_path / "app.pem")}
        assert examined(environ, Dotenv(tmp_path / ".env")) == []


def test_a_certificate_that_is_not_there_or_pasted_is_named(tmp_path):
    for value, found in (
        ("/nowhere/app.pem", "there is no such file"),
        (str(tmp_path), "it is a folder"),
        ("-----BEGIN PRIVATE KEY-----\\nMII", "holds the certificate itself"),
    ):
        environ = SOUND | {"CLIENT_SECRET": "", PATH: value}
        only(examined(environ, Dotenv(tmp_path / ".env")), PATH, "wrong", found)


def test_a_federated_token_that_is_none_is_named(tmp_path):
    (tmp_path / "token").write_text("hello")
    for value, found in (
        (tmp_path / "token", "without a token"),
        (tmp_path, "it is a folder"),
        ("/nowhere/token", "cannot be read: there is no such file"),
    ):
        environ = SOUND | {"CLIENT_SECRET": "", "AZURE_FEDERATED_TOKEN_FILE": str(value), "SECRET_KEY": "k-7" * 12}
        only(examined(environ, Dotenv(tmp_path / ".env")), "AZURE_FEDERATED_TOKEN_FILE", "wrong", found)
