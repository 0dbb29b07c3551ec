# The app under gunicorn, for any platform that runs containers: docker build -t flask-entra .
# It listens at the port PORT, on all addresses, for a proxy in front that buffers requests (docs/operate.md). It has no secret in it,
# and runs with a read-only root: it writes to /tmp, and to /sessions unless REDIS_URL is set.
FROM python:3.14-slim

RUN useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent app \
    && install -d -o app -g app -m 0700 /sessions
RUN python -m venv /venv
ENV PATH="/venv/bin:$PATH" PYTHONUNBUFFERED=1 PORT=8000 SESSION_FILE_DIR=/sessions

WORKDIR /app
# The libraries first: an edit of the app installs nothing anew.
COPY pyproject.toml requirements.txt README.md LICENSE ./
COPY flask_entra/__init__.py flask_entra/
RUN pip install --no-cache-dir -r requirements.txt
COPY . .
# A read-only root keeps no bytecode that is made later.
RUN python -m compileall -q .

USER 10001:10001
VOLUME /sessions
EXPOSE 8000
# By Python, because the image has no other HTTP client; one that asks no proxy of HTTP_PROXY.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', os.environ['PORT'], timeout=4); c.request('GET', '/healthz'); sys.exit(c.getresponse().status != 200)"]
CMD ["gunicorn", "app:app"]
