"""Reports: what they say, and that what a model wrote does nothing in them."""

import re
from html import unescape
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt

from evaluate.runs import choices, keep, rights, written
from pocketlm.evaluate.report.entries import entries
from pocketlm.evaluate.report.failures import failures
from pocketlm.evaluate.report.report import report
from pocketlm.evaluate.results import read
from pocketlm.evaluate.statistics import wilson

DATE = "2026-11-29"
HOSTILE = (
    "<script>document.title = 'taken'</script><img src=x onerror=\"document.title='taken'\">"
    "</pre></dd></details><h1>Not ours</h1> ![x](http://127.0.0.1:1/x.png) [y](javascript:alert(1))"
    "{{ 7 * 7 }} {% raw %} ````` <svg onload=\"document.title='taken'\"> \u202eesrever\u202c"
    " \x00\x1b[2J\U000e0041\u200b<style>*{display:none}</style>"
    "<meta http-equiv=refresh content=0;url=x>"
)


def _made(folders, **options):
    return report([read(folder) for folder in folders], date=DATE, **options)


def _cells(html, title):
    """The texts of the cells of the first table in the section of that title."""
    section = html[html.index(f">{title}</h2>") :]
    table = section[section.index("<table>") : section.index("</table>")]
    rows = re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)
    return [
        [
            " ".join(unescape(re.sub("<[^>]+>", " ", cell)).split())
            for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)
        ]
        for row in rows
    ]


def test_scores_stand_with_their_intervals(folders):
    rows = _cells(_made(folders).html(), "Benchmarks")
    assert rows[0] == ["task", "smollm2", "phi3-mini.gguf"]
    right = sum(rights(0.3, 120, seed=0))
    low, high = (100 * end for end in wilson(right, 120))
    assert rows[1][0] == "MMLU phi3_mmlu, acc, 5 shots, 120 items"
    assert rows[1][1] == f"{100 * right / 120:.1f} {low:.1f} to {high:.1f}"
    assert [row[0] for row in rows[3:]] == ["my_own acc, 5 shots, 120 items", "mean of tasks"]


def test_published_figures_stand_beside(folders):
    made = _made(folders)
    rows = _cells(made.html(), "Beside published figures")
    column = rows[0].index("Phi-3-mini-4k-instruct (June 2024)")
    assert [row[0] for row in rows[1:]] == [
        "MMLU 5 shots, by letter",
        "GSM-8K 8 shots, reasoning, then a number",
    ]
    assert rows[1][column] == "70.9"
    assert "my_own" not in str(rows)
    drawn = dict(next(part for part in made.sections if part.name == "sizes").pictures)
    assert list(drawn) == ["MMLU", "GSM-8K", "my_own"]
    labels = [node.text for node in ElementTree.fromstring(drawn["MMLU"]).iter() if node.text]
    assert {"smollm2", "phi3-mini.gguf", "Phi-3-mini-4k (April 2024)", "Mixtral 8x7B"} <= {*labels}
    assert not any("GPT" in label for label in labels)  # nobody knows its size


def test_the_probes_table(folders):
    html = _made(folders).html()
    rows = _cells(html, "Probes")
    assert rows[0] == ["smollm2", "plain", "constrained", "tools", "seen"]
    assert [row[0] for row in rows[1:]] == [
        "1. numbers asks for numbers",
        "2. snake asks for snake",
        "3. shirts asks for shirts",
        "mean of probes",
    ]
    assert rows[1][-1] == "as seen: numbers"
    assert re.fullmatch(r"[\d.]+ [\d.]+ to [\d.]+; credit 0\.\d\d", rows[1][1])
    assert "smollm2, passed: points over plain" in html
    assert "phi3-mini.gguf, partial credit: points over plain" in html


def test_ratings_and_the_radar(folders):
    made = _made(folders)
    rows = _cells(made.html(), "MT-bench")
    assert [row[0] for row in rows[1:]] == [
        "writing",
        "math",
        "coding",
        "stem",
        "first turn",
        "second turn",
        "all",
    ]
    assert all(1 <= float(row[1].split()[0]) <= 10 for row in rows[1:])
    ((_, drawn),) = next(part for part in made.sections if part.name == "mt-bench").pictures
    labels = [node.text for node in ElementTree.fromstring(drawn).iter() if node.text]
    assert {"writing", "stem", "smollm2", "phi3-mini.gguf", "10"} <= set(labels)
    assert "a judge at http://127.0.0.1:1 (asked in the words of pocketlm's own)" in "".join(
        unescape(words) for part in made.sections for words in part.words
    )


def test_pairs_are_counted_by_turn(folders):
    part = next(part for part in _made(folders).sections if part.name == "mt-bench")
    pairs = part.tables[1]
    assert pairs.columns[0] == "smollm2 against eval-other"
    assert [row[1] for row in pairs.rows[:3]] == ["2", "1", "3"]
    assert pairs.rows[3][1].text == "58.3"


