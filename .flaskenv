# Read by `flask run`: with --debug, an edit of .env starts the app again too.
FLASK_RUN_EXTRA_FILES=.env
