// What the tokenizer makes of texts, for tests that compare it with its reference.
//
//   tokenize ids VOCABULARY     texts -> token ids
//   tokenize words NAME         texts -> the lengths of their words in bytes, by a pre-tokenizer
//   tokenize compose            texts -> their bytes in normalization form C
//
// A request on stdin is a byte that says how ('p' plain, 'c' with control tokens, 't' text of the ids that
// follow), an int32 (the token before), a uint32 length and so many bytes. The answer on stdout is a uint32
// count and so many int32 numbers. VOCABULARY is a file of the fields of `Vocabulary`, in order, as
// native_tokenizer.py writes them: integers, and arrays and texts after their length.
#include <cstdio>
#include <cstring>
#include <exception>
#include <fstream>
#include <functional>
#include <iterator>
#include <stdexcept>
#include <string>

#include "tokenizer.h"
#include "unicode.h"
#include "words.h"

using namespace pocketlm;

namespace {

class Reader {
  public:
    explicit Reader(std::string_view data) : data_(data) {}

    template <typename Number>
    Number number() {
        Number value;
        std::memcpy(&value, take(sizeof value).data(), sizeof value);
        return value;
    }
    std::string_view text() { return take(number<uint32_t>()); }
    std::vector<std::string_view> texts() {
        std::vector<std::string_view> found(number<uint32_t>());
        for (std::string_view& each : found) {
            each = text();
        }
        return found;
    }
    template <typename Number>
    std::vector<Number> numbers() {
        std::vector<Number> found(number<uint32_t>());
        for (Number& each : found) {
            each = number<Number>();
        }
        return found;
    }

  private:
    std::string_view take(size_t size) {
        if (size > data_.size()) {
            throw std::invalid_argument("the data is cut short");
        }
        const std::string_view taken = data_.substr(0, size);
        data_.remove_prefix(size);
        return taken;
    }
    std::string_view data_;
};

Tokenizer read_tokenizer(const char* path) {
    std::ifstream file(path, std::ios::binary);
    const std::string data{std::istreambuf_iterator<char>(file), {}};
    Reader reader(data);
    Vocabulary vocabulary;
    vocabulary.byte_level = reader.number<int32_t>() != 0;
    vocabulary.pre_tokenizer = reader.text();
    vocabulary.pieces = reader.texts();
    vocabulary.types = reader.numbers<int32_t>();
    vocabulary.scores = reader.numbers<float>();
    vocabulary.merges = reader.texts();
    for (int32_t* id : {&vocabulary.bos, &vocabulary.eos, &vocabulary.pad, &vocabulary.unknown,
                        &vocabulary.eot}) {
        *id = reader.number<int32_t>();
    }
    vocabulary.space_prefix = reader.number<int32_t>() != 0;
    return Tokenizer(vocabulary);
}

std::vector<int32_t> bytes_of(const std::string& text) { return {text.begin(), text.end()}; }

using Answer = std::function<std::vector<int32_t>(char, int32_t, const std::string&)>;

void serve(const Answer& answer) {
    const auto read = [](void* to, size_t size) { return std::fread(to, 1, size, stdin) == size; };
    char mode = 0;
    int32_t after = 0;
    uint32_t length = 0;
    while (read(&mode, 1) && read(&after, sizeof after) && read(&length, sizeof length)) {
        std::string text(length, '\0');
        if (!read(text.data(), length)) {
            return;
        }
        const std::vector<int32_t> numbers = answer(mode, after, text);
        const auto count = static_cast<uint32_t>(numbers.size());
        std::fwrite(&count, sizeof count, 1, stdout);
        std::fwrite(numbers.data(), sizeof(int32_t), count, stdout);
        std::fflush(stdout);
    }
}

int run(const std::string& what, const char* argument) {
    if (what == "ids") {
        const Tokenizer tokenizer = read_tokenizer(argument);
        serve([&](char mode, int32_t after, const std::string& text) {
            if (mode != 't') {
                return after == no_token ? tokenizer.encode(text, mode == 'c')
                                         : tokenizer.encode_run(text, after);
            }
            Detokenizer detokenizer(tokenizer, after);
            std::string shown;
            Reader reader(text);
            for (size_t i = 0; i < text.size() / sizeof(int32_t); ++i) {
                shown += detokenizer.push(reader.number<int32_t>());
            }
            return bytes_of(shown + detokenizer.flush());
        });
    } else if (what == "words") {
        const PreTokenizer& cutter = pre_tokenizer(argument);
        serve([&](char, int32_t, const std::string& text) {
            std::vector<int32_t> lengths;
            const auto add = [&](std::string_view word) {
                lengths.push_back(static_cast<int32_t>(word.size()));
            };
            for_each_word(cutter, text, add);
            return lengths;
        });
    } else if (what == "compose") {
        serve([](char, int32_t, const std::string& text) { return bytes_of(compose(text)); });
    } else {
        std::fprintf(stderr, "tokenize ids|words|compose, not %s\n", what.c_str());
        return 2;
    }
    return 0;
}

}  // namespace

int main(int count, char** arguments) {
    try {
        return run(count > 1 ? arguments[1] : "", count > 2 ? arguments[2] : "");
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
