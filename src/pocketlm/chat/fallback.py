"""The template of a model, and what is assumed where its file holds none.

Knows the common forms of a chat by the control tokens that they need. A model that has none of them
was trained on plain text, and gets plain text.
"""

from pocketlm.chat.template import ChatTemplate
from pocketlm.formats.tokenizer import Tokenizer

_ROLES = (
    "{% for message in messages %}"
    "{{ '<|' + message.role + '|>\n' + message.content + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
_CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' + message.content"
    " + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_HEADERS = (
    "{{ bos_token }}{% for message in messages %}{{ '<|start_header_id|>' + message.role +"
    " '<|end_header_id|>\n\n' + message.content | trim + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
_PLAIN = (
    "{% for message in messages %}{% if message.role == 'system' %}{{ message.content + '\n\n' }}"
    "{% else %}{{ message.role | capitalize + ': ' + message.content + '\n' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)

#: Tokens that a form needs, its name, its template.
_FORMS = (
    (("<|user|>", "<|assistant|>", "<|system|>", "<|end|>"), "Phi-3's", _ROLES),
    (("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"), "Llama 3's", _HEADERS),
    (("<|im_start|>", "<|im_end|>"), "ChatML", _CHATML),
)


def template_for(tokenizer: Tokenizer, source: str | None) -> ChatTemplate:
    """The template of a file, or the one that its vocabulary suggests, with a note that says so."""
    if source is not None:
        return ChatTemplate(source)
    for needed, name, form in _FORMS:
        if all(spelling in tokenizer.control for spelling in needed):
            return ChatTemplate(
                form, note=f"the file holds no chat template; its tokens suggest {name}"
            )
    return ChatTemplate(
        _PLAIN,
        note="the file holds no chat template; the model is asked in plain text",
        stop_strings=("\nUser:", "\nSystem:"),
    )
