// Reading a prepared panel one number at a time: the plain statement of what layout.h says.
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
    int quant = group[64 * chunk + byte] >> (4 * half) & 15;
    if (bits == 5) {
        quant |= (group[256 + byte] >> (4 * half + chunk) & 1) << 4;
    } else if (bits == 6) {
        quant |= (group[256 + 64 * half + byte] >> (2 * chunk) & 3) << 4;
    }
    return quant;
}

struct Affine {
    float scale;
    float minimum;
};

// The scale and minimum of a row's group, for the columns 0…15 (half 0) or 16…31 (half 1).
static inline Affine affine_at(Layout layout, const Panel& panel, int group, int row, int half) {
    const uint8_t* scales = panel.data + group_at(layout, group) + quant_bytes(layout);
    const uint8_t* super =
        panel.data + super_at(layout, group);
    const float zero = static_cast<float>(layout.zero);
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
        case Scales::super_halves:
            break;
    }
    const uint8_t byte = scales[panel_rows * half + row];
    const float scale =
        float_from_f16(half_at(super, row)) * static_cast<float>(byte < 128 ? byte : byte - 256);
    return {scale, -zero * scale};
}

}  // namespace pocketlm
