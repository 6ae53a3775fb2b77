// Random stored weights, and what they mean: each number by itself, straight from the definition of
// its file type, in float64. Slow and plain on purpose; shares no code with the runtime.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "layout.h"
#include "matrix.h"

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

inline double number(Type type, const uint8_t* row, int column) {
    const int i = column % 32;
    const auto block = [&](int bytes, int columns) { return row + column / columns * bytes; };
    // Nibbles of 32 columns lie in 16 bytes: the low ones are the first 16 columns.
    const auto nibble = [&](const uint8_t* at) { return bits(at + i % 16, i / 16, 4); };
    switch (type) {
        case Type::F32: {
            float value;
            std::memcpy(&value, row + 4 * column, 4);
            return static_cast<double>(value);
        }
        case Type::F16:
            return half(row + 2 * column);
        case Type::BF16: {
            const uint8_t widened[4] = {0, 0, row[2 * column], row[2 * column + 1]};
            float value;
            std::memcpy(&value, widened, 4);
            return static_cast<double>(value);
        }
        case Type::Q4_0: {
            const uint8_t* at = block(18, 32);
            return half(at) * (nibble(at + 2) - 8);
        }
        case Type::Q4_1: {
            const uint8_t* at = block(20, 32);
            return half(at) * nibble(at + 4) + half(at + 2);
        }
        case Type::Q5_0: {
            const uint8_t* at = block(22, 32);
            return half(at) * (nibble(at + 6) + 16 * bits(at + 2, i, 1) - 16);
        }
        case Type::Q5_1: {
            const uint8_t* at = block(24, 32);
            return half(at) * (nibble(at + 8) + 16 * bits(at + 4, i, 1)) + half(at + 2);
        }
        case Type::Q8_0: {
            const uint8_t* at = block(34, 32);
            return half(at) * static_cast<int8_t>(at[2 + i]);
        }
        case Type::Q4_K:
            return q4_k(block(144, 256), column % 256, false);
        case Type::Q5_K:
            return q4_k(block(176, 256), column % 256, true);
        case Type::Q6_K:
            return q6_k(block(210, 256), column % 256);
    }
    return 0.0;
}

inline Type type_at(int index) { return static_cast<Type>(index); }

inline int block_columns(Type type) {
    return type >= Type::Q4_K ? 256 : pocketlm::is_prepared(type) ? 32 : 1;
}

// Where a block's float16 numbers are; -1: there is none.
struct Halves {
    int first;
    int second;
};

inline Halves halves_of(Type type) {
    switch (type) {
        case Type::Q4_1:
        case Type::Q5_1:
        case Type::Q4_K:
        case Type::Q5_K:
            return {0, 2};
        case Type::Q6_K:
            return {208, -1};
        default:
            return {0, -1};
    }
}

// Stored rows: any bytes, but float16 (or float) numbers of a sane size, of either sign.
inline std::vector<uint8_t> random_rows(Type type, int rows, int columns, Random& random) {
    const size_t row_bytes = pocketlm::stored_row_bytes(type, columns);
    std::vector<uint8_t> data(static_cast<size_t>(rows) * row_bytes);
    for (uint8_t& byte : data) {
        byte = static_cast<uint8_t>(random());
    }
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
    } else if (!pocketlm::is_prepared(type)) {
        for (size_t at = 0; at < data.size(); at += 2) {
            put_half(at);
            if (type == Type::BF16) {
                data[at + 1] = static_cast<uint8_t>((data[at + 1] & 0x83u) | 0x3cu);
            }
        }
    } else {
        const size_t block = pocketlm::stored_row_bytes(type, block_columns(type));
        const Halves halves = halves_of(type);
        for (size_t at = 0; at < data.size(); at += block) {
            put_half(at + static_cast<size_t>(halves.first));
            if (halves.second >= 0) {
                put_half(at + static_cast<size_t>(halves.second));
            }
        }
    }
    return data;
}

using pocketlm::CacheType;

// A number of a block's side of keys (or of values), of a head padded to `width`, from the layout's
// description.
inline double cached(CacheType type, const uint8_t* side, int width, bool keys, int dim, int position) {
    const int index = keys ? dim * 32 + position : position * width + dim;
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
