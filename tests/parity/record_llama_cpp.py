"""Record what llama.cpp says, greedily, on the real model; run by hand, not by the tests.

    python tests/parity/record_llama_cpp.py SmolLM2-135M-Instruct.Q4_1.gguf smollm2_greedy.json
    python tests/parity/record_llama_cpp.py smollm2-f32.gguf smollm2_greedy_f32.json

In an environment that has llama-cpp-python. Prompts are recorded as token ids, so that nothing of
tokenising enters the comparison; each step keeps the likeliest candidates with their logits, so
that a step where two are level can be told from one where somebody is wrong.

How near is level? Activations are rounded to 8 bits at every layer, so that a difference in the
last bit (another order of summing) has become the whole rounding noise a few layers on. That noise
is measured on llama.cpp itself: the same tokens again, all at once instead of one by one, and with
its other attention kernel. `noise` holds how the margin between the two best candidates changes.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np

NEW_TOKENS = 64
CANDIDATES = 8

TEXTS = [
    "Once upon a time, in a small village by the sea,",
    "The capital of France is",
    "def fibonacci(n):\n",
    "Water boils at a temperature of",
    "Dear Sir or Madam,\n\nI am writing to",
    "The three laws of thermodynamics state that",
    "In 1969, for the first time, a human being",
    "Ingredients:\n- 2 cups of flour\n- 1 teaspoon of salt\n",
    "Q: What is the difference between a virus and a bacterium?\nA:",
    "The quick brown fox jumps over the lazy dog. " * 8,
    "1, 2, 3, 5, 8, 13,",
    "<html>\n<head>\n<title>",
]
QUESTIONS = [
    "What is gravity?",
    "Write a haiku about the autumn.",
    "Explain photosynthesis to a child of ten.",
    "Give me three tips for sleeping better.",
    "What is 17 + 25?",
    "Translate 'good morning' into French, Spanish and German.",
    "Who wrote Hamlet, and when?",
    "Write a Python function that reverses a string.",
    "Summarise in one sentence: The mitochondrion is an organelle that makes most of the chemical"
    " energy that a cell needs. It has two membranes, and its own DNA.",
    "Why is the sky blue?",
    "List the planets of the solar system in order of size.",
    "Tell me a short story about a lighthouse keeper and a whale.",
]
CHAT = (
    "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
    "<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
)


def load(path: Path, **options: bool) -> llama_cpp.Llama:
    """The model, with every position's logits kept."""
    return llama_cpp.Llama(
        str(path), n_ctx=1024, n_threads=2, logits_all=True, verbose=False, **options
    )


def record(model: llama_cpp.Llama, text: str) -> dict[str, Any]:
    """The prompt's ids, and the candidates of each greedy step."""
    prompt = model.tokenize(text.encode(), add_bos=False, special=True)
    model.reset()
    model.eval(prompt)
    steps = []
    for _ in range(NEW_TOKENS):
        logits = np.array(model.scores[model.n_tokens - 1])
        best = np.argsort(-logits, kind="stable")[:CANDIDATES]
        steps.append({"ids": best.tolist(), "logits": [round(float(x), 4) for x in logits[best]]})
        model.eval([int(best[0])])
    print(model.detokenize([step["ids"][0] for step in steps]).decode(errors="replace"))
    return {"prompt": prompt, "steps": steps}


def noise(model: llama_cpp.Llama, runs: list[dict[str, Any]]) -> dict[str, float]:
    """How the margins change when the recorded tokens are evaluated at once by `model`."""
    changes, differ = [], 0
    for run in runs:
        model.reset()
        model.eval(run["prompt"] + [step["ids"][0] for step in run["steps"]])
        for position, step in enumerate(run["steps"], len(run["prompt"]) - 1):
            first, second = step["ids"][:2]
            logits = model.scores[position]
            margin = step["logits"][0] - step["logits"][1]
            changes.append(margin - float(logits[first] - logits[second]))
            differ += int(logits.argmax()) != first
    return {
        "standard_deviation": round(float(np.std(changes)), 4),
        "largest": round(float(np.abs(changes).max()), 4),
        "other_choices": differ,
        "steps": len(changes),
    }


def main(path: Path, name: str) -> None:
    """Write the record `name` beside this file."""
    model = load(path)
    texts = TEXTS + [CHAT.format(question) for question in QUESTIONS]
    runs = [record(model, text) for text in texts]
    found = {
        "model": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "llama-cpp-python": llama_cpp.__version__,
        "system": llama_cpp.llama_print_system_info().decode(),
        "noise": {
            "at once": noise(model, runs),
            "at once, flash attention": noise(load(path, flash_attn=True), runs),
        },
        "runs": runs,
    }
    lines = json.dumps(found).replace('{"prompt"', '\n{"prompt"')
    Path(__file__).with_name(name).write_text(lines + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
