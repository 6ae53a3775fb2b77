"""The suite's tasks: prompts word for word, examples, what counts as right."""

import random

import pytest
from lm_eval.evaluator import evaluate
from lm_eval.models.dummy import DummyLM

from evaluate.harness import rows
from pocketlm.errors import ParameterError
from pocketlm.evaluate.harness import published
from pocketlm.evaluate.harness.data import local
from pocketlm.evaluate.harness.shots import enough
from pocketlm.evaluate.harness.tasks import SUITE


@pytest.fixture(scope="module")
def build(manager, data):
    """Build a task's requests from the tests' rows: requests by row, and the task."""

    def build(name, shots=None, seed=1234):
        with local(data):
            tasks = manager.load([name])["tasks"]
        for task in tasks.values():
            task.set_fewshot_seed(seed)
            if shots is not None:
                task.set_config("num_fewshot", shots)
            task.build_all_requests()
        return tasks

    return build


def prompt_of(task, row=0):
    return next(i for i in task.instances if i.doc_id == row).args[0]


@pytest.mark.parametrize("name", rows.TASKS)
def test_every_task_builds_requests_with_the_report_s_shots(build, name):
    tasks = build(name)
    shots = next(task.shots for task in published.tasks() if task.name == name)
    assert len(tasks) == len(rows.TASKS[name])
    for task in tasks.values():
        assert task.config.num_fewshot == shots
        assert len({instance.doc_id for instance in task.instances}) == 13
        # The beginning of the prompt's own question stands once for each example and once more.
        begins = task.doc_to_text(task.task_docs[0]).split()[0]
        if name not in ("phi3_humaneval",):
            assert prompt_of(task).count(f"{begins}") >= shots + 1


def test_the_suite_is_the_report_s_set(manager, data):
    with local(data):
        loaded = manager.load([SUITE])
    assert loaded["group_map"][SUITE] == [task.name for task in published.tasks()]
    assert list(rows.TASKS) == [task.name for task in published.tasks()]


BY_LETTER = {
    "phi3_mmlu": ("What is 100 + 1?", ["100", "101", "102", "103"], "B"),
    "phi3_hellaswag": (
        "Baking bread: Someone kneads dough for 100 minutes. They shape it. Then they",
        ["bake it.", "paint it.", "sail it.", "fold the map."],
        "A",
    ),
    "phi3_anli": (
        "The shop opened in 2000.\nThe shop was shut before 2000. True, False, or Neither?",
        ["True", "False", "Neither"],
        "C",
    ),
    "phi3_medqa": (
        "A man of 140 coughs. What first?",
        ["Listen", "Wait", "Operate", "Nothing"],
        "A",
    ),
    "phi3_agieval": ("A train runs 101 hours at 60. How far?", ["10", "6060"], "B"),
    "phi3_arc_challenge": (
        "Which of these is warm on day 100?",
        ["ice", "fire", "snow", "hail"],
        "B",
    ),
    "phi3_arc_easy": ("Which of these is warm on day 100?", ["ice", "fire", "snow", "hail"], "B"),
    "phi3_piqa": ("Open jar 100.", ["Turn the lid.", "Sing to it."], "A"),
    "phi3_siqa": ("Kim gave Lee 100 gifts. How does Lee feel?", ["cross", "glad", "asleep"], "B"),
    "phi3_winogrande": (
        "The cup did not fit box 100, for the _ was too big.\nWhat does the _ stand for?",
        ["cup", "box"],
        "A",
    ),
    "phi3_openbookqa": ("On day 100 a plant wants", ["light", "tin", "noise", "sand"], "A"),
    "phi3_boolq": (
        "Bridge 100 is made of stone.\nis bridge 100 made of stone?",
        ["Yes", "No"],
        "A",
    ),
    "phi3_commonsense_qa": (
        "Where is cup 100 kept?",
        ["sea", "sky", "cupboard", "moon", "fire"],
        "C",
    ),
}


@pytest.mark.parametrize("name", BY_LETTER)
def test_a_prompt_by_letter(build, name):
    question, options, answer = BY_LETTER[name]
    task = next(iter(build(name, shots=0).values()))
    asked = [instance for instance in task.instances if instance.doc_id == 0]
    listed = "".join(
        f"{letter}. {option}\n" for letter, option in zip("ABCDE", options, strict=False)
    )
    expected = f"Question:\n{question}\nOptions:\n{listed}Answer:"
    assert [i.args for i in asked] == [(expected, f" {'ABCDE'[n]}") for n in range(len(options))]
    assert "ABCDE"[task.doc_to_target(asked[0].doc)] == answer


