#include "unicode.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <vector>

#include "unicode_tables.h"

namespace pocketlm {
namespace {

// The value of the run that a character is in; the first run begins at 0.
template <size_t Count>
uint8_t value_in(const uint32_t (&runs)[Count], char32_t code) {
    const auto before = [](char32_t wanted, uint32_t run) { return wanted < run >> 8; };
    return static_cast<uint8_t>(*std::prev(std::upper_bound(std::begin(runs), std::end(runs), code, before)));
}

// The lower bits of the entry whose upper bits are `key`; 0 if there is none.
template <size_t Count>
uint64_t found_in(const uint64_t (&entries)[Count], uint64_t key, int lower_bits) {
    const uint64_t* entry = std::lower_bound(std::begin(entries), std::end(entries), key << lower_bits);
    if (entry == std::end(entries) || *entry >> lower_bits != key) {
        return 0;
    }
    return *entry & ((uint64_t{1} << lower_bits) - 1);
}

// Below U+0300 NFC changes nothing, and nothing composes with what is before it.
constexpr char32_t first_normalized = 0x300;
constexpr uint8_t first_normalized_lead = 0xcc;  // the first byte of U+0300

// Hangul syllables are computed (The Unicode Standard, section 3.12).
constexpr char32_t syllables = 0xac00, leads = 0x1100, vowels = 0x1161, trails = 0x11a7;
constexpr char32_t lead_count = 19, vowel_count = 21, trail_count = 28;
constexpr char32_t syllable_count = lead_count * vowel_count * trail_count;

void decompose(char32_t code, std::u32string& out) {
    if (code - syllables < syllable_count) {
        const char32_t index = code - syllables;
        out += leads + index / (vowel_count * trail_count);
        out += vowels + index / trail_count % vowel_count;
        if (index % trail_count != 0) {
            out += trails + index % trail_count;
        }
        return;
    }
    const uint64_t pair = found_in(unicode::decompositions, code, 42);
    if (pair == 0) {
        out += code;
        return;
    }
    decompose(static_cast<char32_t>(pair >> 21), out);  // four steps at most
    if (const char32_t second = pair & 0x1fffff; second != 0) {
        out += second;  // never decomposes further
    }
}

// The character that two become; 0 if they stay two.
char32_t composed(char32_t first, char32_t second) {
    if (first - leads < lead_count && second - vowels < vowel_count) {
        return syllables + ((first - leads) * vowel_count + (second - vowels)) * trail_count;
    }
    if (first - syllables < syllable_count && (first - syllables) % trail_count == 0 &&
        second - trails - 1 < trail_count - 1) {
        return first + (second - trails);
    }
    return static_cast<char32_t>(
        found_in(unicode::compositions, static_cast<uint64_t>(first) << 21 | second, 21));
}

uint8_t order_of(char32_t code) {
    return code < first_normalized ? uint8_t{0} : value_in(unicode::order_runs, code);
}

// Marks between two starters come in the order of their classes.
void put_in_order(std::u32string& text) {
    const auto is_mark = [](char32_t code) { return order_of(code) != 0; };
    for (auto begin = text.begin(); begin != text.end();) {
        begin = std::find_if(begin, text.end(), is_mark);
        const auto end = std::find_if_not(begin, text.end(), is_mark);
        std::stable_sort(begin, end, [](char32_t a, char32_t b) { return order_of(a) < order_of(b); });
        begin = end;
    }
}

}  // namespace

CharacterClass class_of(char32_t code) {
    static const std::array<CharacterClass, 128> ascii = [] {
        std::array<CharacterClass, 128> classes{};
        for (char32_t each = 0; each < classes.size(); ++each) {
            classes[each] = static_cast<CharacterClass>(value_in(unicode::class_runs, each));
        }
        return classes;
    }();
    return code < ascii.size() ? ascii[code]
                               : static_cast<CharacterClass>(value_in(unicode::class_runs, code));
}

Character character_at(std::string_view text, size_t position) {
    const auto byte = [&](size_t offset) { return static_cast<uint8_t>(text[position + offset]); };
    const uint8_t lead = byte(0);
    if (lead < 0x80) {
        return {lead, 1, true, false};
    }
    const uint32_t length = lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
    if (length == 0) {
        return {replacement_character, 1, false, false};
    }
    // The second byte has fewer values where more would be an overlong form, a surrogate, or too large.
    const uint8_t lowest = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    const uint8_t highest = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    char32_t code = lead & (0x7fu >> length);
    for (uint32_t i = 1; i < length; ++i) {
        if (position + i == text.size()) {
            return {replacement_character, i, false, true};
        }
        const uint8_t next = byte(i);
        if (next < (i == 1 ? lowest : 0x80) || next > (i == 1 ? highest : 0xbf)) {
            return {replacement_character, i, false, false};
        }
        code = code << 6 | (next & 0x3fu);
    }
    return {code, length, true, false};
}

void append_utf8(char32_t code, std::string& out) {
    if (code < 0x80) {
        out += static_cast<char>(code);
        return;
    }
    const int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    const uint32_t lead = more == 1 ? 0xc0 : more == 2 ? 0xe0 : 0xf0;
    out += static_cast<char>(lead | code >> (6 * more));
    for (int i = more - 1; i >= 0; --i) {
        out += static_cast<char>(0x80u | (code >> (6 * i) & 0x3fu));
    }
}

std::string sound_utf8(std::string_view text) {
    std::string sound;
    sound.reserve(text.size());
    for (size_t position = 0; position < text.size();) {
        const Character character = character_at(text, position);
        append_utf8(character.code, sound);
        position += character.length;
    }
    return sound;
}

std::string compose(std::string_view text) {
    const auto is_plain = [](char byte) { return static_cast<uint8_t>(byte) < first_normalized_lead; };
    if (std::all_of(text.begin(), text.end(), is_plain)) {
        return std::string(text);
    }
    std::u32string characters;
    for (size_t position = 0; position < text.size();) {
        const Character character = character_at(text, position);
        decompose(character.code, characters);
        position += character.length;
    }
    put_in_order(characters);

    // Each character goes into the last starter, unless one of its own class or higher stands between.
    constexpr size_t none = static_cast<size_t>(-1);
    size_t starter = none;
    uint8_t last_order = 0;
    size_t kept = 0;
    for (const char32_t code : characters) {
        const uint8_t order = order_of(code);
        const bool beside = starter != none && kept == starter + 1;
        if (starter != none && (beside || last_order < order)) {
            if (const char32_t joined = composed(characters[starter], code); joined != 0) {
                characters[starter] = joined;
                continue;
            }
        }
        if (order == 0) {
            starter = kept;
        }
        last_order = order;
        characters[kept++] = code;
    }
    std::string out;
    out.reserve(text.size());
    for (size_t i = 0; i < kept; ++i) {
        append_utf8(characters[i], out);
    }
    return out;
}

}  // namespace pocketlm
