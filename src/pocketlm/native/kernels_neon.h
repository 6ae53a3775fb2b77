// Kernels for ARMv8.2 with the dot product extension, but for the instructions that multiply quants by
// several tokens: those are of the file that includes this one, which says how with `dot`.
//
// A vector holds four rows of a panel, four columns each. Only C headers and intrinsics here: see half.h.
#pragma once

#include <arm_neon.h>

#include "half.h"
#include "kernels.h"
#include "table.h"

namespace pocketlm {
namespace {

constexpr int vector_rows = 4;
constexpr int vectors = panel_rows / vector_rows;

// Bytes in memory have no alignment, whatever they hold.
inline float32x4_t load_half(const uint8_t* at) {
    return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(at)));
}

inline float32x4_t load_half(const uint16_t* at) {
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(at)));
}

inline void store_half(uint16_t* at, float32x4_t values) {
    vst1_u16(at, vreinterpret_u16_f16(vcvt_f16_f32(values)));
}

// Four rows of a panel: words[0…3] are their columns 0…15, four each, words[4…7] 16…31. `group` points
// at the first of the four rows.
template <Type type>
inline void unpack(const uint8_t* group, int8x16_t words[8]) {
    constexpr int bits = layout_of(type).bits;
    if constexpr (bits == 8) {
        for (int chunk = 0; chunk < 8; ++chunk) {
            words[chunk] = vreinterpretq_s8_u8(vld1q_u8(group + 64 * chunk));
        }
        return;
    }
    uint8x16_t quants[8];
    if constexpr (bits == 3) {
        const uint8x16_t low = vdupq_n_u8(7);
        const uint8x16_t four = vdupq_n_u8(4);
        uint8x16_t chunks[3];
        for (int i = 0; i < 3; ++i) {
            chunks[i] = vld1q_u8(group + 64 * i);
            quants[2 * i] = vandq_u8(chunks[i], low);
            quants[2 * i + 1] = vandq_u8(vshrq_n_u8(chunks[i], 3), low);
        }
        quants[6] = vorrq_u8(vshrq_n_u8(chunks[0], 6), vandq_u8(vshrq_n_u8(chunks[2], 4), four));
        quants[7] = vorrq_u8(vshrq_n_u8(chunks[1], 6), vandq_u8(vshrq_n_u8(chunks[2], 5), four));
    } else {
        for (int chunk = 0; chunk < 4; ++chunk) {
            const uint8x16_t nibbles = vld1q_u8(group + 64 * chunk);
            quants[chunk] = vandq_u8(nibbles, vdupq_n_u8(15));
            quants[4 + chunk] = vshrq_n_u8(nibbles, 4);
        }
    }
    if constexpr (bits == 5) {
        const uint8x16_t fifth = vld1q_u8(group + 256);
        for (int chunk = 0; chunk < 8; ++chunk) {
            const uint8x16_t set = vtstq_u8(fifth, vdupq_n_u8(static_cast<uint8_t>(1 << chunk)));
            quants[chunk] = vorrq_u8(quants[chunk], vandq_u8(set, vdupq_n_u8(16)));
        }
    }
    if constexpr (bits == 6) {
        const uint8x16_t upper = vdupq_n_u8(0x30);
        for (int half = 0; half < 2; ++half) {
            const uint8x16_t high = vld1q_u8(group + 256 + 64 * half);
            uint8x16_t* out = quants + 4 * half;
            out[0] = vorrq_u8(out[0], vandq_u8(vshlq_n_u8(high, 4), upper));
            out[1] = vorrq_u8(out[1], vandq_u8(vshlq_n_u8(high, 2), upper));
            out[2] = vorrq_u8(out[2], vandq_u8(high, upper));
            out[3] = vorrq_u8(out[3], vandq_u8(vshrq_n_u8(high, 2), upper));
        }
    }
    constexpr Codebook codebook = layout_of(type).codebook;
    for (int chunk = 0; chunk < 8; ++chunk) {
        if constexpr (codebook != Codebook::none) {
            static constexpr CodebookBytes numbers = codebook_bytes(codebook);
            quants[chunk] = vqtbl1q_u8(vld1q_u8(numbers.at), quants[chunk]);
        }
        words[chunk] = vreinterpretq_s8_u8(quants[chunk]);
    }
}

// One token's activations of a group, and their sums with four rows: SDOT multiplies four columns of
// all four by four activations, one lane of a vector that holds 16, into 32 bits. It is signed by
// signed, and what quants stand for is 0…63 or signed, so none needs an offset.
template <int first, int last>
inline int32x4_t dot_one(const int8x16_t words[8], const int8_t* values) {
    int32x4_t sum = vdupq_n_s32(0);
    for (int half = first; half < last; ++half) {
        const int8x16_t activations = vld1q_s8(values + 16 * half);
        sum = vdotq_laneq_s32(sum, words[4 * half], activations, 0);
        sum = vdotq_laneq_s32(sum, words[4 * half + 1], activations, 1);
        sum = vdotq_laneq_s32(sum, words[4 * half + 2], activations, 2);
        sum = vdotq_laneq_s32(sum, words[4 * half + 3], activations, 3);
    }
    return sum;
}

