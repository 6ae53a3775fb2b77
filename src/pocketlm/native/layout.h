// Element types as files store them, and the layouts that kernels read: of prepared weights and of the
// cache.
//
// A prepared matrix is made of panels of 16 rows. Within a panel, columns go in groups of 32, and four
// neighbouring columns of one row share a 32-bit word, so that one load of four activations, repeated
// over a vector, meets 16 rows at once:
//
//   head     what belongs to whole rows, 16 of each number, see Scales
//   quants   for each group: words[chunk][row], chunk = 4 columns
//            3 bits: 3 chunks of 64 bytes; bits 0…2 of chunk c's bytes are columns 8c…8c+3, bits 3…5
//                    columns 8c+4…8c+7; of columns 24…27, bits 0 and 1 are bits 6 and 7 of chunk 0 and
//                    bit 2 is bit 6 of chunk 2; of columns 28…31 those of chunk 1 and bit 7 of chunk 2
//            4 bits: 4 chunks of 64 bytes; low nibbles are columns 4c…4c+3, high nibbles 16+4c…16+4c+3
//            5 bits: as 4 bits, then 64 bytes [row][4]: bit c is the fifth bit of column 4c+byte,
//                    bit 4+c of column 16+4c+byte
//            6 bits: as 4 bits, then 2 x 64 bytes: bits 2c, 2c+1 are the upper bits of column 4c+byte
//                    (first 64) and 16+4c+byte (second 64)
//            8 bits: 8 chunks of 64 bytes, signed
//   scales   after each group's quants, 16 rows of each number, see Scales
//   supers   before each 8 groups (256 columns), 16 rows of each number
//
// So a panel is read from its beginning to its end: two streams, scales apart from quants, had two
// thirds of the bandwidth.
//
// All layouts mean weight = scale * number[quant] + minimum.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pocketlm {

constexpr int panel_rows = 16;
constexpr int group_columns = 32;
constexpr int super_groups = 8;

// Types that files store row by row, then those that they store as panels ("P4").
enum class Type { F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K, Q3_K, IQ4_NL, IQ4_XS, P3, P4, P5, P6 };
constexpr int type_count = 18;

enum class Scales {
    half,          // f16 scale; minimum = -zero * scale
    half_minimum,  // f16 scale, f16 minimum
    super_minimum, // u8 scale, u8 minimum, times f16 d, -f16 dmin of the super group
    super_halves,  // s8 scale of columns 0…15 and of 16…31, times f16 d; minimum = -zero * scale
    super_signed,  // s8 scale, times f16 d; minimum = -zero * scale
    row_steps,     // 4-bit code, for each row the 8 groups' in 32 bits (super); scale = base + code * step,
                   // with f16 base and step of the whole row (head); minimum = -zero * scale
};

// What a quant stands for.
enum class Codebook {
    none,  // itself
    nl,    // llama.cpp's 16 signed numbers, denser around zero
    p3,    // 8 and 16 numbers which lose the least of normally distributed weights when each 32 have a scale
    p4,
};

constexpr int codebook_numbers[4][16] = {
    {},
    {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113},
    {0, 6, 10, 14, 17, 21, 25, 31},
    {0, 7, 13, 17, 21, 24, 27, 30, 33, 36, 39, 42, 46, 50, 56, 63},
};

// A codebook as the bytes of a vector, for an instruction that looks up 16 at once.
struct CodebookBytes {
    uint8_t at[16] = {};
};

constexpr CodebookBytes codebook_bytes(Codebook codebook) {
    CodebookBytes bytes;
    for (int i = 0; i < 16; ++i) {
        // Of 8 numbers, the look-up does not mind the fourth bit.
        const int index = codebook == Codebook::p3 ? i % 8 : i;
        const int number = codebook_numbers[static_cast<int>(codebook)][index];
        bytes.at[i] = static_cast<uint8_t>(number);
    }
    return bytes;
}

struct Layout {
    int bits;
    Scales scales;
    float zero;
    Codebook codebook = Codebook::none;
};

// Whether kernels read panels; floats are read as stored.
constexpr bool in_panels(Type type) { return type >= Type::Q4_0; }

// Whether a file holds the panels themselves: they are mapped, and nothing is prepared.
constexpr bool is_stored_as_panels(Type type) { return type >= Type::P3; }

constexpr Layout layout_of(Type type) {
    switch (type) {
        case Type::Q4_0: return {4, Scales::half, 8};
        case Type::Q4_1: return {4, Scales::half_minimum, 0};
        case Type::Q5_0: return {5, Scales::half, 16};
        case Type::Q5_1: return {5, Scales::half_minimum, 0};
        case Type::Q8_0: return {8, Scales::half, 0};
        case Type::Q4_K: return {4, Scales::super_minimum, 0};
        case Type::Q5_K: return {5, Scales::super_minimum, 0};
        case Type::Q6_K: return {6, Scales::super_halves, 32};
        case Type::Q3_K: return {3, Scales::super_halves, 4};
        case Type::IQ4_NL: return {4, Scales::half, 0, Codebook::nl};
        case Type::IQ4_XS: return {4, Scales::super_signed, 0, Codebook::nl};
        case Type::P3: return {3, Scales::row_steps, 15.5f, Codebook::p3};
        case Type::P4: return {4, Scales::row_steps, 31.5f, Codebook::p4};
        case Type::P5: return {5, Scales::row_steps, 15.5f};
        case Type::P6: return {6, Scales::row_steps, 31.5f};
        default: return {0, Scales::half, 0};
    }
}

