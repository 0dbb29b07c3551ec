"""The checks that ask the authority and the API."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import jwt
import requests

from flask_entra.bulkhead import Busy, Refusal
from flask_entra.clouds import GUID
from flask_entra.config import Config
from flask_entra.doctor.abilities import check_abilities
from flask_entra.doctor.addresses import without_own_tenant
from flask_entra.doctor.findings import (
    AUTHORITIES,
    CLOCK,
    Finding,
    all_shown,
    credential_name,
    odd,
    shown,
    unreachable,
    wrong,
)
from flask_entra.doctor.parts import Parts
from flask_entra.managed_identity import IdentityUnavailable
from flask_entra.pages.entra_errors import ENTRA_ERRORS
from flask_entra.pages.languages import Text as _
from flask_entra.pages.problems import explain
from flask_entra.settings import Settings
from flask_entra.signin.errors import AnotherIssuer, AuthorityUnavailable, SignInError, sign_in_details
from flask_entra.signin.id_token import LEEWAY_SECONDS
from flask_entra.urls import origin, split_url

# The setting that an error code of Entra is about, if it is not the credential.
_BLAMED = {
    "AADSTS700016": "CLIENT_ID",
    "AADSTS7000112": "CLIENT_ID",
    "AADSTS7000229": "CLIENT_ID",
    "AADSTS90002": "AUTHORITY",
    "AADSTS900023": "AUTHORITY",
    "AADSTS50194": "AUTHORITY",
    "AADSTS9002331": "AUTHORITY",
}
# What is true of an app whichever tenant is asked: it is for one tenant, or its secret is wrong or has expired.
_SAID_OF_ANY_TENANT = ("AADSTS50194", "AADSTS7000215", "AADSTS7000222")
# No federated credential of the app registration fits: none at all, or not the issuer, the audience or the subject.
_NOT_FEDERATED = ("AADSTS70021", "AADSTS700211", "AADSTS700212", "AADSTS700213")
_IS_BUSY = re.compile(r" answered (429|5\d\d)$")
_NETWORK = _("Check the address, this machine's network, and HTTPS_PROXY if there is a proxy.")


def ask_authority(parts: Parts) -> Iterator[Finding]:
    name = next(name for name in AUTHORITIES if parts.config.settings[name])
    try:
        provider = parts.authority.asked_now()
    except AnotherIssuer as error:
        found = _("publishes another issuer: %(issuer)s", issuer=error.issuer[:200])
        yield wrong(name, found, _("If that is the provider that you mean, write it here exactly like that."))
        return
    except AuthorityUnavailable as error:
        yield _unreachable(parts, name, error)
        return
    yield Finding(name, "right", _("answers, as %(issuer)s", issuer=provider.issuer))
    yield from _check_clock(parts.authority.clock_offset)
    credential = credential_name(parts.config.settings)
    if not provider.entra:
        abilities = [*check_abilities(provider, parts.config)]
        yield from abilities
        if not parts.config.client_credential or any(each.setting == credential for each in abilities):
            return
    elif name != "AUTHORITY":
        return  # a token that needs no person is given by one tenant of Entra ID only
    try:
        answer = parts.client.check_credential()
    except (SignInError, AuthorityUnavailable) as error:
        if isinstance(error.__cause__, IdentityUnavailable):
            yield _without_identity(credential, error.__cause__)
            return
        if isinstance(error, AuthorityUnavailable):
            yield _unreachable(parts, name, error)
            return
        answer = {"error": error.error, "error_description": error.description}
    if "error" not in answer:
        yield Finding(credential, "right", _("is accepted by the tenant"))
        return
    code = sign_in_details(answer.get("error_description", "")).get("code", answer["error"])
    if "{tenantid}" in provider.issuer and code not in _SAID_OF_ANY_TENANT:
        return  # `common` and `organizations` are not tenants, so they issue no app-only token
    found = _("is not accepted by the tenant (%(code)s)", code=code)
    mend = _federate(parts.config) if code in _NOT_FEDERATED else _refused(parts.config, code, answer)
    yield wrong(_BLAMED.get(code, credential), found, mend)


def _without_identity(credential: str, error: IdentityUnavailable) -> Finding:
    """Why the managed identity has no token, which elsewhere than in Azure it never has."""
    found = _("gives this app no token (%(error)s)", error=str(error))
    mend = _("Assign the identity to the service, or to the machine, that the app runs on. Only there it has tokens.")
    return (wrong if error.lasting else unreachable)(credential, found, mend)


def _federate(config: Config) -> _:
    """What to enter at the app registration, so that it takes the token that was sent, which is no secret in these parts."""
    claims = jwt.decode(config.client_credential["client_assertion"](), options={"verify_signature": False})
    told = {name: str(claims.get(name))[:200] for name in ("iss", "sub", "aud")}
    return _(
        "Add a federated credential to the app registration: issuer %(iss)s, subject %(sub)s, audience %(aud)s.", **told
    )


def _refused(config: Config, code: str, answer: dict[str, str]) -> str | _:
    """What to do about an app that the authority does not take."""
    description = answer.get("error_description", "")
    if code == "AADSTS7000229":
        return _("Make a service principal: az ad sp create --id %(client_id)s", client_id=config.client_id)
    if code in ENTRA_ERRORS:
        problem = explain(SignInError(answer["error"], description))
        return f"{problem.explanation.text} {problem.advice}"
    # The words for other errors would send people to this command.
    said = "".join(filter(str.isprintable, description.partition(" Trace ID")[0]))[:300]
    return _("Compare CLIENT_ID and the credential with the registration. The answer was: %(said)s", said=said or "–")


def ask_tenants(parts: Parts) -> Iterator[Finding]:
    """Whether `ALLOWED_TENANTS` has the tenant that the authority's domain name stands for."""
    with contextlib.suppress(AuthorityUnavailable):
        tenant = GUID.search(split_url(parts.authority.provider.issuer).path)
        allowed = parts.config.allowed_tenants
        if parts.config.settings["AUTHORITY"] and allowed and tenant and tenant[0].lower() not in allowed:
            yield without_own_tenant(tenant[0])


