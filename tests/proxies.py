"""A real nginx in front of apps."""

import contextlib
import subprocess

from programs import free_port, listens, needs, until


@contextlib.contextmanager
def nginx(folder, server, http=""):
    """Run nginx with one server, and yield its port.

    :param folder: for what nginx writes.
    :param server: the directives of the server.
    :param http: those around it.
    """
    needs("nginx")
    port = free_port()
    paths = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = " ".join(f"{name}_temp_path {folder}/{name};" for name in paths)
    http = f"{http} access_log off; {temporary} server {{ listen 127.0.0.1:{port}; {server} }}"
    configuration = folder / f"nginx-{port}.conf"
    configuration.write_text(f"daemon off; pid {folder}/{port}.pid; error_log stderr; events {{}} http {{ {http} }}")
    with (folder / f"nginx-{port}.txt").open("w") as log:
        command = ["nginx", "-c", str(configuration), "-p", str(folder)]
        with subprocess.Popen(command, stderr=log) as process:
            try:
                until(lambda: listens(port))
                yield port
            finally:
                process.terminate()
