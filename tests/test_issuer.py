"""Which issuer a discovery document may name, and who counts as Entra."""

import pytest
from configs import config_of

from flask_entra.clouds import is_entra
from flask_entra.signin.issuer import is_expected

ONE, TWO = "852bedc8-1345-41c8-99f3-2fa1667ffefa", "11111111-2222-3333-4444-555555555555"
WORLD, GOV, CHINA = (
    "https://login.microsoftonline.com",
    "https://login.microsoftonline.us",
    "https://login.partner.microsoftonline.cn",
)
ANY = "{tenantid}"
# The setting, its value, the issuer in the document, and whether that is the one.
ISSUERS = [
    ("AUTHORITY", f"{WORLD}/{ONE}", f"{WORLD}/{ONE}/v2.0", True),
    ("AUTHORITY", f"{WORLD}/{ONE.upper()}", f"{WORLD}/{ONE}/v2.0", True),
    ("AUTHORITY", f"{WORLD}/{ONE}", f"{WORLD}/{TWO}/v2.0", False),
    ("AUTHORITY", f"{WORLD}/{ONE}", f"{WORLD}/{ANY}/v2.0", False),
    ("AUTHORITY", f"{WORLD}/{ONE}", f"https://sts.windows.net/{ONE}/", True),
    ("AUTHORITY", f"{WORLD}/{ONE}", f"https://sts.windows.net/{TWO}/", False),
    ("AUTHORITY", f"{WORLD}/{ONE}", f"https://evil-sts.windows.net/{ONE}/", False),
    ("AUTHORITY", f"{WORLD}/{ONE}", f"https://evil.sts.windows.net/{ONE}/", False),
    ("AUTHORITY", f"{WORLD}/{ONE}", f"https://sts.windows.net.evil.example/{ONE}/", False),
    ("AUTHORITY", f"{WORLD}/{ONE}", f"https://sts.windows.net:444/{ONE}/", False),
    ("AUTHORITY", f"{WORLD}/{ONE}", f"https://user@sts.windows.net/{ONE}/", False),
    ("AUTHORITY", f"{WORLD}/{ONE}", f"http://sts.windows.net/{ONE}/", False),
    ("AUTHORITY", f"{WORLD}/contoso.onmicrosoft.com", f"{WORLD}/{ONE}/", False),
    ("AUTHORITY", f"{WORLD}/contoso.onmicrosoft.com", f"{WORLD}/{ONE}", False),
    ("AUTHORITY", f"{WORLD}/{ONE}", f"https://evil.example/{ONE}/v2.0", False),
    ("AUTHORITY", f"{WORLD}/{ONE}", f"http://login.microsoftonline.com/{ONE}/v2.0", False),
    ("AUTHORITY", f"{WORLD}/{ONE}", f"{GOV}/{ONE}/v2.0", False),
    ("AUTHORITY", f"{WORLD}/contoso.onmicrosoft.com", f"{WORLD}/{ONE}/v2.0", True),
    ("AUTHORITY", f"{WORLD}/contoso.onmicrosoft.com", f"{WORLD}/contoso.onmicrosoft.com/v2.0", False),
    ("AUTHORITY", f"{WORLD}/contoso.onmicrosoft.com", f"https://{ONE}.ciamlogin.com/{ONE}/v2.0", False),
    ("AUTHORITY", f"{WORLD}/{ONE}", f"https://{ONE}.ciamlogin.com/{ONE}/v2.0", True),
    ("AUTHORITY", f"{WORLD}/common", f"{WORLD}/{ANY}/v2.0", True),
    ("AUTHORITY", f"{WORLD}/organizations", f"{WORLD}/{ANY}/v2.0", True),
    ("AUTHORITY", f"{WORLD}/organizations", f"{WORLD}/{ONE}/v2.0", False),
    ("AUTHORITY", f"{WORLD}/consumers", f"{WORLD}/{ONE}/v2.0", True),
    ("AUTHORITY", f"https://login.windows.net/{ONE}", f"{WORLD}/{ONE}/v2.0", True),
    ("AUTHORITY", f"{GOV}/{ONE}", f"{GOV}/{ONE}/v2.0", True),
    ("AUTHORITY", f"{CHINA}/{ONE}", f"{CHINA}/{ONE}/v2.0", True),
    ("AUTHORITY", "https://contoso.ciamlogin.com", f"https://{ONE}.ciamlogin.com/{ONE}/v2.0", True),
    ("AUTHORITY", "https://contoso.ciamlogin.com", f"https://{ONE}.ciamlogin.com/{TWO}/v2.0", False),
    ("OIDC_AUTHORITY", f"https://www.contoso.com/{ONE}/v2.0", f"https://{ONE}.ciamlogin.com/{ONE}/v2.0", True),
    ("OIDC_AUTHORITY", f"https://www.contoso.com/{ONE}/v2.0", f"https://www.contoso.com/{ONE}/v2.0", True),
    ("OIDC_AUTHORITY", f"https://www.contoso.com/{ONE}/v2.0", f"https://{TWO}.ciamlogin.com/{TWO}/v2.0", False),
    ("OIDC_AUTHORITY", f"https://www.contoso.com/{ONE}/v2.0", f"{WORLD}/{ONE}/v2.0", False),
    ("OIDC_AUTHORITY", f"{WORLD}/{ONE}/v2.0", f"{WORLD}/{ONE}/v2.0", True),
    ("OIDC_AUTHORITY", f"{WORLD}/{ONE}", f"https://sts.windows.net/{ONE}/", True),
    ("OIDC_AUTHORITY", "https://id.example", "https://id.example", True),
    ("OIDC_AUTHORITY", "https://id.example", "https://id.example/", True),
    ("OIDC_AUTHORITY", "https://id.example/", "https://id.example", True),
    ("OIDC_AUTHORITY", "https://id.example/realm", "https://id.example/realm", True),
    ("OIDC_AUTHORITY", "https://id.example/realm", "https://id.example/other", False),
    ("OIDC_AUTHORITY", "https://id.example/realm", "https://id.example", False),
    ("OIDC_AUTHORITY", "https://id.example", f"{WORLD}/{ONE}/v2.0", False),
    ("OIDC_AUTHORITY", "https://id.example", "https://us.id.example", False),
    ("OIDC_AUTHORITY", "https://id.example", "http://id.example", False),
]


