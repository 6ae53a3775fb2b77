// What the tokenizer must know of Unicode: UTF-8, the classes of characters, normalization form C.
//
// The tables are those of the reference, Hugging Face `tokenizers` (unicode_tables.py). Knows no vocabulary.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace pocketlm {

// Unicode's general categories, as far as patterns of pre-tokenizers tell them apart.
enum class CharacterClass : uint8_t {
    other,
    space,     // \s, which is White_Space
    upper,     // Lu, Lt
    lower,     // Ll
    caseless,  // Lm, Lo
    mark,      // M
    number,    // N
    digit,     // a number of newer versions of Unicode, which patterns do not know and Digits does
};

CharacterClass class_of(char32_t code);

constexpr char32_t replacement_character = 0xfffd;

struct Character {
    char32_t code;    // the replacement character where the bytes are no UTF-8
    uint32_t length;  // in bytes, at least 1
    bool sound;       // the bytes are UTF-8
    bool cut;         // the text ended inside a character that was right so far
};

// The character that begins at a byte of a text, before its end. Wrong bytes are taken as Python's "replace"
// takes them: the longest beginning of a character, or one byte.
Character character_at(std::string_view text, size_t position);

void append_utf8(char32_t code, std::string& out);

// A copy with U+FFFD for what is no UTF-8.
std::string sound_utf8(std::string_view text);

// Normalization form C of sound UTF-8 (Unicode Standard Annex 15).
std::string compose(std::string_view text);

}  // namespace pocketlm
