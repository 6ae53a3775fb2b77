// UTF-8 and its faults, classes of characters, and normalization form C. The tables are compared with the
// reference, all characters of them, by test_native_tokenizer.py.
#include "unicode.h"

#include <string>

#include "check.h"
#include "utf8.h"

using namespace pocketlm;

namespace {

bool is_surrogate(char32_t code) { return code >= 0xd800 && code < 0xe000; }

std::string utf8(std::u32string_view text) {
    std::string out;
    for (const char32_t code : text) {
        append_utf8(code, out);
    }
    return out;
}

}  // namespace

TEST(every_character_is_written_and_read) {
    for (char32_t code = 0; code < 0x110000; ++code) {
        if (is_surrogate(code)) {
            continue;
        }
        std::string text;
        append_utf8(code, text);
        CHECK(is_utf8(text));
        const Character whole = character_at(text, 0);
        CHECK(whole.sound && !whole.cut);
        CHECK_EQUAL(whole.code, code);
        CHECK_EQUAL(whole.length, text.size());
        for (size_t size = 1; size < text.size(); ++size) {
            const Character part = character_at(std::string_view(text).substr(0, size), 0);
            CHECK(part.cut && !part.sound);
            CHECK_EQUAL(part.length, size);
        }
    }
}

// Examples of The Unicode Standard, section 3.9, tables 3-8 to 3-11.
TEST(wrong_bytes_are_replaced_by_longest_beginnings) {
    const std::string r = "\uFFFD";
    CHECK(sound_utf8("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41") == r + r + r + r + r + r + r + r + "A");
    CHECK(sound_utf8("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41") == r + r + r + r + r + r + r + r + "A");
    CHECK(sound_utf8("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42") == r + r + r + r + r + "A" + r + r + "B");
    CHECK(sound_utf8("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41") == r + r + r + r + "A");
    CHECK(sound_utf8("\xE2\x82") == r);
    CHECK(sound_utf8(std::string_view("a\0b", 3)) == std::string("a\0b", 3));
}

// Any two bytes, and any three of those that matter: what is made is sound, and sound texts stay.
TEST(what_is_made_is_sound) {
    constexpr unsigned char odd[] = {0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2,
                                     0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5};
    const auto check = [](const std::string& text) {
        const std::string sound = sound_utf8(text);
        CHECK(is_utf8(sound));
        CHECK(is_utf8(text) == (sound == text));
    };
    for (int a = 0; a < 256; ++a) {
        for (int b = 0; b < 256; ++b) {
            check({static_cast<char>(a), static_cast<char>(b)});
        }
    }
    for (const unsigned char a : odd) {
        for (const unsigned char b : odd) {
            for (const unsigned char c : odd) {
                for (const unsigned char d : odd) {
                    check({static_cast<char>(a), static_cast<char>(b), static_cast<char>(c),
                           static_cast<char>(d)});
                }
            }
        }
    }
}

TEST(classes) {
    CHECK(class_of(U'A') == CharacterClass::upper);
    CHECK(class_of(U'\u01C5') == CharacterClass::upper);  // titlecase
    CHECK(class_of(U'\u00DF') == CharacterClass::lower);
    CHECK(class_of(U'\u4F60') == CharacterClass::caseless);
    CHECK(class_of(U'\u0301') == CharacterClass::mark);
    CHECK(class_of(U'\u0663') == CharacterClass::number);
    CHECK(class_of(U'\u3000') == CharacterClass::space);
    CHECK(class_of(U'\u200B') == CharacterClass::other);
    CHECK(class_of(0x10ffff) == CharacterClass::other);
    CHECK(class_of(0xffffffff) == CharacterClass::other);
}

TEST(composition) {
    CHECK(compose("") == "");
    CHECK(compose("plain \u00e9") == "plain \u00e9");
    CHECK(compose(utf8(U"e\u0301")) == "\u00e9");
    CHECK(compose(utf8(U"\u212B")) == "\u00c5");                      // a singleton
    CHECK(compose(utf8(U"q\u0307\u0323")) == utf8(U"q\u0323\u0307"));  // put in order
    CHECK(compose(utf8(U"\u0958")) == utf8(U"\u0915\u093C"));          // excluded from composition
    CHECK(compose(utf8(U"\u1112\u1161\u11ab")) == "\ud55c");           // Hangul
    CHECK(compose(utf8(U"\ud558\u11ab")) == "\ud55c");
    CHECK(compose(utf8(U"\u0301e\u0301\u0301")) == utf8(U"\u0301\u00e9\u0301"));
    CHECK(compose(utf8(U"a\u0334\u0301")) == utf8(U"\u00e1\u0334"));
    CHECK(compose(utf8(U"s\u0323\u0307")) == utf8(U"\u1e69"));
    CHECK(compose(utf8(U"\u0344")) == utf8(U"\u0308\u0301"));
}

int main() { return run_tests(); }
