"""The files that hold settings, as Docker and Kubernetes mount secrets."""

from __future__ import annotations

from collections.abc import Iterator

from flask_entra.doctor.findings import Finding, unreadable, wrong
from flask_entra.pages.languages import Text as _
from flask_entra.settings import IN_FILES, Settings
from flask_entra.watched_file import read_lines


def check_files(settings: Settings) -> Iterator[Finding]:
    """Whether each can be read, and holds what one setting can be."""
    for name, setting in IN_FILES.items():
        if not (path := settings.file_of(name)):
            continue
        try:
            lines = read_lines(path)
        except OSError as error:
            found = _("cannot be read: %(reason)s", reason=unreadable(error))
            yield wrong(setting, found, _("Check the path, and that the app may read the file."))
            continue
        except ValueError:
            found = _("names a file that is empty, or is no text in UTF-8")
            yield wrong(setting, found, _("Write the value of %(name)s into it.", name=name))
            continue
        if len(lines) > 1 and name != "SECRET_KEY":  # whose other lines are keys too
            found = _("names a file with more than one line")
            yield wrong(setting, found, _("Leave only the value of %(name)s.", name=name))
