#include "tokenizer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <utility>

#include "error.h"
#include "merges.h"
#include "pieces.h"
#include "unicode.h"
#include "utf8.h"
#include "words.h"

namespace pocketlm {
namespace {

constexpr size_t most_tokens = size_t{1} << 20;
constexpr size_t most_characters = size_t{1} << 24;  // of all spellings; the largest real ones have 2 million
constexpr size_t most_merges = size_t{1} << 22;
constexpr size_t longest_spelling = size_t{1} << 12;
constexpr size_t longest_text = size_t{1} << 30;

constexpr std::string_view space_mark = "\u2581";  // how SentencePiece spells a space

// Unicode's White_Space, which control tokens swallow.
bool is_whitespace(char32_t code) { return class_of(code) == CharacterClass::space; }

// A token's type, numbered as in GGUF and in SentencePiece's model.proto, and one more: user-defined tokens
// that steer (`</s>`, `<tool_call>`), which a model may write as text.
enum class Kind : uint8_t { normal = 1, unknown, control, user_defined, unused, byte, shown_control };

bool steers(Kind kind) { return kind == Kind::control || kind == Kind::shown_control; }

// Spellings of tokens that end a turn or a text, in the models that pocketlm runs.
constexpr std::string_view end_spellings[] = {
    "<|end|>", "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|eot|>", "<end_of_turn>", "<end_of_utterance>",
    "<|end_of_text|>", "<|endoftext|>", "<|end_of_sentence|>",
    "<\uff5cend\u2581of\u2581sentence\uff5c>", "<EOT>", "</s>",
};

[[noreturn]] void refuse_token(size_t id, const std::string& what) {
    refuse(Fault::file, "token " + std::to_string(id) + what);
}

size_t characters_in(std::string_view text) {
    const auto begins = [](char byte) { return (static_cast<uint8_t>(byte) & 0xc0) != 0x80; };
    return static_cast<size_t>(std::count_if(text.begin(), text.end(), begins));
}

bool begins_with(std::string_view text, std::string_view beginning) {
    return text.substr(0, beginning.size()) == beginning;
}

bool ends_with(std::string_view text, std::string_view ending) {
    return text.size() >= ending.size() && text.substr(text.size() - ending.size()) == ending;
}

// What is between a beginning and an ending; empty where the text does not have both.
std::string_view between(std::string_view text, std::string_view beginning, std::string_view ending) {
    if (text.size() < beginning.size() + ending.size() || !begins_with(text, beginning) ||
        !ends_with(text, ending)) {
        return {};
    }
    return text.substr(beginning.size(), text.size() - beginning.size() - ending.size());
}

bool has_whitespace(std::string_view text) {
    for (size_t position = 0; position < text.size();) {
        const Character character = character_at(text, position);
        const bool separator = character.code >= 0x1c && character.code <= 0x1f;  // Python's \s has them
        if (separator || is_whitespace(character.code)) {
            return true;
        }
        position += character.length;
    }
    return false;
}

// What added tokens look like that steer a model, flagged so or not: <|end|>, </s>, [INST], <｜User｜>.
bool looks_like_control(std::string_view spelling) {
    const std::string_view tag = between(spelling, "<", ">");
    if (!tag.empty() && tag.find_first_of("<>") == std::string_view::npos) {
        constexpr std::string_view bar = "\uff5c";
        return !has_whitespace(tag) || !between(tag, bar, bar).empty();
    }
    std::string_view name = between(spelling, "[", "]");
    name.remove_prefix(begins_with(name, "/") ? 1 : 0);
    const auto of_name = [](char c) { return (c >= 'A' && c <= 'Z') || c == '_'; };
    return !name.empty() && std::all_of(name.begin(), name.end(), of_name);
}

// Spellings that converters give to the rows by which a matrix is larger than its vocabulary.
bool looks_like_padding(std::string_view spelling) {
    for (const auto& [beginning, ending] : {std::pair<std::string_view, std::string_view>{"[PAD", "]"},
                                            {"<dummy", ">"},
                                            {"[UNUSED_TOKEN_", "]"}}) {
        const std::string_view number = between(spelling, beginning, ending);
        const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
        if (!number.empty() && std::all_of(number.begin(), number.end(), is_digit)) {
            return true;
        }
    }
    return false;
}

// The byte that a spelling like <0x0A> stands for; -1 if it is none.
int byte_value(std::string_view spelling) {
    const std::string_view digits = between(spelling, "<0x", ">");
    if (digits.size() != 2) {
        return -1;
    }
    int value = 0;
    for (const char digit : digits) {
        const int number = digit >= '0' && digit <= '9'   ? digit - '0'
                           : digit >= 'A' && digit <= 'F' ? digit - 'A' + 10
                           : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10
                                                          : -1;
        if (number < 0) {
            return -1;
        }
        value = value * 16 + number;
    }
    return value;
}

std::string byte_spelling(int byte) {
    constexpr char digits[] = "0123456789ABCDEF";
    return {'<', '0', 'x', digits[byte >> 4], digits[byte & 15], '>'};
}

// GPT-2's alphabet: printable bytes are their own character, the others follow from U+0100.
const std::array<char32_t, 256>& alphabet() {
    static const std::array<char32_t, 256> characters = [] {
        std::array<char32_t, 256> made{};
        char32_t next = 0x100;
        for (char32_t byte = 0; byte < made.size(); ++byte) {
            const bool printable = (byte >= 0x21 && byte < 0x7f) || (byte >= 0xa1 && byte != 0xad);
            made[byte] = printable ? byte : next++;
        }
        return made;
    }();
    return characters;
}

std::string in_alphabet(std::string_view bytes) {
    std::string text;
    for (const char byte : bytes) {
        append_utf8(alphabet()[static_cast<uint8_t>(byte)], text);
    }
    return text;
}

// The bytes that a text in the alphabet stands for. A text with another character stands for itself.
std::string from_alphabet(std::string_view text) {
    std::string bytes;
    for (size_t position = 0; position < text.size();) {
        const Character character = character_at(text, position);
        const auto found = std::find(alphabet().begin(), alphabet().end(), character.code);
        if (found == alphabet().end()) {
            return std::string(text);
        }
        bytes += static_cast<char>(found - alphabet().begin());
        position += character.length;
    }
    return bytes;
}

std::string replaced(std::string_view text, std::string_view old, std::string_view by) {
    std::string out;
    for (size_t position = 0; position < text.size();) {
        const size_t found = std::min(text.find(old, position), text.size());
        out += text.substr(position, found - position);
        if (found < text.size()) {
            out += by;
        }
        position = found + old.size();
    }
    return out;
}

std::string_view without_leading_whitespace(std::string_view text) {
    while (!text.empty()) {
        const Character character = character_at(text, 0);
        if (!is_whitespace(character.code)) {
            break;
        }
        text.remove_prefix(character.length);
    }
    return text;
}

}  // namespace

struct Tokenizer::State {
    // As the vocabulary has them.
    bool byte_level;
    const PreTokenizer* cutter;  // null where not byte-level
    bool space_prefix;
    int32_t bos, eos, pad, unknown;
    bool add_bos;
    std::vector<Kind> kinds;  // by id, sharpened by the spellings
    std::string all_spellings;
    std::vector<std::string_view> spellings;  // by id, within all_spellings

