import pytest

from keras_vit.images.names import is_utf8, normalized, printable, refuse_other_encodings, some

LATIN1 = b"/d/caf\xe9".decode("utf-8", "surrogateescape")  # as Python has such a name


def test_both_forms_of_an_accent_are_compared_as_one():
    assert "e\u0301" != "\xe9" and normalized("Cafe\u0301") == normalized("Caf\xe9") == "Caf\xe9"


def test_a_name_of_other_bytes_is_not_utf8_and_can_be_printed():
    assert not is_utf8(LATIN1) and is_utf8("/d/Caf\xe9")
    assert printable(LATIN1) == r"/d/caf\xe9" and printable("/d/Caf\xe9") == "/d/Caf\xe9"


def test_class_folders_in_other_encodings_are_counted_named_and_can_be_remedied():
    name = LATIN1.removeprefix("/d/")
    message = r"/d: the names of 2 of 3 class folders are not UTF-8, the first is 'caf\\xe9'. Rename .*`convmv .*/d`"
    with pytest.raises(ValueError, match=message):
        refuse_other_encodings(["tea", name, name + "2"], "/d")
    refuse_other_encodings(["Caf\xe9", "Cafe\u0301", "猫"], LATIN1)


def test_some_names_and_the_number_of_the_others():
    assert some("abc") == "a, b, c" and some("abcde") == "a, b, c and 2 more" and some([]) == ""