@pytest.mark.parametrize(("name", "value", "issuer", "expected"), ISSUERS)
def test_an_issuer_is_the_authoritys_or_nobodys(name, value, issuer, expected):
    config = config_of(**{name: value})
    assert is_expected(issuer, config.issuer_address, config.entra) == expected


B2C = "https://contoso.b2clogin.com"


@pytest.mark.parametrize("path", [f"/{ONE}/v2.0/", f"/tfp/{ONE}/b2c_1_signin/v2.0/"])
def test_both_kinds_of_issuer_of_azure_ad_b2c_are_its_own(path):
    config = config_of(B2C_TENANT_NAME="contoso", SIGNUPSIGNIN_USER_FLOW="B2C_1_signin")
    assert is_expected(B2C + path, config.authority, config.entra)
    assert not is_expected("https://other.b2clogin.com" + path, config.authority, config.entra)


@pytest.mark.parametrize(
    ("oidc_authority", "entra"),
    [
        ("", True),
        (f"{WORLD}/{ONE}/v2.0", True),
        (f"https://www.contoso.com/{ONE}/v2.0", True),
        ("https://contoso.ciamlogin.com/contoso.onmicrosoft.com/v2.0", True),
        ("https://id.example", False),
        (f"https://id.example/{ONE}", False),
        ("https://fakeb2clogin.com/x", False),
        ("https://login.microsoftonline.com.evil.example/x", False),
    ],
)
def test_the_hosts_that_count_as_entra(oidc_authority, entra):
    assert is_entra(oidc_authority) == entra


def test_another_provider_is_asked_for_no_permission_of_microsofts_unless_that_is_written():
    environ = {"OIDC_AUTHORITY": "https://id.example"}
    assert config_of(**environ).scope == []
    assert config_of(**environ, SCOPE="invoices").scope == ["invoices"]


@pytest.mark.parametrize("scope", ["", "openid", "openid email"])
def test_without_a_permission_there_is_no_api_to_call(scope):
    assert config_of(SCOPE=scope).endpoint == ""
    assert config_of(SCOPE=scope, ENDPOINT="https://api.example/me").endpoint == "https://api.example/me"
