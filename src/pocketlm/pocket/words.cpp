#include "words.h"

#include <algorithm>
#include <iterator>
#include <string>

#include "error.h"
#include "unicode.h"

namespace pocketlm {
namespace {

using Class = CharacterClass;

bool is_letter(Class c) { return c == Class::upper || c == Class::lower || c == Class::caseless; }
bool is_number(Class c) { return c == Class::number; }
bool is_space(Class c) { return c == Class::space; }
// [^\s\p{L}\p{N}]: marks, punctuation, symbols, and what is no character.
bool is_symbol(Class c) { return !is_space(c) && !is_letter(c) && !is_number(c); }
// A word's beginning and its rest, where a change to capitals begins a word.
bool is_head(Class c) { return c == Class::upper || c == Class::caseless || c == Class::mark; }
bool is_tail(Class c) { return c == Class::lower || c == Class::caseless || c == Class::mark; }

// A place in a text, and what stands there.
class Cursor {
  public:
    Cursor(std::string_view text, size_t position) : text_(text), position_(position) { read(); }

    size_t position() const { return position_; }
    bool at_end() const { return position_ == text_.size(); }
    bool at(char byte) const { return !at_end() && text_[position_] == byte; }
    bool at_newline() const { return at('\r') || at('\n'); }
    bool at(bool (*kind)(Class)) const { return !at_end() && kind(class_); }

    void step() {
        position_ += length_;
        read();
    }
    // Past a run of at most `most` characters of a kind; tells whether there was one.
    bool skip(bool (*kind)(Class), size_t most = static_cast<size_t>(-1)) {
        const size_t begin = position_;
        for (; most > 0 && at(kind); --most) {
            step();
        }
        return position_ != begin;
    }
    bool skip(char byte) {
        const bool found = at(byte);
        if (found) {
            step();
        }
        return found;
    }

  private:
    void read() {
        if (!at_end()) {
            const Character character = character_at(text_, position_);
            class_ = class_of(character.code);
            length_ = character.length;
        }
    }

