"""`pocketlm run`: one answer."""

import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pocketlm.cli import options, tongue, tools
from pocketlm.errors import ParameterError


def run(
    model: options.Model,
    prompt: Annotated[str | None, typer.Argument(metavar="PROMPT", help="What to ask.")] = None,
    file: Annotated[
        list[Path] | None,
        typer.Option("--file", "-f", metavar="FILE", help="Attach a text file; repeatable."),
    ] = None,
    system: options.System = None,
    temperature: options.Temperature = None,
    top_k: options.TopK = None,
    top_p: options.TopP = None,
    min_p: options.MinP = None,
    repetition_penalty: options.RepetitionPenalty = None,
    presence_penalty: options.PresencePenalty = None,
    frequency_penalty: options.FrequencyPenalty = None,
    seed: options.Seed = None,
    max_tokens: options.MaxTokens = None,
    stop: options.Stop = None,
    threads: options.Threads = None,
    context: options.Context = None,
    cache_type: options.CacheType = options.CacheKind.Q8,
    quantize: options.Quantize = None,
    lora: options.Lora = None,
    language: tongue.Wanted = None,
    no_prefix_cache: options.NoPrefixCache = False,
    schema: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Answer with JSON of the JSON schema in FILE."),
    ] = None,
    regex: Annotated[
        str | None, typer.Option(metavar="PATTERN", help="Answer with what PATTERN matches.")
    ] = None,
    grammar: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Answer as the grammar in FILE says (Lark or GBNF)."),
    ] = None,
    use: tools.Wanted = None,
    allow: tools.Allowed = None,
    folder: tools.Folders = None,
    json: options.Json = False,
    offline: options.Offline = False,
) -> None:
    """Answer one prompt and exit.

    Text piped to standard input is put after the prompt, then each attached file in a frame that
    names it. The same --seed gives the same answer, and so does --temperature 0.

    \b
    Examples:
      pocketlm run smollm2 "Why is the sky blue?"
      cat notes.txt | pocketlm run smollm2 "Summarise:"
      pocketlm run smollm2 "What do these do?" -f one.py -f two.py
      pocketlm run phi3 "Name a colour." --temperature 0.8 --seed 7 --max-tokens 20
      pocketlm run smollm2 "Name a colour." --json
      pocketlm run smollm2 "Describe a dog." --schema dog.json
      pocketlm run smollm2 "Is water wet?" --regex "yes|no"
      pocketlm run smollm2 "What is 17% of 2,340?" --tools calculator
      pocketlm run phi3 "Ahoj!" --lora czech-adapter --lora tone.gguf:0.5
      pocketlm run smollm2 "Was ist ein Baum?" --language auto
    """
    from pocketlm.cli.answer import loaded, say
    from pocketlm.cli.attach import compose, piped_input, text_of
    from pocketlm.engine.constraint import from_options
    from pocketlm.engine.sampling import SamplingParameters
    from pocketlm.store.store import default_home

    if TYPE_CHECKING:
        from pocketlm.chat.prompt import Message

    preset = options.preset_of(model)
    if preset is not None:
        model, system = preset.model, preset.system if system is None else system
    text = compose(prompt or "", piped_input(), file or [])
    messages: list[Message] = [{"role": "user", "content": text}]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    sampling = options.sampling(
        preset,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        presence_penalty=presence_penalty,
        frequency_penalty=frequency_penalty,
        seed=seed,
        max_tokens=max_tokens,
        stop=stop,
    )
    constraint = from_options(
        None if schema is None else text_of(schema),
        regex,
        None if grammar is None else text_of(grammar),
    )
    if constraint is not None and use is not None:
        raise ParameterError("--tools goes without --schema, --regex and --grammar")
    if constraint is not None and temperature is None and preset is None:
        del sampling["frequency_penalty"]  # quotes and braces are to be repeated
    with (
        tools.opened(use, folder, allow) as used,
        loaded(
            model,
            threads=threads,
            context=context,
            cache_type=cache_type,
            quantize=quantize,
            prefix_cache=not no_prefix_cache,
            lora=options.loras(lora),
        ) as opened,
    ):
        speaks = tongue.of(opened, model, language, default_home(), options.loras(lora))
        if speaks is not None:
            speaks.hear(prompt or text)
        if used is not None:
            turn = used.turn(opened, messages, sampling)
            answer = tools.say(turn, quiet=json)
        else:
            ids = opened.prompt_tokens(messages)
            parameters = SamplingParameters.of(sampling)
            answer = say(opened.answer(ids, parameters, constraint, chat=True), quiet=json)
    if json:
        print(json_format.dumps(answer.as_json(), ensure_ascii=False))
    if answer.interrupted:
        raise typer.Exit(130)
