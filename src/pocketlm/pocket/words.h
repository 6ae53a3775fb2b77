// How text is cut into words before byte-level BPE: the pre-tokenizers of formats/tokenizer_pre.py, whose
// patterns are spelled out in code here.
//
// Knows their names and what each is made of. Knows no vocabulary.
#pragma once

#include <cstddef>
#include <string_view>

namespace pocketlm {

struct PreTokenizer {
    // The end of the word that begins at a byte of a text, before the text's end. Takes time in proportion
    // to the word, or to a run of letters that becomes a few words.
    size_t (*word_end)(std::string_view text, size_t begin);
    bool digits_apart = false;   // each digit is a word, and what is between them is cut for itself
    bool composes = false;       // the text is first brought into normalization form C
    bool ignore_merges = false;  // a word that is a token is taken whole, whatever the merges say
    bool add_bos = false;        // whether a prompt begins with BOS where the file does not say
};

// By the name that GGUF has for it; throws Error (unsupported) for an unknown one.
const PreTokenizer& pre_tokenizer(std::string_view name);

// Calls use(word) for each word of a text in sound UTF-8.
template <typename Use>
void for_each_word(const PreTokenizer& cutter, std::string_view text, const Use& use);

// The end of the stretch from `begin` that is cut for itself: a digit, or what comes before the next one.
size_t stretch_end(const PreTokenizer& cutter, std::string_view text, size_t begin);

template <typename Use>
void for_each_word(const PreTokenizer& cutter, std::string_view text, const Use& use) {
    for (size_t begin = 0; begin < text.size();) {
        const size_t end = stretch_end(cutter, text, begin);
        const std::string_view stretch = text.substr(begin, end - begin);
        for (size_t word = 0; word < stretch.size();) {
            const size_t next = cutter.word_end(stretch, word);
            use(stretch.substr(word, next - word));
            word = next;
        }
        begin = end;
    }
}

}  // namespace pocketlm
