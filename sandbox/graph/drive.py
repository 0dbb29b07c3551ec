"""The files in the root of a person's OneDrive. There are no folders.

https://learn.microsoft.com/graph/api/resources/driveitem
"""

from __future__ import annotations

import hashlib
import re
import uuid
from typing import Any
from urllib.parse import quote

from flask import Response, request
from werkzeug.exceptions import RequestedRangeNotSatisfiable

from ..people import DriveFile, Person, Upload
from .access import Access, Route
from .answers import GraphError, answer, check_if_match, moment, nothing_more
from .bodies import anything, checked, flag, json_body, number, one_of, text
from .options import check_options, chosen, page, selected

READ = ("Files.Read", "Files.ReadWrite")
WRITE = "Files.ReadWrite"
KEPT = 4 * 1024 * 1024  # bytes; of a larger file, only the size and the SHA-256 are kept
ALL_KEPT = 200 * 1024 * 1024  # bytes; of the content of all files and uploads
UPLOAD_DAYS = 7  # that an upload session lasts
DOWNLOAD_PATH = "/onedrive/download"
UPLOAD_PATH = "/onedrive/up"
CONFLICT = "@microsoft.graph.conflictBehavior"
DOWNLOAD = "@microsoft.graph.downloadUrl"
CONFLICTS = ("replace", "rename", "fail")
FIELDS = (
    DOWNLOAD,
    "createdBy",
    "createdDateTime",
    "cTag",
    "eTag",
    "file",
    "fileSystemInfo",
    "folder",
    "id",
    "lastModifiedBy",
    "lastModifiedDateTime",
    "name",
    "parentReference",
    "size",
    "webUrl",
)


