"""The example of identity's documentation for Flask, with one import changed.

https://identity-library.readthedocs.io/en/latest/flask.html
"""

import os

import requests
from flask import Flask, render_template

import app_config
from flask_entra import Auth  # instead of: from identity.flask import Auth

app = Flask(__name__)
app.config.from_object(app_config)


def bye():
    return "You are signed out."


auth = Auth(
    app,
    os.getenv("CLIENT_ID"),
    client_credential=os.getenv("CLIENT_SECRET"),
    redirect_uri=os.getenv("REDIRECT_URI"),
    authority=os.getenv("AUTHORITY"),
    oidc_authority=os.getenv("OIDC_AUTHORITY"),
    b2c_tenant_name=os.getenv("B2C_TENANT_NAME"),
    b2c_signup_signin_user_flow=os.getenv("SIGNUPSIGNIN_USER_FLOW"),
    b2c_edit_profile_user_flow=os.getenv("EDITPROFILE_USER_FLOW"),
    b2c_reset_password_user_flow=os.getenv("RESETPASSWORD_USER_FLOW"),
    post_logout_view=bye,
)
app.add_url_rule("/bye", view_func=bye)


@app.route("/")
@auth.login_required
def index(*, context):
    return render_template("index.html", user=context["user"], edit_profile_url=auth.get_edit_profile_url())


@app.route("/call_api")
@auth.login_required(scopes=["User.Read"])
def call_api(*, context):
    api_result = requests.get(  # Use access token to call a web api
        os.environ["API"],
        headers={"Authorization": "Bearer " + context["access_token"]},
        timeout=30,
    ).json()
    keys = sorted(context)
    return render_template("display.html", result=api_result, keys=keys)
