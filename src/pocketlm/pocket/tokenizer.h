// Text to token ids and back, id for id as formats/tokenizer.py has them.
//
// Knows a vocabulary as plain data, which tokens steer a model, and how bytes of tokens join to characters.
// Does not know files, nor what a chat looks like. Plain text never becomes a control token: what encodes
// it does not hold them. They are found by their spellings alone, and only when asked for.
//
// Bytes that are no UTF-8 are read as Python's bytes.decode("utf-8", "replace") reads them: each longest
// beginning of a character that was cut short, and each other wrong byte, is one U+FFFD.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pocketlm {

constexpr int32_t no_token = -1;

// What a file says of its tokens. The views need to live only until the tokenizer is built.
struct Vocabulary {
    bool byte_level = false;         // GPT-2's alphabet of bytes; else SentencePiece's text with ▁
    std::string_view pre_tokenizer;  // byte-level: how text is cut into words, by the name that GGUF has
    std::vector<std::string_view> pieces;  // the spelling of each id, UTF-8
    std::vector<int32_t> types;            // of each id, numbered as in GGUF, 1 … 6; empty: all are normal
    std::vector<float> scores;             // SentencePiece's, of each id; empty where byte-level
    std::vector<std::string_view> merges;  // byte-level: "left right", first to last; else empty
    int32_t bos = no_token;
    int32_t eos = no_token;
    int32_t pad = no_token;
    int32_t unknown = no_token;
    int32_t eot = no_token;
    std::optional<bool> add_bos;  // whether a prompt begins with BOS; if not said, as is usual for the kind
    bool space_prefix = true;     // SentencePiece's: a space is put before each run of plain text
};

class Tokenizer {
  public:
    // Checks the vocabulary, of which nothing is trusted. Throws Error (file, unsupported).
    explicit Tokenizer(const Vocabulary& vocabulary);
    ~Tokenizer();
    Tokenizer(Tokenizer&&) noexcept;
    Tokenizer& operator=(Tokenizer&&) noexcept;

    // Counts the file's tokens; a weight matrix may have more rows, whose ids must never be sampled.
    int32_t size() const;
    int32_t bos() const;  // these are no_token where there is none
    int32_t eos() const;
    int32_t pad() const;
    int32_t unknown() const;
    bool add_bos() const;
    // Tokens that end a turn or a text, ascending.
    const std::vector<int32_t>& ends() const;

    // Ids outside the vocabulary are neither, and have no spelling ("").
    bool is_control(int32_t id) const;
    bool is_unused(int32_t id) const;  // padding of the vocabulary, which must never be sampled
    std::string_view spelling(int32_t id) const;
    // The control token that is spelled so; no_token where there is none.
    int32_t control_token(std::string_view spelling) const;

    // Token ids of a text, without BOS. With `control`, spellings of control tokens become these tokens, and
    // some swallow the whitespace after them, as the model was taught. Without, no id of one comes out but
    // the unknown token's, for characters that the vocabulary has no bytes for.
    // Throws Error (argument) for a text of a gibibyte.
    std::vector<int32_t> encode(std::string_view text, bool control) const;
    // Token ids of plain text that stands after token `after` (no_token: at the start), which may swallow
    // whitespace. After an ordinary token the text is a continuation and gets no space.
    std::vector<int32_t> encode_run(std::string_view text, int32_t after) const;

    // The bytes of text that a token stands for; none for those never shown: padding, ids outside, and
    // control tokens but for those that a model may write as text (<tool_call>).
    std::string token_bytes(int32_t id) const;
    // Whether text after token `after` (no_token: the start) is shown without its first space.
    bool drops_space(int32_t after) const;

  private:
    struct State;
    std::unique_ptr<const State> state_;
};

// Text from ids that come one at a time; what it gives out never ends inside a character. Bytes that are no
// UTF-8 become U+FFFD.
class Detokenizer {
  public:
    // Begins after token `after` (no_token: at the start of a text). The tokenizer must outlive it.
    Detokenizer(const Tokenizer& tokenizer, int32_t after);

    // The characters that this id completes; "" while one is unfinished.
    std::string push(int32_t id);
    // The end: one U+FFFD where a character was begun and not finished, else "".
    std::string flush();

  private:
    const Tokenizer* tokenizer_;
    std::string pending_;  // the beginning of a character
    bool drop_space_;
};

}  // namespace pocketlm