def test_differences_are_paired(folders):
    rows = _cells(_made(folders).html(), "Differences, item by item")
    assert rows[0] == ["task", "items", "phi3-mini.gguf less smollm2", "better", "worse", "p"]
    assert rows[1][:2] == ["phi3_mmlu", "120"]
    assert rows[1][4] == "0"
    assert rows[1][5] == "< 0.001"
    assert rows[-1][0] == "mean of tasks"


def test_what_is_not_comparable_is_said(tmp_path):
    a = keep(tmp_path / "a", {"one": choices(rights(0.5, 9))}, model="a")
    b = keep(tmp_path / "b", {"one": choices(rights(0.5, 9), seed=4)}, model="b")
    made = _made([a, b])
    assert "b is not compared with a: one: items 0 of one" in made.html()
    assert "Quality over size" in made.html()


def test_one_model_twice_is_told_apart(tmp_path):
    a = keep(tmp_path / "monday", {"one": choices(rights(0.5, 9))})
    b = keep(tmp_path / "friday", {"one": choices(rights(0.6, 9))})
    c = keep(tmp_path / "other", {"two": choices(rights(0.5, 9))})
    labels = [entry.label for entry in entries([read(each) for each in (a, b, c)])]
    assert labels == ["smollm2 (monday)", "smollm2 (friday)", "smollm2"]


def test_failures_are_the_worst_and_the_rest_is_counted(tmp_path):
    items = [
        written(n, {"score": score}, f"said {n}", why=f"because {n}")
        for n, score in enumerate((0.4, 1, 0.1, 0.5, 0.2))
    ]
    (found,) = failures(entries([read(keep(tmp_path, {"one": items}))], "score"), 2)
    assert [(one.item, one.score) for one in found.shown] == [("one 2", "0.1"), ("one 4", "0.2")]
    assert (found.count, found.items, found.left_out) == (3, 5, 1)
    assert (found.shown[0].prompt, found.shown[0].answer) == ("Say something of 2.", "said 2")
    assert (found.shown[0].why, found.shown[0].expected) == ("because 2", "something of 2")


def test_a_failure_of_choice_names_the_choices(tmp_path):
    items = choices([False])
    items[0]["doc"]["choices"] = ["red", "green", "blue", "grey"]
    (found,) = failures(entries([read(keep(tmp_path, {"one": items}))]), 5)
    target = items[0]["target"]
    assert (
        found.shown[0].expected == f"{'ABCD'[target]}: {['red', 'green', 'blue', 'grey'][target]}"
    )
    assert re.match(r"[ABCD]\n\(log-likelihoods: A: -\d\.\d\d  B: ", found.shown[0].answer)


@pytest.mark.parametrize("form", ["raw", "as strings"])
def test_samples_as_the_harness_writes_them(tmp_path, form):
    """Its tracker writes arguments as dictionaries; as they are in memory, they are lists."""
    items = choices([False])
    if form == "raw":
        items[0]["arguments"] = [list(each.values()) for each in items[0]["arguments"].values()]
    else:
        items[0]["filtered_resps"] = [[str(a), str(b)] for a, b in items[0]["filtered_resps"]]
    (found,) = failures(entries([read(keep(tmp_path, {"one": items}))]), 5)
    assert found.shown[0].prompt.startswith("Question: what is 0 plus")
    assert "log-likelihoods: A: -" in found.shown[0].answer


@pytest.mark.parametrize("arguments", [None, 7, "x", {}, [], [[]], {"gen_args_0": 3}, [[None]]])
@pytest.mark.parametrize("resps", [None, 7, [], [[]], [["a", "b"], [1, 2]], {"x": 1}])
def test_samples_of_any_form_are_read(tmp_path, arguments, resps):
    item = written(0, {"acc": 0}, "x", arguments=arguments, resps=resps, filtered_resps=resps)
    item["doc"] = None
    (found,) = failures(entries([read(keep(tmp_path, {"one": [item]}))]), 5)
    assert found.shown[0].item == "one 0"


def test_giant_texts_are_cut_and_the_whole_is_bounded(tmp_path):
    items = [written(n, {"acc": 0}, "giant " * 200_000, why="w" * 10_000) for n in range(30)]
    for item in items:
        item["arguments"] = {"gen_args_0": {"arg_0": "shots " * 50_000 + "The question?"}}
    made = _made([keep(tmp_path, {"one": items})], each=30)
    html = made.html()
    assert len(html) < 200_000
    assert "characters before …]" in html
    assert "The question?" in html
    assert "characters more]" in html