def ask_endpoint(parts: Parts) -> Finding:
    name, url = "ENDPOINT", parts.config.endpoint
    if not url:
        found = _("is not set, so there is no API to call: the sign-in's token is not for Microsoft Graph")
        return odd(name, found, _("Set it to the address of the API that the token is for."))
    try:
        status = parts.http.fetch("GET", url).status_code  # without a token, which an API asks for by 401 (RFC 6750, 3)
    except (requests.RequestException, Busy) as error:
        return _unanswered(parts.config.settings, name, error)
    if status in (401, 403):
        return Finding(name, "right", _("answers, and asks for a token (%(status)s)", status=status))
    if status in (404, 410):
        found = _("answers %(status)s: there is nothing at this address", status=status)
        return wrong(name, found, _("Compare it with the documentation of the API."))
    if 300 <= status < 400:
        found = _("answers %(status)s, which leads to another address", status=status)
        return odd(name, found, _("Set it to the address of the API itself, not of a page."))
    if status < 300:
        found = _("answers %(status)s without asking for a token", status=status)
        return odd(name, found, _("See whether it is the API that SCOPE is for."))
    found = _("answers %(status)s, where an API asks for a token (401)", status=status)
    return odd(name, found, _("Try again later, or compare it with the documentation of the API."))


def _unanswered(settings: Settings, name: str, error: Exception) -> Finding:
    """Why there is no answer from the address in a setting, in our words: the library's are English."""
    if isinstance(error, requests.exceptions.ProxyError):
        given = (each for proxy in ("HTTPS_PROXY", "ALL_PROXY") for each in (proxy.lower(), proxy))
        proxy = next((each for each in given if settings.environ.get(each)), "HTTPS_PROXY")
        found = _("names a proxy that cannot be reached, or refuses")
        return unreachable(proxy, found, _("Correct it, or name the hosts that need no proxy in NO_PROXY."))
    if isinstance(error, requests.exceptions.SSLError):
        mend = _("Set REQUESTS_CA_BUNDLE to the certificates of your organization (PEM).")
        return wrong(name, _("has a certificate that is not trusted here"), mend)
    if isinstance(error, requests.Timeout):
        return unreachable(name, _("cannot be reached: there is no answer in time"), _NETWORK)
    return unreachable(name, _("cannot be reached: nothing answers there"), _NETWORK)


def _unreachable(parts: Parts, name: str, error: AuthorityUnavailable) -> Finding:
    if isinstance(error.__cause__, (requests.RequestException, Busy)):
        return _unanswered(parts.config.settings, name, error.__cause__)
    if redirected := re.search(r"redirects to (\S*),", str(error)):
        mend = _("Write the address that it redirects to, without /.well-known/openid-configuration.")
        return wrong(name, _("redirects to %(where)s", where=shown(redirected[1])), mend)
    if "discovery answered 4" in str(error) and name != "OIDC_AUTHORITY":
        if name == "AUTHORITY" and _is_a_tenant(parts):
            mend = _(
                "CLIENT_ID is the ID of a tenant, and AUTHORITY ends with another: write each in the other's place."
            )
            return wrong("CLIENT_ID + AUTHORITY", _("may be swapped"), mend)
        mend = _(
            "Copy the Directory (tenant) ID from the Overview of the app registration. Is CLIENT_ID the other one?"
        )
        return wrong(name, _("is no tenant that exists there"), mend)
    found = _("does not answer as an authority does (%(error)s)", error=all_shown(str(error)))
    mend = _("Compare the address with what your provider publishes, or try again later.")
    busy = _IS_BUSY.search(str(error)) or isinstance(error.__cause__, Refusal)
    return (unreachable if busy else wrong)(name, found, mend)


def _is_a_tenant(parts: Parts) -> bool:
    """Whether the authority has a tenant whose id is the one in `CLIENT_ID`."""
    client_id = parts.config.client_id
    url = f"{origin(parts.config.authority)}/{client_id}/v2.0/.well-known/openid-configuration"
    try:
        return bool(GUID.fullmatch(client_id)) and parts.authority.fetch("GET", url).status_code == 200
    except AuthorityUnavailable:
        return False


def _check_clock(offset: float | None) -> Iterator[Finding]:
    if offset is None:
        return
    seconds = round(abs(offset))
    if seconds < 60:
        yield Finding(CLOCK, "right", _("agrees with the authority's"))
    else:
        yield Finding(
            CLOCK,
            "wrong" if seconds > LEEWAY_SECONDS else "odd",
            _("is off by %(seconds)s seconds", seconds=seconds),
            _("Set this machine's clock by NTP: tokens are valid by the minute."),
        )