    // Made from these.
    Pieces known;                    // what plain text may become: all but the control and unused tokens
    Pieces control;                  // tokens that steer the model
    std::string all_defined;         // the spellings of `defined`, as they are in a normalized text
    Pieces defined;                  // the other user-defined tokens, which are cut out of plain text first
    std::vector<int32_t> strips;     // control tokens that swallow the whitespace after them, ascending
    std::vector<int32_t> ends;       // ascending
    std::array<int32_t, 256> bytes;  // the token of each byte; no_token where there is none
    Merges merges;

    explicit State(const Vocabulary& vocabulary);
    void take_tokens(const Vocabulary& vocabulary);
    Kind kind_of(size_t id, std::string_view spelling, int32_t type) const;
    void sort_tokens();
    void find_roles(const Vocabulary& vocabulary);
    std::vector<Merge> listed_merges(const std::vector<std::string_view>& lines, const Pieces& all) const;
    std::vector<Merge> scored_merges(const std::vector<float>& scores) const;

    bool has(int32_t id) const { return id >= 0 && static_cast<size_t>(id) < kinds.size(); }
    Kind kind(int32_t id) const { return kinds[static_cast<size_t>(id)]; }
    bool is_control(int32_t id) const { return has(id) && steers(kind(id)); }
    bool is_unused(int32_t id) const { return has(id) && kind(id) == Kind::unused; }
    bool is_apart_from_text(int32_t id) const { return is_control(id) || is_unused(id); }
    bool drops_space(int32_t after) const {
        return space_prefix && (after == no_token || is_control(after));
    }
    int32_t id_of(std::string_view spelling) const {
        const Piece* piece = known.find(spelling);
        return piece != nullptr ? piece->id : no_token;
    }

