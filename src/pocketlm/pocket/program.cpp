#include "program.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <utility>

#include "error.h"
#include "half.h"
#include "names.h"
#include "unpack.h"

namespace pocketlm {
namespace {

constexpr int64_t largest_count = std::numeric_limits<int32_t>::max();
constexpr int64_t widest = 1 << 24;  // rows of a matrix, floats of a buffer
// Of a file that holds panels.
constexpr std::string_view own_prefix = "pocketlm-";

// Buffers of a program, in the order of Program::buffer_widths.
enum Buffer { stream, projected, attended, gated, last, logits };

enum class Architecture { llama, mistral, phi3, qwen2 };
struct ArchitectureName {
    std::string_view name;
    Architecture architecture;
};
constexpr ArchitectureName architectures[] = {
    {"llama", Architecture::llama},
    {"mistral", Architecture::mistral},
    {"phi3", Architecture::phi3},
    {"qwen2", Architecture::qwen2},
};

[[noreturn]] void refuse_file(const std::string& text) { refuse(Fault::file, text); }

// The metadata keys of an architecture. A count of 0 and an absent key are alike where it may be left out.
class Keys {
  public:
    Keys(const Gguf& file, std::string prefix) : file_(file), prefix_(std::move(prefix)) {}

    std::optional<int64_t> integer(const char* key) const { return file_.integer(prefix_ + key); }
    std::optional<double> number(const char* key) const { return file_.number(prefix_ + key); }
    std::optional<std::string_view> text(const char* key) const { return file_.text(prefix_ + key); }

    int count(const char* key, std::optional<int64_t> otherwise = {}, int64_t least = 1) const {
        const std::optional<int64_t> found = integer(key);
        const std::optional<int64_t> value = found ? found : otherwise;
        if (!value) {
            refuse_file("metadata key " + prefix_ + key + " is missing");
        }
        if (*value < least || *value > largest_count) {
            refuse_file("metadata key " + prefix_ + key + " is " + std::to_string(*value) +
                        ", expected an integer from " + std::to_string(least) + " to " +
                        std::to_string(largest_count));
        }
        return static_cast<int>(*value);
    }
    double positive(const char* key, std::optional<double> otherwise = {}) const {
        const std::optional<double> found = number(key);
        const std::optional<double> value = found ? found : otherwise;
        if (!value) {
            refuse_file("metadata key " + prefix_ + key + " is missing");
        }
        if (!(*value > 0 && *value < 1e30)) {
            refuse_file("metadata key " + prefix_ + key + " is not a finite number above 0");
        }
        return *value;
    }

  private:
    const Gguf& file_;
    std::string prefix_;
};

// Collects operations, checking each weight against the file's tensors.
class Builder {
  public:
    Builder(const Gguf& file, Program& program) : program_(program) {
        for (const GgufTensor& tensor : file.tensors()) {
            const auto [known, is_new] =
                tensors_.emplace(hub_name(program.architecture, tensor.name), &tensor);
            if (!is_new) {
                refuse_file("tensors " + shown(known->second->name) + " and " +
                            shown(tensor.name) + " are the same weight");
            }
        }
    }

    bool has(const std::string& name) const { return tensors_.count(name) != 0; }

    // Rows `start` … `start + rows` of a tensor that has `total` rows.
    Weight weight(const std::string& name, int64_t rows, int64_t columns, int64_t start = 0,
                  int64_t total = 0) {
        const auto found = tensors_.find(name);
        if (found == tensors_.end()) {
            refuse_file("the file has no tensor " + shown(name));
        }
        const GgufTensor* tensor = found->second;
        std::vector<uint64_t> shape = {static_cast<uint64_t>(total == 0 ? rows : total)};
        if (columns > 1) {
            shape.push_back(static_cast<uint64_t>(columns));
        }
        if (tensor->shape != shape) {
            refuse_file("tensor " + shown(tensor->name) +
                        " has another shape than the metadata say");
        }
        if (!tensor->type) {
            refuse(Fault::unsupported, "tensor " + shown(tensor->name) + " is stored as " +
                                           tensor->type_name + ", which is not supported");
        }
        if (shape[0] > static_cast<uint64_t>(widest) || columns > widest) {
            refuse_file("the size of tensor " + shown(tensor->name) + " is out of range");
        }
        used_.insert(tensor);
        return {tensor, static_cast<int>(start), static_cast<int>(rows), static_cast<int>(columns)};
    }
    Weight vector(const std::string& name, int64_t length) { return weight(name, length, 1); }
    Linear linear(const std::string& name, int64_t rows, int64_t columns, int64_t start = 0,
                  int64_t total = 0) {
        Linear layer{weight(name + ".weight", rows, columns, start, total), {}};
        if (has(name + ".bias")) {
            layer.bias = weight(name + ".bias", rows, 1, start, total);
        }
        return layer;
    }