// The activations of a group's `size` tokens, as `dot` wants them.
template <int size>
struct Activations;

// For each token, the sums of four rows over the halves first … last - 1 of a group, 16 columns each.
template <int first, int last, int size>
inline void dot(const int8x16_t words[8], const Activations<size>& activations,
                int32x4_t sums[size]);

// As Kernels::multiply_adds.
long long multiply_adds(int repetitions);

inline float32x4_t float_from_u8(const uint8_t* at) {
    uint32_t word;
    std::memcpy(&word, at, sizeof word);
    const uint16x8_t wide = vmovl_u8(vcreate_u8(word));
    return vcvtq_f32_u32(vmovl_u16(vget_low_u16(wide)));
}

inline float32x4_t float_from_s8(const void* at) {
    uint32_t word;
    std::memcpy(&word, at, sizeof word);
    const int16x8_t wide = vmovl_s8(vcreate_s8(word));
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(wide)));
}

template <Type type, int size>
void multiply(const Panel& panel, const Tile& tile, float* out) {
    constexpr Layout layout = layout_of(type);
    constexpr float zero = -layout.zero;
    float32x4_t sums[size][vectors];
    for (int token = 0; token < size; ++token) {
        for (int v = 0; v < vectors; ++v) {
            sums[token][v] = vdupq_n_f32(0.0f);
        }
    }
    for (int group = 0; group < panel.groups; ++group) {
        const uint8_t* quants = panel.data + group_at(layout, group);
        const uint8_t* scales = quants + quant_bytes(layout);
        const uint8_t* super = panel.data + super_at(layout, group);
        const Activations<size> activations(tile.values + group * size * group_columns);
        const float* activation_scales = tile.scales + group * size;
        const int32_t* activation_totals = tile.totals + group * size;
        const float* activation_sums = tile.sums + group * size;
        const float* activation_low = tile.low_sums + group * size;
        for (int v = 0; v < vectors; ++v) {
            const int row = vector_rows * v;
            int8x16_t words[8];
            unpack<type>(quants + 4 * row, words);
            if constexpr (layout.scales == Scales::super_halves) {
                const float32x4_t super_scale = load_half(super + 2 * row);
                const float32x4_t low_scale = vmulq_f32(super_scale, float_from_s8(scales + row));
                const float32x4_t high_scale =
                    vmulq_f32(super_scale, float_from_s8(scales + panel_rows + row));
                const float32x4_t low_minimum = vmulq_n_f32(low_scale, zero);
                const float32x4_t high_minimum = vmulq_n_f32(high_scale, zero);
                int32x4_t low[size];
                int32x4_t high[size];
                dot<0, 1>(words, activations, low);
                dot<1, 2>(words, activations, high);
                for (int token = 0; token < size; ++token) {
                    const float32x4_t scaled =
                        vfmaq_f32(vmulq_f32(vcvtq_f32_s32(high[token]), high_scale),
                                  vcvtq_f32_s32(low[token]), low_scale);
                    float32x4_t sum =
                        vfmaq_n_f32(sums[token][v], scaled, activation_scales[token]);
                    sum = vfmaq_n_f32(sum, low_minimum, activation_low[token]);
                    sums[token][v] = vfmaq_n_f32(sum, high_minimum,
                                                 activation_sums[token] - activation_low[token]);
                }
                continue;
            }
            float32x4_t scale;
            float32x4_t minimum;
            if constexpr (layout.scales == Scales::super_minimum) {
                scale = vmulq_f32(load_half(super + 2 * row), float_from_u8(scales + row));
                minimum = vnegq_f32(vmulq_f32(load_half(super + 32 + 2 * row),
                                              float_from_u8(scales + panel_rows + row)));
            } else if constexpr (layout.scales == Scales::super_signed) {
                scale = vmulq_f32(load_half(super + 2 * row), float_from_s8(scales + row));
            } else if constexpr (layout.scales == Scales::row_steps) {
                const uint32x4_t codes = vshlq_u32(vreinterpretq_u32_u8(vld1q_u8(super + 4 * row)),
                                                   vdupq_n_s32(-4 * (group % super_groups)));
                scale = vfmaq_f32(load_half(panel.data + 2 * row),
                                  vcvtq_f32_u32(vandq_u32(codes, vdupq_n_u32(15))),
                                  load_half(panel.data + 32 + 2 * row));
                scale = vreinterpretq_f32_s32(
                    vandq_s32(vreinterpretq_s32_f32(scale), vdupq_n_s32(scale_bits)));
            } else {
                scale = load_half(scales + 2 * row);
                if constexpr (has_minimum(layout)) {
                    minimum = load_half(scales + 32 + 2 * row);
                }
            }
            int32x4_t dots[size];
            dot<0, 2>(words, activations, dots);
            for (int token = 0; token < size; ++token) {
                float32x4_t whole = vcvtq_f32_s32(dots[token]);
                if constexpr (layout.zero != 0) {
                    const float total = static_cast<float>(activation_totals[token]);
                    whole = vsubq_f32(whole, vdupq_n_f32(layout.zero * total));
                }
                sums[token][v] =
                    vfmaq_n_f32(sums[token][v], vmulq_f32(whole, scale), activation_scales[token]);
                if constexpr (has_minimum(layout)) {
                    sums[token][v] = vfmaq_n_f32(sums[token][v], minimum, activation_sums[token]);
                }
            }
        }
    }
    for (int token = 0; token < size; ++token) {
        for (int v = 0; v < vectors; ++v) {
            vst1q_f32(out + token * panel_rows + vector_rows * v, sums[token][v]);
        }
    }
}

