// Kernels in plain C++: for any processor, and the form the vector kernels are tested against.
#include <cmath>
#include <cstring>

#include "cache_kernels.h"
#include "kernels.h"
#include "low_rank.h"
#include "panel.h"
#include "row_kernels.h"

namespace pocketlm {
namespace {

template <Type type, int size>
void multiply(const Panel& panel, const Tile& tile, float* out) {
    constexpr Layout layout = layout_of(type);
    for (int i = 0; i < size * panel_rows; ++i) {
        out[i] = 0.0f;
    }
    for (int group = 0; group < panel.groups; ++group) {
        const uint8_t* group_quants = panel.data + group_at(layout, group);
        for (int row = 0; row < panel_rows; ++row) {
            int quants[group_columns];
            for (int column = 0; column < group_columns; ++column) {
                quants[column] = number_at(layout, group_quants, row, column);
            }
            const Affine low = affine_at(layout, panel, group, row, 0);
            const Affine high = affine_at(layout, panel, group, row, 1);
            for (int token = 0; token < size; ++token) {
                const int at = group * size + token;
                const int8_t* values = tile.values + static_cast<size_t>(at) * group_columns;
                int low_dot = 0;
                int high_dot = 0;
                for (int column = 0; column < 16; ++column) {
                    low_dot += quants[column] * values[column];
                    high_dot += quants[16 + column] * values[16 + column];
                }
                const float scaled = low.scale * static_cast<float>(low_dot) +
                                     high.scale * static_cast<float>(high_dot);
                const float minima = low.minimum * tile.low_sums[at] +
                                     high.minimum * (tile.sums[at] - tile.low_sums[at]);
                out[token * panel_rows + row] += scaled * tile.scales[at] + minima;
            }
        }
    }
}

template <typename Element>
struct PlainBlock {
    static constexpr int tokens = 1;