// Whether what quants stand for has a sign.
constexpr bool is_signed(Layout layout) { return layout.bits == 8 || layout.codebook == Codebook::nl; }

// Whether groups have minima of their own, and not -zero * scale.
constexpr bool has_minimum(Layout layout) {
    return layout.scales == Scales::half_minimum || layout.scales == Scales::super_minimum;
}

// What a scale of row_steps keeps of a float's bits: 22 digits. The whole number of a group's products has 22
// too, and one way to multiply both, rounding once (kernels_avx512.h), wants no more.
constexpr int32_t scale_bits = ~3;

// The largest number that an unsigned quant stands for.
constexpr int top_of(Layout layout) {
    const int last = (1 << layout.bits) - 1;
    return layout.codebook == Codebook::none ? last
                                             : codebook_numbers[static_cast<int>(layout.codebook)][last];
}

constexpr size_t quant_bytes(Layout layout) {
    return static_cast<size_t>(panel_rows * group_columns * layout.bits / 8);
}

constexpr size_t scale_bytes(Layout layout) {
    switch (layout.scales) {
        case Scales::half: return 32;
        case Scales::half_minimum: return 64;
        case Scales::super_minimum: return 32;
        case Scales::super_halves: return 32;
        case Scales::super_signed: return 16;
        default: return 0;
    }
}

constexpr size_t super_bytes(Layout layout) {
    switch (layout.scales) {
        case Scales::super_minimum: return 64;
        case Scales::super_halves: return 32;
        case Scales::super_signed: return 32;
        case Scales::row_steps: return 64;
        default: return 0;
    }
}

constexpr size_t head_bytes(Layout layout) { return layout.scales == Scales::row_steps ? 64 : 0; }

// 16 rows of a prepared matrix.
struct Panel {
    const uint8_t* data;
    int groups;
};

// Bytes of a group's quants and scales.
constexpr size_t group_bytes(Layout layout) { return quant_bytes(layout) + scale_bytes(layout); }

// Where the super numbers of a group lie in its panel, and where the group.
constexpr size_t super_at(Layout layout, int group) {
    const size_t before = static_cast<size_t>(group / super_groups);
    return head_bytes(layout) + before * (super_bytes(layout) + super_groups * group_bytes(layout));
}

constexpr size_t group_at(Layout layout, int group) {
    if (super_bytes(layout) == 0) {
        return static_cast<size_t>(group) * group_bytes(layout);
    }
    return super_at(layout, group) + super_bytes(layout) +
           static_cast<size_t>(group % super_groups) * group_bytes(layout);
}

// The cache is made of blocks of 32 positions. Within one, each layer and head has a side of keys,
// [head_dim][32 positions], so that a query meets 32 keys without sums across a vector, and a side of
// values, [32 positions][head_dim]; head_dim is padded with zeros to a multiple of 16.
//
//   F16  float16
//   Q8   signed bytes; then float16 scales, one for each 32 neighbours along head_dim (a group) of each
//        position: [group][32 positions]
//   Q4   nibbles meaning -8 … 7, and scales as Q8. A byte holds dimensions d (low) and d + 16 (high) of
//        a group: keys are [group][16][32 positions], values [32 positions][group][16]. Keys and
//        queries are turned first (cache.h), and head_dim is a multiple of 32.
//   F32  float32
enum class CacheType { F16, Q8, Q4, F32 };
constexpr int cache_type_count = 4;
constexpr int block_positions = 32;
constexpr int cache_group = 32;

// Whether numbers are quants, of which each group has a scale.
constexpr bool cache_scaled(CacheType type) {
    return type == CacheType::Q8 || type == CacheType::Q4;
}

// Bytes of a side without its scales.
constexpr size_t cache_number_bytes(CacheType type, int head_dim) {
    const size_t numbers = static_cast<size_t>(block_positions) * static_cast<size_t>(head_dim);
    return type == CacheType::F32   ? 4 * numbers
           : type == CacheType::F16 ? 2 * numbers
           : type == CacheType::Q8  ? numbers
                                    : numbers / 2;
}

// Bytes of a side.
constexpr size_t cache_side_bytes(CacheType type, int head_dim) {
    const size_t groups = static_cast<size_t>((head_dim + cache_group - 1) / cache_group);
    return cache_number_bytes(type, head_dim) +
           (cache_scaled(type) ? 2 * groups * static_cast<size_t>(block_positions) : 0);
}

}  // namespace pocketlm
