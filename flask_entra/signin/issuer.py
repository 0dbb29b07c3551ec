"""Whether the issuer that a discovery document names is the one that was configured.

OpenID Connect Discovery 1.0, 4.3: another one's document would let that one sign people in here. A provider's issuer is its
address. Entra's follows from the address by the templates of Microsoft's documentation.

https://learn.microsoft.com/entra/identity-platform/access-tokens#validate-the-issuer
"""

from __future__ import annotations

import re

from flask_entra.clouds import GUID, SEVERAL_TENANTS, V1_HOSTS, WORLDWIDE_HOSTS
from flask_entra.urls import split_url

_PLACEHOLDER = "{tenantid}"
# v2.0, v1.0, and Azure AD B2C's two, the second of which names the user flow too.
_PATH = re.compile(
    rf"/(tfp/)?(?P<tenant>{GUID.pattern}|{re.escape(_PLACEHOLDER)})(/[\w-]+)?(?P<version>/v2\.0)?/?", re.IGNORECASE
)


def is_expected(issuer: str, authority: str, entra: bool) -> bool:
    """Whether this is the issuer of the authority.

    :param issuer: as the discovery document names it.
    :param authority: `OIDC_AUTHORITY`, or else `AUTHORITY`, without a slash at its end.
    :param entra: whether the authority is Microsoft's (`clouds.is_entra`).
    """
    return issuer.rstrip("/") == authority or (entra and _is_entras(issuer, authority))


def _is_entras(issuer: str, authority: str) -> bool:
    there, here = split_url(issuer), split_url(authority)
    found = _PATH.fullmatch(there.path)
    if there.scheme != "https" or there.query or there.fragment or not found:
        return False
    tenant, version, named = found["tenant"].lower(), found["version"], here.path.strip("/").split("/")[0].lower()
    if GUID.fullmatch(named) and tenant != named:
        return False
    if (tenant == _PLACEHOLDER) != (named in SEVERAL_TENANTS):
        return False
    if not version:
        return there.netloc in V1_HOSTS
    external = f"{tenant}.ciamlogin.com"  # External ID names the tenant in the host, also under a custom domain
    return (
        there.netloc == here.netloc
        or {there.netloc, here.netloc} <= WORLDWIDE_HOSTS
        or (there.netloc == external and (str(here.hostname).endswith(".ciamlogin.com") or named == tenant))
    )


def version_1(issuer: str, tenant_id: str) -> str | None:
    """The name that the same issuer has in tokens of version 1.0; None for one that issues none: External ID and Azure AD B2C.

    :param issuer: its name in tokens of version 2.0.
    :param tenant_id: of the token.
    """
    parts = split_url(issuer)
    host = parts.hostname or ""
    if host.endswith((".ciamlogin.com", ".b2clogin.com")) or parts.path.lower() != f"/{tenant_id.lower()}/v2.0":
        return None
    return f"https://{'sts.chinacloudapi.cn' if host.endswith('.cn') else 'sts.windows.net'}/{tenant_id}/"
