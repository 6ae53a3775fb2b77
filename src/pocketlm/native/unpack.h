// Unpackers: the block formats of GGUF files, one short function each.
//
// A type's unpacker takes one block of one row apart into groups of 32 columns. How groups are then
// laid out for the kernels is not its business (matrix.cpp).
#pragma once

#include <cstdint>
#include <cstring>

#include "layout.h"

namespace pocketlm {

// 32 columns of one row. A word holds four columns, one a byte, the first lowest.
struct Group {
    uint32_t words[8];
    uint16_t scale;    // as layout_of(type).scales says: f16, or a small integer
    uint16_t minimum;  // f16, a small integer, or the scale of the second half
};

// What a block of 256 columns adds, in f16.
struct Super {
    uint16_t scale;
    uint16_t minimum;
};

static inline uint16_t read_u16(const uint8_t* at) {
    uint16_t value;
    std::memcpy(&value, at, sizeof value);
    return value;
}

static inline uint32_t read_u32(const uint8_t* at) {
    uint32_t value;
    std::memcpy(&value, at, sizeof value);
    return value;
}

// Bits 0…3 of `bits` to the lowest bit of four bytes.
static inline uint32_t spread(uint32_t bits) {
    return ((bits & 1u) | (bits & 2u) << 7 | (bits & 4u) << 14 | (bits & 8u) << 21);
}

// 16 bytes of nibbles: the low ones are columns 0…15, the high ones 16…31.
static inline void read_nibbles(const uint8_t* at, uint32_t words[8]) {
    for (int i = 0; i < 4; ++i) {
        const uint32_t word = read_u32(at + 4 * i);
        words[i] = word & 0x0f0f0f0fu;
        words[4 + i] = (word >> 4) & 0x0f0f0f0fu;
    }
}

static inline void add_fifth_bits(uint32_t bits, uint32_t words[8]) {
    for (int i = 0; i < 8; ++i) {
        words[i] |= spread(bits >> (4 * i)) << 4;
    }
}

template <Type type>
struct Block;

// d | nibbles
template <>
struct Block<Type::Q4_0> {
    static constexpr int columns = 32;
    static constexpr int bytes = 18;
    static void unpack(const uint8_t* block, Group* group, Super*) {
        group->scale = read_u16(block);
        read_nibbles(block + 2, group->words);
    }
};

// d | m | nibbles
template <>
struct Block<Type::Q4_1> {
    static constexpr int columns = 32;
    static constexpr int bytes = 20;
    static void unpack(const uint8_t* block, Group* group, Super*) {
        group->scale = read_u16(block);
        group->minimum = read_u16(block + 2);
        read_nibbles(block + 4, group->words);
    }
};

// d | fifth bits | nibbles
template <>
struct Block<Type::Q5_0> {
    static constexpr int columns = 32;
    static constexpr int bytes = 22;
    static void unpack(const uint8_t* block, Group* group, Super*) {
        group->scale = read_u16(block);
        read_nibbles(block + 6, group->words);
        add_fifth_bits(read_u32(block + 2), group->words);
    }
};

// d | m | fifth bits | nibbles
template <>
struct Block<Type::Q5_1> {
    static constexpr int columns = 32;
    static constexpr int bytes = 24;
    static void unpack(const uint8_t* block, Group* group, Super*) {
        group->scale = read_u16(block);
        group->minimum = read_u16(block + 2);
        read_nibbles(block + 8, group->words);
        add_fifth_bits(read_u32(block + 4), group->words);
    }
};

// d | signed bytes
template <>
struct Block<Type::Q8_0> {
    static constexpr int columns = 32;
    static constexpr int bytes = 34;
    static void unpack(const uint8_t* block, Group* group, Super*) {
        group->scale = read_u16(block);
        std::memcpy(group->words, block + 2, 32);
    }
};

// The 6-bit scale and minimum of each group of a 4- or 5-bit K block, packed into 12 bytes: groups
// 0…3 in the low 6 bits of bytes 0…3 and 4…7; groups 4…7 in bytes 8…11 (4 bits each), their upper two
// bits in the upper two of bytes 0…3 and 4…7.
static inline void read_k_scales(const uint8_t* packed, Group groups[8]) {
    for (int i = 0; i < 4; ++i) {
        groups[i].scale = packed[i] & 63;
        groups[i].minimum = packed[4 + i] & 63;
        groups[4 + i].scale =
            static_cast<uint16_t>((packed[8 + i] & 15) | (packed[i] >> 6) << 4);
        groups[4 + i].minimum =
            static_cast<uint16_t>((packed[8 + i] >> 4) | (packed[4 + i] >> 6) << 4);
    }
}

// 128 bytes of nibbles: 32 bytes hold two groups, the first in the low nibbles.
static inline void read_k_nibbles(const uint8_t* at, Group groups[8]) {
    for (int pair = 0; pair < 4; ++pair) {
        for (int i = 0; i < 8; ++i) {
            const uint32_t word = read_u32(at + 32 * pair + 4 * i);
            groups[2 * pair].words[i] = word & 0x0f0f0f0fu;
            groups[2 * pair + 1].words[i] = (word >> 4) & 0x0f0f0f0fu;
        }
    }
}

// d | dmin | packed scales | nibbles
template <>
struct Block<Type::Q4_K> {
    static constexpr int columns = 256;
    static constexpr int bytes = 144;
    static void unpack(const uint8_t* block, Group* groups, Super* super) {
        super->scale = read_u16(block);
        super->minimum = read_u16(block + 2);
        read_k_scales(block + 4, groups);
        read_k_nibbles(block + 16, groups);
    }
};

// d | dmin | packed scales | fifth bits: bit g of byte i is column i's of group g | nibbles
template <>
struct Block<Type::Q5_K> {
    static constexpr int columns = 256;
    static constexpr int bytes = 176;
    static void unpack(const uint8_t* block, Group* groups, Super* super) {
        super->scale = read_u16(block);
        super->minimum = read_u16(block + 2);
        read_k_scales(block + 4, groups);
        read_k_nibbles(block + 48, groups);
        for (int i = 0; i < 8; ++i) {
            const uint32_t fifth = read_u32(block + 16 + 4 * i);
            for (int group = 0; group < 8; ++group) {
                groups[group].words[i] |= ((fifth >> group) & 0x01010101u) << 4;
            }
        }
    }
};

// low nibbles | upper two bits | signed scale of each 16 columns | d, in two halves of 128 columns:
// a half's 64 bytes of nibbles hold groups 0 and 1 low, 2 and 3 high; group g has bits 2g, 2g+1 of its
// 32 bytes of upper bits.
template <>
struct Block<Type::Q6_K> {
    static constexpr int columns = 256;
    static constexpr int bytes = 210;
    static void unpack(const uint8_t* block, Group* groups, Super* super) {
        super->scale = read_u16(block + 208);
        for (int half = 0; half < 2; ++half) {
            const uint8_t* nibbles = block + 64 * half;
            const uint8_t* upper = block + 128 + 32 * half;
            for (int g = 0; g < 4; ++g) {
                Group& group = groups[4 * half + g];
                for (int i = 0; i < 8; ++i) {
                    const uint32_t low = read_u32(nibbles + 32 * (g % 2) + 4 * i) >> (g / 2 * 4);
                    const uint32_t high = read_u32(upper + 4 * i) >> (2 * g);
                    group.words[i] = (low & 0x0f0f0f0fu) | (high & 0x03030303u) << 4;
                }
                const uint8_t* scales = block + 192 + 2 * (4 * half + g);
                group.scale = scales[0];
                group.minimum = scales[1];
            }
        }
    }
};

// third bits: bit g of byte i is column i's of group g | low two bits, in two halves of 128 columns: bits
// 2g, 2g+1 of a half's 32 bytes are group g's | 6-bit scale + 32 of each 16 columns: low nibbles in 8
// bytes, upper two bits in 4 | d
template <>
struct Block<Type::Q3_K> {
    static constexpr int columns = 256;
    static constexpr int bytes = 110;
    static void unpack(const uint8_t* block, Group* groups, Super* super) {
        super->scale = read_u16(block + 108);
        const uint8_t* const scales = block + 96;
        const auto scale = [scales](int half) {
            const int code = (scales[half % 8] >> (4 * (half / 8)) & 15) |
                             (scales[8 + half % 4] >> (2 * (half / 4)) & 3) << 4;
            return static_cast<uint16_t>((code - 32) & 255);
        };
        for (int g = 0; g < 8; ++g) {
            Group& group = groups[g];
            for (int i = 0; i < 8; ++i) {
                const uint32_t low = read_u32(block + 32 + 32 * (g / 4) + 4 * i) >> (2 * (g % 4));
                const uint32_t third = read_u32(block + 4 * i) >> g;
                group.words[i] = (low & 0x03030303u) | (third & 0x01010101u) << 2;
            }
            group.scale = scale(2 * g);
            group.minimum = scale(2 * g + 1);
        }
    }
};

// d | nibbles, which mean numbers of a codebook
template <>
struct Block<Type::IQ4_NL> {
    static constexpr int columns = 32;
    static constexpr int bytes = 18;
    static void unpack(const uint8_t* block, Group* group, Super* super) {
        Block<Type::Q4_0>::unpack(block, group, super);
    }
};

// d | upper two bits of 8 scales | low nibbles of the scales, + 32 | nibbles, as IQ4_NL's
template <>
struct Block<Type::IQ4_XS> {
    static constexpr int columns = 256;
    static constexpr int bytes = 136;
    static void unpack(const uint8_t* block, Group* groups, Super* super) {
        super->scale = read_u16(block);
        for (int g = 0; g < 8; ++g) {
            const int code = (block[4 + g / 2] >> (4 * (g % 2)) & 15) |
                             (read_u16(block + 2) >> (2 * g) & 3) << 4;
            groups[g].scale = static_cast<uint16_t>((code - 32) & 255);
            read_nibbles(block + 8 + 16 * g, groups[g].words);
        }
    }
};

// A row of P3 to P6 before it goes into panels, in no file: base | step | for each group, code | quants.
// The 32 indices of a group in words of four: word i's bytes are columns 4i…4i+3.
constexpr int row_steps_head = 4;

// code | nibbles
template <>
struct Block<Type::P4> {
    static constexpr int columns = 32;
    static constexpr int bytes = 17;
    static void unpack(const uint8_t* block, Group* group, Super*) {
        group->scale = block[0] & 15;
        read_nibbles(block + 1, group->words);
    }
};

// code | fifth bits | nibbles
template <>
struct Block<Type::P5> {
    static constexpr int columns = 32;
    static constexpr int bytes = 21;
    static void unpack(const uint8_t* block, Group* group, Super*) {
        group->scale = block[0] & 15;
        read_nibbles(block + 5, group->words);
        add_fifth_bits(read_u32(block + 1), group->words);
    }
};

// code | fifth bits | sixth bits | nibbles
template <>
struct Block<Type::P6> {
    static constexpr int columns = 32;
    static constexpr int bytes = 25;
    static void unpack(const uint8_t* block, Group* group, Super*) {
        group->scale = block[0] & 15;
        read_nibbles(block + 9, group->words);
        add_fifth_bits(read_u32(block + 1), group->words);
        const uint32_t sixth = read_u32(block + 5);
        for (int i = 0; i < 8; ++i) {
            group->words[i] |= spread(sixth >> (4 * i)) << 5;
        }
    }
};

// code | 32 times 3 bits
template <>
struct Block<Type::P3> {
    static constexpr int columns = 32;
    static constexpr int bytes = 13;
    static void unpack(const uint8_t* block, Group* group, Super*) {
        group->scale = block[0] & 15;
        for (int i = 0; i < 8; ++i) {
            // Four columns, twelve bits.
            const uint32_t bits = read_u16(block + 1 + 3 * i / 2) >> (i % 2 * 4);
            group->words[i] = (bits & 7u) | (bits & 56u) << 5 | (bits & 448u) << 10 |
                              (bits & 3584u) << 15;
        }
    }
};

}  // namespace pocketlm
