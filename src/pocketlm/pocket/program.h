// A model as operations on named weights: what models/*.py make of a GGUF file's metadata and tensors.
//
// It knows architectures, and reads sizes and names alone, no weight's numbers but rotary factors. It does
// not know how a program is run. A change to models/*.py is one here: tests compare their logits to the bit.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "gguf.h"

namespace pocketlm {

// Rows `start` … `start + rows` of a stored matrix; of a vector, numbers (one column).
struct Weight {
    const GgufTensor* tensor;
    int start;
    int rows;
    int columns;
};

// A layer's weight and, where it has one, its bias.
struct Linear {
    Weight weight;
    std::optional<Weight> bias;
};

// As the executor takes it (native/executor.h); buffers are places in Program::buffer_widths.
struct Operation {
    enum class Kind { embed, project, attend, pick };
    Kind kind;
    int input;
    int output;
    int layer;                   // attend
    std::vector<Linear> layers;  // embed: the embedding
    std::optional<Weight> norm;  // project
    bool gate;
    bool add;
};

struct Program {
    std::string architecture;
    int vocab_size;
    int context;
    int layers;
    int hidden;
    int heads;
    int kv_heads;
    int head_dim;
    float norm_epsilon;
    float attention_scale;
    int window;  // 0: none
    // Rotary positions. With LongRoPE's two sets, a text of more than `original_context` positions uses the
    // second one throughout; 0: there is one set.
    std::vector<std::vector<float>> inverse_frequencies;
    float rope_scale;
    bool rope_adjacent;
    int original_context;
    std::vector<int> buffer_widths;
    std::vector<Operation> operations;

    // Which set a text uses that will be `length` positions long.
    int rope_set(int length) const { return original_context > 0 && length > original_context ? 1 : 0; }
};

// The tensors stay the file's. Throws Error.
Program build_program(const Gguf& file);

}  // namespace pocketlm
