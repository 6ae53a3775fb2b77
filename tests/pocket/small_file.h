// GGUF files made in memory: a writer, and a whole small model with it.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace small_file {

class Writer {
  public:
    void text(const std::string& key, const std::string& value) {
        begin(key, 8);
        put_text(metadata_, value);
    }
    void u32(const std::string& key, uint32_t value) {
        begin(key, 4);
        put(metadata_, value);
    }
    void f32(const std::string& key, float value) {
        begin(key, 6);
        put(metadata_, value);
    }
    void flag(const std::string& key, bool value) {
        begin(key, 7);
        put(metadata_, static_cast<uint8_t>(value ? 1 : 0));
    }
    void texts(const std::string& key, const std::vector<std::string>& values) {
        begin_array(key, 8, values.size());
        for (const std::string& value : values) {
            put_text(metadata_, value);
        }
    }
    void i32s(const std::string& key, const std::vector<int32_t>& values) {
        begin_array(key, 5, values.size());
        for (const int32_t value : values) {
            put(metadata_, value);
        }
    }
    // Of type F32; `shape` has rows first. Numbers come of the name and the place, between -0.5 and 0.5.
    void tensor(const std::string& name, const std::vector<uint64_t>& shape, float base = 0.0f) {
        put_text(headers_, name);
        put(headers_, static_cast<uint32_t>(shape.size()));
        size_t count = 1;
        for (size_t i = shape.size(); i-- > 0;) {
            put(headers_, shape[i]);
            count *= static_cast<size_t>(shape[i]);
        }
        put(headers_, uint32_t{0});
        put(headers_, static_cast<uint64_t>(data_.size()));
        uint32_t state = 1;
        for (const char c : name) {
            state = state * 31 + static_cast<unsigned char>(c);
        }
        for (size_t i = 0; i < count; ++i) {
            state = state * 1664525 + 1013904223;
            put(data_, base + static_cast<float>(state >> 8) * 0x1p-24f - 0.5f);
        }
        data_.resize((data_.size() + 31) / 32 * 32);
        ++tensor_count_;
    }
    std::vector<uint8_t> bytes(uint32_t version = 3) const {
        std::vector<uint8_t> all = {'G', 'G', 'U', 'F'};
        put(all, version);
        put(all, tensor_count_);
        put(all, key_count_);
        all.insert(all.end(), metadata_.begin(), metadata_.end());
        all.insert(all.end(), headers_.begin(), headers_.end());
        all.resize((all.size() + 31) / 32 * 32);
        all.insert(all.end(), data_.begin(), data_.end());
        return all;
    }

  private:
    template <typename Number>
    static void put(std::vector<uint8_t>& to, Number number) {
        const size_t size = to.size();
        to.resize(size + sizeof number);
        std::memcpy(to.data() + size, &number, sizeof number);
    }
    static void put_text(std::vector<uint8_t>& to, const std::string& text) {
        put(to, static_cast<uint64_t>(text.size()));
        to.insert(to.end(), text.begin(), text.end());
    }
    void begin(const std::string& key, uint32_t kind) {
        put_text(metadata_, key);
        put(metadata_, kind);
        ++key_count_;
    }
    void begin_array(const std::string& key, uint32_t kind, size_t count) {
        begin(key, 9);
        put(metadata_, kind);
        put(metadata_, static_cast<uint64_t>(count));
    }

    std::vector<uint8_t> metadata_;
    std::vector<uint8_t> headers_;
    std::vector<uint8_t> data_;
    uint64_t key_count_ = 0;
    uint64_t tensor_count_ = 0;
};

constexpr uint32_t context = 2048;
constexpr uint32_t window = 40;      // of Mistral's
constexpr uint32_t original = 48;    // of Phi-3's LongRoPE
constexpr int vocabulary = 26;

inline void add_sizes(Writer& file, const std::string& architecture) {
    file.text("general.architecture", architecture);
    const std::string own = architecture + ".";
    file.u32(own + "context_length", context);
    file.u32(own + "embedding_length", 32);
    file.u32(own + "block_count", 2);
    file.u32(own + "feed_forward_length", 48);
    file.u32(own + "attention.head_count", 4);
    file.u32(own + "attention.head_count_kv", 2);
    file.f32(own + "attention.layer_norm_rms_epsilon", 1e-5f);
    file.f32(own + "rope.freq_base", 10000.0f);
    if (architecture == "mistral") {
        file.u32(own + "attention.sliding_window", window);
    }
    if (architecture == "phi3") {
        file.u32(own + "rope.scaling.original_context_length", original);
    }
}

inline void add_tokenizer(Writer& file) {
    std::vector<std::string> tokens = {"<s>", "</s>"};
    std::vector<int32_t> types = {3, 3};
    for (char c = 'a'; c < 'y'; ++c) {
        tokens.emplace_back(1, c);
        types.push_back(1);
    }
    file.text("tokenizer.ggml.model", "gpt2");
    file.text("tokenizer.ggml.pre", "smollm");
    file.texts("tokenizer.ggml.tokens", tokens);
    file.i32s("tokenizer.ggml.token_type", types);
    file.texts("tokenizer.ggml.merges", {});
    file.u32("tokenizer.ggml.bos_token_id", 0);
    file.u32("tokenizer.ggml.eos_token_id", 1);
    file.flag("tokenizer.ggml.add_bos_token", true);
}

inline void add_tensors(Writer& file, const std::string& architecture) {
    file.tensor("token_embd.weight", {vocabulary, 32});
    for (int layer = 0; layer < 2; ++layer) {
        const std::string name = "blk." + std::to_string(layer) + ".";
        file.tensor(name + "attn_norm.weight", {32}, 1.0f);
        if (architecture == "phi3") {
            file.tensor(name + "attn_qkv.weight", {64, 32});
            file.tensor(name + "ffn_up.weight", {96, 32});
        } else {
            file.tensor(name + "attn_q.weight", {32, 32});
            file.tensor(name + "attn_k.weight", {16, 32});
            file.tensor(name + "attn_v.weight", {16, 32});
            file.tensor(name + "ffn_gate.weight", {48, 32});
            file.tensor(name + "ffn_up.weight", {48, 32});
        }
        file.tensor(name + "attn_output.weight", {32, 32});
        file.tensor(name + "ffn_norm.weight", {32}, 1.0f);
        file.tensor(name + "ffn_down.weight", {32, 48});
    }
    file.tensor("output_norm.weight", {32}, 1.0f);
    file.tensor("output.weight", {vocabulary, 32});
    if (architecture == "phi3") {
        file.tensor("rope_factors_short.weight", {4}, 1.0f);
        file.tensor("rope_factors_long.weight", {4}, 4.0f);
    }
}

// A model of "llama", "mistral" (with a window) or "phi3" (with LongRoPE), in 40 KB.
inline std::vector<uint8_t> model(const std::string& architecture = "llama") {
    Writer file;
    add_sizes(file, architecture);
    add_tokenizer(file);
    add_tensors(file, architecture);
    return file.bytes();
}

}  // namespace small_file