    std::string normalized(std::string_view text) const;
    void encode_run(std::string_view text, int32_t after, Joiner& joiner, std::vector<int32_t>& ids) const;
    void encode_stretch(std::string_view text, Joiner& joiner, std::vector<int32_t>& ids) const;
    void spell_characters(std::string_view text, std::vector<int32_t>& symbols) const;
};

// -- building ---------------------------------------------------------------------------------------------

Tokenizer::State::State(const Vocabulary& vocabulary)
    : byte_level(vocabulary.byte_level),
      cutter(byte_level ? &pre_tokenizer(vocabulary.pre_tokenizer) : nullptr),
      space_prefix(!byte_level && vocabulary.space_prefix),
      bos(vocabulary.bos),
      eos(vocabulary.eos),
      pad(vocabulary.pad),
      unknown(vocabulary.unknown),
      add_bos(vocabulary.add_bos.value_or(byte_level ? cutter->add_bos : true)) {
    take_tokens(vocabulary);
    std::vector<Piece> named;
    for (size_t id = 0; id < spellings.size(); ++id) {
        if (!spellings[id].empty()) {
            named.push_back({spellings[id], static_cast<int32_t>(id)});
        }
    }
    const size_t count = named.size();
    const Pieces all(std::move(named));
    if (all.in_order().size() != count) {
        refuse(Fault::file, "two tokens of the vocabulary have one spelling");
    }
    sort_tokens();
    find_roles(vocabulary);
    for (int byte = 0; byte < 256; ++byte) {
        std::string spelling;
        if (byte_level) {
            append_utf8(alphabet()[static_cast<size_t>(byte)], spelling);
        } else {
            spelling = byte_spelling(byte);
        }
        bytes[static_cast<size_t>(byte)] = id_of(spelling);
    }
    merges = Merges(byte_level ? listed_merges(vocabulary.merges, all) : scored_merges(vocabulary.scores),
                    kinds.size());
}

void Tokenizer::State::take_tokens(const Vocabulary& vocabulary) {
    const size_t count = vocabulary.pieces.size();
    size_t characters = 0;
    size_t size = 0;
    for (const std::string_view piece : vocabulary.pieces) {
        characters += characters_in(piece);
        size += piece.size();
    }
    if (count == 0 || count > most_tokens || characters > most_characters || size > 4 * most_characters) {
        refuse(Fault::file, "the vocabulary has " + std::to_string(count) + " tokens of " +
                                std::to_string(characters) + " characters; sound ones have 1 to " +
                                std::to_string(most_tokens) + " of at most " +
                                std::to_string(most_characters));
    }
    if (!vocabulary.types.empty() && vocabulary.types.size() != count) {
        refuse(Fault::file, "the vocabulary has " + std::to_string(count) + " tokens and " +
                                std::to_string(vocabulary.types.size()) + " token types");
    }
    for (const auto& [name, id] : {std::pair<const char*, int32_t>{"bos", bos},
                                   {"eos", eos},
                                   {"pad", pad},
                                   {"unknown", unknown},
                                   {"eot", vocabulary.eot}}) {
        if (id != no_token && (id < 0 || static_cast<size_t>(id) >= count)) {
            refuse(Fault::file, std::string("the ") + name + " token is id " + std::to_string(id) +
                                    ", and the vocabulary ends at " + std::to_string(count - 1));
        }
    }
    all_spellings.reserve(size);  // views into it stay
    for (size_t id = 0; id < count; ++id) {
        const std::string_view piece = vocabulary.pieces[id];
        kinds.push_back(kind_of(id, piece, vocabulary.types.empty() ? 1 : vocabulary.types[id]));
        spellings.emplace_back(all_spellings.data() + all_spellings.size(), piece.size());
        all_spellings += piece;
    }
}

// The type that a file says, sharpened by the spelling.
Kind Tokenizer::State::kind_of(size_t id, std::string_view spelling, int32_t type) const {
    if (type < 1 || type > 6) {
        refuse_token(id, " has the unknown type " + std::to_string(type));
    }
    if (!is_utf8(spelling)) {
        refuse_token(id, " is not UTF-8");
    }
    const auto kind = static_cast<Kind>(type);
    const bool may_pad = kind != Kind::normal && kind != Kind::control;
    if (kind == Kind::unused || (may_pad && looks_like_padding(spelling))) {
        return Kind::unused;
    }
    if (spelling.empty() || characters_in(spelling) > longest_spelling) {
        refuse_token(id, " is " + std::to_string(characters_in(spelling)) + " characters long");
    }
    if (kind == Kind::byte && byte_value(spelling) < 0) {
        refuse_token(id, " is of the byte type, and is not spelled like one");
    }
    if (kind == Kind::user_defined && looks_like_control(spelling)) {
        return Kind::shown_control;
    }
    return kind == Kind::unknown ? Kind::control : kind;
}

// Into those that plain text may become, those that steer, and those that are cut out of plain text.
void Tokenizer::State::sort_tokens() {
    std::vector<Piece> plain, steering, apart;
    for (size_t i = 0; i < kinds.size(); ++i) {
        const Piece piece{spellings[i], static_cast<int32_t>(i)};
        if (steers(kinds[i])) {
            steering.push_back(piece);
        } else if (kinds[i] != Kind::unused) {
            plain.push_back(piece);
        }
        if (kinds[i] == Kind::user_defined) {
            apart.push_back(piece);
        }
    }
    std::vector<std::pair<size_t, size_t>> places;
    for (const Piece& piece : apart) {
        const std::string spelling = normalized(piece.spelling);
        places.emplace_back(all_defined.size(), spelling.size());
        all_defined += spelling;
    }
    for (size_t i = 0; i < apart.size(); ++i) {
        apart[i].spelling = std::string_view(all_defined).substr(places[i].first, places[i].second);
    }
    known = Pieces(std::move(plain));
    control = Pieces(std::move(steering));
    defined = Pieces(std::move(apart));
}

void Tokenizer::State::find_roles(const Vocabulary& vocabulary) {
    for (const std::string_view spelling : end_spellings) {
        if (const Piece* piece = control.find(spelling); piece != nullptr) {
            ends.push_back(piece->id);
        }
    }
    if (vocabulary.eot != no_token) {
        ends.push_back(vocabulary.eot);
    }
    std::sort(ends.begin(), ends.end());
    ends.erase(std::unique(ends.begin(), ends.end()), ends.end());

    // Phi-3's tokenizer strips the whitespace right of its role tokens, </s> included, and not of <unk>, <s>
    // and <|endoftext|>. A GGUF file cannot say so: it is known by the four role tokens.
    constexpr std::string_view roles[] = {"<|user|>", "<|assistant|>", "<|system|>", "<|end|>"};
    const auto is_there = [&](std::string_view role) {
        return std::find(spellings.begin(), spellings.end(), role) != spellings.end();
    };
    if (byte_level || !std::all_of(std::begin(roles), std::end(roles), is_there)) {
        return;
    }
    for (const Piece& piece : control.in_order()) {
        if (piece.spelling == "</s>" ||
            (begins_with(piece.spelling, "<|") && piece.spelling != "<|endoftext|>")) {
            strips.push_back(piece.id);
        }
    }
    std::sort(strips.begin(), strips.end());
}

// The merges that a file lists, but those of control and unused tokens.
std::vector<Merge> Tokenizer::State::listed_merges(const std::vector<std::string_view>& lines,
                                                   const Pieces& all) const {
    if (lines.size() > most_merges) {
        refuse(Fault::file, "the vocabulary has more merges than any sound one");
    }
    std::vector<Merge> found;
    found.reserve(lines.size());
    std::string joined;
    for (size_t i = 0; i < lines.size(); ++i) {
        const size_t space = lines[i].find(' ');
        const std::string_view left = lines[i].substr(0, space);
        const std::string_view right =
            space == std::string_view::npos ? std::string_view() : lines[i].substr(space + 1);
        if (left.empty() || right.empty() || right.find(' ') != std::string_view::npos) {
            refuse(Fault::file, "merge " + std::to_string(i) + " is not two pieces");
        }
        joined.assign(left).append(right);
        std::array<int32_t, 3> ids{};
        bool is_apart = false;
        bool is_missing = false;
        const std::array<std::string_view, 3> parts = {left, right, joined};
        for (size_t part = 0; part < parts.size(); ++part) {
            const Piece* piece = all.find(parts[part]);
            ids[part] = piece != nullptr ? piece->id : no_token;
            is_missing |= piece == nullptr;
            is_apart |= piece != nullptr && is_apart_from_text(piece->id);
        }
        if (is_apart) {
            continue;
        }
        if (is_missing) {
            refuse(Fault::file, "merge " + std::to_string(i) + " needs a token that is missing");
        }
        found.push_back({ids[0], ids[1], ids[2], static_cast<uint32_t>(i)});
    }
    return found;
}

// The merges that SentencePiece's BPE makes (Kudo and Richardson 2018): each way to cut a piece into two
// pieces, by its score; ways of one score come in the order of their ids.
std::vector<Merge> Tokenizer::State::scored_merges(const std::vector<float>& scores) const {
    if (scores.size() != kinds.size()) {
        refuse(Fault::file, "the vocabulary has " + std::to_string(kinds.size()) + " tokens and " +
                                std::to_string(scores.size()) + " scores");
    }
    if (!std::all_of(scores.begin(), scores.end(), [](float score) { return std::isfinite(score); })) {
        refuse(Fault::file, "a score of the vocabulary is not a finite number");
    }
    const auto is_normal = [&](const Piece& piece) { return kind(piece.id) == Kind::normal; };
    std::vector<Merge> found;
    std::vector<const Piece*> beginnings;  // the pieces that the present one begins with, shortest first
    for (const Piece& piece : known.in_order()) {
        if (!is_normal(piece)) {
            continue;
        }
        while (!beginnings.empty() && !begins_with(piece.spelling, beginnings.back()->spelling)) {
            beginnings.pop_back();
        }
        for (const Piece* left : beginnings) {
            const Piece* right = known.find(piece.spelling.substr(left->spelling.size()));
            if (right != nullptr && is_normal(*right)) {
                found.push_back({left->id, right->id, piece.id, 0});
            }
        }
        if (found.size() > most_merges) {
            refuse(Fault::file, "the vocabulary makes more merges than any sound one");
        }
        beginnings.push_back(&piece);
    }
    std::sort(found.begin(), found.end(), [&](const Merge& a, const Merge& b) {
        const float score_a = scores[static_cast<size_t>(a.result)];
        const float score_b = scores[static_cast<size_t>(b.result)];
        if (score_a != score_b) {
            return score_a > score_b;
        }
        return a.left != b.left ? a.left < b.left : a.right < b.right;
    });
    for (size_t i = 0; i < found.size(); ++i) {
        found[i].rank = static_cast<uint32_t>(i);
    }
    return found;
}

// -- encoding ---------------------------------------------------------------------------------------------

std::string Tokenizer::State::normalized(std::string_view text) const {
    if (!byte_level) {
        return replaced(text, " ", space_mark);
    }
    return cutter->composes ? compose(text) : std::string(text);
}

// `text` is sound UTF-8.
void Tokenizer::State::encode_run(std::string_view text, int32_t after, Joiner& joiner,
                                  std::vector<int32_t>& ids) const {
    if (std::binary_search(strips.begin(), strips.end(), after)) {
        text = without_leading_whitespace(text);
    }
    if (text.empty()) {
        return;
    }
    std::string ready = normalized(text);
    if (drops_space(after)) {
        ready.insert(0, space_mark);
    }
    size_t begin = 0;  // of what lies between user-defined tokens
    for (size_t position = 0; position < ready.size();) {
        const Piece* piece = defined.longest_at(ready, position);
        if (piece == nullptr) {
            ++position;
            continue;
        }
        encode_stretch(std::string_view(ready).substr(begin, position - begin), joiner, ids);
        ids.push_back(piece->id);
        position += piece->spelling.size();
        begin = position;
    }
    encode_stretch(std::string_view(ready).substr(begin), joiner, ids);
}

void Tokenizer::State::encode_stretch(std::string_view text, Joiner& joiner,
                                      std::vector<int32_t>& ids) const {
    std::vector<int32_t> symbols;
    if (!byte_level) {
        spell_characters(text, symbols);
        joiner.join(symbols, ids);
        return;
    }
    for_each_word(*cutter, text, [&](std::string_view word) {
        if (cutter->ignore_merges) {
            if (const int32_t whole = id_of(in_alphabet(word)); whole != no_token) {
                ids.push_back(whole);
                return;
            }
        }
        symbols.clear();
        for (const char byte : word) {
            // Bytes that the vocabulary lacks are left out, as in the originals.
            if (const int32_t id = bytes[static_cast<uint8_t>(byte)]; id != no_token) {
                symbols.push_back(id);
            }
        }
        joiner.join(symbols, ids);
    });
}

// The token of each character; of those that have none, the tokens of their bytes. Of neighbours without
// either all are one unknown token, which the reference puts after byte tokens that follow it.
void Tokenizer::State::spell_characters(std::string_view text, std::vector<int32_t>& symbols) const {
    bool pending = false;
    const auto put_unknown = [&] {
        if (pending) {
            symbols.push_back(unknown);
            pending = false;
        }
    };
    for (size_t position = 0; position < text.size();) {
        const std::string_view character = text.substr(position, character_at(text, position).length);
        position += character.size();
        if (const int32_t id = id_of(character); id != no_token) {
            put_unknown();
            symbols.push_back(id);
            continue;
        }
        const auto token_of = [&](char byte) { return bytes[static_cast<uint8_t>(byte)]; };
        const auto has_token = [&](char byte) { return token_of(byte) != no_token; };
        if (std::all_of(character.begin(), character.end(), has_token)) {
            std::transform(character.begin(), character.end(), std::back_inserter(symbols), token_of);
        } else {
            pending = unknown != no_token;
        }
    }
    put_unknown();
}

// -- what it offers ---------------------------------------------------------------------------------------

Tokenizer::Tokenizer(const Vocabulary& vocabulary) : state_(std::make_unique<const State>(vocabulary)) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

int32_t Tokenizer::size() const { return static_cast<int32_t>(state_->kinds.size()); }
int32_t Tokenizer::bos() const { return state_->bos; }
int32_t Tokenizer::eos() const { return state_->eos; }
int32_t Tokenizer::pad() const { return state_->pad; }
int32_t Tokenizer::unknown() const { return state_->unknown; }
bool Tokenizer::add_bos() const { return state_->add_bos; }
const std::vector<int32_t>& Tokenizer::ends() const { return state_->ends; }
bool Tokenizer::is_control(int32_t id) const { return state_->is_control(id); }
bool Tokenizer::is_unused(int32_t id) const { return state_->is_unused(id); }
bool Tokenizer::drops_space(int32_t after) const { return state_->drops_space(after); }

std::string_view Tokenizer::spelling(int32_t id) const {
    return state_->has(id) ? state_->spellings[static_cast<size_t>(id)] : std::string_view();
}

int32_t Tokenizer::control_token(std::string_view spelling) const {
    const Piece* piece = state_->control.find(spelling);
    return piece != nullptr ? piece->id : no_token;
}

std::vector<int32_t> Tokenizer::encode_run(std::string_view text, int32_t after) const {
    if (text.size() >= longest_text) {
        refuse(Fault::argument, "a text of a gibibyte or more is not encoded");
    }
    std::vector<int32_t> ids;
    Joiner joiner(state_->merges);
    state_->encode_run(sound_utf8(text), after, joiner, ids);
    return ids;
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool control) const {
    if (!control) {
        return encode_run(text, no_token);
    }
    if (text.size() >= longest_text) {
        refuse(Fault::argument, "a text of a gibibyte or more is not encoded");
    }
    const std::string sound = sound_utf8(text);
    std::vector<int32_t> ids;
    Joiner joiner(state_->merges);
    int32_t after = no_token;
    size_t begin = 0;
    for (size_t position = 0; position < sound.size();) {
        const Piece* piece = state_->control.longest_at(sound, position);
        if (piece == nullptr) {
            ++position;
            continue;
        }
        state_->encode_run(std::string_view(sound).substr(begin, position - begin), after, joiner, ids);
        ids.push_back(piece->id);
        after = piece->id;
        position += piece->spelling.size();
        begin = position;
    }
    state_->encode_run(std::string_view(sound).substr(begin), after, joiner, ids);
    return ids;
}

std::string Tokenizer::token_bytes(int32_t id) const {
    if (!state_->has(id)) {
        return {};
    }
    const std::string_view spelling = state_->spellings[static_cast<size_t>(id)];
    switch (state_->kind(id)) {
        case Kind::control:
        case Kind::unused:
            return {};
        case Kind::byte:
            return std::string(1, static_cast<char>(byte_value(spelling)));
        case Kind::normal:
            return state_->byte_level ? from_alphabet(spelling) : replaced(spelling, space_mark, " ");
        default:
            return state_->byte_level ? std::string(spelling) : replaced(spelling, space_mark, " ");
    }
}

Detokenizer::Detokenizer(const Tokenizer& tokenizer, int32_t after)
    : tokenizer_(&tokenizer), drop_space_(tokenizer.drops_space(after)) {}

std::string Detokenizer::push(int32_t id) {
    std::string bytes = tokenizer_->token_bytes(id);
    if (drop_space_ && !bytes.empty()) {
        bytes.erase(0, bytes.front() == ' ' ? 1 : 0);
        drop_space_ = false;
    }
    pending_ += bytes;
    std::string text;
    size_t position = 0;
    while (position < pending_.size()) {
        const Character character = character_at(pending_, position);
        if (character.cut) {
            break;
        }
        append_utf8(character.code, text);
        position += character.length;
    }
    pending_.erase(0, position);
    if (tokenizer_->is_control(id)) {
        text += flush();
        drop_space_ = tokenizer_->drops_space(id);
    }
    return text;
}

std::string Detokenizer::flush() {
    std::string text;
    if (!pending_.empty()) {
        append_utf8(replacement_character, text);
        pending_.clear();
    }
    return text;
}

}  // namespace pocketlm
