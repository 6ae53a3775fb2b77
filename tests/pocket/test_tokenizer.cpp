// The tokenizer on vocabularies made here: what it makes of texts, what it refuses, and that no bytes and no
// vocabulary lead it astray (run under sanitizers). test_native_tokenizer.py compares it with its reference.
#include "tokenizer.h"

#include <algorithm>
#include <limits>
#include <random>
#include <set>

#include "check.h"
#include "error.h"
#include "merges.h"

using namespace pocketlm;

namespace {

using Ids = std::vector<int32_t>;

constexpr int32_t normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6;

struct Token {
    std::string spelling;
    float score;
    int32_t type;
};

Vocabulary of(const std::vector<Token>& tokens) {
    Vocabulary vocabulary;
    for (const Token& token : tokens) {
        vocabulary.pieces.push_back(token.spelling);
        vocabulary.scores.push_back(token.score);
        vocabulary.types.push_back(token.type);
    }
    return vocabulary;
}

const std::vector<Token>& letters() {
    static const std::vector<Token> tokens = {
        {"<unk>", 0, unknown},  {"<s>", 0, control},    {"</s>", 0, control},      {"<|user|>", 0, control},
        {"a", -10, normal},     {"b", -11, normal},     {"c", -12, normal},        {"ab", -2, normal},
        {"bc", -1, normal},     {"abc", -5, normal},    {"\u2581", -9, normal},    {"\u2581a", -3, normal},
        {"<0xC3>", 0, byte},    {"<0xA9>", 0, byte},    {"[x]", 0, user_defined},
        {"[PAD7]", 0, user_defined}, {"<0x0A>", 0, byte}, {"<|system|>", 0, control},
        {"<|assistant|>", 0, control}, {"<|end|>", 0, control},
    };
    return tokens;
}

Tokenizer tokenizer_of_letters() {
    Vocabulary vocabulary = of(letters());
    vocabulary.unknown = 0;
    vocabulary.bos = 1;
    return Tokenizer(vocabulary);
}

void check_refused_with(Fault fault, const Vocabulary& vocabulary, const char* what, int line) {
    try {
        const Tokenizer tokenizer(vocabulary);
    } catch (const Error& error) {
        if (error.fault() != fault || std::string(error.what()).find(what) == std::string::npos) {
            fail(__FILE__, line, error.what());
        }
        return;
    }
    fail(__FILE__, line, std::string("not refused: ") + what);
}

#define CHECK_FAULT(vocabulary, what) check_refused_with(Fault::file, vocabulary, what, __LINE__)

class Random {
  public:
    explicit Random(uint32_t seed) : engine_(seed) {}
    size_t below(size_t count) { return engine_() % count; }

  private:
    std::mt19937 engine_;
};

// Every byte's character in GPT-2's alphabet, and a few merges.
struct ByteLevel {
    std::vector<std::string> spellings;
    std::vector<std::string_view> merges = {"a b", "ab c", "\u0120 a", "a b", "c c", "cc cc"};

    ByteLevel() {
        char32_t next = 0x100;
        for (char32_t i = 0; i < 256; ++i) {
            const bool printable = (i > 0x20 && i < 0x7f) || (i > 0xa0 && i != 0xad);
            const char32_t code = printable ? i : next++;
            spellings.emplace_back();
            if (code < 0x80) {
                spellings.back() += static_cast<char>(code);
            } else {
                spellings.back() += static_cast<char>(0xc0 | code >> 6);
                spellings.back() += static_cast<char>(0x80 | (code & 0x3f));
            }
        }
        spellings.insert(spellings.end(), {"ab", "abc", "\u0120a", "cc", "cccc", "<|im_end|>", "<think>"});
    }
    Vocabulary vocabulary(std::string_view pre_tokenizer = "gpt-2") const {
        Vocabulary made;
        made.byte_level = true;
        made.pre_tokenizer = pre_tokenizer;
        made.pieces.assign(spellings.begin(), spellings.end());
        made.types.assign(spellings.size(), normal);
        made.types[261] = control;
        made.types[262] = user_defined;
        made.merges = merges;
        return made;
    }
};

}  // namespace

TEST(the_best_score_is_joined_first) {
    const Tokenizer tokenizer = tokenizer_of_letters();
    // "bc" (-1) before "▁a" (-3); then "▁a" + "bc" is no piece.
    CHECK(tokenizer.encode("abc", false) == (Ids{11, 8}));
    CHECK(tokenizer.encode(" abc", false) == (Ids{10, 11, 8}));
    CHECK(tokenizer.encode_run("abc", 4) == (Ids{9}));  // a continuation: no space, and "a" + "bc" is one
    CHECK(tokenizer.encode("", false).empty());
}

