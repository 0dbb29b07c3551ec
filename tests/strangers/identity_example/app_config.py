import os

# Tells the Flask-session extension to store sessions in the filesystem
SESSION_TYPE = "filesystem"
# Where the app is served, if not at the root of a server without a proxy.
APPLICATION_ROOT = os.getenv("APPLICATION_ROOT", "/")
ENTRA_TRUSTED_PROXY_COUNT = os.getenv("TRUSTED_PROXY_COUNT")
