"""Work that goes on after the answer, for the person who has asked for it."""

import threading

from flask import current_app

from cookbook import app, auth

counts = {}


@app.post("/count")
@auth.login_required(scopes=["Mail.Read"])
def begin(*, context):
    arguments = current_app._get_current_object(), auth.handle(), context["user"]["oid"]
    threading.Thread(target=count_mails, args=arguments).start()
    return "It has begun.", 202


def count_mails(app, handle, oid):
    with app.app_context(), auth.acting_for(handle):
        counts[oid] = sum(1 for _ in auth.graph.pages("/me/messages", auth.context(["Mail.Read"])))


@app.get("/count")
@auth.login_required
def count(*, context):
    return {"count": counts.get(context["user"]["oid"])}