TEST(characters_without_a_token_become_bytes_or_unknown) {
    const Tokenizer tokenizer = tokenizer_of_letters();
    CHECK(tokenizer.encode_run("a\u00e9b", 4) == (Ids{4, 12, 13, 5}));
    CHECK(tokenizer.encode_run("xyab", 4) == (Ids{0, 7}));
    CHECK(tokenizer.encode_run("a\xff\xff", 4) == (Ids{4, 0}));  // two U+FFFD, fused
}

TEST(control_tokens_come_only_when_asked_for) {
    const Tokenizer tokenizer = tokenizer_of_letters();
    const std::string text = "<s>abc<|user|>\n a</s>";
    CHECK(tokenizer.encode(text, true) == (Ids{1, 11, 8, 3, 11, 2}));  // the role swallows the newline
    for (const int32_t id : tokenizer.encode(text, false)) {
        CHECK(id == 0 || !tokenizer.is_control(id));
    }
    CHECK(tokenizer.encode("<s>\na", true) == (Ids{1, 10, 16, 4}));  // <s> swallows nothing
    CHECK_EQUAL(tokenizer.control_token("<|user|>"), 3);
    CHECK_EQUAL(tokenizer.control_token("a"), no_token);
    CHECK(tokenizer.ends() == (Ids{2, 19}));
}

TEST(tokens_tell_their_bytes) {
    const Tokenizer tokenizer = tokenizer_of_letters();
    CHECK_EQUAL(tokenizer.size(), letters().size());
    CHECK(tokenizer.token_bytes(11) == " a");
    CHECK(tokenizer.token_bytes(12) == "\xc3");
    CHECK(tokenizer.token_bytes(3).empty());
    CHECK(tokenizer.token_bytes(14) == "[x]");
    CHECK(tokenizer.is_unused(15) && tokenizer.token_bytes(15).empty());
    CHECK(tokenizer.spelling(11) == "\u2581a");
    using Limits = std::numeric_limits<int32_t>;
    for (const int32_t id : {-1, 20, Limits::max(), Limits::min()}) {
        CHECK(tokenizer.token_bytes(id).empty() && tokenizer.spelling(id).empty());
        CHECK(!tokenizer.is_control(id) && !tokenizer.is_unused(id));
    }
}

TEST(user_defined_tokens_are_cut_out_first) {
    const Tokenizer tokenizer = tokenizer_of_letters();
    CHECK(tokenizer.encode_run("a[x]bc", 4) == (Ids{4, 14, 8}));
    CHECK(tokenizer.encode_run("[x][x]", 4) == (Ids{14, 14}));
    CHECK(tokenizer.encode_run("[x", 4) == (Ids{0}));
}

TEST(a_stream_never_splits_a_character) {
    const Tokenizer tokenizer = tokenizer_of_letters();
    Detokenizer stream(tokenizer, no_token);
    CHECK(stream.push(11) == "a");  // without the space that begins a text
    CHECK(stream.push(12).empty());
    CHECK(stream.push(13) == "\u00e9");
    CHECK(stream.push(11) == " a");
    CHECK(stream.push(12).empty());
    CHECK(stream.push(4) == "\uFFFD" "a");
    CHECK(stream.push(12).empty());
    CHECK(stream.push(2) == "\uFFFD");
    CHECK(stream.push(11) == "a");  // after a control token again
    CHECK(stream.flush().empty());
    CHECK(stream.push(12).empty());
    CHECK(stream.flush() == "\uFFFD");
    CHECK(stream.push(99).empty());
}

TEST(byte_level) {
    const Tokenizer tokenizer(ByteLevel().vocabulary());
    // Of the two merges of "a" and "b" the later one counts: " a" comes before it.
    CHECK(tokenizer.encode("abc ab a", false) == (Ids{257, 258, 'b', 258}));
    CHECK(tokenizer.encode("ccccc", false) == (Ids{260, 'c'}));
    CHECK(tokenizer.encode("\u00e9\xff", false) == (Ids{0xc3, 0xa9, 0xef, 0xbf, 0xbd}));
    CHECK(tokenizer.encode("a<|im_end|><think>", true) == (Ids{'a', 261, 262}));
    for (const int32_t id : tokenizer.encode("<|im_end|><think>", false)) {
        CHECK(id < 256);
    }
    CHECK(tokenizer.token_bytes(258) == " a");
    CHECK(tokenizer.token_bytes(262) == "<think>");  // a model may write it as text
    CHECK(!tokenizer.add_bos());
    CHECK(Tokenizer(ByteLevel().vocabulary("llama-bpe")).add_bos());
}

