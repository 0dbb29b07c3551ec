"""The kinds of Entra's errors, as data: what to say of a code that `entra_errors` has no words of its own for.

Codes have five digits, and some have more, of which the first five are those of the general case (53003, 530032). So a code that
Microsoft adds gets the advice of its neighbours.
https://learn.microsoft.com/entra/identity-platform/reference-error-codes
"""

from __future__ import annotations

from flask_entra.commands import DOCTOR
from flask_entra.pages.explanations import AGAIN, ASK, SOON, Explanation
from flask_entra.pages.languages import Text as _

APP = Explanation(
    500,
    _("The registration of this app, or its request, is not what Microsoft Entra expects."),
    _("Run %(doctor)s, and look the error code up at https://login.microsoftonline.com/error.", doctor=DOCTOR),
)
CONSENT = Explanation(
    403,
    _("Your organization has not approved this app, or not all that it needs."),
    _("Ask an administrator of your organization to grant consent for it."),
    "other_account",
)
POLICY = Explanation(403, _("A security policy of your organization blocks this sign-in."), ASK, "other_account")
DEVICE = Explanation(
    403,
    _("Your organization does not accept this device or browser for this sign-in."),
    _("Use another device or browser, or ask an administrator of your organization."),
    "sign_in",
)
ACCOUNT = Explanation(
    403,
    _("This account cannot be used here: it is of another kind, or not known in this organization."),
    _("Use another account, or ask the organization's administrator to invite you as a guest."),
    "other_account",
)
BLOCKED = Explanation(403, _("Your account may not sign in at present."), ASK, "other_account")
PASSWORD = Explanation(
    403,
    _("Your password was not accepted, or has to be changed."),
    _("Sign in again and follow the instructions, or ask an administrator of your organization."),
    "sign_in",
)
PROOF = Explanation(403, _("Your organization requires another proof of your identity."), AGAIN, "sign_in")
EXPIRED = Explanation(401, _("Your sign-in has expired or was ended."), AGAIN, "sign_in")
FEDERATION = Explanation(
    502,
    _("The sign-in service of your own organization did not answer as it should."),
    _("Sign in again in a moment. If it happens again, ask an administrator of your organization."),
    "sign_in",
)
PASSING = Explanation(503, _("The sign-in service has a problem that passes."), SOON, "sign_in")
INTERRUPTED = Explanation(400, _("The sign-in was interrupted."), AGAIN, "sign_in")

_CODES = {
    APP: "28002 28003 50001 50003 50006 50007 50010 50012 50013 50017 50027 50029 50032 50042 50043 50048 50049 50050 50059 "
    "50061 50068 50070 50071 50099 50107 50120 50124 50128 50134 50146 50147 50148 50149 50161 50169 50170 50194 50196 "
    "51000 51001 51005 65002 65005 67003 70001 70002 70003 70004 70005 70007 70011 70016 70018 75001 75003 75005 75008 "
    "75011 75016 76021 76026 90002 90004 90005 90007 90009 90010 90014 90015 90016 90019 90020 90022 90023 90027 90036 "
    "90038 90043 90051 90056 90082 90092 90100 90102 90107 90114 90117 90119 90120 90121 90124 90130 100007 1000031 "
    "240002 700005 700020 900971 901002 9001023",
    CONSENT: "52004 65001 90008 90093 90094 90095 90099 650052 650054 650056 500011",
    POLICY: "50002 50131 53003 53011 54000 500021 500022 500212 500213 1000104",
    DEVICE: "50005 50097 50127 50129 50155 50168 50187 53000 53001 53002 80013 135010 135011 220450 220501 221000 240001",
    ACCOUNT: "16000 16001 16002 16003 50014 50015 50020 50034 50136 50143 50177 50178 50197 51004 81012 90013 90072 90084 "
    "90101 90123 90125 90126 160021 500208 9002332",
    BLOCKED: "50053 50057 53004 53010 80012 120014 530034",
    PASSWORD: "50055 50056 50064 50125 50126 50135 50144 80007 120000 120002 120003 120004 120005 120008 120011 120012 120013 "
    "120015 120016 120018 120020",
    PROOF: "50072 50074 50076 50078 50079 50158 50180 50192 51006 70019 130004 130005 130006 130007 130008 1000000 1000002",
    EXPIRED: "50058 50085 50089 50132 50133 50139 50173 70000 70008 70043 90086 500133 700082 700084",
    FEDERATION: "17003 20001 20012 20033 40008 40009 40010 40015 50008 80001 80002 80005 80010 80014 81004 81005 81006 81007 "
    "81009 81010 81011 90081 90085 90087",
    PASSING: "50000 50033 50086 50087 50088 50166 70012 90006 90012 90024 90033 90055 90090 90091 120021 230109 501621",
    INTERRUPTED: "50140 50199 54005 140000 140001 9002313",
}
_KINDS = {int(code): kind for kind, codes in _CODES.items() for code in codes.split()}
# For a code that neither is listed nor has the first five digits of one that is: by its first two.
_RANGES = {
    **dict.fromkeys(("28", "65", "67", "70", "75", "76", "90", "10", "14", "16", "24"), APP),
    **dict.fromkeys(("17", "20", "40", "80", "81"), FEDERATION),
    **dict.fromkeys(("12",), PASSWORD),
    **dict.fromkeys(("13",), PROOF),
    **dict.fromkeys(("22",), DEVICE),
    **dict.fromkeys(("23",), PASSING),
    **dict.fromkeys(("51",), ACCOUNT),
    **dict.fromkeys(("52",), CONSENT),
    **dict.fromkeys(("53",), POLICY),
}


def is_published(code: str) -> bool:
    """Whether Microsoft lists the very code, such as `AADSTS53003`."""
    digits = code.removeprefix("AADSTS")
    return digits.isdecimal() and int(digits) in _KINDS


def kind_of(code: str) -> Explanation | None:
    """What kind of error a code is.

    :param code: such as `AADSTS53003`.
    :return: None for one of which nothing is known.
    """
    digits = code.removeprefix("AADSTS")
    if not digits.isdecimal():
        return None
    return _KINDS.get(int(digits)) or _KINDS.get(int(digits[:5])) or _RANGES.get(digits[:2])
