"""How gunicorn serves the contestants: with the worker class, the threads and the kept connections of the app's own file."""

worker_class = "gthread"
workers = 2
threads = 64
keepalive = 75
control_socket_disable = True
