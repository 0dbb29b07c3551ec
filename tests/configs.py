"""The configuration of an app without the app: what follows from some settings."""

from flask import Flask

import app_config
from flask_entra.config import Config


def config_of(**settings):
    """What follows from settings, as `.env` names them."""
    app = Flask(__name__)
    app.config.from_mapping(app_config.load(settings))
    return Config.of_app(app, {})
