// Random stored weights, and what they mean: each number by itself, straight from the definition of
// its type, in float64. Slow and plain on purpose; shares no code with the runtime.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "layout.h"

namespace reference {

using pocketlm::Type;

// Random 32 bits, the same everywhere.
class Random {
  public:
    explicit Random(uint32_t seed) : engine_(seed) {}
    uint32_t operator()() { return static_cast<uint32_t>(engine_()); }

  private:
    std::mt19937 engine_;
};

// Uniform in -1 … 1.
inline float uniform(Random& random) {
    return static_cast<float>(static_cast<int>(random() >> 8) - (1 << 23)) /
           static_cast<float>(1 << 23);
}

inline std::vector<float> uniform(Random& random, size_t count) {
    std::vector<float> numbers(count);
    for (float& number : numbers) {
        number = uniform(random);
    }
    return numbers;
}

inline double half(uint32_t bits) {
    const double sign = (bits & 0x8000u) != 0 ? -1.0 : 1.0;
    const int exponent = static_cast<int>(bits >> 10 & 31u);
    const int fraction = static_cast<int>(bits & 1023u);
    if (exponent == 31) {
        return fraction == 0 ? sign * HUGE_VAL : std::nan("");
    }
    return sign * (exponent == 0 ? std::ldexp(fraction, -24)
                                 : std::ldexp(1024 + fraction, exponent - 25));
}

inline double half(const uint8_t* at) {
    return half(static_cast<uint32_t>(at[0]) | static_cast<uint32_t>(at[1]) << 8);
}

// Bit or bits `index`, of `width` each, of a little-endian number.
inline int bits(const uint8_t* at, int index, int width) {
    const int first = index * width;
    return at[first / 8] >> (first % 8) & ((1 << width) - 1);
}

// The 6-bit scale (or minimum) `index` of a 4- or 5-bit K block: 12 bytes.
inline int k_scale(const uint8_t* packed, int index, bool minimum) {
    const uint8_t* own = packed + (minimum ? 4 : 0);
    if (index < 4) {
        return own[index] & 63;
    }
    const int low = bits(packed + 4 + index, minimum ? 1 : 0, 4);
    return low | (own[index - 4] >> 6) << 4;
}

inline double q4_k(const uint8_t* block, int column, bool fifth) {
    const int group = column / 32;
    const int i = column % 32;
    const uint8_t* nibbles = block + (fifth ? 48 : 16);
    int quant = bits(nibbles + 32 * (group / 2) + i, group % 2, 4);
    if (fifth) {
        quant += 16 * bits(block + 16 + i, group, 1);
    }
    return half(block) * k_scale(block + 4, group, false) * quant -
           half(block + 2) * k_scale(block + 4, group, true);
}

inline double q6_k(const uint8_t* block, int column) {
    const int side = column / 128;
    const int quarter = column % 128 / 32;
    const int i = column % 32;
    const int low = bits(block + 64 * side + 32 * (quarter % 2) + i, quarter / 2, 4);
    const int high = bits(block + 128 + 32 * side + i, quarter, 2);
    const int scale = static_cast<int8_t>(block[192 + column / 16]);
    return half(block + 208) * scale * (low + 16 * high - 32);
}

inline double q3_k(const uint8_t* block, int column) {
    const int i = column % 32;
    const int low = bits(block + 32 + 32 * (column / 128) + i, column % 128 / 32, 2);
    const int quant = low + 4 * bits(block + i, column / 32, 1) - 4;
    const int part = column / 16;
    const int scale = bits(block + 96 + part % 8, part / 8, 4) +
                      16 * bits(block + 104 + part % 4, part / 4, 2) - 32;
    return half(block + 108) * scale * quant;
}

constexpr int iq4_numbers[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                 1,    13,   25,  38,  53,  69,  89,  113};

inline double iq4_xs(const uint8_t* block, int column) {
    const int group = column / 32;
    const int i = column % 32;
    const int scale = bits(block + 4, group, 4) + 16 * bits(block + 2, group, 2) - 32;
    return half(block) * scale * iq4_numbers[bits(block + 8 + 16 * group + i % 16, i / 16, 4)];
}

inline Type type_at(int index) { return static_cast<Type>(index); }

// How a type is stored: blocks of a row, or panels of 16 rows (in groups of so many columns).
struct Form {
    int columns;
    int bytes;
    bool panels = false;
};

inline Form form_of(Type type) {
    switch (type) {
        case Type::F32: return {1, 4};
        case Type::F16: return {1, 2};
        case Type::BF16: return {1, 2};
        case Type::Q4_0: return {32, 18};
        case Type::Q4_1: return {32, 20};
        case Type::Q5_0: return {32, 22};
        case Type::Q5_1: return {32, 24};
        case Type::Q8_0: return {32, 34};
        case Type::Q4_K: return {256, 144};
        case Type::Q5_K: return {256, 176};
        case Type::Q6_K: return {256, 210};
        case Type::Q3_K: return {256, 110};
        case Type::IQ4_NL: return {32, 18};
        case Type::IQ4_XS: return {256, 136};
        case Type::P3: return {32, 192, true};
        case Type::P4: return {32, 256, true};
        case Type::P5: return {32, 320, true};
        case Type::P6: return {32, 384, true};
    }
    return {0, 0};
}

inline bool is_float(Type type) { return form_of(type).columns == 1; }

// Bytes of a row, or of a panel.
inline size_t stride_of(Type type, int columns) {
    const Form form = form_of(type);
    const int blocks = columns / form.columns;
    // A panel has 64 bytes for its rows, and for each 256 columns.
    const int more = form.panels ? 64 + 64 * ((blocks + 7) / 8) : 0;
    return static_cast<size_t>(blocks * form.bytes + more);
}

inline size_t stored_bytes(Type type, int rows, int columns) {
    const int count = form_of(type).panels ? (rows + 15) / 16 : rows;
    return static_cast<size_t>(count) * stride_of(type, columns);
}

// Twice what the indices of P3 and P4 stand for.
constexpr int p3_numbers[8] = {-31, -19, -11, -3, 3, 11, 19, 31};
constexpr int p4_numbers[16] = {-63, -49, -37, -29, -21, -15, -9, -3, 3, 9, 15, 21, 29, 37, 49, 63};

// A panel: base of 16 rows, step of 16 rows, both float16; then for each 8 groups 32 bits of codes for
// each row, and the groups' indices.
inline double in_panel(Type type, const uint8_t* panel, int row, int column) {
    const int group = column / 32;
    const int i = column % 32;
    const uint8_t* const eight = panel + 64 + group / 8 * (64 + 8 * form_of(type).bytes);
    const uint8_t* const indices = eight + 64 + group % 8 * form_of(type).bytes;
    const int code = bits(eight + 4 * row, group % 8, 4);
    const double scale = half(panel + 2 * row) + code * half(panel + 32 + 2 * row);
    const int at = 4 * row + i % 4;
    if (type == Type::P4) {
        return scale * p4_numbers[bits(indices + 64 * (i % 16 / 4) + at, i / 16, 4)] / 2;
    }
    if (type == Type::P5 || type == Type::P6) {
        const int low = bits(indices + 64 * (i % 16 / 4) + at, i / 16, 4);
        const int chunk = i / 4;
        if (type == Type::P5) {
            return scale * (low + 16 * bits(indices + 256 + at, chunk, 1) - 15.5);
        }
        return scale * (low + 16 * bits(indices + 256 + 64 * (chunk / 4) + at, chunk % 4, 2) - 31.5);
    }
    int index;
    if (i < 24) {
        index = indices[64 * (i / 8) + at] >> (i % 8 < 4 ? 0 : 3) & 7;
    } else {
        const int last = i < 28 ? 0 : 1;
        index = (indices[64 * last + at] >> 6) + 4 * bits(indices + 128 + at, 6 + last, 1);
    }
    return scale * p3_numbers[index] / 2;
}

// The number at a row and column of a matrix as it is stored.
inline double number(Type type, const uint8_t* data, int columns, int row, int column) {
    const Form form = form_of(type);
    const size_t stride = stride_of(type, columns);
    if (form.panels) {
        return in_panel(type, data + static_cast<size_t>(row / 16) * stride, row % 16, column);
    }
    const uint8_t* const at =
        data + static_cast<size_t>(row) * stride + column / form.columns * form.bytes;
    const int within = column % form.columns;
    const int i = column % 32;
    // Nibbles of 32 columns lie in 16 bytes: the low ones are the first 16 columns.
    const auto nibble = [&](const uint8_t* nibbles) { return bits(nibbles + i % 16, i / 16, 4); };
    switch (type) {
        case Type::F32: {
            float value;
            std::memcpy(&value, at, 4);
            return static_cast<double>(value);
        }
        case Type::F16:
            return half(at);
        case Type::BF16: {
            const uint8_t widened[4] = {0, 0, at[0], at[1]};
            float value;
            std::memcpy(&value, widened, 4);
            return static_cast<double>(value);
        }
        case Type::Q4_0:
            return half(at) * (nibble(at + 2) - 8);
        case Type::Q4_1:
            return half(at) * nibble(at + 4) + half(at + 2);
        case Type::Q5_0:
            return half(at) * (nibble(at + 6) + 16 * bits(at + 2, i, 1) - 16);
        case Type::Q5_1:
            return half(at) * (nibble(at + 8) + 16 * bits(at + 4, i, 1)) + half(at + 2);
        case Type::Q8_0:
            return half(at) * static_cast<int8_t>(at[2 + i]);
        case Type::Q4_K:
            return q4_k(at, within, false);
        case Type::Q5_K:
            return q4_k(at, within, true);
        case Type::Q6_K:
            return q6_k(at, within);
        case Type::Q3_K:
            return q3_k(at, within);
        case Type::IQ4_NL:
            return half(at) * iq4_numbers[nibble(at + 2)];
        case Type::IQ4_XS:
            return iq4_xs(at, within);
        case Type::P3:
        case Type::P4:
        case Type::P5:
        case Type::P6:
            break;
    }
    return 0.0;
}

// Where a quantised matrix's float16 numbers are, in ascending order.
inline std::vector<size_t> halves_of(Type type, int rows, int columns) {
    const size_t end = stored_bytes(type, rows, columns);
    std::vector<size_t> all;
    if (form_of(type).panels) {
        for (size_t panel = 0; panel < end; panel += stride_of(type, columns)) {
            for (size_t at = 0; at < 64; at += 2) {
                all.push_back(panel + at);
            }
        }
        return all;
    }
    const bool two = type == Type::Q4_1 || type == Type::Q5_1 || type == Type::Q4_K || type == Type::Q5_K;
    const size_t first = type == Type::Q6_K ? 208 : type == Type::Q3_K ? 108 : 0;
    for (size_t block = 0; block < end; block += static_cast<size_t>(form_of(type).bytes)) {
        all.push_back(block + first);
        if (two) {
            all.push_back(block + 2);
        }
    }
    return all;
}

// Any bytes.
inline std::vector<uint8_t> random_bytes(size_t count, Random& random) {
    std::vector<uint8_t> data(count);
    for (uint8_t& byte : data) {
        byte = static_cast<uint8_t>(random());
    }
    return data;
}

// A stored matrix: any bytes, but float16 (or float) numbers of a sane size, of either sign.
inline std::vector<uint8_t> random_weights(Type type, int rows, int columns, Random& random) {
    std::vector<uint8_t> data = random_bytes(stored_bytes(type, rows, columns), random);
    const auto put_half = [&](size_t at) {
        const uint32_t value = (random() & 0x83ffu) | (7 + random() % 4) << 10;
        data[at] = static_cast<uint8_t>(value);
        data[at + 1] = static_cast<uint8_t>(value >> 8);
    };
    if (type == Type::F32) {
        for (size_t at = 0; at < data.size(); at += 4) {
            const float value = uniform(random);
            std::memcpy(&data[at], &value, 4);
        }
    } else if (is_float(type)) {
        for (size_t at = 0; at < data.size(); at += 2) {
            put_half(at);
            if (type == Type::BF16) {
                data[at + 1] = static_cast<uint8_t>((data[at + 1] & 0x83u) | 0x3cu);
            }
        }
    } else {
        for (size_t at : halves_of(type, rows, columns)) {
            put_half(at);
        }
    }
    return data;
}

using pocketlm::CacheType;

// A number of a block's side of keys (or of values), of a head padded to `width`, from the layout's
// description.
inline double cached(CacheType type, const uint8_t* side, int width, bool keys, int dim, int position) {
    const int index = keys ? dim * 32 + position : position * width + dim;
    if (type == CacheType::F32) {
        float number;
        std::memcpy(&number, side + 4 * index, sizeof number);
        return number;
    }
    if (type == CacheType::F16) {
        return half(side + 2 * index);
    }
    const int group = dim / 32;
    const int numbers = 32 * width / (type == CacheType::Q8 ? 1 : 2);
    const double scale = half(side + numbers + 2 * (32 * group + position));
    if (type == CacheType::Q8) {
        return scale * static_cast<int8_t>(side[index]);
    }
    const int byte = keys ? (16 * group + dim % 16) * 32 + position
                          : position * width / 2 + 16 * group + dim % 16;
    return scale * (bits(side + byte, dim % 32 / 16, 4) - 8);
}

}  // namespace reference