def test_the_prompt_is_the_one_that_the_report_prints(build):
    (task,) = build("phi3_piqa", shots=1).values()
    example = task.sampler.sample(1)[0]
    assert prompt_of(task) == (
        f"Question:\n{example['question']}\nOptions:\nA. Turn the lid.\nB. Sing to it.\nAnswer: A\n"
        "Question:\nOpen jar 100.\nOptions:\nA. Turn the lid.\nB. Sing to it.\nAnswer:"
    )


def test_mmlu_shows_the_first_examples_of_the_item_s_subject(build):
    (task,) = build("phi3_mmlu", shots=2).values()
    shown = (
        "Question:\nWhat is {0} + 1?\nOptions:\nA. {0}\nB. {1}\nC. {2}\nD. {3}\nAnswer: B\n".format
    )
    for row, (first, second) in ((0, (0, 2)), (1, (1, 3))):
        prompt = prompt_of(task, row)
        examples = "".join(shown(n, n + 1, n + 2, n + 3) for n in (first, second))
        assert prompt.startswith(examples + f"Question:\nWhat is {100 + row} + 1?")


def test_mmlu_takes_subjects_in_turn(manager, tmp_path):
    items = [rows.mmlu(0) | {"subject": name} for name in ("a", "a", "a", "b", "b", "c")]
    for split in ("dev", "test"):
        rows.place_split(tmp_path, "cais/mmlu", "all", split, items)
    with local(tmp_path):
        (task,) = manager.load(["phi3_mmlu"])["tasks"].values()
    assert [item["subject"] for item in task.task_docs] == ["a", "b", "c", "a", "b", "a"]


def test_examples_are_the_same_for_every_item_and_follow_the_seed(build):
    def examples(seed):
        (task,) = build("phi3_piqa", seed=seed).values()
        return {prompt_of(task, row).rsplit("Question:\nOpen jar 1", 1)[0] for row in range(13)}

    assert len(examples(1)) == 1
    assert examples(1) == examples(1)
    assert examples(1) != examples(2)


def test_an_item_is_never_its_own_example(build):
    # TruthfulQA has one split: with 12 examples of 13 items, each item sees all the others.
    (task,) = build("phi3_truthfulqa", shots=12).values()
    for row in range(13):
        question = f"What is {100 + row} times nothing?"
        assert prompt_of(task, row).count(question) == 1
        assert prompt_of(task, row).count("Question:") == 13


def test_too_many_shots_are_an_error(build):
    for name in ("phi3_piqa", "phi3_mmlu"):
        with pytest.raises(ParameterError, match=r"99 examples .* there are (12|6);.*--shots"):
            build(name, shots=99)


def test_too_many_shots_are_known_before_any_prompt_is_made(manager, data):
    with local(data):
        (task,) = manager.load(["bbh_cot_fewshot_boolean_expressions"])["tasks"].values()
    enough(task)
    task.set_config("num_fewshot", 4)
    with pytest.raises(ParameterError, match=r"^bbh_cot_.*: 4 examples .* there are 3;"):
        enough(task)


def test_truthfulqa_s_true_option_stands_anywhere(build):
    (task,) = build("phi3_truthfulqa").values()
    places = set()
    for item in task.task_docs:
        assert item["options"][item["answer"]] == "Nothing."
        places.add(item["answer"])
    assert len(places) > 1
    (again,) = build("phi3_truthfulqa").values()
    assert list(again.task_docs) == list(task.task_docs)


def test_gsm8k_s_prompt(build):
    (task,) = build("phi3_gsm8k", shots=1).values()
    example = task.sampler.sample(1)[0]
    had = int(example["answer"].rsplit(" ", 1)[1]) - 2
    assert prompt_of(task) == (
        f"Question: Ann has {had} pens and buys 2 more. How many has she?\n"
        f"Answer: She has {had} + 2 = {had + 2} pens.\n#### {had + 2}\n\n"
        "Question: Ann has 100 pens and buys 2 more. How many has she?\nAnswer:"
    )


def test_triviaqa_s_prompt(build):
    (task,) = build("phi3_triviaqa", shots=1).values()
    example = task.sampler.sample(1)[0]
    assert prompt_of(task) == (
        f"Question: {example['question']}\nAnswer: {example['answer']['value']}\n\n"
        "Question: Capital number 100?\nAnswer:"
    )