    void embed(Weight weight) {
        program_.operations.push_back(
            {Operation::Kind::embed, -1, stream, 0, {{weight, {}}}, {}, false, false});
    }
    void project(Buffer input, Buffer output, std::vector<Linear> layers, std::optional<Weight> norm,
                 bool gate = false, bool add = false) {
        program_.operations.push_back({Operation::Kind::project, input, output, 0,
                                       std::move(layers), norm, gate, add});
    }
    void attend(int layer) {
        program_.operations.push_back(
            {Operation::Kind::attend, projected, attended, layer, {}, {}, false, false});
    }
    void pick() {
        program_.operations.push_back(
            {Operation::Kind::pick, stream, last, 0, {}, {}, false, false});
    }

    // A tensor of a block left aside would be a model of another kind, run wrongly and in silence.
    void check_all_used() const {
        constexpr std::string_view table = ".rotary_emb.inv_freq";  // in files of 2023
        for (const auto& [name, tensor] : tensors_) {
            const bool is_table = name.size() > table.size() &&
                                  name.compare(name.size() - table.size(), table.size(), table) == 0;
            if (name.compare(0, 13, "model.layers.") == 0 && !is_table && used_.count(tensor) == 0) {
                refuse(Fault::unsupported,
                       "tensor " + shown(tensor->name) + " has no place in this architecture");
            }
        }
    }