    template <int rows, int count>
    static void multiply(const uint8_t* weights, size_t stride, int columns, const float* inputs, float* out) {
        for (int row = 0; row < rows; ++row) {
            const uint8_t* at = weights + static_cast<size_t>(row) * stride;
            float partial[4] = {0.0f, 0.0f, 0.0f, 0.0f};
            for (int column = 0; column < columns; ++column, at += Element::bytes) {
                partial[column % 4] += Element::read_one(at) * inputs[column];
            }
            out[row] = (partial[0] + partial[1]) + (partial[2] + partial[3]);
        }
    }
};

void quantise(const float* input, int columns, int index, int size, int8_t* values, float* scales,
              int32_t* totals, float* sums, float* low_sums) {
    for (int group = 0; group < columns / group_columns; ++group) {
        const float* in = input + group * group_columns;
        float largest = 0.0f;
        for (int i = 0; i < group_columns; ++i) {
            const float magnitude = in[i] < 0.0f ? -in[i] : in[i];
            largest = magnitude > largest ? magnitude : largest;
        }
        const float scale = largest / 127.0f;
        const float inverse = largest > vanishing ? 127.0f / largest : 0.0f;
        const int at = group * size + index;
        int8_t* out = values + static_cast<size_t>(at) * group_columns;
        int sum[2] = {0, 0};
        for (int i = 0; i < group_columns; ++i) {
            const float rounded = std::nearbyintf(in[i] * inverse);
            const int value = std::isnan(rounded) ? 0 : static_cast<int>(rounded);
            out[i] = static_cast<int8_t>(value);
            sum[i / 16] += value;
        }
        scales[at] = scale;
        totals[at] = sum[0] + sum[1];
        sums[at] = scale * static_cast<float>(totals[at]);
        low_sums[at] = scale * static_cast<float>(sum[0]);
    }
}

void normalise(const float* input, const float* weight, float epsilon, int count, float* out) {
    float squares[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    for (int i = 0; i < count; ++i) {
        squares[i % 4] += input[i] * input[i];
    }
    const float mean =
        ((squares[0] + squares[1]) + (squares[2] + squares[3])) / static_cast<float>(count);
    const float factor = 1.0f / std::sqrt(mean + epsilon);
    for (int i = 0; i < count; ++i) {
        out[i] = input[i] * factor * weight[i];
    }
}

void gate(const float* gates, const float* up, int count, float* out) {
    for (int i = 0; i < count; ++i) {
        out[i] = gates[i] / (1.0f + std::exp(-gates[i])) * up[i];
    }
}

// Sixteen floats, for the kernels of the cache and of adapters.
struct Sixteen {
    static constexpr int rows = 1;
    static constexpr int together = 1;
    float lanes[16];

    template <typename Number>
    static Sixteen each(const Number& number) {
        Sixteen result;
        for (int i = 0; i < 16; ++i) {
            result.lanes[i] = number(i);
        }
        return result;
    }
    static Sixteen all(float number) {
        return each([&](int) { return number; });
    }
    static Sixteen load(const float* at) {
        return each([&](int i) { return at[i]; });
    }
    static Sixteen halves(const uint8_t* at) {
        return each([&](int i) { return float_from_f16(half_at(at, i)); });
    }
    static Sixteen bytes(const uint8_t* at) {
        return each([&](int i) { return static_cast<float>(static_cast<int8_t>(at[i])); });
    }
    static Sixteen nibbles(const uint8_t* at, bool high) {
        return each([&](int i) { return static_cast<float>((high ? at[i] >> 4 : at[i] & 15) - 8); });
    }
    void store(float* at) const { std::memcpy(at, lanes, sizeof lanes); }
    Sixteen operator*(const Sixteen& other) const {
        return each([&](int i) { return lanes[i] * other.lanes[i]; });
    }
    Sixteen times(const Sixteen& other, const Sixteen& plus) const {
        return each([&](int i) { return lanes[i] * other.lanes[i] + plus.lanes[i]; });
    }
};

float largest(const float* values, int count) {
    float found = values[0];
    for (int i = 1; i < count; ++i) {
        found = values[i] > found ? values[i] : found;
    }
    return found;
}

float exponentials(float* values, int count, float maximum) {
    float sum = 0.0f;
    for (int i = 0; i < count; ++i) {
        values[i] = std::exp(values[i] - maximum);
        sum += values[i];
    }
    return sum;
}

void half_from_float(const float* input, int count, uint16_t* out) {
    for (int i = 0; i < count; ++i) {
        out[i] = f16_from_float(input[i]);
    }
}

uint64_t read(const uint8_t* data, size_t size, bool halves) {
    const size_t step = halves ? 8 : 16;
    const uint8_t* const other = data + (halves ? size / 2 : 8);
    uint64_t sums[2] = {0, 0};
    for (size_t i = 0; i < size / 16; ++i) {
        uint64_t words[2];
        std::memcpy(&words[0], data + i * step, sizeof words[0]);
        std::memcpy(&words[1], other + i * step, sizeof words[1]);
        sums[0] += words[0];
        sums[1] += words[1];
    }
    return sums[0] + sums[1];
}

long long multiply_adds(int repetitions) {
    constexpr int count = 64;
    volatile int seed = 7;
    int8_t quants[count];
    int8_t activations[count];
    for (int i = 0; i < count; ++i) {
        quants[i] = static_cast<int8_t>(seed);
        activations[i] = static_cast<int8_t>(seed - 6);
    }
    int sum = 0;
    for (int i = 0; i < repetitions; ++i) {
        activations[i % count] = static_cast<int8_t>(i % 2);
        int dot = 0;
        for (int j = 0; j < count; ++j) {
            dot += quants[j] * activations[j];
        }
        sum ^= dot;
    }
    seed = sum;
    return static_cast<long long>(count) * repetitions;
}

#define POCKETLM_TILES(type) \
    { multiply<type, 1>, multiply<type, 2>, multiply<type, 4>, nullptr, nullptr }

}  // namespace

const Kernels portable_kernels = {
    "portable",
    4,
    {{}, {}, {},
     POCKETLM_TILES(Type::Q4_0), POCKETLM_TILES(Type::Q4_1), POCKETLM_TILES(Type::Q5_0),
     POCKETLM_TILES(Type::Q5_1), POCKETLM_TILES(Type::Q8_0), POCKETLM_TILES(Type::Q4_K),
     POCKETLM_TILES(Type::Q5_K), POCKETLM_TILES(Type::Q6_K), POCKETLM_TILES(Type::Q3_K),
     POCKETLM_TILES(Type::IQ4_NL), POCKETLM_TILES(Type::IQ4_XS), POCKETLM_TILES(Type::P3),
     POCKETLM_TILES(Type::P4), POCKETLM_TILES(Type::P5), POCKETLM_TILES(Type::P6)},
    {},
    {multiply_rows<PlainBlock<F32>>, multiply_rows<PlainBlock<F16>>, multiply_rows<PlainBlock<BF16>>},
    quantise,
    normalise,
    gate,
    {match_keys<Sixteen, CacheType::F16>, match_keys<Sixteen, CacheType::Q8>,
     match_keys<Sixteen, CacheType::Q4>, match_keys<Sixteen, CacheType::F32>},
    {blend_values<Sixteen, CacheType::F16>, blend_values<Sixteen, CacheType::Q8>,
     blend_values<Sixteen, CacheType::Q4>, blend_values<Sixteen, CacheType::F32>},
    add_low_rank<Sixteen>,
    largest,
    exponentials,
    half_from_float,
    read,
    multiply_adds,
};

}  // namespace pocketlm
