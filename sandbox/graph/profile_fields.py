"""The fields of a person's profile: those that there are, and those that a person may change.

https://learn.microsoft.com/graph/api/resources/user and https://learn.microsoft.com/graph/api/user-update
"""

from __future__ import annotations

from .bodies import many, text

# What people may change about themselves, in the directory.
OWN = {
    **dict.fromkeys(
        (
            "city",
            "companyName",
            "country",
            "department",
            "displayName",
            "faxNumber",
            "givenName",
            "jobTitle",
            "mobilePhone",
            "officeLocation",
            "postalCode",
            "preferredLanguage",
            "state",
            "streetAddress",
            "surname",
        ),
        text,
    ),
    "businessPhones": many(text),
    "otherMails": many(text),
}
# What SharePoint keeps of a person. A request cannot change these together with the others.
SITE = {
    **dict.fromkeys(("aboutMe", "birthday", "hireDate", "mySite", "preferredName"), text),
    **dict.fromkeys(("interests", "pastProjects", "responsibilities", "schools", "skills"), many(text)),
}
ADMINISTRATORS = (  # only they change these
    "accountEnabled",
    "ageGroup",
    "consentProvidedForMinor",
    "employeeHireDate",
    "employeeId",
    "employeeType",
    "identities",
    "mail",
    "mailNickname",
    "onPremisesExtensionAttributes",
    "onPremisesImmutableId",
    "passwordPolicies",
    "passwordProfile",
    "showInAddressList",
    "usageLocation",
    "userPrincipalName",
    "userType",
)
READ_ONLY = (
    "assignedLicenses",
    "assignedPlans",
    "createdDateTime",
    "creationType",
    "deletedDateTime",
    "externalUserState",
    "id",
    "imAddresses",
    "isResourceAccount",
    "lastPasswordChangeDateTime",
    "legalAgeGroupClassification",
    "licenseAssignmentStates",
    "mailboxSettings",
    "onPremisesDistinguishedName",
    "onPremisesDomainName",
    "onPremisesLastSyncDateTime",
    "onPremisesSamAccountName",
    "onPremisesSecurityIdentifier",
    "onPremisesSyncEnabled",
    "onPremisesUserPrincipalName",
    "provisionedPlans",
    "proxyAddresses",
    "securityIdentifier",
    "signInActivity",
    "signInSessionsValidFromDateTime",
)
USER = (*OWN, *SITE, *ADMINISTRATORS, *READ_ONLY)
LONGEST = {  # characters
    "aboutMe": 20_000,
    "city": 128,
    "companyName": 64,
    "country": 128,
    "department": 64,
    "displayName": 256,
    "givenName": 64,
    "jobTitle": 128,
    "mobilePhone": 64,
    "businessPhones": 64,
    "officeLocation": 128,
    "otherMails": 250,
    "postalCode": 40,
    "state": 128,
    "surname": 64,
}
# The fields of a person at `/me/people`: https://learn.microsoft.com/graph/api/resources/person
PERSON = (
    "id",
    "displayName",
    "givenName",
    "surname",
    "birthday",
    "personNotes",
    "isFavorite",
    "jobTitle",
    "companyName",
    "yomiCompany",
    "department",
    "officeLocation",
    "profession",
    "userPrincipalName",
    "imAddress",
    "scoredEmailAddresses",
    "phones",
    "postalAddresses",
    "websites",
    "personType",
)