TEST(a_word_that_is_a_token_may_be_taken_whole) {
    ByteLevel made;
    made.merges = {"c c"};
    CHECK(Tokenizer(made.vocabulary("dbrx")).encode("cccc", false) == (Ids{259, 259}));
    CHECK(Tokenizer(made.vocabulary("llama-bpe")).encode("cccc", false) == (Ids{260}));
}

TEST(impossible_vocabularies_are_refused) {
    const Vocabulary sound = of(letters());
    Vocabulary wrong = sound;
    CHECK_FAULT(Vocabulary{}, "0 tokens");
    wrong.types.pop_back();
    CHECK_FAULT(wrong, "token types");
    wrong = sound;
    wrong.types[4] = 7;
    CHECK_FAULT(wrong, "token 4 has the unknown type 7");
    wrong = sound;
    wrong.pieces[5] = "a";
    CHECK_FAULT(wrong, "one spelling");
    wrong.pieces[5] = "\xc3";
    CHECK_FAULT(wrong, "token 5 is not UTF-8");
    wrong.pieces[5] = "";
    CHECK_FAULT(wrong, "token 5 is 0 characters long");
    const std::string endless(5000, 'x');
    wrong.pieces[5] = endless;
    CHECK_FAULT(wrong, "token 5 is 5000 characters long");
    wrong = sound;
    wrong.pieces[12] = "<0xG3>";
    CHECK_FAULT(wrong, "token 12 is of the byte type");
    wrong = sound;
    wrong.scores[3] = std::numeric_limits<float>::quiet_NaN();
    CHECK_FAULT(wrong, "not a finite number");
    wrong.scores.clear();
    CHECK_FAULT(wrong, "0 scores");
    wrong = sound;
    wrong.eos = 20;
    CHECK_FAULT(wrong, "the eos token is id 20");
    wrong.eos = -7;
    CHECK_FAULT(wrong, "the eos token is id -7");

    const ByteLevel made;
    for (const std::string_view merge : {"ab", " ab", "ab ", "a b c", ""}) {
        wrong = made.vocabulary();
        wrong.merges.push_back(merge);
        CHECK_FAULT(wrong, "merge 6 is not two pieces");
    }
    wrong = made.vocabulary();
    wrong.merges[0] = "a d";
    CHECK_FAULT(wrong, "merge 0 needs a token that is missing");
    check_refused_with(Fault::unsupported, made.vocabulary("none"), "'none'", __LINE__);
}

// A row of pieces, each a part of the next, makes merges without end.
TEST(vocabularies_that_grow_are_refused) {
    std::string spellings(4000, 'a');
    Vocabulary vocabulary;
    for (size_t size = 1; size <= spellings.size(); ++size) {
        vocabulary.pieces.push_back(std::string_view(spellings).substr(0, size));
        vocabulary.scores.push_back(0);
    }
    CHECK_FAULT(vocabulary, "more merges");
}

// Joining step by step, as it is defined.
TEST(joining_is_the_plain_algorithms) {
    Random random(7);
    for (int round = 0; round < 300; ++round) {
        std::vector<Merge> list;
        int32_t symbols = 4;
        std::set<std::pair<int32_t, int32_t>> taken;
        for (uint32_t rank = 0; rank < 20; ++rank) {
            const auto count = static_cast<size_t>(symbols);
            const auto pick = [&] { return static_cast<int32_t>(random.below(count)); };
            const int32_t left = pick();
            const int32_t right = pick();
            if (taken.insert({left, right}).second) {
                list.push_back({left, right, symbols++, rank});
            }
        }
        const Merges merges(list, static_cast<size_t>(symbols));
        Ids word(random.below(40));
        std::generate(word.begin(), word.end(), [&] { return static_cast<int32_t>(random.below(4)); });

        Ids expected = word;
        for (;;) {
            const Merge* best = nullptr;
            size_t place = 0;
            for (size_t i = 0; i + 1 < expected.size(); ++i) {
                const Merge* merge = merges.find(expected[i], expected[i + 1]);
                if (merge != nullptr && (best == nullptr || merge->rank < best->rank)) {
                    best = merge;
                    place = i;
                }
            }
            if (best == nullptr) {
                break;
            }
            expected[place] = best->result;
            expected.erase(expected.begin() + static_cast<std::ptrdiff_t>(place) + 1);
        }
        Ids got;
        Joiner(merges).join(word, got);
        CHECK(got == expected);
    }
}

