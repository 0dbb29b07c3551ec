"""A webhook: what Graph tells the app by itself."""

import hmac

from flask import Response, request

from cookbook import app, auth

STATE = "as-the-subscription-was-made-with"


@app.post("/notifications")
@auth.csrf_exempt
@auth.public
def notifications():
    if token := request.args.get("validationToken"):
        return Response(token, mimetype="text/plain")
    for each in request.get_json()["value"]:
        if hmac.compare_digest(str(each.get("clientState")), STATE):
            app.logger.info("Changed: %s", each["resource"])
    return "", 202
