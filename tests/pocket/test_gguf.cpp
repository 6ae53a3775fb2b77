// Reading GGUF files: what is in them, and what is wrong with them.
#include <algorithm>
#include <cstring>

#include "check.h"
#include "error.h"
#include "gguf.h"
#include "program.h"
#include "small_file.h"

using namespace pocketlm;

namespace {

using Bytes = std::vector<uint8_t>;

// The place of `text`, of which there is one or the first counts.
size_t place_of(const Bytes& bytes, const std::string& text) {
    const auto found = std::search(bytes.begin(), bytes.end(), text.begin(), text.end());
    CHECK(found != bytes.end());
    return static_cast<size_t>(found - bytes.begin());
}

template <typename Number>
void write(Bytes& bytes, size_t at, Number number) {
    std::memcpy(bytes.data() + at, &number, sizeof number);
}

void check_says(Bytes bytes, Fault fault, const std::string& what) {
    bytes.shrink_to_fit();
    try {
        Source source(bytes.data(), bytes.size());
        build_program(Gguf(source));
    } catch (const Error& error) {
        if (error.fault() != fault ||
            std::string(error.what()).find(what) == std::string::npos) {
            fail(__FILE__, __LINE__, std::string("said: ") + error.what() + "; not: " + what);
        }
        return;
    }
    fail(__FILE__, __LINE__, "not refused: " + what);
}

// The number after the header's name of a tensor with two dimensions: its type, and then its offset.
constexpr size_t type_after_name = 4 + 16;

}  // namespace

TEST(values_are_what_was_written) {
    const Bytes bytes = small_file::model();
    Source source(bytes.data(), bytes.size());
    const Gguf file(source);
    CHECK(*file.text("general.architecture") == "llama");
    CHECK_EQUAL(*file.integer("llama.context_length"), small_file::context);
    CHECK_EQUAL(*file.number("llama.attention.layer_norm_rms_epsilon"), 1e-5);  // not float's 9.99…e-06
    CHECK(*file.flag("tokenizer.ggml.add_bos_token"));
    CHECK((*file.texts("tokenizer.ggml.tokens"))[2] == "a");
    CHECK_EQUAL((*file.integers("tokenizer.ggml.token_type"))[1], 3);
    CHECK(!file.integer("llama.vocab_size"));
    const GgufTensor* tensor = file.tensor("blk.1.ffn_gate.weight");
    CHECK(tensor != nullptr && tensor->type == Type::F32);
    CHECK(tensor->shape == (std::vector<uint64_t>{48, 32}));
    CHECK_EQUAL(tensor->bytes, 48 * 32 * 4);
}

TEST(version_2_is_read) {
    small_file::Writer writer;
    writer.text("general.architecture", "llama");
    const Bytes bytes = writer.bytes(2);
    Source source(bytes.data(), bytes.size());
    CHECK(*Gguf(source).text("general.architecture") == "llama");
}

TEST(values_of_another_type_are_refused) {
    const Bytes bytes = small_file::model();
    Source source(bytes.data(), bytes.size());
    const Gguf file(source);
    int refused = 0;
    const auto count = [&](const auto& body) {
        try {
            body();
        } catch (const Error&) {
            ++refused;
        }
    };
    count([&] { file.integer("general.architecture"); });
    count([&] { file.text("llama.context_length"); });
    count([&] { file.flag("llama.context_length"); });
    count([&] { file.number("tokenizer.ggml.add_bos_token"); });
    count([&] { file.texts("tokenizer.ggml.token_type"); });
    count([&] { file.integers("tokenizer.ggml.tokens"); });
    count([&] { file.integer("tokenizer.ggml.token_type"); });  // a list that is not of equals
    CHECK_EQUAL(refused, 7);
}

TEST(no_gguf_file) {
    check_says({}, Fault::file, "not a GGUF file");
    check_says({'P', 'K', 3, 4, 0, 0, 0, 0}, Fault::file, "not a GGUF file");
    Bytes bytes = small_file::model();
    write(bytes, 4, uint32_t{1});
    check_says(bytes, Fault::unsupported, "version 1");
    write(bytes, 4, uint32_t{3u << 24});
    check_says(bytes, Fault::unsupported, "big-endian");
}

