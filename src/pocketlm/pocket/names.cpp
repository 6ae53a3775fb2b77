#include "names.h"

#include <algorithm>
#include <iterator>

namespace pocketlm {
namespace {

struct Name {
    std::string_view gguf;
    std::string_view hub;
};

constexpr Name names[] = {
    {"token_embd", "model.embed_tokens"},
    {"output_norm", "model.norm"},
    {"output", "lm_head"},
};
constexpr Name layer_names[] = {
    {"attn_norm", "input_layernorm"},
    {"attn_q", "self_attn.q_proj"},
    {"attn_k", "self_attn.k_proj"},
    {"attn_v", "self_attn.v_proj"},
    {"attn_qkv", "self_attn.qkv_proj"},
    {"attn_output", "self_attn.o_proj"},
    {"ffn_norm", "post_attention_layernorm"},
    {"ffn_gate", "mlp.gate_proj"},
    {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},
};

constexpr std::string_view layer_prefix = "blk.";
constexpr size_t most_digits = 9;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// The digits of a layer's number, after its prefix and before a dot; "" where there are none.
std::string_view layer_of(std::string_view name) {
    if (name.substr(0, layer_prefix.size()) != layer_prefix) {
        return {};
    }
    name.remove_prefix(layer_prefix.size());
    const size_t count = static_cast<size_t>(
        std::find_if_not(name.begin(), name.end(), is_digit) - name.begin());
    const bool sound = count > 0 && count <= most_digits && (count == 1 || name[0] != '0') &&
                       name.size() > count + 1 && name[count] == '.';
    return sound ? name.substr(0, count) : std::string_view();
}

template <size_t size>
std::string_view found(const Name (&table)[size], std::string_view stem) {
    const Name* at = std::find_if(std::begin(table), std::end(table),
                                  [&](const Name& name) { return name.gguf == stem; });
    return at == std::end(table) ? stem : at->hub;
}

}  // namespace

std::string hub_name(std::string_view architecture, std::string_view name) {
    const std::string_view layer = layer_of(name);
    std::string_view stem =
        layer.empty() ? name : name.substr(layer_prefix.size() + layer.size() + 1);
    std::string_view suffix;
    for (const std::string_view known : {std::string_view(".weight"), std::string_view(".bias")}) {
        if (stem.size() > known.size() && stem.substr(stem.size() - known.size()) == known) {
            suffix = known;
        }
    }
    stem.remove_suffix(suffix.size());
    if (layer.empty()) {
        return std::string(found(names, stem)).append(suffix);
    }
    // Phi-3's tensor of that name holds both halves of the gated unit.
    const bool both = architecture == "phi3" && stem == "ffn_up";
    return std::string("model.layers.")
        .append(layer)
        .append(".")
        .append(both ? "mlp.gate_up_proj" : found(layer_names, stem))
        .append(suffix);
}

}  // namespace pocketlm
