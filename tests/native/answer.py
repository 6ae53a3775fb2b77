"""Continues a prompt and prints what comes, for the scripts that compare machines.

Arguments: MODEL.gguf PROMPT TOKENS TEMPERATURE SEED.
"""

import sys

import pocketlm

path, prompt, tokens, temperature, seed = sys.argv[1:]
model = pocketlm.load(path, threads=1)
answer = model.generate(
    prompt, max_tokens=int(tokens), temperature=float(temperature), seed=int(seed)
)
print(answer.text)