void quantise(const float* input, int columns, int index, int size, int8_t* values, float* scales,
              int32_t* totals, float* sums, float* low_sums) {
    for (int group = 0; group < columns / group_columns; ++group) {
        float32x4_t in[8];
        float32x4_t largest = vdupq_n_f32(0.0f);
        for (int i = 0; i < 8; ++i) {
            in[i] = vld1q_f32(input + group * group_columns + 4 * i);
            largest = vmaxq_f32(largest, vabsq_f32(in[i]));
        }
        const float limit = vmaxvq_f32(largest);
        const float scale = limit / 127.0f;
        const float inverse = limit > vanishing ? 127.0f / limit : 0.0f;
        int32x4_t quants[8];
        for (int i = 0; i < 8; ++i) {
            quants[i] = vcvtnq_s32_f32(vmulq_n_f32(in[i], inverse));
        }
        const int at = group * size + index;
        int8_t* const out = values + static_cast<size_t>(at) * group_columns;
        int32x4_t half_totals[2];
        for (int half = 0; half < 2; ++half) {
            const int32x4_t* q = quants + 4 * half;
            const int16x8_t first = vcombine_s16(vqmovn_s32(q[0]), vqmovn_s32(q[1]));
            const int16x8_t second = vcombine_s16(vqmovn_s32(q[2]), vqmovn_s32(q[3]));
            vst1q_s8(out + 16 * half, vcombine_s8(vqmovn_s16(first), vqmovn_s16(second)));
            half_totals[half] = vaddq_s32(vaddq_s32(q[0], q[1]), vaddq_s32(q[2], q[3]));
        }
        scales[at] = scale;
        totals[at] = vaddvq_s32(vaddq_s32(half_totals[0], half_totals[1]));
        sums[at] = scale * static_cast<float>(totals[at]);
        low_sums[at] = scale * static_cast<float>(vaddvq_s32(half_totals[0]));
    }
}

// See sixteen.h.
struct Sixteen {
    static constexpr int rows = 4;
    static constexpr int together = 1;
    static constexpr int stored_rows = 2;
    static constexpr int tokens = 2;
    float32x4_t quarters[4];

