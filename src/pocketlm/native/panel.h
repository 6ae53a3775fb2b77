// Reading a panel one number at a time, and writing it a group of one row at a time: the plain statement of
// what layout.h says.
#pragma once

#include "half.h"
#include "layout.h"

namespace pocketlm {

static inline uint16_t half_at(const uint8_t* base, int index) {
    uint16_t half;
    std::memcpy(&half, base + 2 * index, sizeof half);
    return half;
}

// The quant of a row and column of one group.
static inline int quant_at(int bits, const uint8_t* group, int row, int column) {
    const int half = column / 16;
    const int chunk = column % 16 / 4;
    const int byte = 4 * row + column % 4;
    if (bits == 8) {
        const uint8_t quant = group[64 * (4 * half + chunk) + byte];
        return quant < 128 ? quant : quant - 256;
    }
    if (bits == 3) {
        const int word = 4 * half + chunk;
        if (word < 6) {
            return group[64 * (word / 2) + byte] >> (3 * (word % 2)) & 7;
        }
        return group[64 * (word - 6) + byte] >> 6 | (group[128 + byte] >> word & 1) << 2;
    }
    int quant = group[64 * chunk + byte] >> (4 * half) & 15;
    if (bits == 5) {
        quant |= (group[256 + byte] >> (4 * half + chunk) & 1) << 4;
    } else if (bits == 6) {
        quant |= (group[256 + 64 * half + byte] >> (2 * chunk) & 3) << 4;
    }
    return quant;
}

// What it stands for.
static inline int number_at(Layout layout, const uint8_t* group, int row, int column) {
    const int quant = quant_at(layout.bits, group, row, column);
    return layout.codebook == Codebook::none ? quant : codebook_numbers[static_cast<int>(layout.codebook)][quant];
}

struct Affine {
    float scale;
    float minimum;
};

// The scale and minimum of a row's group, for the columns 0…15 (half 0) or 16…31 (half 1).
static inline Affine affine_at(Layout layout, const Panel& panel, int group, int row, int half) {
    const uint8_t* scales = panel.data + group_at(layout, group) + quant_bytes(layout);
    const uint8_t* super = panel.data + super_at(layout, group);
    const float zero = layout.zero;
    switch (layout.scales) {
        case Scales::half: {
            const float scale = float_from_f16(half_at(scales, row));
            return {scale, -zero * scale};
        }
        case Scales::half_minimum:
            return {float_from_f16(half_at(scales, row)),
                    float_from_f16(half_at(scales, panel_rows + row))};
        case Scales::super_minimum:
            return {float_from_f16(half_at(super, row)) * scales[row],
                    -float_from_f16(half_at(super, panel_rows + row)) * scales[panel_rows + row]};
        case Scales::row_steps: {
            uint32_t codes;
            std::memcpy(&codes, super + 4 * row, sizeof codes);
            const uint32_t code = codes >> (4 * (group % super_groups)) & 15u;
            // The product has 15 digits, and is exact.
            const float scale = static_cast<float>(code) * float_from_f16(half_at(panel.data, panel_rows + row)) +
                                float_from_f16(half_at(panel.data, row));
            return {scale, -zero * scale};
        }
        case Scales::super_signed:
            half = 0;
            break;
        case Scales::super_halves:
            break;
    }
    const uint8_t byte = scales[panel_rows * half + row];
    const float scale =
        float_from_f16(half_at(super, row)) * static_cast<float>(byte < 128 ? byte : byte - 256);
    return {scale, -zero * scale};
}

static inline void write_u16(uint8_t* at, uint16_t value) { std::memcpy(at, &value, sizeof value); }

static inline void write_u32(uint8_t* at, uint32_t value) { std::memcpy(at, &value, sizeof value); }

// Put one row's group among the 16 rows of its panel.
template <int bits>
static inline void store_quants(const uint32_t words[8], int row, uint8_t* out) {
    if constexpr (bits == 8) {
        for (int chunk = 0; chunk < 8; ++chunk) {
            write_u32(out + 64 * chunk + 4 * row, words[chunk]);
        }
        return;
    }
    if constexpr (bits == 3) {
        for (int chunk = 0; chunk < 3; ++chunk) {
            uint32_t word = words[2 * chunk] | words[2 * chunk + 1] << 3;
            if (chunk < 2) {
                word |= (words[6 + chunk] & 0x03030303u) << 6;
            } else {
                word |= (words[6] & 0x04040404u) << 4 | (words[7] & 0x04040404u) << 5;
            }
            write_u32(out + 64 * chunk + 4 * row, word);
        }
        return;
    }
    for (int chunk = 0; chunk < 4; ++chunk) {
        write_u32(out + 64 * chunk + 4 * row, (words[chunk] & 0x0f0f0f0fu) |
                                                  (words[4 + chunk] & 0x0f0f0f0fu) << 4);
    }
    if constexpr (bits == 5) {
        uint32_t fifth = 0;
        for (int chunk = 0; chunk < 8; ++chunk) {
            fifth |= (words[chunk] >> 4 & 0x01010101u) << chunk;
        }
        write_u32(out + 256 + 4 * row, fifth);
    }
    if constexpr (bits == 6) {
        for (int half = 0; half < 2; ++half) {
            uint32_t upper = 0;
            for (int chunk = 0; chunk < 4; ++chunk) {
                upper |= (words[4 * half + chunk] >> 4 & 0x03030303u) << (2 * chunk);
            }
            write_u32(out + 256 + 64 * half + 4 * row, upper);
        }
    }
}

}  // namespace pocketlm