class Drive:
    """The endpoints of files, and the store behind them.

    :param access: the access to Graph.
    """

    def __init__(self, access: Access) -> None:
        self._access = access

    def routes(self) -> list[Route]:
        """The endpoints."""
        return [
            Route("/me/drive/root/children", self.children),
            Route("/me/drive/root:/<path:name>:/content", self.content),
            Route("/me/drive/root:/<path:name>:/content", self.put_content, ("PUT",)),
            Route("/me/drive/root:/<path:name>:/createUploadSession", self.create_upload, ("POST",)),
        ]

    def children(self) -> Response:
        """All files, by name. https://learn.microsoft.com/graph/api/driveitem-list-children"""
        person = self._access.person(*READ)
        check_options("$select", "$top", "$skiptoken")
        names = chosen(FIELDS, "driveItem")
        files = sorted(person.files.values(), key=lambda file: file.name.lower())

        def read(start: int, end: int) -> list[dict[str, Any]]:
            return [selected(self.item(person, file), names) for file in files[start:end]]

        context = self._access.context(f"users('{person.oid}')/drive/root/children")
        body = page(self._access, len(files), read, size=200, option="$skiptoken")
        return answer({"@odata.context": context, **body})

    def content(self, name: str) -> Response:
        """Lead to the content. https://learn.microsoft.com/graph/api/driveitem-get-content"""
        person = self._access.person(*READ)
        check_options()
        file = find(person, checked_name(name))
        if file is None:
            raise GraphError(404, "itemNotFound", "The resource could not be found.")
        return nothing_more(302, {"Location": self._download_url(file)})

    def download(self, secret: str) -> Response:
        """The content of a file, at a URL that needs no token. A client may ask for a part (RFC 9110 section 14)."""
        files = [file for person in self._access.people for file in list(person.files.values())]
        file = next((each for each in files if each.secret == secret), None)
        if file is None:
            raise GraphError(404, "itemNotFound", "The resource could not be found.")
        if file.content is None:
            message = f"The sandbox keeps the content of files of up to {KEPT} bytes only."
            raise GraphError(501, "notSupported", message)
        response = Response(file.content, content_type=file.media_type)
        response.set_etag(file.etag.strip('"'))
        response.headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(file.name, safe='')}"
        try:
            response.make_conditional(request, accept_ranges=True, complete_length=file.size)
        except RequestedRangeNotSatisfiable:
            headers = {"Content-Range": f"bytes */{file.size}"}
            raise GraphError(416, "invalidRange", "Requested range not satisfiable.", headers) from None
        return response

    def put_content(self, name: str) -> Response:
        """Upload a small file. https://learn.microsoft.com/graph/api/driveitem-put-content"""
        person, name = self._access.person(WRITE), checked_name(name)
        check_options()
        conflict = request.args.get(CONFLICT, "replace")
        if conflict not in CONFLICTS:
            raise GraphError(400, "invalidRequest", f"Invalid value for {CONFLICT}.")
        data = request.get_data()
        media_type = request.mimetype or "application/octet-stream"
        with self._access.lock:
            _check_unchanged(find(person, name))
            kept = self.kept(data)
            return self.store(person, name, conflict, len(data), hashlib.sha256(data).hexdigest(), kept, media_type)

    def create_upload(self, name: str) -> Response:
        """Begin an upload in parts. https://learn.microsoft.com/graph/api/driveitem-createuploadsession"""
        person, name = self._access.person(WRITE), checked_name(name)
        check_options()
        body = json_body() if request.get_data() else {}
        checked(body, {"item": anything, "deferCommit": flag}, "createUploadSession", "invalidRequest")
        item = body.get("item") or {}
        forms = {
            "name": text,
            "description": text,
            "fileSize": number,
            "fileSystemInfo": anything,
            CONFLICT: one_of(*CONFLICTS),
        }
        # The behaviour is an annotation, which `checked` would leave out.
        checked({"conflict": item.get(CONFLICT)}, {"conflict": forms.pop(CONFLICT)}, "item", "invalidRequest")
        checked(item, forms, "driveItemUploadableProperties", "invalidRequest")
        upload = Upload(name, (item.get(CONFLICT) or "replace").lower(), moment(UPLOAD_DAYS * 24 * 3600))
        secret = uuid.uuid4().hex
        with self._access.lock:
            _check_unchanged(find(person, name))
            if upload.conflict == "fail" and find(person, name):
                raise name_exists()
            person.uploads[secret] = upload
        url = f"{self._access.tenant.addresses.back_url}{UPLOAD_PATH}/{secret}"
        context = self._access.context("microsoft.graph.uploadSession")
        more = {"expirationDateTime": upload.expires, "nextExpectedRanges": ["0-"]}
        return answer({"@odata.context": context, "uploadUrl": url, **more})

    def store(
        self,
        person: Person,
        name: str,
        conflict: str,
        size: int,
        sha256: str,
        content: bytes | None,
        media_type: str,
    ) -> Response:
        """Put a file into the drive; the lock is held.

        :param person: the owner.
        :param name: its name.
        :param conflict: what happens to a file of that name: "replace", "rename" or "fail".
        :param size: its size in bytes.
        :param sha256: its SHA-256 in hexadecimal digits.
        :param content: its content, or None for a file that is too large to keep.
        :param media_type: its media type.
        :return: the answer with the item: 201, or 200 for a file that has new content.
        :raises GraphError: there is a file of that name.
        """
        before = find(person, name)
        if before is not None and conflict == "fail":
            raise name_exists()
        if before is not None and conflict == "rename":
            stem, dot, ending = name.rpartition(".") if "." in name else (name, "", "")
            numbers = iter(range(1, len(person.files) + 2))
            while find(person, name):
                name = f"{stem} {next(numbers)}{dot}{ending}"
            before = None
        now = moment()
        file = DriveFile(name, size, sha256, content, media_type, now, now)
        if before is not None:
            version = int(before.etag.rstrip('"').rpartition(",")[2]) + 1
            file.name, file.id, file.created = before.name, before.id, before.created
            file.etag = f'{before.etag.rpartition(",")[0]},{version}"'
        person.files[file.name] = file
        context = self._access.context(f"users('{person.oid}')/drive/root/$entity")
        return answer({"@odata.context": context, **self.item(person, file)}, 200 if before else 201)

    def kept(self, data: bytes) -> bytes | None:
        """The content that is kept of a file; None if it is too large; the lock is held.

        :raises GraphError: there is no room for it.
        """
        if len(data) > KEPT:
            return None
        self.check_room(len(data))
        return data

    def check_room(self, size: int) -> None:
        """Refuse content for which there is no room; the lock is held.

        :param size: its size in bytes.
        :raises GraphError: there is no room for it.
        """
        people = self._access.people
        contents: list[Any] = [file.content for person in people for file in person.files.values()]
        contents += [upload.content for person in people for upload in person.uploads.values()]
        if sum(len(content or b"") for content in contents) + size > ALL_KEPT:
            raise GraphError(507, "quotaLimitReached", "Insufficient space available.")

    def item(self, person: Person, file: DriveFile) -> dict[str, Any]:
        """A file as Graph answers it."""
        user = {"user": {"email": person.profile.get("mail"), "id": person.oid, "displayName": person.name}}
        drive = f"b!{person.oid.replace('-', '')}"
        parent = {"driveType": "business", "driveId": drive, "id": "01ROOT", "path": f"/drives/{drive}/root:"}
        return {
            DOWNLOAD: self._download_url(file),
            "createdDateTime": file.created,
            "cTag": file.etag.replace('"{', '"c:{'),
            "eTag": file.etag,
            "id": file.id,
            "lastModifiedDateTime": file.modified,
            "name": file.name,
            "size": file.size,
            "webUrl": f"https://contoso-my.sharepoint.com/personal/{person.key}/Documents/{quote(file.name)}",
            "createdBy": user,
            "lastModifiedBy": user,
            "parentReference": parent,
            "file": {"mimeType": file.media_type, "hashes": {"sha256Hash": file.sha256.upper()}},
            "fileSystemInfo": {"createdDateTime": file.created, "lastModifiedDateTime": file.modified},
        }

    def _download_url(self, file: DriveFile) -> str:
        return f"{self._access.tenant.addresses.back_url}{DOWNLOAD_PATH}/{file.secret}"


def find(person: Person, name: str) -> DriveFile | None:
    """The file of a name, in any case; None if there is none."""
    return next((file for file in list(person.files.values()) if file.name.lower() == name.lower()), None)


def checked_name(name: str) -> str:
    """A name that a file can have. https://support.microsoft.com/office/64883a5d-228e-48f5-b3d2-eb39e07630fa

    :raises GraphError: it is none.
    """
    if "/" in name.strip("/"):
        raise GraphError(400, "invalidRequest", "The sandbox has no folders.")
    if re.search(r'["*:<>?/\\|\x00-\x1f]', name) or name != name.strip() or name.endswith(".") or len(name) > 255:
        raise GraphError(400, "invalidRequest", "The provided name is not valid.")
    return name


def name_exists() -> GraphError:
    """The error of a file whose name is taken."""
    return GraphError(409, "nameAlreadyExists", "An item with the same name already exists under the parent.")


def _check_unchanged(file: DriveFile | None) -> None:
    """:raises GraphError: the client has read an earlier state of the file."""
    conflict = GraphError(412, "resourceModified", "ETag does not match current item's value.")
    check_if_match(file.etag if file else "", conflict)
