"""What the app is measured against. Each module has a WSGI application named `app`, for gunicorn."""