  private:
    Program& program_;
    std::map<std::string, const GgufTensor*> tensors_;  // by the hub's names
    std::set<const GgufTensor*> used_;
};

std::string architecture_name(const Gguf& file) {
    const std::optional<std::string_view> kind = file.text("general.type");
    if (kind && *kind != "model") {
        refuse(Fault::unsupported, "the file holds no model, but one of type " + shown(*kind));
    }
    const std::optional<std::string_view> name = file.text("general.architecture");
    if (!name) {
        refuse_file("metadata key general.architecture is missing");
    }
    const bool own = name->substr(0, own_prefix.size()) == own_prefix;
    return std::string(own ? name->substr(own_prefix.size()) : *name);
}

Architecture known_architecture(const std::string& name) {
    for (const ArchitectureName& known : architectures) {
        if (known.name == name) {
            return known.architecture;
        }
    }
    refuse(Fault::unsupported, "architecture " + shown(name) +
                                   " is not supported; there are: llama, mistral, phi3, qwen2");
}

void refuse_other_kinds(const Gguf& file, const Keys& keys) {
    if (keys.integer("expert_count").value_or(0) != 0) {
        refuse(Fault::unsupported, "mixtures of experts are not supported");
    }
    if (file.integer("split.count").value_or(0) > 1) {
        refuse(Fault::unsupported,
               "the file is one part of a split model; join the parts into one file");
    }
}

int read_vocab_size(const Gguf& file, const Keys& keys) {
    std::optional<int64_t> otherwise;
    if (const GgufTensor* embedding = file.tensor("token_embd.weight")) {
        otherwise = static_cast<int64_t>(
            std::min(embedding->shape[0], static_cast<uint64_t>(largest_count)));
    }
    return keys.count("vocab_size", otherwise);
}

void read_heads(const Keys& keys, Program& program) {
    program.heads = keys.count("attention.head_count");
    program.kv_heads = keys.count("attention.head_count_kv", program.heads);
    if (program.heads % program.kv_heads != 0) {
        refuse_file("the number of heads, " + std::to_string(program.heads) +
                    ", is not a multiple of the number of key and value heads, " +
                    std::to_string(program.kv_heads));
    }
    std::optional<int64_t> head_dim;
    if (program.hidden % program.heads == 0) {
        head_dim = program.hidden / program.heads;
    }
    program.head_dim = keys.count("attention.key_length", head_dim);
    if (keys.integer("attention.value_length").value_or(program.head_dim) != program.head_dim) {
        refuse(Fault::unsupported, "keys and values of different lengths are not supported");
    }
}

// theta^(2i / dim), each the inverse of a plain frequency. In double precision, rounded once.
std::vector<float> powers_of(double theta, int dim) {
    std::vector<float> powers;
    for (int i = 0; i < dim; i += 2) {
        const float exponent = static_cast<float>(i) / static_cast<float>(dim);
        powers.push_back(static_cast<float>(std::pow(theta, static_cast<double>(exponent))));
    }
    return powers;
}

// The factors that a tensor holds, one for each of `count` frequencies.
std::vector<float> read_factors(const Gguf& file, const GgufTensor& tensor, size_t count) {
    if (tensor.type != Type::F32 || tensor.shape != std::vector<uint64_t>{count}) {
        refuse_file("tensor " + shown(tensor.name) + " is no list of " + std::to_string(count) +
                    " F32 numbers");
    }
    std::vector<float> factors;
    const uint8_t* const data = file.source().bytes(tensor.offset, tensor.bytes, false);
    for (size_t i = 0; i < count; ++i) {
        factors.push_back(float_from_bits(read_u32(data + 4 * i)));
        if (!(factors.back() > 0.0f && factors.back() < 1e30f)) {
            refuse_file("tensor " + shown(tensor.name) + " holds what is no factor above 0");
        }
    }
    return factors;
}

void read_longrope(const Gguf& file, const Keys& keys, const std::vector<float>& powers,
                   Program& program) {
    for (const char* name : {"rope_factors_short.weight", "rope_factors_long.weight"}) {
        const GgufTensor* tensor = file.tensor(name);
        if (tensor == nullptr) {
            refuse_file("the file has no tensor " + shown(name));
        }
        const std::vector<float> factors = read_factors(file, *tensor, powers.size());
        std::vector<float>& frequencies = program.inverse_frequencies.emplace_back();
        for (size_t i = 0; i < powers.size(); ++i) {
            frequencies.push_back(1.0f / (factors[i] * powers[i]));
        }
    }
    program.original_context = keys.count("rope.scaling.original_context_length", {}, 2);
    if (keys.number("rope.scaling.attn_factor")) {
        program.rope_scale = static_cast<float>(keys.positive("rope.scaling.attn_factor"));
        return;
    }
    const double original = program.original_context;
    const double stated = keys.number("rope.scaling.factor").value_or(0.0);
    const double factor = stated != 0.0
                              ? keys.positive("rope.scaling.factor")
                              : keys.positive("rope.scale_linear", program.context / original);
    program.rope_scale =
        factor <= 1.0 ? 1.0f
                      : static_cast<float>(std::sqrt(1.0 + std::log(factor) / std::log(original)));
}

// Plain, linear (Chen et al. 2023), Llama 3.1's as a divisor a frequency, and LongRoPE (Ding et al. 2024).
void read_rope(const Gguf& file, const Keys& keys, Program& program) {
    const int dim = keys.count("rope.dimension_count", program.head_dim);
    if (dim < 2 || dim > program.head_dim || dim % 2 != 0) {
        refuse_file("rope.dimension_count is " + std::to_string(dim) +
                    ", expected an even number of at most " + std::to_string(program.head_dim));
    }
    const std::vector<float> powers = powers_of(keys.positive("rope.freq_base", 10000.0), dim);
    const std::string kind(keys.text("rope.scaling.type").value_or(""));
    program.rope_scale = 1.0f;
    if (file.tensor("rope_factors_short.weight") != nullptr ||
        file.tensor("rope_factors_long.weight") != nullptr || kind == "longrope" || kind == "su") {
        read_longrope(file, keys, powers, program);
    } else {
        std::vector<float> divisors(powers.size(), 1.0f);
        const double stated = keys.number("rope.scaling.factor").value_or(0.0);
        const double factor = stated != 0.0 ? stated : keys.number("rope.scale_linear").value_or(0.0);
        if (const GgufTensor* factors = file.tensor("rope_freqs.weight")) {
            divisors = read_factors(file, *factors, powers.size());
        } else if (kind == "linear" || (kind.empty() && factor != 0.0 && factor != 1.0)) {
            // Older files give the factor of linear scaling alone.
            if (!(factor > 0.0 && factor < 1e30)) {
                refuse_file("rope.scaling.factor is not a finite number above 0");
            }
            std::fill(divisors.begin(), divisors.end(), static_cast<float>(factor));
        } else if (!kind.empty() && kind != "none" && kind != "default") {
            refuse(Fault::unsupported, "rope type " + shown(kind) + " is not supported");
        }
        std::vector<float>& frequencies = program.inverse_frequencies.emplace_back();
        for (size_t i = 0; i < powers.size(); ++i) {
            frequencies.push_back(1.0f / powers[i] / divisors[i]);
        }
    }
    for (const std::vector<float>& set : program.inverse_frequencies) {
        if (!std::all_of(set.begin(), set.end(), [](float one) { return std::isfinite(one); })) {
            refuse_file("the model's rope parameters give angles that are not finite");
        }
    }
}

// Positions that a query sees; 0: all.
int read_window(const Keys& keys, Architecture architecture, const Program& program) {
    if (architecture == Architecture::llama || architecture == Architecture::qwen2) {
        return 0;
    }
    int window = 0;
    if (keys.integer("attention.sliding_window")) {
        window = keys.count("attention.sliding_window", {}, 0);
    } else if (architecture == Architecture::mistral) {
        window = 4096;
    } else if (program.context == 4096 && (program.layers == 32 || program.layers == 40)) {
        window = 2047;  // Phi-3-mini and Phi-3-medium, whose early files lack the key
    }
    return window >= program.context ? 0 : window;
}

// Queries, keys and values: Phi-3's in one tensor, or apart where they differ in type.
std::vector<Linear> queries_keys_values(Builder& make, const std::string& name, bool may_be_fused,
                                        const Program& program) {
    const int64_t queries = int64_t{program.heads} * program.head_dim;
    const int64_t keys = int64_t{program.kv_heads} * program.head_dim;
    const std::string part = name + "self_attn.";
    if (may_be_fused && make.has(part + "qkv_proj.weight")) {
        return {make.linear(part + "qkv_proj", queries + 2 * keys, program.hidden)};
    }
    return {make.linear(part + "q_proj", queries, program.hidden),
            make.linear(part + "k_proj", keys, program.hidden),
            make.linear(part + "v_proj", keys, program.hidden)};
}

// The gated unit's two weights: Phi-3's in one tensor, or apart where they differ in type.
std::vector<Linear> gate_and_up(Builder& make, const std::string& name, bool may_be_fused,
                                int64_t rows, int64_t columns) {
    const std::string both = name + "mlp.gate_up_proj";
    if (may_be_fused && make.has(both + ".weight")) {
        return {make.linear(both, rows, columns, 0, 2 * rows),
                make.linear(both, rows, columns, rows, 2 * rows)};
    }
    return {make.linear(name + "mlp.gate_proj", rows, columns),
            make.linear(name + "mlp.up_proj", rows, columns)};
}

int width(int64_t floats) {
    if (floats > widest) {
        refuse_file("a layer of " + std::to_string(floats) + " numbers is out of range");
    }
    return static_cast<int>(floats);
}

}  // namespace

Program build_program(const Gguf& file) {
    Program program{};
    program.architecture = architecture_name(file);
    const Architecture architecture = known_architecture(program.architecture);
    const Keys keys(file, program.architecture + ".");
    refuse_other_kinds(file, keys);
    program.vocab_size = read_vocab_size(file, keys);
    program.context = keys.count("context_length");
    program.hidden = keys.count("embedding_length");
    program.layers = keys.count("block_count");
    read_heads(keys, program);
    const int intermediate = keys.count("feed_forward_length");
    program.norm_epsilon = static_cast<float>(keys.positive("attention.layer_norm_rms_epsilon"));
    program.attention_scale =
        static_cast<float>(std::pow(static_cast<double>(program.head_dim), -0.5));
    program.window = read_window(keys, architecture, program);
    // Files of this architecture have rows of q and k reordered so that rotary pairs are neighbours.
    program.rope_adjacent = file.text("general.architecture") == "llama";
    read_rope(file, keys, program);
    Builder make(file, program);
    if (architecture == Architecture::qwen2) {
        for (const char* part : {"q", "k", "v"}) {
            const std::string bias =
                std::string("model.layers.0.self_attn.") + part + "_proj.bias";
            if (!make.has(bias)) {
                refuse_file("the file has no tensor " + shown(bias));
            }
        }
    }

    const int64_t queries = int64_t{program.heads} * program.head_dim;
    const int64_t joined = queries + int64_t{2} * program.kv_heads * program.head_dim;
    program.buffer_widths = {width(program.hidden), width(joined),         width(queries),
                             width(intermediate),   width(program.hidden), width(program.vocab_size)};
    const bool fused = architecture == Architecture::phi3;
    const Weight embedding = make.weight("model.embed_tokens.weight", program.vocab_size, program.hidden);
    make.embed(embedding);
    for (int layer = 0; layer < program.layers; ++layer) {
        const std::string name = "model.layers." + std::to_string(layer) + ".";
        make.project(stream, projected, queries_keys_values(make, name, fused, program),
                     make.vector(name + "input_layernorm.weight", program.hidden));
        make.attend(layer);
        make.project(attended, stream, {make.linear(name + "self_attn.o_proj", program.hidden, queries)},
                     {}, false, true);
        make.project(stream, gated, gate_and_up(make, name, fused, intermediate, program.hidden),
                     make.vector(name + "post_attention_layernorm.weight", program.hidden), true);
        make.project(gated, stream, {make.linear(name + "mlp.down_proj", program.hidden, intermediate)},
                     {}, false, true);
    }
    make.pick();
    const bool tied = !make.has("lm_head.weight");
    const Linear head = tied ? Linear{embedding, {}}
                             : make.linear("lm_head", program.vocab_size, program.hidden);
    make.project(last, logits, {head}, make.vector("model.norm.weight", program.hidden));
    make.check_all_used();
    return program;
}

}  // namespace pocketlm
