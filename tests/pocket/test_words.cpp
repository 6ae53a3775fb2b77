// Where pre-tokenizers cut, by examples of each part of their patterns. They are compared with the
// reference by test_native_tokenizer.py.
#include "words.h"

#include <string>
#include <vector>

#include "check.h"
#include "error.h"

using namespace pocketlm;

namespace {

// The words with bars between them.
std::string cut(std::string_view name, std::string_view text) {
    std::string out;
    for_each_word(pre_tokenizer(name), text, [&](std::string_view word) {
        out += out.empty() ? "" : "|";
        out += word;
    });
    return out;
}

void check_cut(std::string_view name, std::string_view text, const std::string& expected, int line) {
    const std::string got = cut(name, text);
    if (got != expected) {
        fail(__FILE__, line, std::string(name) + " cuts " + got + ", not " + expected);
    }
}

#define CHECK_CUT(name, text, expected) check_cut(name, text, expected, __LINE__)

}  // namespace

TEST(gpt_2) {
    CHECK_CUT("gpt-2", "Hello world's 123 ok", "Hello| world|'s| 123| ok");
    CHECK_CUT("gpt-2", "it'S don't", "it|'|S| don|'t");
    CHECK_CUT("gpt-2", "a   b  ", "a|  | b|  ");
    CHECK_CUT("gpt-2", "a\n\n b\n", "a|\n\n| b|\n");
    CHECK_CUT("gpt-2", "a\n\nb", "a|\n|\n|b");
    CHECK_CUT("gpt-2", "x?! $5", "x|?!| $|5");
    CHECK_CUT("gpt-2", "'", "'");
    CHECK_CUT("gpt-2", "", "");
}

TEST(digits_stand_apart) {
    CHECK_CUT("smollm", "in 1984  12a", "in| |1|9|8|4|  |1|2|a");
    CHECK_CUT("smollm", "\u0663\u00bdx", "\u0663|\u00bd|x");
}

TEST(llama_3) {
    CHECK_CUT("llama-bpe", "It'S 12345 (ok)", "It|'S| |123|45| (|ok|)");
    CHECK_CUT("llama-bpe", "a\u017f'\u017f b", "a\u017f|'\u017f| b");
    CHECK_CUT("llama-bpe", "?!\r\n\r\nx", "?!\r\n\r\n|x");
    CHECK_CUT("llama-bpe", "a \n \n  b", "a| \n \n| | b");
    CHECK_CUT("llama-bpe", "\tx\t\ty", "\tx|\t|\ty");
    CHECK_CUT("qwen2", "a12 3", "a|1|2| |3");
}

TEST(a_change_to_capitals_begins_a_word) {
    CHECK_CUT("gpt-4o", "camelCase HTTPServer", "camel|Case| HTTPServer");
    CHECK_CUT("gpt-4o", "don't DON'T ab'llx", "don't| DON'T| ab'll|x");
    CHECK_CUT("tekken", "don't 12 a/b/\n/c", "don|'t| |1|2| a|/b|/\n/|c");
    CHECK_CUT("gpt-4o", "\u4f60ABC\u4f60\u4f60A", "\u4f60ABC\u4f60\u4f60|A");
    CHECK_CUT("gpt-4o", "\u0301\u0301?\u0301A", "\u0301\u0301|?\u0301|A");
}

TEST(unknown_names_are_refused) {
    try {
        pre_tokenizer("wordy\x01");
        CHECK(false);
    } catch (const Error& error) {
        CHECK(error.fault() == Fault::unsupported);
        CHECK(std::string(error.what()).find("'wordy\\x01'") != std::string::npos);
        CHECK(std::string(error.what()).find("llama-bpe") != std::string::npos);
    }
}

int main() { return run_tests(); }
