"""Other APIs than Graph, and what the app may do without a person."""

import os

from cookbook import app, auth

orders = auth.api(os.environ["ORDERS_URL"], scopes=[os.environ["ORDERS_SCOPE"]])


@app.get("/orders")
@auth.login_required
def my_orders(*, context):
    return orders.get("/mine")["value"]


@app.get("/roles")
@auth.login_required
def roles_of_the_app(*, context):
    own = auth.app_context(["https://graph.microsoft.com/.default"])
    found = auth.graph.get(f"/applications(appId='{app.config['ENTRA_CLIENT_ID']}')", own)
    return [role["value"] for role in found["appRoles"]]
