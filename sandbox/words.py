"""The texts that people read, in French too: those of the pages in the language of the request, those of the command in the
terminal's.

Entra's errors and Graph's stay in English, as their descriptions are in an answer to an app.
"""

from __future__ import annotations

import os
import sys

FRENCH = {
    # Every page
    "Sandbox": "Bac à sable",
    "This is a stand-in on your own machine. No Microsoft account is involved.": (
        "Cette page vient de votre propre machine et imite celle de Microsoft. Aucun compte Microsoft n’est utilisé."
    ),
    "Consents and tokens": "Consentements et jetons",
    # Sign-in
    "Pick an account": "Choisir un compte",
    "Choose a sample person. Each one shows a different case. No password is needed.": (
        "Choisissez une personne fictive. Chacune illustre un cas différent. Aucun mot de passe n’est demandé."
    ),
    "Cancel": "Annuler",
    "A full profile with a photo": "Un profil complet, avec une photo",
    "No photo": "Pas de photo",
    "Hardly any field filled in": "Presque aucun champ renseigné",
    "Graph is busy: try again in 7 seconds": "Graph est surchargé : réessayer dans 7 secondes",
    "In 201 groups, Finance among them: too many for a token": "Membre de 201 groupes, dont Finance : trop pour un jeton",
    "Needs an administrator's consent": "A besoin du consentement d’un administrateur",
    "In three groups, Finance among them": "Membre de trois groupes, dont Finance",
    "Has the app role Orders.Approve": "A le rôle d’application Orders.Approve",
    "A guest with a right-to-left name": "Un compte invité, dont le nom s’écrit de droite à gauche",
    # Consent
    "Permissions requested": "Autorisations demandées",
    "would like to:": "souhaite :",
    "Accept": "Accepter",
    "The sandbox remembers your answer until it stops.": "Le bac à sable retient votre réponse jusqu’à son arrêt.",
    "Maintain access to data you have given it access to": (
        "Conserver l’accès aux données auxquelles vous lui avez donné accès"
    ),
    "Sign you in": "Vous connecter",
    "View your basic profile": "Afficher votre profil de base",
    "View your email address": "Afficher votre adresse e-mail",
    "Read your profile": "Lire votre profil",
    "Read and update your profile": "Lire et mettre à jour votre profil",
    "Read all users' basic profiles": "Lire les profils de base de tous les utilisateurs",
    "Read your relevant people lists": "Lire vos listes de contacts pertinents",
    "Read your mail": "Lire votre courrier",
    "Send mail as you": "Envoyer des messages en votre nom",
    "Read your calendars": "Lire vos calendriers",
    "Have full access to your calendars": "Disposer d’un accès total à vos calendriers",
    "Read your files": "Lire vos fichiers",
    "Have full access to your files": "Disposer d’un accès total à vos fichiers",
    "Read your orders": "Lire vos commandes",
    # An administrator is needed
    "Need admin approval": "Approbation de l’administrateur requise",
    "needs permission to access resources in your organization that only an admin can grant. "
    "Please ask an admin to grant permission to this app before you can use it.": (
        "demande une autorisation d’accéder à des ressources de votre organisation que seul un administrateur peut accorder. "
        "Demandez à un administrateur d’accorder cette autorisation avant d’utiliser l’application."
    ),
    "Return to the application": "Revenir à l’application",
    # Errors
    "We couldn’t sign you in": "Nous n’avons pas pu vous connecter",
    "Sorry, but we’re having trouble signing you in.": "Désolé, nous rencontrons des difficultés pour vous connecter.",
    "Troubleshooting details": "Détails pour la résolution du problème",
    "Request Id": "ID de requête",
    "Correlation Id": "ID de corrélation",
    "Timestamp": "Horodatage",
    # The way back, without scripts
    "Working…": "En cours…",
    "Almost there": "Vous y êtes presque",
    "Continue": "Continuer",
    # Sign-out
    "You signed out": "Déconnexion effectuée",
    "You signed out of your account": "Vous vous êtes déconnecté de votre compte",
    "It’s a good idea to close all browser windows.": "Nous vous recommandons de fermer toutes les fenêtres du navigateur.",
    # The sandbox's own page
    "This is where the app sends people to sign in": "C’est ici que l’application envoie les utilisateurs se connecter",
    "Start at the app itself:": "Commencez par l’application elle-même :",
    "Consents": "Consentements",
    "They are remembered until the sandbox stops.": "Ils sont retenus jusqu’à l’arrêt du bac à sable.",
    "Nobody has consented to anything.": "Personne n’a donné de consentement.",
    "Forget consents": "Oublier les consentements",
    "A bearer token for your API": "Un jeton du porteur pour votre API",
    "As another app gets it that calls yours.": "Tel que l’obtient une autre application qui appelle la vôtre.",
    "On behalf of": "Au nom de",
    "nobody: the other app by itself": "personne : l’autre application, pour elle-même",
    "Scopes": "Étendues",
    "App roles": "Rôles d’application",
    "Make a token": "Créer un jeton",
    "The token": "Le jeton",
    "It is good for %(minutes)s minutes.": "Il est valable %(minutes)s minutes.",
    "A call with another one like it, from a terminal:": "Un appel avec un autre jeton du même genre, depuis un terminal :",
    "Back": "Retour",
    # The command
    "Run the app against an embedded tenant on this machine. No Azure account is needed.": (
        "Lance l’application avec un locataire fictif sur cette machine. Aucun compte Azure n’est nécessaire."
    ),
    "show this text": "affiche ce texte",
    "the app's port (default: 5000)": "le port de l’application (5000 par défaut)",
    "serve the app below a path, such as /portal": "place l’application sous un chemin, comme /portal",
    "reload the app when it changes, and show all of its log": (
        "recharge l’application lorsqu’elle change, et affiche tout son journal"
    ),
    "run an app of your own, named as for `flask --app`: shop, shop:create_app or ../shop/app.py": (
        "lance votre propre application, désignée comme pour `flask --app` : shop, shop:create_app ou ../shop/app.py"
    ),
    "%(text)r is not a port from 1 to 65535": "%(text)r n’est pas un port de 1 à 65535",
    "%(text)r is not a path such as /portal": "%(text)r n’est pas un chemin comme /portal",
    "Port %(port)s is in use. Try another one: %(command)s": "Le port %(port)s est occupé. Essayez-en un autre : %(command)s",
    "Browsers refuse to open port %(port)s, because it is that of another service (%(service)s). "
    "Choose another one: %(command)s": (
        "Les navigateurs refusent d’ouvrir le port %(port)s, car c’est celui d’un autre service (%(service)s). "
        "Choisissez-en un autre : %(command)s"
    ),
    "The package %(package)r is missing. Install what the sandbox needs: %(command)s": (
        "Le paquet %(package)r est absent. Installez ce dont le bac à sable a besoin : %(command)s"
    ),
    "The app stopped by itself with exit code %(code)s.": "L’application s’est arrêtée d’elle-même, avec le code %(code)s.",
    "The app did not answer on port %(port)s within %(seconds)s seconds.": (
        "L’application n’a pas répondu sur le port %(port)s en %(seconds)s secondes."
    ),
    "Sandbox ready: open %(url)s (Ctrl-C stops)": "Bac à sable prêt : ouvrez %(url)s (Ctrl-C l’arrête)",
    "Consents are remembered until then. %(url)s takes them back, and makes bearer tokens.": (
        "Les consentements sont retenus jusqu’à l’arrêt. %(url)s permet de les retirer et de créer des jetons du porteur."
    ),
}  # fmt: skip