TEST(every_truncation_is_refused) {
    const Bytes bytes = small_file::model();
    for (size_t size = 0; size < bytes.size(); size += size < 3000 ? 1 : 97) {
        const Bytes part(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
        bool refused = false;
        try {
            Source source(part.data(), part.size());
            const Gguf file(source);
        } catch (const Error& error) {
            refused = error.fault() == Fault::file;
        }
        CHECK(refused);
    }
}

TEST(counts_beyond_the_file) {
    Bytes bytes = small_file::model();
    write(bytes, 8, uint64_t{1} << 62);
    check_says(bytes, Fault::file, "the number of tensors");
    bytes = small_file::model();
    write(bytes, 16, uint64_t{1} << 40);
    check_says(bytes, Fault::file, "the number of metadata keys");
    bytes = small_file::model();
    // The length of a string, the number of an array's elements.
    write(bytes, place_of(bytes, "general.architecture") - 8, ~uint64_t{0});
    check_says(bytes, Fault::file, "a metadata key");
    bytes = small_file::model();
    const std::string key = "tokenizer.ggml.token_type";
    write(bytes, place_of(bytes, key) + key.size() + 8, (uint64_t{1} << 62) + 1);
    check_says(bytes, Fault::file, "token_type");
}

TEST(tensors_outside_or_on_each_other) {
    const std::string name = "blk.0.attn_q.weight";
    const Bytes sound = small_file::model();
    const size_t at = place_of(sound, name) + name.size();
    Bytes bytes = sound;
    write(bytes, at + type_after_name + 4, uint64_t{1} << 62);
    check_says(bytes, Fault::file, "blk.0.attn_q.weight");
    bytes = sound;
    write(bytes, at + type_after_name + 4, uint64_t{0});
    check_says(bytes, Fault::file, "overlaps");
    bytes = sound;
    write(bytes, at + type_after_name + 4, uint64_t{33});
    check_says(bytes, Fault::file, "not a multiple of 32");
    bytes = sound;
    write(bytes, at, uint32_t{5});
    check_says(bytes, Fault::file, "5 dimensions");
    bytes = sound;
    write(bytes, at + 4, uint64_t{0});
    check_says(bytes, Fault::file, "a dimension of 0");
    bytes = sound;
    write(bytes, at + 4, uint64_t{1} << 33);
    write(bytes, at + 12, uint64_t{1} << 33);
    check_says(bytes, Fault::file, "out of range");
    bytes = sound;
    write(bytes, at + type_after_name, uint32_t{16});  // IQ2_XXS
    check_says(bytes, Fault::unsupported, "type number 16");
    bytes = sound;
    write(bytes, at + type_after_name, uint32_t{12});  // Q4_K, of 256 columns
    check_says(bytes, Fault::file, "Q4_K");
}

TEST(contradictions) {
    const auto with = [](const char* key, uint32_t value) {
        Bytes bytes = small_file::model();
        write(bytes, place_of(bytes, key) + std::strlen(key) + 4, value);
        return bytes;
    };
    check_says(with("llama.embedding_length", 64), Fault::file, "token_embd");
    check_says(with("llama.embedding_length", 0), Fault::file, "embedding_length");
    check_says(with("llama.block_count", 3), Fault::file, "model.layers.2");
    check_says(with("llama.block_count", 1), Fault::unsupported, "no place");
    check_says(with("llama.attention.head_count_kv", 3), Fault::file, "not a multiple");
    check_says(with("llama.context_length", 0xffffffffu), Fault::file, "context_length");
    check_says(with("llama.rope.freq_base", 0x7fc00000u), Fault::file, "freq_base");  // NaN
}

TEST(other_models_are_named) {
    small_file::Writer writer;
    writer.text("general.architecture", "mamba");
    check_says(writer.bytes(), Fault::unsupported, "'mamba'");
    small_file::Writer adapter;
    adapter.text("general.type", "adapter");
    check_says(adapter.bytes(), Fault::unsupported, "'adapter'");
    small_file::Writer part;
    small_file::add_sizes(part, "llama");
    part.u32("split.count", 3);
    check_says(part.bytes(), Fault::unsupported, "join the parts");
    small_file::Writer experts;
    small_file::add_sizes(experts, "llama");
    experts.u32("llama.expert_count", 8);
    check_says(experts.bytes(), Fault::unsupported, "mixtures");
}

TEST(keys_twice_and_text_that_is_none) {
    small_file::Writer writer;
    writer.text("general.architecture", "llama");
    writer.text("general.architecture", "phi3");
    check_says(writer.bytes(), Fault::file, "there twice");
    small_file::Writer wrong;
    wrong.text("general.architecture", "\xff\xfe");
    check_says(wrong.bytes(), Fault::file, "UTF-8");
    small_file::Writer half;
    half.text("general.architecture", "\xed\xa0\x80");  // half of a surrogate pair
    check_says(half.bytes(), Fault::file, "UTF-8");
}

int main() { return run_tests(); }