// A quadratic algorithm would take hours.
TEST(long_texts_without_spaces_are_quick) {
    const std::string text(1 << 20, 'c');
    CHECK_EQUAL(Tokenizer(ByteLevel().vocabulary()).encode(text, true).size(), text.size() / 4);
    std::string marks = "a";
    for (int i = 0; i < 1 << 17; ++i) {
        marks += i % 2 == 0 ? "\u0301" : "\u0323";
    }
    CHECK(!Tokenizer(ByteLevel().vocabulary("qwen2")).encode(marks, true).empty());
    CHECK(!Tokenizer(ByteLevel().vocabulary("gpt-4o")).encode(marks, true).empty());
}

// Bytes of all kinds, those of spellings more often than others.
TEST(random_bytes_do_no_harm) {
    Random random(11);
    const std::vector<std::string> parts = {"<s>", "<|user|>", "[x]", "abc", " ", "\n", "\u2581", "\u00e9",
                                            "\xf0\x9f", "\xed\xa0\x80", "'s", "\u0301", "12", "<think>"};
    std::vector<Tokenizer> tokenizers;
    tokenizers.push_back(tokenizer_of_letters());
    const ByteLevel made;
    for (const char* name : {"gpt-2", "smollm", "llama-bpe", "qwen2", "gpt-4o", "tekken"}) {
        tokenizers.emplace_back(made.vocabulary(name));
    }
    for (int round = 0; round < 2000; ++round) {
        std::string text;
        for (size_t count = random.below(24); count > 0; --count) {
            if (random.below(2) == 0) {
                text += parts[random.below(parts.size())];
            } else {
                text += static_cast<char>(random.below(256));
            }
        }
        for (const Tokenizer& tokenizer : tokenizers) {
            for (const int32_t id : tokenizer.encode(text, false)) {
                CHECK(id == 0 || !tokenizer.is_control(id));
            }
            Detokenizer stream(tokenizer, no_token);
            std::string shown;
            for (const int32_t id : tokenizer.encode(text, true)) {
                CHECK(id >= 0 && id < tokenizer.size());
                shown += stream.push(id);
            }
            shown += stream.flush();
            CHECK(tokenizer.encode(shown, true).size() <= 4 * shown.size() + 1);
        }
    }
}

// Vocabularies as a damaged file might have them: built or refused, nothing else.
TEST(random_vocabularies_do_no_harm) {
    Random random(13);
    const std::vector<std::string> parts = {"a",  "b", "ab", "\u2581", "<0x41>", "<x>", "[PAD1]",
                                            "\xc3", "",  "</s>", "<\uff5ca b\uff5c>", "a b", "b a"};
    int built = 0;
    for (int round = 0; round < 4000; ++round) {
        std::vector<Token> tokens;
        for (size_t count = random.below(8); count > 0; --count) {
            std::string spelling = parts[random.below(parts.size())];
            if (random.below(4) == 0) {
                spelling += parts[random.below(parts.size())];
            }
            const size_t type = random.below(32) == 0 ? 0 : 1 + random.below(6);
            tokens.push_back({spelling, static_cast<float>(random.below(5)), static_cast<int32_t>(type)});
        }
        Vocabulary vocabulary = of(tokens);
        vocabulary.byte_level = random.below(2) == 0;
        vocabulary.pre_tokenizer = random.below(8) == 0 ? "other" : "smollm";
        if (random.below(2) == 0) {
            vocabulary.merges.push_back(parts[random.below(parts.size())]);
        }
        vocabulary.unknown = static_cast<int32_t>(random.below(4)) - 1;
        vocabulary.eot = static_cast<int32_t>(random.below(4)) - 1;
        try {
            const Tokenizer tokenizer(vocabulary);
            ++built;
            for (const char* text : {"ab<x>a b", "\u2581\xff</s>", "[PAD1]A<0x41>"}) {
                tokenizer.encode(text, false);
                tokenizer.encode(text, true);
            }
            for (int32_t id = -1; id <= tokenizer.size(); ++id) {
                tokenizer.token_bytes(id);
            }
        } catch (const Error&) {
        }
    }
    CHECK(built > 100);
}

int main() { return run_tests(); }