def in_page(text: str, /, **values: object) -> str:
    """A text of a page, in the language of the current request. It is `_` in templates.

    :param text: in English, with `%(name)s` for each of the values.
    """
    return _filled(text, language(), values)


def language() -> str:
    """The language of the current request: `en` or `fr`.

    A request says it by `ui_locales` (OpenID Connect Core 1.0 section 3.1.2.1), or by `Accept-Language`.
    """
    from flask import request  # here, because the command must be able to say that a package is missing

    for wanted in request.args.get("ui_locales", "").split():
        code = wanted.partition("-")[0].lower()
        if code in ("en", "fr"):
            return code
    return request.accept_languages.best_match(("en", "fr"), "en") or "en"


def in_terminal(text: str, /, **values: object) -> str:
    """A text of the command, in the terminal's language and characters. It is imported as `_`.

    :param text: in English, with `%(name)s` for each of the values.
    """
    try:
        from flask_entra.doctor.report import spelled, terminal_language
    except ModuleNotFoundError:  # the command says which package is missing
        return _filled(text, "en", values)
    encoding = sys.stdout.encoding or "ascii"
    return spelled(_filled(text, terminal_language(os.environ, encoding), values), encoding)


def _filled(text: str, code: str, values: dict[str, object]) -> str:
    found = FRENCH[text] if code == "fr" else text
    return found % values if values else found
