"""`pocketlm eval report`: files are written, and what is wrong is said."""

from program import check_refusal

from evaluate.runs import choices, keep, rights


def test_a_page_and_markdown(pocketlm, tmp_path):
    folders = [
        keep(tmp_path / name, {"mmlu": choices(rights(skill, 60))}, model=name)
        for name, skill in (("small", 0.3), ("large", 0.6))
    ]
    page, text = tmp_path / "page.html", tmp_path / "page.md"
    result = pocketlm("eval", "report", *folders, "--out", page, "--markdown", text)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [str(page), str(text)]
    assert "<title>How good are small, large?</title>" in page.read_text()
    assert "large less small" in text.read_text()
    assert page.read_text().count("<dt>asked</dt>") == 20
    pocketlm("eval", "report", *folders, "--out", page, "--failures", 0)
    assert page.read_text().count("<dt>asked</dt>") == 0
    assert "(0 shown, " in page.read_text()


def test_refusals(pocketlm, tmp_path):
    out = tmp_path / "page.html"
    result = pocketlm("eval", "report", tmp_path / "nothing", "--out", out)
    check_refusal(result, "nothing: there are no results", "--out", code=2)
    assert not out.exists()
    folder = keep(tmp_path / "run", {"mmlu": choices(rights(0.5, 9))})
    result = pocketlm("eval", "report", folder, "--out", tmp_path / "none" / "page.html")
    check_refusal(result, "page.html: cannot be written")
