"""The imports that the recipes of docs/views.md need. A test holds them against what the recipes use."""
# ruff: noqa: F401

import asyncio
import hmac
import os
import threading

from flask import Response, abort, current_app, flash, jsonify, redirect, render_template, request, url_for
from werkzeug.utils import secure_filename

from app import app, auth
from flask_entra import GraphError
