"""Names of classes and files as text: Unicode in one form, and names that are no UTF-8.

"Café" may be written with one character or with an e and an accent (NFC, NFD: what macOS archives hold). Labels, and
names that are compared, have the first form; paths stay as they are on disk. Python carries the bytes of a name that
is no UTF-8 (Latin-1 from an old archive) as surrogates, which TensorFlow and text files refuse.
"""

import os
import unicodedata


def normalized(name):
    """A name in the form NFC, in which it is compared."""
    return unicodedata.normalize("NFC", name)


def is_utf8(path):
    """Whether the bytes of a path are UTF-8."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def printable(path):
    """A path as text that can be printed: bytes that are no UTF-8 as \\xe9."""
    return os.fsencode(str(path)).decode("utf-8", errors="backslashreplace")


def refuse_other_encodings(names, folder):
    """Raise a ValueError that counts the class folders whose names are no UTF-8, and says how to rename them."""
    wrong = [name for name in names if not is_utf8(name)]
    if wrong:
        raise ValueError(
            f"{printable(folder)}: the names of {len(wrong)} of {len(names)} class folders are not UTF-8, the first is "
            f"'{printable(wrong[0])}'. Rename to UTF-8, e.g. by `convmv -f latin1 -t utf8 -r --notest "
            f"{printable(folder)}`."
        )


def some(names, shown=3):
    """The first names, and how many there are beside: "a, b, c and 4 more"."""
    names = list(names)
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
