"""Files: uploaded and downloaded in parts, so that none has to fit into the memory."""

from flask import Response, abort, request
from werkzeug.utils import secure_filename

from cookbook import app, auth


@app.post("/files")
@auth.login_required(scopes=["Files.ReadWrite"])
def upload(*, context):
    request.max_content_length = 200 * 1024 * 1024  # the starter's own limit is 64 KiB
    file = request.files["file"]
    name = secure_filename(file.filename)
    if not name or not file.stream.read(1):  # none was chosen, or it is empty: an upload needs at least one byte
        abort(400, "Choose a file that is not empty.")
    item = auth.graph.upload(f"/me/drive/root:/{name}:/createUploadSession", context, file.stream)
    return {"name": item["name"], "size": item["size"]}


@app.get("/files/<name>")
@auth.login_required(scopes=["Files.Read"])
def download(name, *, context):
    file = auth.graph.download(f"/me/drive/root:/{secure_filename(name)}:/content", context)
    headers = {"Content-Disposition": "attachment"}
    return Response(file, content_type=file.content_type, headers=headers)
