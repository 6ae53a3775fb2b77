// The tokenizer that a GGUF file's metadata describe.
//
// It knows the keys tokenizer.ggml.*, as formats/tokenizer_gguf.py does. What a vocabulary must be to be
// sound, the tokenizer says.
#pragma once

#include <vector>

#include "gguf.h"
#include "tokenizer.h"

namespace pocketlm {

// Throws Error.
Tokenizer read_tokenizer(const Gguf& file);

// Tokens that end an answer, ascending: by their names, and by what else the file says of them.
std::vector<int32_t> end_tokens(const Gguf& file, const Tokenizer& tokenizer);

}  // namespace pocketlm
