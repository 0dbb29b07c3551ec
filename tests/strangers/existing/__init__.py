"""An app that was there before: a factory, its people in a database, Flask-Login, a blueprint named auth, Bootstrap."""

from flask import Blueprint, Flask, g, render_template, session
from flask_login import LoginManager, UserMixin, current_user, login_required, login_user
from flask_sqlalchemy import SQLAlchemy

from flask_entra import Auth, SignInRefused, signed_in, signed_out

db, login_manager, entra = SQLAlchemy(), LoginManager(), Auth()
login_manager.login_view = "identity.login"


class User(UserMixin, db.Model):
    id = db.Column(db.Integer, primary_key=True)
    oid = db.Column(db.String(36), unique=True, nullable=False)
    name = db.Column(db.String(200), nullable=False)
    is_closed = db.Column(db.Boolean, default=False, nullable=False)


@login_manager.user_loader
def load_user(user_id):
    return db.session.get(User, int(user_id))


@entra.on_sign_in
def find_user(claims):
    user = db.session.execute(db.select(User).filter_by(oid=claims["oid"])).scalar_one_or_none()
    if user is None:
        user = User(oid=claims["oid"], name=claims["name"])
        db.session.add(user)
        db.session.commit()
    if user.is_closed:
        raise SignInRefused("Your account here is closed.")
    login_user(user)


auth = Blueprint("auth", __name__, url_prefix="/auth")


@auth.before_app_request
def load_logged_in_user():
    g.user = "the tutorial's own"


@auth.get("/login")
def login():
    return "The app's own login."


def create_app():
    app = Flask(__name__)
    app.config.from_mapping(
        SECRET_KEY="the app's own", SQLALCHEMY_DATABASE_URI="sqlite:///people.db", ENTRA_LAYOUT="base.html"
    )
    app.config.from_prefixed_env()
    app.jinja_env.globals["language"] = "the app's own"

    @app.get("/login")
    def own_login():
        return "The app's own page of this name."

    app.register_blueprint(auth)
    db.init_app(app)
    login_manager.init_app(app)
    entra.init_app(app)
    seen = []
    signed_in.connect(lambda sender, user: seen.append(f"in {user['name']}"), app, weak=False)
    signed_out.connect(lambda sender, user: seen.append(f"out {user['name']}"), app, weak=False)

    @app.get("/")
    def home():
        session["visits"] = session.get("visits", 0) + 1
        return render_template("home.html", seen=seen, visits=session["visits"])

    @app.get("/mine")
    @login_required
    def mine():
        return f"{current_user.name}, number {current_user.id}; {g.user}; {app.config['SECRET_KEY']}"

    @app.get("/profile")
    @entra.login_required(scopes=["User.Read"])
    def profile(*, context):
        return render_template("profile.html", job=entra.graph.get("/me", context)["jobTitle"])

    @app.get("/broken")
    def broken():
        raise ZeroDivisionError

    @app.errorhandler(404)
    def not_found(error):
        return "The app's own page for what is not there.", 404

    with app.app_context():
        db.create_all()
    return app
