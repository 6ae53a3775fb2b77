"""Files within a message, put together and taken apart again."""

from hypothesis import given
from hypothesis import strategies as st

from pocketlm.chat.files import File, joined, parted


def test_the_form_is_the_one_that_the_terminal_writes(tmp_path):
    from pocketlm.cli.attach import compose

    path = tmp_path / "notes.txt"
    path.write_text("one\ntwo\n\n")
    text = joined("Summarise:", [File("notes.txt", "one\ntwo\n\n")])
    assert text == "Summarise:\n\n--- notes.txt ---\none\ntwo\n--- end of notes.txt ---"
    assert compose("Summarise:", "", [path]) == text
    assert parted(text) == ("Summarise:", [File("notes.txt", "one\ntwo")])
    assert parted(joined("", [File("a b\nc", "x")])) == ("", [File("a b c", "x")])


def test_frames_that_are_none_are_words():
    for text in (
        *("--- a ---", "x\n--- end of a ---", "--- a ---\nx\n--- end of b ---", ""),
        *(
            "--- end of a ---",
            "x --- a ---\ny\n--- end of a ---",
            "--- a ---\nx\n--- end of a ---\n",
        ),
    ):
        assert parted(text) == (text, [])


_name = st.text(st.characters(codec="utf-8", exclude_characters="\n"), min_size=1, max_size=20)
_files = st.lists(st.builds(File, _name, st.text(max_size=60)), max_size=4)


@given(st.text(max_size=80), _files)
def test_taking_apart_and_joining_gives_the_same_message(said, files):
    message = joined(said, files)
    words, found = parted(message)
    if words.strip() or not found:
        assert joined(words, found) == message or not message.strip()


@given(
    st.lists(st.sampled_from(["--- a ---", "--- end of a ---", "", "x", "--- b ---"]), max_size=12)
)
def test_any_lines_stay_whole(lines):
    message = "\n".join(lines)
    assert joined(*parted(message)) == message or not message.strip()
