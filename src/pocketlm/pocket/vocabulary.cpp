#include "vocabulary.h"

#include <algorithm>
#include <limits>
#include <set>

#include "error.h"

namespace pocketlm {
namespace {

std::string key_of(const char* name) { return std::string("tokenizer.ggml.") + name; }

std::vector<std::string_view> texts(const Gguf& file, const char* name) {
    const std::optional<std::vector<std::string_view>> found = file.texts(key_of(name));
    if (!found) {
        refuse(Fault::file, "the file holds no " + key_of(name));
    }
    return *found;
}

int32_t token_id(const Gguf& file, const char* name, size_t count) {
    const std::optional<int64_t> id = file.integer(key_of(name));
    if (id && (*id < 0 || static_cast<uint64_t>(*id) >= count)) {
        refuse(Fault::file, key_of(name) + " is " + std::to_string(*id) +
                                ", outside the vocabulary of " + std::to_string(count));
    }
    return id ? static_cast<int32_t>(*id) : no_token;
}

void require_one_each(const char* name, size_t numbers, size_t tokens) {
    if (numbers != tokens) {
        refuse(Fault::file, key_of(name) + " has " + std::to_string(numbers) + " numbers for " +
                                std::to_string(tokens) + " tokens");
    }
}

std::vector<int32_t> read_types(const Gguf& file, size_t count) {
    std::vector<int32_t> types;
    const std::optional<std::vector<int64_t>> stated = file.integers(key_of("token_type"));
    if (stated) {
        require_one_each("token_type", stated->size(), count);
        for (const int64_t type : *stated) {
            // What is out of range is no type, whichever number that gives.
            types.push_back(static_cast<int32_t>(std::clamp<int64_t>(type, -1, 1000)));
        }
    }
    return types;
}

std::vector<float> read_scores(const Gguf& file, size_t count) {
    const std::optional<std::vector<double>> stated = file.numbers(key_of("scores"));
    if (!stated) {
        refuse(Fault::file, "the file holds no " + key_of("scores"));
    }
    require_one_each("scores", stated->size(), count);
    return std::vector<float>(stated->begin(), stated->end());
}

}  // namespace

Tokenizer read_tokenizer(const Gguf& file) {
    const std::optional<std::string_view> model = file.text(key_of("model"));
    if (!model) {
        refuse(Fault::file, "the file holds no tokenizer (tokenizer.ggml.model is missing)");
    }
    if (*model != "llama" && *model != "gpt2") {
        refuse(Fault::unsupported,
               "the file's tokenizer " + shown(*model) + " is not one that is known: llama, gpt2");
    }
    Vocabulary vocabulary;
    vocabulary.byte_level = *model == "gpt2";
    vocabulary.pieces = texts(file, "tokens");
    const size_t count = vocabulary.pieces.size();
    vocabulary.types = read_types(file, count);
    if (vocabulary.byte_level) {
        vocabulary.pre_tokenizer = file.text(key_of("pre")).value_or("default");
        vocabulary.merges = texts(file, "merges");
    } else {
        vocabulary.scores = read_scores(file, count);
        vocabulary.space_prefix = file.flag(key_of("add_space_prefix")).value_or(true);
    }
    vocabulary.bos = token_id(file, "bos_token_id", count);
    vocabulary.eos = token_id(file, "eos_token_id", count);
    vocabulary.pad = token_id(file, "padding_token_id", count);
    vocabulary.unknown = token_id(file, "unknown_token_id", count);
    vocabulary.eot = token_id(file, "eot_token_id", count);
    vocabulary.add_bos = file.flag(key_of("add_bos_token"));
    return Tokenizer(vocabulary);
}

std::vector<int32_t> end_tokens(const Gguf& file, const Tokenizer& tokenizer) {
    std::set<int32_t> ends(tokenizer.ends().begin(), tokenizer.ends().end());
    for (const char* name : {"eos_token_id", "eot_token_id", "eom_token_id"}) {
        const std::optional<int64_t> id = file.integer(key_of(name));
        if (id && *id >= 0 && *id < tokenizer.size()) {
            ends.insert(static_cast<int32_t>(*id));
        }
    }
    return {ends.begin(), ends.end()};
}

}  // namespace pocketlm