def test_bbh_s_prompt_has_the_authors_reasoning(build):
    (task,) = build("bbh_cot_fewshot_boolean_expressions").values()
    prompt = prompt_of(task)
    assert prompt.startswith("Evaluate the result of a random Boolean expression.\n\nQ: not ( ( ")
    assert prompt.count("A: Let's think step by step.\n") == 4
    assert prompt.count("So the answer is") == 3
    assert prompt.endswith("Q: not ( True ) and 100 is\nA: Let's think step by step.\n")


def test_humaneval_s_prompt(build):
    (task,) = build("phi3_humaneval").values()
    assert prompt_of(task) == 'def add_100(x):\n    """Add 100 to x."""\n'


def test_mbpp_s_prompt(build):
    (task,) = build("phi3_mbpp").values()
    begin = "You are an expert Python programmer, and here is your task: Write a function to add"
    example = (
        f"{begin} {{0}} to a number. Your code should pass these tests:\n\n"
        "assert add(2) == {1}\nassert add(0) == {0}\n[BEGIN]\n"
    ).format
    solved = "".join(
        f"{example(n, n + 2)}def add(x):\n    return x + {n}\n[DONE]\n\n" for n in (1, 2, 3)
    )
    assert prompt_of(task) == solved + example(100, 102)


def answer(build, name, written, row=0):
    """What a task makes of an answer (a text, or log-likelihoods) to one row."""
    (task,) = build(name, shots=0).values()
    instances = [instance for instance in task.instances if instance.doc_id == row]
    given = written if isinstance(written, list) else [written]
    for instance, one in zip(instances, given, strict=True):
        instance.resps.append(one)
    task._instances = instances
    task.apply_filters()
    (key,) = instances[0].filtered_resps
    return task.process_results(instances[0].doc, [i.filtered_resps[key] for i in instances])


def test_letters_are_scored_by_the_likelier_one(build):
    right = [(-3.0, False), (-1.0, True), (-2.0, False), (-4.0, False)]
    assert answer(build, "phi3_arc_easy", right) == {"acc": 1.0}
    random.Random(0).shuffle(right)
    assert answer(build, "phi3_arc_easy", right[::-1]) == {"acc": float(right[::-1][1][0] == -1.0)}
    wrong = [(-1.0, True), (-1.5, False), (-2.0, False), (-4.0, False)]
    assert answer(build, "phi3_arc_easy", wrong) == {"acc": 0.0}


@pytest.mark.parametrize(
    ("written", "score"),
    [
        (" She has 100 + 2 = 102 pens.\n#### 102\n\n", 1.0),
        (" 100 and 2: $102.00", 1.0),
        (" It is 1,02", 1.0),  # marks of thousands do not count, wherever they are
        (" It is 102, or 103", 0.0),
        (" It is 102. Then", 1.0),
        (" Minus -102", 0.0),
        (" No idea", 0.0),
    ],
)
def test_gsm8k_takes_the_last_number(build, written, score):
    assert answer(build, "phi3_gsm8k", written)["exact_match"] == score


@pytest.mark.parametrize(
    ("written", "score"),
    [(" rome", 1.0), (" City of Rome.", 1.0), (" ROME!", 1.0), (" Rome, Italy", 0.0), ("", 0.0)],
)
def test_triviaqa_takes_any_alias(build, written, score):
    assert answer(build, "phi3_triviaqa", written)["exact_match"] == score


def test_bbh_takes_what_follows_the_answer_is(build):
    (task,) = build("bbh_cot_fewshot_boolean_expressions").values()
    instance = task.instances[0]
    for written, score in (("So the answer is False.", 1.0), ("It is False.", 0.0)):
        instance.resps = [written]
        task._instances = [instance]
        task.apply_filters()
        got = task.process_results(instance.doc, [instance.filtered_resps["get-answer"]])
        assert got["exact_match"] == score


def test_groups_give_one_figure_over_all_their_items(manager, data):
    with local(data):
        loaded = manager.load(["phi3_anli", "phi3_agieval"])
    found = evaluate(DummyLM(), loaded, bootstrap_iters=0)
    for group, parts in (("phi3_anli", 3), ("phi3_agieval", 9)):
        members = [value for name, value in found["results"].items() if f"{group}::" in name]
        assert len(members) == parts
        mean = sum(value["acc,none"] for value in members) / parts
        assert found["results"][group]["acc,none"] == pytest.approx(mean)
