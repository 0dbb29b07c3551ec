"""Commands as somebody can paste them into a terminal, whether or not they have activated the virtual environment."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path, PurePath, PureWindowsPath


class Command:
    """A command of this Python environment, as a text. It is written when it is shown, for the folder of the process.

    A program on the PATH is written by its name: the environment is activated, or the system's own. Any other needs its path.

    :param program: a program of the environment: `flask` or `python`.
    :param arguments: of the program.
    """

    def __init__(self, program: str, *arguments: str):
        self._program, self._arguments = program, arguments

    def __str__(self) -> str:
        python, arguments = _python(), self._arguments
        program: PurePath = python
        if self._program != "python":
            script = python.with_name(self._program + (".exe" if python.suffix == ".exe" else ""))
            if script.exists():
                program = script
            else:  # it lies elsewhere
                arguments = ("-m", self._program, *arguments)
        found = shutil.which(program.name)
        if found and Path(found).parent.resolve() == Path(program).parent.resolve():
            program = PurePath(program.name)
        return line(program, arguments, Path.cwd())


def _python() -> Path:
    if Path(sys.executable).name.startswith("python"):
        return Path(sys.executable)
    return Path(sys.prefix, "Scripts" if sys.platform == "win32" else "bin", "python")  # a server has Python inside it


def line(program: PurePath, arguments: tuple[str, ...], folder: PurePath) -> str:
    """A command for the shell of the platform: a POSIX shell, or PowerShell.

    :param program: its absolute path, or its name alone.
    :param arguments: of the program, without spaces.
    :param folder: where the command is to be pasted.
    """
    if program.is_relative_to(folder):
        program = program.relative_to(folder)
    if isinstance(program, PureWindowsPath):
        text = str(program.with_suffix(""))
        text = f'& "{text}"' if " " in text else text  # PowerShell prints a text in quotes, unless it is told to run it
    else:
        text = shlex.quote(str(program))
    return " ".join([text, *arguments])


def relative(path: Path) -> str:
    """A path as it is written in the folder where this process runs.

    :param path: an absolute path.
    """
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


DOCTOR = Command("flask", "doctor")
SANDBOX = Command("python", "-m", "sandbox")