    template <typename Quarter>
    static Sixteen each(const Quarter& quarter) {
        return {{quarter(0), quarter(1), quarter(2), quarter(3)}};
    }
    static Sixteen all(float number) {
        return each([&](int) { return vdupq_n_f32(number); });
    }
    static Sixteen load(const float* at) {
        return each([&](int i) { return vld1q_f32(at + 4 * i); });
    }
    static Sixteen load_first(const float* at, int count, float rest) {
        return load_by_buffer<Sixteen>(at, count, rest);
    }
    void store_first(float* at, int count) const { store_by_buffer(*this, at, count); }
    static Sixteen floats(const uint8_t* at) {
        return each([&](int i) { return vreinterpretq_f32_u8(vld1q_u8(at + 16 * i)); });
    }
    static Sixteen halves(const uint8_t* at) {
        return each([&](int i) { return load_half(at + 8 * i); });
    }
    static Sixteen brain_halves(const uint8_t* at) {
        return each([&](int i) {
            return vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8(at + 8 * i)), 16));
        });
    }
    static Sixteen signed_bytes(int8x16_t numbers) {
        const int16x8_t low = vmovl_s8(vget_low_s8(numbers));
        const int16x8_t high = vmovl_s8(vget_high_s8(numbers));
        return {{vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))),
                 vcvtq_f32_s32(vmovl_s16(vget_high_s16(low))),
                 vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))),
                 vcvtq_f32_s32(vmovl_s16(vget_high_s16(high)))}};
    }
    static Sixteen bytes(const uint8_t* at) {
        return signed_bytes(vreinterpretq_s8_u8(vld1q_u8(at)));
    }
    static Sixteen nibbles(const uint8_t* at, bool high) {
        const uint8x16_t pairs = vld1q_u8(at);
        const uint8x16_t numbers = high ? vshrq_n_u8(pairs, 4) : vandq_u8(pairs, vdupq_n_u8(15));
        return signed_bytes(vsubq_s8(vreinterpretq_s8_u8(numbers), vdupq_n_s8(8)));
    }
    void store(float* at) const {
        for (int i = 0; i < 4; ++i) {
            vst1q_f32(at + 4 * i, quarters[i]);
        }
    }
    Sixteen operator+(const Sixteen& other) const {
        return each([&](int i) { return vaddq_f32(quarters[i], other.quarters[i]); });
    }
    Sixteen operator-(const Sixteen& other) const {
        return each([&](int i) { return vsubq_f32(quarters[i], other.quarters[i]); });
    }
    Sixteen operator*(const Sixteen& other) const {
        return each([&](int i) { return vmulq_f32(quarters[i], other.quarters[i]); });
    }
    Sixteen operator/(const Sixteen& other) const {
        return each([&](int i) { return vdivq_f32(quarters[i], other.quarters[i]); });
    }
    Sixteen times(const Sixteen& other, const Sixteen& plus) const {
        return each(
            [&](int i) { return vfmaq_f32(plus.quarters[i], quarters[i], other.quarters[i]); });
    }
    Sixteen times_exact(const Sixteen& other, const Sixteen& plus) const { return times(other, plus); }
    Sixteen shortened() const {
        return each([&](int i) {
            const uint32x4_t raised = vaddq_u32(vreinterpretq_u32_f32(quarters[i]), vdupq_n_u32(0x80));
            return vreinterpretq_f32_u32(vandq_u32(raised, vdupq_n_u32(~0xffu)));
        });
    }
    Sixteen max(const Sixteen& other) const {
        return each([&](int i) { return vmaxq_f32(quarters[i], other.quarters[i]); });
    }
    Sixteen min(const Sixteen& other) const {
        return each([&](int i) { return vminq_f32(quarters[i], other.quarters[i]); });
    }
    Sixteen rounded() const {
        return each([&](int i) { return vrndnq_f32(quarters[i]); });
    }
    Sixteen scaled(const Sixteen& exponents) const {
        return each([&](int i) {
            const int32x4_t biased = vaddq_s32(vcvtq_s32_f32(exponents.quarters[i]), vdupq_n_s32(127));
            return vmulq_f32(quarters[i], vreinterpretq_f32_s32(vshlq_n_s32(biased, 23)));
        });
    }
    Sixteen where_not_below(const Sixteen& x, const Sixteen& least) const {
        return each([&](int i) {
            const uint32x4_t kept = vcgeq_f32(x.quarters[i], least.quarters[i]);
            return vreinterpretq_f32_u32(vandq_u32(kept, vreinterpretq_u32_f32(quarters[i])));
        });
    }
    float sum() const {
        const float32x4_t four = vaddq_f32(vaddq_f32(quarters[0], quarters[2]),
                                           vaddq_f32(quarters[1], quarters[3]));
        const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
        return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
    }
    float largest() const {
        return vmaxvq_f32(vmaxq_f32(vmaxq_f32(quarters[0], quarters[1]), vmaxq_f32(quarters[2], quarters[3])));
    }
};

void half_from_float(const float* input, int count, uint16_t* out) {
    int i = 0;
    for (; i + 4 <= count; i += 4) {
        store_half(out + i, vld1q_f32(input + i));
    }
    for (; i < count; ++i) {
        out[i] = f16_from_float(input[i]);
    }
}

uint64_t read(const uint8_t* data, size_t size, bool halves) {
    const size_t step = halves ? 16 : 32;
    const uint8_t* const other = data + (halves ? size / 2 : 16);
    uint64x2_t sums[2] = {vdupq_n_u64(0), vdupq_n_u64(0)};
    for (size_t i = 0; i < size / 32; ++i) {
        sums[0] = vaddq_u64(sums[0], vreinterpretq_u64_u8(vld1q_u8(data + i * step)));
        sums[1] = vaddq_u64(sums[1], vreinterpretq_u64_u8(vld1q_u8(other + i * step)));
    }
    return vaddvq_u64(vaddq_u64(sums[0], sums[1]));
}

template <int tile>
constexpr Kernels table(const char* name) {
    return make_table<Sixteen, tile>(name, {quantise, half_from_float, read, multiply_adds},
                                     [](auto type, auto size) { return multiply<type.value, size.value>; });
}

}  // namespace
}  // namespace pocketlm