def test_many_failures_are_bounded_together(tmp_path, monkeypatch):
    monkeypatch.setattr("pocketlm.evaluate.report.failures.MOST", 5_000)
    items = [written(n, {"acc": 0}, "x" * 400) for n in range(50)]
    (found,) = failures(entries([read(keep(tmp_path, {"one": items}))]), 50)
    assert 5 < len(found.shown) < 13
    assert found.left_out == 50 - len(found.shown)


@pytest.fixture
def hostile(tmp_path):
    """A run in which everything that a stranger can choose is hostile."""
    item = written(0, {"rating": 1.0, "acc": 0}, HOSTILE, why=HOSTILE)
    item["doc"] = {"question": HOSTILE, "category": HOSTILE}
    item["target"] = HOSTILE
    item["arguments"] = {"gen_args_0": {"arg_0": HOSTILE}}
    config = {"description": HOSTILE, "metadata": {"seen": HOSTILE, "judge": HOSTILE}}
    passed = item | {"passed": 0, "metrics": ["passed"]}
    samples = {"mt_bench": [item], "probe_<b>x</b>_plain": [passed], "<i>own</i>|": [item]}
    return keep(
        tmp_path / "run",
        {name.replace("/", "∕"): items for name, items in samples.items()},
        model=HOSTILE,
        machine=HOSTILE,
        suite=HOSTILE,
        command=["pocketlm", HOSTILE],
        settings={HOSTILE: HOSTILE},
        results={"configs": {"mt_bench": config, "probe_<b>x<∕b>_plain": config}},
    )


def test_hostile_text_does_nothing_in_a_browser(hostile, chromium, tmp_path):
    page_file = tmp_path / "report.html"
    page_file.write_text(_made([hostile]).html())
    page = chromium.new_page()
    asked, said = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.goto(page_file.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    assert asked == [page_file.as_uri()]
    assert said == []
    assert page.title().startswith("How good is style><meta")  # a model's path ends so
    count = "name => document.querySelectorAll(name).length"
    assert page.locator("script, img, iframe, link, object, body svg[onload]").count() == 0
    assert page.evaluate(count, "h1") == 1
    assert page.evaluate(count, "style") == 1
    assert page.evaluate(count, "meta[http-equiv]") == 1
    assert page.evaluate(count, "a:not([href^='#'])") == 0
    text = page.inner_text("body")
    assert "<script>document.title = 'taken'</script>" in text
    assert "{{ 7 * 7 }}" in text
    assert "\\u{202e}esrever\\u{202c}" in text
    assert "\\u{1b}[2J" in text
    assert not set("\u202e\u202c\x00\x1b\u200b") & set(text)
    page.close()


def test_hostile_text_is_no_markup_in_markdown(hostile):
    text = _made([hostile]).markdown()
    html = MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(text)
    for tag in ("<script", "<img", "<svg", "<style", "<meta", "<a ", "<i>", "<b>"):
        assert tag not in html, tag
    assert html.count("<h1>") == 1
    assert html.count("<table>") == text.count("| --- |") >= 4


def test_the_page_in_a_browser(folders, chromium, tmp_path):
    page_file = tmp_path / "report.html"
    page_file.write_text(_made(folders).html())
    for width in (390, 1280):
        for scheme in ("light", "dark"):
            page = chromium.new_page(
                viewport={"width": width, "height": 900},
                color_scheme=scheme,
            )
            page.goto(page_file.as_uri())
            # Nothing is wider than the window but what scrolls by itself.
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
            dark = sum(map(int, re.findall(r"\d+", colour)[:3])) < 300
            assert dark == (scheme == "dark")
            names = page.evaluate(
                "[...document.querySelectorAll('nav a')].map(a => a.hash.slice(1))"
            )
            assert all(page.locator(f"[id='{name}']").count() == 1 for name in names)
            for text in page.locator("figure svg text").all()[:40]:
                assert text.evaluate("node => getComputedStyle(node).fill") == page.evaluate(
                    "getComputedStyle(document.body).color"
                )
            page.close()


def test_run_it_again(folders):
    html = _made(folders).html()
    assert "pocketlm eval smollm2 --tasks &#39;it&#39;&#34;&#39;&#34;&#39;s one&#39;" in html
    assert "Linux, 2 cores" in html
    digests = re.findall(r"<td class=\"number\">([0-9a-f]{16})</td>", html)
    assert len(digests) == 26
    assert len(set(digests)) == 13  # both models did the same items


def test_results_of_the_harness_alone(tmp_path):
    (tmp_path / "results.json").write_text(
        '{"results": {"arc_easy": {"acc,none": 0.4, "acc_stderr,none": 0.05, "alias": "a"}},'
        ' "n-samples": {"arc_easy": {"original": 90, "effective": 90}}, "git_hash": "abc"}'
    )
    html = _made([tmp_path]).html()
    assert _cells(html, "Benchmarks")[1] == ["arc_easy acc, 90 items", "40.0 30.2 to 49.8"]
    assert "another program&#39;s results" in html
