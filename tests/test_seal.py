"""The seal by itself, in milliseconds: what a record looks like, and what opens it."""

import hashlib
import itertools

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from flask_entra.sessions.seal import Seal, new_id

SID = "a" * 43
# A record of before must open after an upgrade, or everybody is signed out.
KEY = "ee53df41ce24436f1a06d3eaede15978e67c525ecd27d45476362742c8fc9568"
RECORD = bytes.fromhex("000102030405060708090a0bebd820be843c98c8d2b75893b8777f7792187bda1b85825f12a4afaef9aba0")
# One of an app that shares its store with others.
OWNER = "00000000-0000-4000-8000-000000000001 https://login.microsoftonline.com/contoso.com"
OWNED_KEY = "b7de57ca4cec53c4e478ae91e94f74ef729497f4bf422bb1e5fed59be5d4a6ce"
OWNED_RECORD = bytes.fromhex("d5e343a5126a75a3dc63816c8c5c14775fddf366d7fab3466d5edc0abb171f7c1d1b5bad671b2d83cedfd5")


def test_a_record_of_before_is_found_and_opens():
    assert Seal(SID).key == KEY
    assert Seal(SID).open(RECORD) == (b"content", 1_800_000_000.0)
    assert Seal(SID, OWNER).key == OWNED_KEY
    assert Seal(SID, OWNER).open(OWNED_RECORD) == (b"content", 1_800_000_000.0)


@pytest.mark.parametrize("owner", ["", OWNER + "x", OWNER.upper(), "\udcff"])
def test_another_app_neither_finds_nor_opens_a_record(owner):
    assert Seal(SID, owner).key != OWNED_KEY
    with pytest.raises(ValueError, match="does not open"):
        Seal(SID, owner).open(OWNED_RECORD)


def test_nothing_derived_from_the_name_of_a_record_opens_it():
    name, nonce, encrypted = KEY.encode(), RECORD[:12], RECORD[12:]
    raw = bytes.fromhex(KEY)
    keys = [raw, raw[::-1], name[:32], name[32:]]
    for material, digest in itertools.product((raw, name), ("sha256", "sha3_256", "blake2s")):
        keys.append(hashlib.new(digest, material).digest())
    for material in (raw, name):
        whole = hashlib.blake2b(material, person=b"session 2").digest()
        keys += [whole[:32], whole[32:], hashlib.blake2b(material, digest_size=32).digest()]
    for key, bound_to in itertools.product(keys, (name, raw, b"", None)):
        with pytest.raises(InvalidTag):
            AESGCM(key).decrypt(nonce, encrypted, bound_to)


def test_two_writes_of_the_same_content_differ_in_nonce_and_in_every_block():
    records = [Seal(SID).close(b"content", 1.0) for _ in range(500)]
    assert len({record[:12] for record in records}) == 500
    assert len({record[12:28] for record in records}) == 500


def test_an_id_has_256_random_bits_in_43_characters():
    ids = {new_id().partition(".")[0] for _ in range(500)}
    assert len(ids) == 500
    assert {len(each) for each in ids} == {43}
    assert min(len({each[place] for each in ids}) for place in range(42)) > 30  # each place is random


@pytest.mark.parametrize("place", range(len(RECORD)))
def test_a_record_altered_anywhere_does_not_open(place):
    altered = RECORD[:place] + bytes([RECORD[place] ^ 1]) + RECORD[place + 1 :]
    with pytest.raises(ValueError, match="does not open"):
        Seal(SID).open(altered)


@pytest.mark.parametrize("record", [b"", b"x", RECORD[:12], RECORD[:27], RECORD[:-1], RECORD + b"x"], ids=len)
def test_a_record_cut_or_lengthened_does_not_open(record):
    with pytest.raises(ValueError):
        Seal(SID).open(record)


def test_a_record_of_another_session_does_not_open():
    with pytest.raises(ValueError, match="does not open"):
        Seal("b" * 43).open(RECORD)


def test_an_id_that_is_no_text_has_a_key_too():
    assert len(Seal("\udcff").key) == 64
