"""The recipes of docs/views.md, as one app: reading, writing and mail here, the rest in a file for each subject."""

from flask import Flask, flash, redirect, render_template, request, url_for

import app_config
from flask_entra import Auth, GraphError

app = Flask(__name__)
app.config.from_mapping(app_config.load())
auth = Auth(app)


# --- Read ---------------------------------------------------------------------------------------------------------------


@app.get("/mail")
@auth.login_required(scopes=["Mail.Read"])
def subjects(*, context):
    mails = auth.graph.pages("/me/messages", context, params={"$select": "subject", "$top": 50}, limit=500)
    return [mail["subject"] for mail in mails]


@app.get("/overview")
@auth.login_required(scopes=["User.Read", "Mail.Read", "Calendars.Read"])
def overview(*, context):
    me, mails, events = auth.graph.batch(["/me", "/me/messages?$top=3", "/me/events?$top=3"], context)
    if isinstance(events, GraphError):  # one that is refused does not take the others with it
        events = {"value": []}
    return {"name": me["displayName"], "mails": len(mails["value"]), "events": len(events["value"])}


# --- Write --------------------------------------------------------------------------------------------------------------


@app.route("/phone", methods=["GET", "POST"])
@auth.login_required(scopes=["User.ReadWrite"])
def phone(*, context):
    if request.method == "POST":
        auth.graph.patch("/me", context, json={"mobilePhone": request.form["phone"]})
        flash("Your number has been changed.")
        return redirect(url_for("phone"))
    me = auth.graph.get("/me", context, params={"$select": "mobilePhone"})
    return render_template("phone.html", phone=me["mobilePhone"])


@app.post("/events")
@auth.login_required(scopes=["Calendars.ReadWrite"])
def new_event(*, context):
    times = {name: {"dateTime": request.form[name], "timeZone": "UTC"} for name in ("start", "end")}
    event = auth.graph.post("/me/events", context, json={"subject": request.form["subject"], **times})
    return {"id": event["id"], "etag": event["@odata.etag"]}


@app.post("/events/<event_id>")
@auth.login_required(scopes=["Calendars.ReadWrite"])
def rename_event(event_id, *, context):
    headers = {"If-Match": request.form["etag"]}  # as it was when the person saw it
    event = auth.graph.patch(
        f"/me/events/{event_id}", context, json={"subject": request.form["subject"]}, headers=headers
    )
    return {"etag": event["@odata.etag"]}


@app.post("/send")
@auth.login_required(scopes=["Mail.Send"])
def send(*, context):
    message = {
        "subject": request.form["subject"],
        "body": {"contentType": "Text", "content": request.form["text"]},
        "toRecipients": [{"emailAddress": {"address": request.form["to"]}}],
    }
    try:
        auth.graph.post("/me/sendMail", context, json={"message": message})
    except GraphError as error:
        if not error.may_have_happened:
            raise
        return "Microsoft did not say whether the mail has been sent: look into Sent Items.", 504
    return "The mail has been sent."


from cookbook import apis, background, files, hooks  # noqa: E402, F401  their views
