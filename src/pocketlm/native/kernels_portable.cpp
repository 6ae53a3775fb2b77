// Kernels in plain C++: for any processor, and the form the vector kernels are tested against, to the bit.
#include <cmath>
#include <cstring>

#include "fused.h"
#include "kernels.h"
#include "panel.h"
#include "table.h"

namespace pocketlm {
namespace {

// What a group comes to: its products, each 16 columns' with a scale of their own, ...
inline float add_halves(const Affine& low, const Affine& high, int low_dot, int high_dot, const Tile& tile,
                        int at, float sum) {
    const float scaled = fused(static_cast<float>(low_dot), low.scale, static_cast<float>(high_dot) * high.scale);
    sum = fused(scaled, tile.scales[at], sum);
    sum = fused(low.minimum, tile.low_sums[at], sum);
    return fused(high.minimum, tile.sums[at] - tile.low_sums[at], sum);
}

// ... or all with one. Whole numbers and halves are exact: only products with scales are rounded.
template <Type type>
inline float add_whole(const Affine& affine, int dot, const Tile& tile, int at, float sum) {
    constexpr Layout layout = layout_of(type);
    float scale = affine.scale;
    if constexpr (layout.scales == Scales::row_steps) {
        scale = float_from_bits(bits_from_float(scale) & static_cast<uint32_t>(scale_bits));
    }
    const float whole = static_cast<float>(dot) - layout.zero * static_cast<float>(tile.totals[at]);
    sum = fused(whole * scale, tile.scales[at], sum);
    return has_minimum(layout) ? fused(affine.minimum, tile.sums[at], sum) : sum;
}

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
                float& sum = out[token * panel_rows + row];
                if constexpr (layout.scales == Scales::super_halves) {
                    sum = add_halves(low, high, low_dot, high_dot, tile, at, sum);
                } else {
                    sum = add_whole<type>(low, low_dot + high_dot, tile, at, sum);
                }
            }
        }
    }
}

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

// See sixteen.h.
struct Sixteen {
    static constexpr int rows = 1;
    static constexpr int together = 1;
    static constexpr int stored_rows = 1;
    static constexpr int tokens = 1;
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
    static Sixteen load_first(const float* at, int count, float rest) {
        return load_by_buffer<Sixteen>(at, count, rest);
    }
    void store_first(float* at, int count) const { store_by_buffer(*this, at, count); }
    static Sixteen floats(const uint8_t* at) {
        Sixteen result;
        std::memcpy(result.lanes, at, sizeof result.lanes);
        return result;
    }
    static Sixteen halves(const uint8_t* at) {
        return each([&](int i) { return float_from_f16(half_at(at, i)); });
    }
    static Sixteen brain_halves(const uint8_t* at) {
        return each([&](int i) { return float_from_bf16(half_at(at, i)); });
    }
    static Sixteen bytes(const uint8_t* at) {
        return each([&](int i) { return static_cast<float>(static_cast<int8_t>(at[i])); });
    }
    static Sixteen nibbles(const uint8_t* at, bool high) {
        return each([&](int i) { return static_cast<float>((high ? at[i] >> 4 : at[i] & 15) - 8); });
    }
    void store(float* at) const { std::memcpy(at, lanes, sizeof lanes); }
    Sixteen operator+(const Sixteen& other) const {
        return each([&](int i) { return lanes[i] + other.lanes[i]; });
    }
    Sixteen operator-(const Sixteen& other) const {
        return each([&](int i) { return lanes[i] - other.lanes[i]; });
    }
    Sixteen operator*(const Sixteen& other) const {
        return each([&](int i) { return lanes[i] * other.lanes[i]; });
    }
    Sixteen operator/(const Sixteen& other) const {
        return each([&](int i) { return lanes[i] / other.lanes[i]; });
    }
    Sixteen times(const Sixteen& other, const Sixteen& plus) const {
        return each([&](int i) { return fused(lanes[i], other.lanes[i], plus.lanes[i]); });
    }
    Sixteen times_exact(const Sixteen& other, const Sixteen& plus) const {
        return each([&](int i) { return lanes[i] * other.lanes[i] + plus.lanes[i]; });
    }
    Sixteen shortened() const {
        return each([&](int i) { return pocketlm::shortened(lanes[i]); });
    }
    Sixteen max(const Sixteen& other) const {
        return each([&](int i) { return lanes[i] > other.lanes[i] ? lanes[i] : other.lanes[i]; });
    }
    Sixteen min(const Sixteen& other) const {
        return each([&](int i) { return lanes[i] < other.lanes[i] ? lanes[i] : other.lanes[i]; });
    }
    Sixteen rounded() const {
        return each([&](int i) { return std::nearbyintf(lanes[i]); });
    }
    Sixteen scaled(const Sixteen& exponents) const {
        return each([&](int i) {
            const int biased = static_cast<int>(exponents.lanes[i]) + 127;
            return lanes[i] * float_from_bits(static_cast<uint32_t>(biased) << 23);
        });
    }
    Sixteen where_not_below(const Sixteen& x, const Sixteen& least) const {
        return each([&](int i) { return x.lanes[i] >= least.lanes[i] ? lanes[i] : 0.0f; });
    }
    float sum() const {
        float sums[16];
        store(sums);
        for (int other = 8; other > 0; other /= 2) {
            for (int i = 0; i < other; ++i) {
                sums[i] += sums[i + other];
            }
        }
        return sums[0];
    }
    float largest() const {
        float found = lanes[0];
        for (int i = 1; i < 16; ++i) {
            found = lanes[i] > found ? lanes[i] : found;
        }
        return found;
    }
};

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

}  // namespace

const Kernels portable_kernels =
    make_table<Sixteen, 4>("portable", {quantise, half_from_float, read, multiply_adds},
                           [](auto type, auto size) { return multiply<type.value, size.value>; });

}  // namespace pocketlm
