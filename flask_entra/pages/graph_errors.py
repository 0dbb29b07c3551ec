"""Graph's failures in words, as data: by the kind of a `GraphError`.

https://learn.microsoft.com/graph/errors
"""

from __future__ import annotations

from flask_entra.pages.explanations import AGAIN, SOON, Explanation
from flask_entra.pages.languages import Text as _

MAY_HAVE_HAPPENED = Explanation(
    504,
    _("Graph did not answer properly, so it is not known whether what you asked for has been done."),
    _("Look whether it has been done before you do it again."),
    title=_("Perhaps done, perhaps not"),
)

NO_PROFILE = Explanation(
    404,
    _("Graph has no data at this address. Your account may have no profile here."),
    _("Use another account, or ask the person who runs this app."),
    "other_account",
    _("Profile not found"),
    _("Check that ENDPOINT is right."),
)

GRAPH_ERRORS: dict[str, Explanation] = {
    "token": Explanation(
        401,
        _("Graph does not accept your sign-in."),
        AGAIN,
        "sign_in",
        _("Access refused"),
    ),
    "forbidden": Explanation(
        403,
        _("Graph does not allow this app to do this for you."),
        _("Ask an administrator of your organization, or the person who runs this app."),
        title=_("Permission missing"),
        for_developers=_(
            "A view asks for its permissions by login_required(scopes=[…]), as the reference of Graph names them for each call. "
            "Some need the consent of an administrator: the app registration has them under API permissions."
        ),
    ),
    "not_found": Explanation(
        404,
        _("Graph does not have what this page asks for. It may have been deleted or moved."),
        _("Go back and choose something else, or ask the person who runs this app."),
        title=_("Not found"),
        for_developers=_("Check the path that the view asks for."),
    ),
    "no_endpoint": Explanation(
        404,
        _("This app has no API to call."),
        _("Ask the person who runs this app."),
        title=_("No API to call"),
        for_developers=_("ENDPOINT is not set, and the sign-in's token is not for Microsoft Graph."),
    ),
    "conflict": Explanation(
        409,
        _("Somebody else has changed this in the meantime, so nothing was done."),
        _("Open the page again, and look at how it is now."),
        title=_("Changed in the meantime"),
    ),
    "refused": Explanation(
        502,
        _("Graph did not accept the request."),
        _("Ask the person who runs this app."),
        title=_("Graph refused"),
    ),
    "throttled": Explanation(
        503,
        _("Graph gets too many requests at the moment."),
        SOON,
        "retry",
        _("Graph is busy"),
    ),
    "unavailable": Explanation(
        502,
        _("Graph did not answer properly."),
        SOON,
        "retry",
        _("Graph cannot be reached"),
    ),
    "timeout": Explanation(
        504,
        _("Graph did not answer in time."),
        SOON,
        "retry",
        _("Graph cannot be reached"),
    ),
    "not_understood": Explanation(
        502,
        _("This app got an answer that it cannot read."),
        SOON,
        "retry",
        _("Unreadable answer"),
        _("Check that ENDPOINT is the address of an API that answers with a JSON object."),
    ),
}
