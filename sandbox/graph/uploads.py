"""Uploads in parts, at a URL that needs no token, and takes none.

https://learn.microsoft.com/graph/api/driveitem-createuploadsession. The size of a part need not be a multiple of 320 KiB here.
"""

from __future__ import annotations

import mimetypes
import re

from flask import Response, request

from ..people import Person, Upload
from .access import Access
from .answers import GraphError, answer, nothing_more
from .drive import KEPT, Drive


class Uploads:
    """The URLs of uploads.

    :param access: the access to Graph.
    :param drive: the store that the files go to.
    """

    def __init__(self, access: Access, drive: Drive) -> None:
        self._access = access
        self._drive = drive

    def status(self, secret: str) -> Response:
        """The bytes that are still expected."""
        return self._progress(self._found(secret)[1], 200)

    def cancel(self, secret: str) -> Response:
        """End the upload, and forget what has arrived."""
        with self._access.lock:
            person, _ = self._found(secret)
            del person.uploads[secret]
        return nothing_more(204)

    def put(self, secret: str) -> Response:
        """Take the next part. The last one makes the file."""
        data = request.get_data()
        with self._access.lock:
            person, upload = self._found(secret)
            total = self._check_range(upload, len(data))
            self._add(upload, data)
            upload.total = total
            if upload.received < total:
                return self._progress(upload, 202)
            media_type = mimetypes.guess_type(upload.name)[0] or "application/octet-stream"
            content = None if upload.content is None else bytes(upload.content)
            digest = upload.digest.hexdigest()
            del person.uploads[secret]
            return self._drive.store(person, upload.name, upload.conflict, total, digest, content, media_type)

    def _found(self, secret: str) -> tuple[Person, Upload]:
        """The upload of a URL, and its owner.

        :raises GraphError: there is none, or the request has a token, which is meant for Graph alone.
        """
        if "Authorization" in request.headers:
            message = "The upload URL takes no Authorization header."
            raise GraphError(401, "unauthenticated", message)
        for person in self._access.people:
            if secret in person.uploads:
                return person, person.uploads[secret]
        raise GraphError(404, "itemNotFound", "The upload session was not found.")

    def _check_range(self, upload: Upload, length: int) -> int:
        """Hold the request's `Content-Range` (RFC 9110 section 14.4) against what has arrived so far.

        :param length: the size of the part in bytes.
        :return: the size of the whole file.
        :raises GraphError: it is not the range that is expected.
        """
        match = re.fullmatch(
            r"bytes ([0-9]{1,15})-([0-9]{1,15})/([0-9]{1,15})", request.headers.get("Content-Range", "")
        )
        if match is None:
            raise GraphError(400, "invalidRequest", "The Content-Range header is missing or malformed.")
        first, last, total = (int(digits) for digits in match.groups())
        if not first <= last < total or last - first + 1 != length:
            message = "The Content-Range header does not match the length of the content."
            raise GraphError(400, "invalidRequest", message, inner={"code": "fragmentLengthMismatch"})
        if upload.total not in (None, total):
            message = "Declared total size for this fragment is different from that of the upload session."
            raise GraphError(416, "invalidRange", message, inner={"code": "fragmentLengthMismatch"})
        if first < upload.received:
            message = "Uploaded fragment overlaps with existing data."
            raise GraphError(416, "invalidRange", message, inner={"code": "fragmentOverlap"})
        if first > upload.received:
            message = "Uploaded fragment is out of order."
            raise GraphError(416, "invalidRange", message, inner={"code": "fragmentOutOfOrder"})
        return total

    def _add(self, upload: Upload, data: bytes) -> None:
        """Take a part, and let the content go once it is too large to keep.

        :raises GraphError: there is no room for it.
        """
        if upload.content is not None and len(upload.content) + len(data) <= KEPT:
            self._drive.check_room(len(data))
            upload.content += data
        else:
            upload.content = None
        upload.digest.update(data)
        upload.received += len(data)

    def _progress(self, upload: Upload, status: int) -> Response:
        ranges = [f"{upload.received}-{'' if upload.total is None else upload.total - 1}"]
        return answer({"expirationDateTime": upload.expires, "nextExpectedRanges": ranges}, status)
