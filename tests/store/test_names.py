"""Names that become parts of paths: traversal of any spelling is refused."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketlm.errors import StoreError
from pocketlm.store.names import folder_name, is_file_name, is_short_name, parse_hub_name

TRAVERSALS = [
    "", ".", "..", "../x", "../../etc/passwd", "/etc/passwd", "x/../y", "..\\..\\x", "C:\\x",
    "C:/x", "\\\\host\\share", "x\0y", "x\n", " x", "~/x", "~root", "%2e%2e%2fx", "..%2fx",
    "....//x", "x/..", "./x", "x/./y", "org/..", "../name", "org/name:../x.gguf",
    "org/name:/etc/x.gguf", "org/name:a/../x.gguf", "org/na..me", "file:///etc/passwd", "a:b:c",
    "a@b", "a=b", "-x", "$(id)", "x;id", "`id`", "\u2024\u2024/x", "\uff0e\uff0e/x", "x\u202ey",
    "CON:\\x", "a--b/c", "o" * 300,
]  # fmt: skip


@pytest.mark.parametrize("name", TRAVERSALS)
def test_traversals_name_nothing(name):
    assert not is_short_name(name)
    assert not is_file_name(name)
    assert parse_hub_name(name) is None
    with pytest.raises(StoreError):
        folder_name(name)


NAMES = {
    "smollm2": "smollm2",
    "phi3:128k": "phi3=128k",
    "microsoft/Phi-3-mini-4k-instruct": "microsoft--Phi-3-mini-4k-instruct",
    "a/b:c.gguf": "a--b@c.gguf",
    "a/b:c/d--e.gguf": "a--b@c@d--e.gguf",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_has_one_folder(name):
    assert folder_name(name) == NAMES[name]


_TEXT = st.text(string.ascii_letters + string.digits + "./:\\-_@=~\0 ", max_size=30)


@given(_TEXT)
def test_a_folder_never_leaves_the_store(name):
    try:
        folder = folder_name(name)
    except StoreError:
        return
    assert folder not in ("", ".", "..")
    assert not set(folder) & set("/\\\0:")
    assert ".." not in folder


@given(_TEXT, _TEXT)
def test_two_names_never_share_a_folder(one, other):
    try:
        assert (folder_name(one) == folder_name(other)) == (one == other)
    except StoreError:
        return
