"""A profile as its page shows it, in milliseconds: what is a link, what a person is called, and where there is a photo."""

import pytest

from pages import profiles

ME = "https://graph.example/v1.0/me"


class Answer(dict):
    """A profile as it came."""

    url, status, seconds = ME, 200, 0.1


def fields(**profile):
    """The fields that are shown of a profile: their texts and links."""
    return dict(profiles.show(Answer(profile), [], [])["fields"])


@pytest.mark.parametrize("name", ["mail", "email"])
def test_a_mail_address_is_a_link_that_writes_to_it_and_does_nothing_else(name):
    assert fields(**{name: "a.b@c.example"}) == {name: [("a.b@c.example", "mailto:a.b@c.example")]}
    for odd in (
        "a@b.example?bcc=c@d.example",
        "a@b.example&x",
        "a@b",
        "a b@c.example",
        "a@b@c",
        "javascript:a@b",
        "<a@b>",
        "a/b@c",
    ):
        links = fields(**{name: odd})[name]
        assert links == [(odd, f"mailto:{odd}" if odd == "a@b" else None)]


@pytest.mark.parametrize(
    ("number", "link"),
    [("+44 (0)20 7946 0000", "tel:+442079460000"), ("555-1234", "tel:5551234"), ("112", "tel:112")]
    + [("12", None), ("*21*1#", None), ("1;ext=2", None), ("call me", None), ("1" * 40, None)],
)
def test_a_phone_number_is_a_link_that_dials_it(number, link):
    assert fields(mobilePhone=number, businessPhones=[number, 5, None]) == {
        "mobilePhone": [(number, link)],
        "businessPhones": [(number, link)],
    }


@pytest.mark.parametrize(
    ("claims", "letters"),
    [
        ({"name": "Adèle Vance"}, "AV"),
        ({"name": "Cher"}, "C"),
        ({"name": "Gabriel José García Márquez"}, "GM"),
        ({"name": "anna anna"}, "A"),
        ({"name": "Anna Adams"}, "AA"),
        ({"preferred_username": "ev.berg@contoso.example"}, "EB"),
        ({"name": "_ (!)"}, "?"),
        ({}, "?"),
    ],
)
def test_the_letters_are_of_the_first_and_the_last_word(claims, letters):
    assert profiles.letters(claims) == letters


@pytest.mark.parametrize(
    ("url", "photo"), [(ME, True), (f"{ME}/", True), (f"{ME}/orders", False), ("https://id.example/userinfo", False)]
)
def test_there_is_a_photo_where_the_profile_is_graphs(url, photo):
    profile = Answer()
    profile.url = url
    assert profiles.show(profile, [], [])["has_photo"] is photo
