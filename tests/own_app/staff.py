"""Who may see what: views for a role, for a group, for two APIs at once, for whoever has signed in, and for everybody."""

import os

from flask import Blueprint, jsonify

from own_app import auth

staff = Blueprint("staff", __name__, url_prefix="/staff")
FINANCE = "a8e3e0d6-487d-5293-ae3c-92bae21d4b3a"  # the Object ID of the group


@staff.get("/approvals")
@auth.login_required(roles=["Orders.Approve"])
def approvals(*, context):
    return f"{context['user']['name']} may approve orders."


@staff.get("/figures")
@auth.login_required(groups=[FINANCE])
def figures(*, context):
    return f"{context['user']['name']} may see the figures."


@staff.get("/orders")
@auth.login_required(scopes=[os.environ.get("ORDERS_SCOPE", "api://orders/Orders.Read")])
def orders(*, context):
    """A second API: it gets a token of its own audience, and Graph one of Graph's."""
    mine = auth.api(os.environ["ORDERS_URL"]).get("/mine", context)
    me = auth.graph.get("/me", auth.context(scopes=["User.Read"]))
    return jsonify(name=me["displayName"], orders=mine["value"])


@staff.get("/news")
def news():
    """Names nothing: `protected=True` makes it need a sign-in."""
    return f"News for {auth.user['name']}."


@staff.get("/hours")
@auth.public
def hours():
    return "Open from nine to five."