    std::string_view text_;
    size_t position_;
    size_t length_ = 0;
    Class class_ = Class::other;
};

// Each function below tells where a pattern that matches at `begin` ends, or `begin` if it does not.

// 's|'t|'re|'ve|'m|'ll|'d
size_t contraction(std::string_view text, size_t begin, bool any_case) {
    if (text[begin] != '\'') {
        return begin;
    }
    constexpr std::string_view long_s = "\u017f";  // in lower case an s
    if (any_case && text.substr(begin + 1, long_s.size()) == long_s) {
        return begin + 1 + long_s.size();
    }
    for (const std::string_view ending : {"s", "t", "re", "ve", "m", "ll", "d"}) {
        const std::string_view found = text.substr(begin + 1, ending.size());
        const auto same = [&](char written, char expected) {
            return written == expected || (any_case && written == expected - 'a' + 'A');
        };
        if (std::equal(found.begin(), found.end(), ending.begin(), ending.end(), same)) {
            return begin + 1 + ending.size();
        }
    }
    return begin;
}

// ` ?KIND+`
size_t spaced_run(std::string_view text, size_t begin, bool (*kind)(Class)) {
    Cursor cursor(text, begin);
    cursor.skip(' ');
    return cursor.skip(kind) ? cursor.position() : begin;
}

// `[^\r\n\p{L}\p{N}]?\p{L}+`
size_t led_letters(std::string_view text, size_t begin) {
    Cursor cursor(text, begin);
    if (!cursor.at(is_letter) && !cursor.at(is_number) && !cursor.at_newline()) {
        cursor.step();
    }
    return cursor.skip(is_letter) ? cursor.position() : begin;
}

// `\p{N}{1,MOST}`
size_t few_numbers(std::string_view text, size_t begin, size_t most) {
    Cursor cursor(text, begin);
    cursor.skip(is_number, most);
    return cursor.position();
}

// ` ?[^\s\p{L}\p{N}]+[\r\n]*`, and slashes among the newlines where `slashes`
size_t symbols_and_newlines(std::string_view text, size_t begin, bool slashes) {
    Cursor cursor(text, begin);
    cursor.skip(' ');
    if (!cursor.skip(is_symbol)) {
        return begin;
    }
    while (cursor.at_newline() || (slashes && cursor.at('/'))) {
        cursor.step();
    }
    return cursor.position();
}

// `\s+(?!\S)|\s+`: spaces before a word leave the last one to it. With `lines` first `\s*[\r\n]+`: spaces
// end at their last newline.
size_t spaces(std::string_view text, size_t begin, bool lines) {
    size_t last = begin;       // where the last space begins
    size_t last_line = begin;  // where the last newline ends
    Cursor cursor(text, begin);
    while (cursor.at(is_space)) {
        const bool newline = cursor.at_newline();
        last = cursor.position();
        cursor.step();
        last_line = newline ? cursor.position() : last_line;
    }
    if (lines && last_line != begin) {
        return last_line;
    }
    return cursor.at_end() || last == begin ? cursor.position() : last;
}

// GPT-2's (Radford et al. 2019).
size_t gpt_2(std::string_view text, size_t begin) {
    size_t end = contraction(text, begin, false);
    for (bool (*const kind)(Class) : {is_letter, is_number, is_symbol}) {
        if (end == begin) {
            end = spaced_run(text, begin, kind);
        }
    }
    return end != begin ? end : spaces(text, begin, false);
}

// Llama 3's and Qwen2's, which differ in how many digits make a word.
template <size_t digits>
size_t words(std::string_view text, size_t begin) {
    size_t end = contraction(text, begin, true);
    if (end == begin) {
        end = led_letters(text, begin);
    }
    if (end == begin) {
        end = few_numbers(text, begin, digits);
    }
    if (end == begin) {
        end = symbols_and_newlines(text, begin, false);
    }
    return end != begin ? end : spaces(text, begin, true);
}

// `HEAD*TAIL+`: where the two overlap, as few characters as possible are left to the tail.
size_t tailed(std::string_view text, size_t begin) {
    Cursor cursor(text, begin);
    size_t end_of_both = begin;  // where the last character ends that may be of either
    while (cursor.at(is_head)) {
        const bool both = cursor.at(is_tail);
        cursor.step();
        end_of_both = both ? cursor.position() : end_of_both;
    }
    return cursor.skip(is_tail) ? cursor.position() : end_of_both;
}

// `HEAD+TAIL*`
size_t headed(std::string_view text, size_t begin) {
    Cursor cursor(text, begin);
    if (!cursor.skip(is_head)) {
        return begin;
    }
    cursor.skip(is_tail);
    return cursor.position();
}

// GPT-4o's and Mistral Nemo's: a word begins at a change to capitals. GPT-4o's ends with a contraction.
template <size_t digits, bool contracted>
size_t cased_words(std::string_view text, size_t begin) {
    Cursor lead(text, begin);
    if (!lead.at(is_letter) && !lead.at(is_number) && !lead.at_newline()) {
        lead.step();
    }
    // A mark may lead, or be of the word itself; the lead is tried first.
    for (size_t (*const pattern)(std::string_view, size_t) : {tailed, headed}) {
        for (const size_t from : {lead.position(), begin}) {
            const size_t end = pattern(text, from);
            if (end != from) {
                return contracted && end < text.size() ? contraction(text, end, true) : end;
            }
        }
    }
    size_t end = few_numbers(text, begin, digits);
    if (end == begin) {
        end = symbols_and_newlines(text, begin, true);
    }
    return end != begin ? end : spaces(text, begin, true);
}

struct Named {
    std::string_view name;
    PreTokenizer cutter;
};

constexpr PreTokenizer gpt_2_cutter{gpt_2};
constexpr PreTokenizer smollm{gpt_2, true};
constexpr PreTokenizer llama_3{words<3>, false, false, true, true};
constexpr PreTokenizer gpt_4{words<3>};
constexpr PreTokenizer qwen_2{words<1>, false, true};
constexpr PreTokenizer gpt_4o{cased_words<3, true>};
constexpr PreTokenizer tekken{cased_words<1, false>, false, false, true, true};

constexpr Named known[] = {
    {"default", gpt_2_cutter}, {"gpt-2", gpt_2_cutter},      {"phi-2", gpt_2_cutter}, {"smollm", smollm},
    {"starcoder", smollm},     {"llama3", llama_3},          {"llama-v3", llama_3},   {"llama-bpe", llama_3},
    {"falcon3", llama_3},      {"dbrx", gpt_4},              {"smaug-bpe", gpt_4},    {"qwen2", qwen_2},
    {"gpt-4o", gpt_4o},        {"deepseek-r1-qwen", qwen_2}, {"tekken", tekken},
};

}  // namespace

const PreTokenizer& pre_tokenizer(std::string_view name) {
    const Named* found = std::find_if(std::begin(known), std::end(known),
                                      [&](const Named& each) { return each.name == name; });
    if (found == std::end(known)) {
        std::string names;
        for (const Named& each : known) {
            names.append(names.empty() ? "" : ", ").append(each.name);
        }
        refuse(Fault::unsupported,
               "the pre-tokenizer " + shown(name) + " is not one that is known: " + names);
    }
    return found->cutter;
}

size_t stretch_end(const PreTokenizer& cutter, std::string_view text, size_t begin) {
    if (!cutter.digits_apart) {
        return text.size();
    }
    size_t end = begin;
    while (end < text.size()) {
        const Character character = character_at(text, end);
        const Class kind = class_of(character.code);
        if (kind == Class::number || kind == Class::digit) {
            return end == begin ? end + character.length : end;
        }
        end += character.length;
    }
    return end;
}

}  // namespace pocketlm
