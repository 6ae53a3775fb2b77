// Kernels for WebAssembly with 128-bit vectors (SIMD128), and with the dot product of relaxed SIMD where the
// module is built for it.
//
// A vector holds four rows of a panel, four columns each. The relaxed dot product multiplies them by four
// activations, repeated, into 32 bits: signed numbers by such of seven bits, as unsigned quants are. For those
// it gives the same number everywhere. Without it, and for signed quants, both go to 16 bits first. A
// multiplication with an addition is the other relaxed instruction, which the page tries before it takes the module.
#if defined(__wasm_simd128__)

#include <wasm_simd128.h>

#include <type_traits>

#include "fused.h"
#include "half.h"
#include "kernels.h"
#include "table.h"

namespace pocketlm {
namespace {

constexpr int vector_rows = 4;
constexpr int vectors = panel_rows / vector_rows;

inline v128_t add(v128_t a, v128_t b) { return wasm_f32x4_add(a, b); }
inline v128_t times(v128_t a, v128_t b) { return wasm_f32x4_mul(a, b); }

// a * b + c, rounded once, and four rows' sums of products with a number.
#if defined(__wasm_relaxed_simd__)
// Where a browser rounds twice, the page takes the other module.
inline v128_t times_plus(v128_t a, v128_t b, v128_t c) { return wasm_f32x4_relaxed_madd(a, b, c); }

struct Sums {
    v128_t rows = wasm_f32x4_const_splat(0.0f);

    void add(v128_t a, float b) { rows = times_plus(a, wasm_f32x4_splat(b), rows); }
    v128_t floats() const { return rows; }
};
#else
inline v128_t upper(v128_t v) { return wasm_i64x2_shuffle(v, v, 1, 1); }

// Two floats of `c` plus products of float64.
inline v128_t add_wide(v128_t products, v128_t c) {
    return wasm_f64x2_add(products, wasm_f64x2_promote_low_f32x4(c));
}

// As is_midway, of four sums.
inline bool any_midway(v128_t low, v128_t high) {
    const v128_t rest =
        wasm_v128_and(wasm_i32x4_shuffle(low, high, 0, 2, 4, 6), wasm_i32x4_const_splat(float_rest));
    const v128_t found = wasm_i32x4_eq(rest, wasm_i32x4_const_splat(float_midway));
    return __builtin_expect(wasm_v128_any_true(found), 0);
}

__attribute__((noinline)) v128_t fuse_one_by_one(v128_t a, v128_t b, v128_t c) {
    alignas(16) float one[4];
    alignas(16) float other[4];
    alignas(16) float sum[4];
    wasm_v128_store(one, a);
    wasm_v128_store(other, b);
    wasm_v128_store(sum, c);
    for (int i = 0; i < 4; ++i) {
        sum[i] = std::fma(one[i], other[i], sum[i]);
    }
    return wasm_v128_load(sum);
}

// As `fused`, four times.
inline v128_t times_plus(v128_t a, v128_t b, v128_t c) {
    const auto product = [](v128_t x, v128_t y) {
        return wasm_f64x2_mul(wasm_f64x2_promote_low_f32x4(x), wasm_f64x2_promote_low_f32x4(y));
    };
    const v128_t low = add_wide(product(a, b), c);
    const v128_t high = add_wide(product(upper(a), upper(b)), upper(c));
    if (any_midway(low, high)) {
        return fuse_one_by_one(a, b, c);
    }
    return wasm_i64x2_shuffle(wasm_f32x4_demote_f64x2_zero(low), wasm_f32x4_demote_f64x2_zero(high), 0, 2);
}

struct Sums {
    v128_t low = wasm_f32x4_const_splat(0.0f);  // two floats each
    v128_t high = wasm_f32x4_const_splat(0.0f);

    void add(v128_t a, float b) {
        const v128_t factor = wasm_f64x2_splat(static_cast<double>(b));
        const auto product = [factor](v128_t x) {
            return wasm_f64x2_mul(wasm_f64x2_promote_low_f32x4(x), factor);
        };
        const v128_t one = add_wide(product(a), low);
        const v128_t other = add_wide(product(upper(a)), high);
        if (any_midway(one, other)) {
            low = fuse_one_by_one(a, wasm_f32x4_splat(b), floats());
            high = upper(low);
            return;
        }
        low = wasm_f32x4_demote_f64x2_zero(one);
        high = wasm_f32x4_demote_f64x2_zero(other);
    }
    v128_t floats() const { return wasm_i64x2_shuffle(low, high, 0, 2); }
};
#endif

// As float_from_f16.
inline v128_t float_from_halves(v128_t halves) {
    const v128_t sign = wasm_i32x4_shl(wasm_v128_and(halves, wasm_i32x4_const_splat(0x8000)), 16);
    const v128_t magnitude = wasm_i32x4_shl(wasm_v128_and(halves, wasm_i32x4_const_splat(0x7fff)), 13);
    const v128_t value = times(magnitude, wasm_i32x4_const_splat(0x77800000));
    const v128_t special = wasm_i32x4_ge(magnitude, wasm_i32x4_const_splat(0x7c00 << 13));
    const v128_t infinite = wasm_v128_and(special, wasm_i32x4_const_splat(0x7f800000));
    return wasm_v128_or(wasm_v128_or(value, sign), infinite);
}

inline v128_t load_halves(const void* at) { return float_from_halves(wasm_u32x4_load16x4(at)); }

inline float add_lanes(v128_t v) {
    const v128_t pairs = add(v, wasm_i32x4_shuffle(v, v, 2, 3, 0, 1));
    return wasm_f32x4_extract_lane(pairs, 0) + wasm_f32x4_extract_lane(pairs, 1);
}

inline int add_words(v128_t v) {
    const v128_t pairs = wasm_i32x4_add(v, wasm_i32x4_shuffle(v, v, 2, 3, 0, 1));
    return wasm_i32x4_extract_lane(pairs, 0) + wasm_i32x4_extract_lane(pairs, 1);
}

inline float largest_lane(v128_t v) {
    const v128_t pairs = wasm_f32x4_pmax(v, wasm_i32x4_shuffle(v, v, 2, 3, 0, 1));
    const float a = wasm_f32x4_extract_lane(pairs, 0);
    const float b = wasm_f32x4_extract_lane(pairs, 1);
    return a > b ? a : b;
}

// Four rows of a panel: words[0…3] are their columns 0…15, four each, words[4…7] 16…31. `group` points at the
// first of the four rows.
template <Type type>
inline void unpack(const uint8_t* group, v128_t words[8]) {
    constexpr int bits = layout_of(type).bits;
    if constexpr (bits == 8) {
        for (int chunk = 0; chunk < 8; ++chunk) {
            words[chunk] = wasm_v128_load(group + 64 * chunk);
        }
        return;
    }
    if constexpr (bits == 3) {
        const v128_t low = wasm_i8x16_const_splat(7);
        const v128_t four = wasm_i8x16_const_splat(4);
        v128_t chunks[3];
        for (int i = 0; i < 3; ++i) {
            chunks[i] = wasm_v128_load(group + 64 * i);
            words[2 * i] = wasm_v128_and(chunks[i], low);
            words[2 * i + 1] = wasm_v128_and(wasm_u16x8_shr(chunks[i], 3), low);
        }
        const v128_t two = wasm_i8x16_const_splat(3);
        words[6] = wasm_v128_or(wasm_v128_and(wasm_u16x8_shr(chunks[0], 6), two),
                                wasm_v128_and(wasm_u16x8_shr(chunks[2], 4), four));
        words[7] = wasm_v128_or(wasm_v128_and(wasm_u16x8_shr(chunks[1], 6), two),
                                wasm_v128_and(wasm_u16x8_shr(chunks[2], 5), four));
    } else {
        const v128_t low = wasm_i8x16_const_splat(15);
        for (int chunk = 0; chunk < 4; ++chunk) {
            const v128_t nibbles = wasm_v128_load(group + 64 * chunk);
            words[chunk] = wasm_v128_and(nibbles, low);
            words[4 + chunk] = wasm_v128_and(wasm_u16x8_shr(nibbles, 4), low);
        }
    }
    if constexpr (bits == 5) {
        const v128_t fifth = wasm_v128_load(group + 256);
        const v128_t sixteen = wasm_i8x16_const_splat(16);
        for (int chunk = 0; chunk < 8; ++chunk) {
            const v128_t bit = wasm_i8x16_splat(static_cast<int8_t>(1 << chunk));
            const v128_t set = wasm_i8x16_eq(wasm_v128_and(fifth, bit), bit);
            words[chunk] = wasm_v128_or(words[chunk], wasm_v128_and(set, sixteen));
        }
    }
    if constexpr (bits == 6) {
        const v128_t upper = wasm_i8x16_const_splat(0x30);
        for (int half = 0; half < 2; ++half) {
            const v128_t high = wasm_v128_load(group + 256 + 64 * half);
            v128_t* out = words + 4 * half;
            out[0] = wasm_v128_or(out[0], wasm_v128_and(wasm_i16x8_shl(high, 4), upper));
            out[1] = wasm_v128_or(out[1], wasm_v128_and(wasm_i16x8_shl(high, 2), upper));
            out[2] = wasm_v128_or(out[2], wasm_v128_and(high, upper));
            out[3] = wasm_v128_or(out[3], wasm_v128_and(wasm_u16x8_shr(high, 2), upper));
        }
    }
    constexpr Codebook codebook = layout_of(type).codebook;
    if constexpr (codebook != Codebook::none) {
        static constexpr CodebookBytes numbers = codebook_bytes(codebook);
        const v128_t table = wasm_v128_load(numbers.at);
        for (int chunk = 0; chunk < 8; ++chunk) {
            words[chunk] = wasm_i8x16_swizzle(table, words[chunk]);
        }
    }
}

// What adds up products of four rows' words and activations.
#if defined(__wasm_relaxed_simd__)
struct Seven {
    v128_t sum = wasm_i32x4_const_splat(0);

    void add(v128_t word, const int8_t* activations) {
        sum = wasm_i32x4_relaxed_dot_i8x16_i7x16_add(wasm_v128_load32_splat(activations), word, sum);
    }
    v128_t rows() const { return sum; }
};
#endif

struct Sixteens {
    // Each row's first two columns' products and its last two's, of rows 0 and 1, and 2 and 3.
    v128_t low = wasm_i32x4_const_splat(0);
    v128_t high = wasm_i32x4_const_splat(0);

    void add(v128_t word, const int8_t* activations) {
        const v128_t factors = wasm_i16x8_extend_low_i8x16(wasm_v128_load32_splat(activations));
        low = wasm_i32x4_add(low, wasm_i32x4_dot_i16x8(wasm_i16x8_extend_low_i8x16(word), factors));
        high = wasm_i32x4_add(high, wasm_i32x4_dot_i16x8(wasm_i16x8_extend_high_i8x16(word), factors));
    }
    v128_t rows() const {
        return wasm_i32x4_add(wasm_i32x4_shuffle(low, high, 0, 2, 4, 6),
                              wasm_i32x4_shuffle(low, high, 1, 3, 5, 7));
    }
};

template <Type type>
struct Products {
#if defined(__wasm_relaxed_simd__)
    using Sum = std::conditional_t<is_signed(layout_of(type)), Sixteens, Seven>;
#else
    using Sum = Sixteens;
#endif
};

// Four rows times the columns of words first … last - 1.
template <Type type, int first, int last>
inline v128_t dot(const v128_t words[8], const int8_t* activations) {
    typename Products<type>::Sum sum;
    for (int chunk = first; chunk < last; ++chunk) {
        sum.add(words[chunk], activations + 4 * chunk);
    }
    return wasm_f32x4_convert_i32x4(sum.rows());
}

inline v128_t float_from_u8(const uint8_t* at) {
    const v128_t bytes = wasm_v128_load32_zero(at);
    return wasm_f32x4_convert_i32x4(wasm_u32x4_extend_low_u16x8(wasm_u16x8_extend_low_u8x16(bytes)));
}

inline v128_t float_from_s8(const uint8_t* at) {
    const v128_t bytes = wasm_v128_load32_zero(at);
    return wasm_f32x4_convert_i32x4(wasm_i32x4_extend_low_i16x8(wasm_i16x8_extend_low_i8x16(bytes)));
}

template <Type type, int size>
void multiply(const Panel& panel, const Tile& tile, float* out) {
    constexpr Layout layout = layout_of(type);
    const v128_t zero = wasm_f32x4_const_splat(-layout.zero);
    Sums sums[vectors][size];
    for (int group = 0; group < panel.groups; ++group) {
        const uint8_t* const quants = panel.data + group_at(layout, group);
        const uint8_t* const scales = quants + quant_bytes(layout);
        const uint8_t* const super = panel.data + super_at(layout, group);
        const int8_t* const values = tile.values + group * size * group_columns;
        const float* const activation_scales = tile.scales + group * size;
        const int32_t* const activation_totals = tile.totals + group * size;
        const float* const activation_sums = tile.sums + group * size;
        const float* const activation_low = tile.low_sums + group * size;
        for (int v = 0; v < vectors; ++v) {
            const int row = vector_rows * v;
            v128_t words[8];
            unpack<type>(quants + 4 * row, words);
            if constexpr (layout.scales == Scales::super_halves) {
                const v128_t super_scale = load_halves(super + 2 * row);
                const v128_t low_scale = times(super_scale, float_from_s8(scales + row));
                const v128_t high_scale = times(super_scale, float_from_s8(scales + panel_rows + row));
                const v128_t low_minimum = times(low_scale, zero);
                const v128_t high_minimum = times(high_scale, zero);
                for (int token = 0; token < size; ++token) {
                    const int8_t* activations = values + token * group_columns;
                    const v128_t low = dot<type, 0, 4>(words, activations);
                    const v128_t high = dot<type, 4, 8>(words, activations);
                    const v128_t scaled = times_plus(low, low_scale, times(high, high_scale));
                    const float rest = activation_sums[token] - activation_low[token];
                    sums[v][token].add(scaled, activation_scales[token]);
                    sums[v][token].add(low_minimum, activation_low[token]);
                    sums[v][token].add(high_minimum, rest);
                }
                continue;
            }
            v128_t scale;
            v128_t minimum;
            if constexpr (layout.scales == Scales::super_minimum) {
                scale = times(load_halves(super + 2 * row), float_from_u8(scales + row));
                minimum = wasm_f32x4_neg(times(load_halves(super + 32 + 2 * row),
                                               float_from_u8(scales + panel_rows + row)));
            } else if constexpr (layout.scales == Scales::super_signed) {
                scale = times(load_halves(super + 2 * row), float_from_s8(scales + row));
            } else if constexpr (layout.scales == Scales::row_steps) {
                const v128_t codes = wasm_u32x4_shr(wasm_v128_load(super + 4 * row),
                                                    static_cast<uint32_t>(4 * (group % super_groups)));
                const v128_t code =
                    wasm_f32x4_convert_i32x4(wasm_v128_and(codes, wasm_i32x4_const_splat(15)));
                // The product has 15 digits, and is exact.
                scale = add(times(code, load_halves(panel.data + 32 + 2 * row)), load_halves(panel.data + 2 * row));
                scale = wasm_v128_and(scale, wasm_i32x4_const_splat(scale_bits));
            } else {
                scale = load_halves(scales + 2 * row);
                if constexpr (has_minimum(layout)) {
                    minimum = load_halves(scales + 32 + 2 * row);
                }
            }
            for (int token = 0; token < size; ++token) {
                v128_t whole = dot<type, 0, 8>(words, values + token * group_columns);
                if constexpr (layout.zero != 0) {
                    const float total = static_cast<float>(activation_totals[token]);
                    whole = wasm_f32x4_sub(whole, wasm_f32x4_splat(layout.zero * total));
                }
                sums[v][token].add(times(whole, scale), activation_scales[token]);
                if constexpr (has_minimum(layout)) {
                    sums[v][token].add(minimum, activation_sums[token]);
                }
            }
        }
    }
    for (int token = 0; token < size; ++token) {
        for (int v = 0; v < vectors; ++v) {
            wasm_v128_store(out + token * panel_rows + vector_rows * v, sums[v][token].floats());
        }
    }
}

void quantise(const float* input, int columns, int index, int size, int8_t* values, float* scales,
              int32_t* totals, float* sums, float* low_sums) {
    for (int group = 0; group < columns / group_columns; ++group) {
        v128_t in[8];
        v128_t largest = wasm_f32x4_const_splat(0.0f);
        for (int i = 0; i < 8; ++i) {
            in[i] = wasm_v128_load(input + group * group_columns + 4 * i);
            largest = wasm_f32x4_pmax(largest, wasm_f32x4_abs(in[i]));
        }
        const float limit = largest_lane(largest);
        const float scale = limit / 127.0f;
        const v128_t inverse = wasm_f32x4_splat(limit > vanishing ? 127.0f / limit : 0.0f);
        v128_t quants[8];
        for (int i = 0; i < 8; ++i) {
            quants[i] = wasm_i32x4_trunc_sat_f32x4(wasm_f32x4_nearest(times(in[i], inverse)));
        }
        const int at = group * size + index;
        int8_t* const out = values + static_cast<size_t>(at) * group_columns;
        v128_t half_totals[2];
        for (int half = 0; half < 2; ++half) {
            const v128_t* q = quants + 4 * half;
            wasm_v128_store(out + 16 * half,
                            wasm_i8x16_narrow_i16x8(wasm_i16x8_narrow_i32x4(q[0], q[1]),
                                                    wasm_i16x8_narrow_i32x4(q[2], q[3])));
            half_totals[half] =
                wasm_i32x4_add(wasm_i32x4_add(q[0], q[1]), wasm_i32x4_add(q[2], q[3]));
        }
        scales[at] = scale;
        const int low = add_words(half_totals[0]);
        totals[at] = low + add_words(half_totals[1]);
        sums[at] = scale * static_cast<float>(totals[at]);
        low_sums[at] = scale * static_cast<float>(low);
    }
}

// See sixteen.h.
struct Sixteen {
    static constexpr int rows = 2;
    static constexpr int together = 1;
    static constexpr int stored_rows = 2;
    static constexpr int tokens = 1;
    v128_t lanes[4];

    template <typename Vector>
    static Sixteen each(const Vector& vector) {
        return {{vector(0), vector(1), vector(2), vector(3)}};
    }
    static Sixteen all(float number) {
        const v128_t vector = wasm_f32x4_splat(number);
        return {{vector, vector, vector, vector}};
    }
    static Sixteen load(const float* at) {
        return each([&](int i) { return wasm_v128_load(at + 4 * i); });
    }
    static Sixteen load_first(const float* at, int count, float rest) {
        return load_by_buffer<Sixteen>(at, count, rest);
    }
    void store_first(float* at, int count) const { store_by_buffer(*this, at, count); }
    static Sixteen floats(const uint8_t* at) {
        return each([&](int i) { return wasm_v128_load(at + 16 * i); });
    }
    static Sixteen halves(const uint8_t* at) {
        return each([&](int i) { return load_halves(at + 8 * i); });
    }
    static Sixteen brain_halves(const uint8_t* at) {
        return each([&](int i) { return wasm_i32x4_shl(wasm_u32x4_load16x4(at + 8 * i), 16); });
    }
    static Sixteen signed_bytes(v128_t numbers) {
        const v128_t low = wasm_i16x8_extend_low_i8x16(numbers);
        const v128_t high = wasm_i16x8_extend_high_i8x16(numbers);
        return {{wasm_f32x4_convert_i32x4(wasm_i32x4_extend_low_i16x8(low)),
                 wasm_f32x4_convert_i32x4(wasm_i32x4_extend_high_i16x8(low)),
                 wasm_f32x4_convert_i32x4(wasm_i32x4_extend_low_i16x8(high)),
                 wasm_f32x4_convert_i32x4(wasm_i32x4_extend_high_i16x8(high))}};
    }
    static Sixteen bytes(const uint8_t* at) { return signed_bytes(wasm_v128_load(at)); }
    static Sixteen nibbles(const uint8_t* at, bool high) {
        const v128_t shifted = wasm_u16x8_shr(wasm_v128_load(at), high ? 4 : 0);
        const v128_t numbers = wasm_v128_and(shifted, wasm_i8x16_const_splat(15));
        return signed_bytes(wasm_i8x16_sub(numbers, wasm_i8x16_const_splat(8)));
    }
    void store(float* at) const {
        for (int i = 0; i < 4; ++i) {
            wasm_v128_store(at + 4 * i, lanes[i]);
        }
    }
    Sixteen operator+(const Sixteen& other) const {
        return each([&](int i) { return add(lanes[i], other.lanes[i]); });
    }
    Sixteen operator-(const Sixteen& other) const {
        return each([&](int i) { return wasm_f32x4_sub(lanes[i], other.lanes[i]); });
    }
    Sixteen operator*(const Sixteen& other) const {
        return each([&](int i) { return pocketlm::times(lanes[i], other.lanes[i]); });
    }
    Sixteen operator/(const Sixteen& other) const {
        return each([&](int i) { return wasm_f32x4_div(lanes[i], other.lanes[i]); });
    }
    Sixteen times(const Sixteen& other, const Sixteen& plus) const {
        return each([&](int i) { return times_plus(lanes[i], other.lanes[i], plus.lanes[i]); });
    }
    Sixteen times_exact(const Sixteen& other, const Sixteen& plus) const {
        return each([&](int i) { return add(pocketlm::times(lanes[i], other.lanes[i]), plus.lanes[i]); });
    }
    Sixteen shortened() const {
        return each([&](int i) {
            const v128_t raised = wasm_i32x4_add(lanes[i], wasm_i32x4_const_splat(0x80));
            return wasm_v128_and(raised, wasm_i32x4_const_splat(~0xff));
        });
    }
    Sixteen max(const Sixteen& other) const {
        return each([&](int i) { return wasm_f32x4_pmax(lanes[i], other.lanes[i]); });
    }
    Sixteen min(const Sixteen& other) const {
        return each([&](int i) { return wasm_f32x4_pmin(lanes[i], other.lanes[i]); });
    }
    Sixteen rounded() const {
        return each([&](int i) { return wasm_f32x4_nearest(lanes[i]); });
    }
    Sixteen scaled(const Sixteen& exponents) const {
        return each([&](int i) {
            const v128_t whole = wasm_i32x4_trunc_sat_f32x4(exponents.lanes[i]);
            const v128_t biased = wasm_i32x4_add(whole, wasm_i32x4_const_splat(127));
            return pocketlm::times(lanes[i], wasm_i32x4_shl(biased, 23));
        });
    }
    Sixteen where_not_below(const Sixteen& x, const Sixteen& least) const {
        return each([&](int i) {
            return wasm_v128_and(wasm_f32x4_ge(x.lanes[i], least.lanes[i]), lanes[i]);
        });
    }
    float sum() const { return add_lanes(add(add(lanes[0], lanes[2]), add(lanes[1], lanes[3]))); }
    float largest() const {
        return largest_lane(
            wasm_f32x4_pmax(wasm_f32x4_pmax(lanes[0], lanes[1]), wasm_f32x4_pmax(lanes[2], lanes[3])));
    }
};

void half_from_float(const float* input, int count, uint16_t* out) {
    for (int i = 0; i < count; ++i) {
        out[i] = f16_from_float(input[i]);
    }
}

uint64_t read(const uint8_t* data, size_t size, bool halves) {
    const size_t step = halves ? 64 : 128;
    const uint8_t* const other = data + (halves ? size / 2 : 64);
    v128_t sums[2] = {wasm_i64x2_const_splat(0), wasm_i64x2_const_splat(0)};
    for (size_t i = 0; i < size / 128; ++i) {
        for (size_t lanes = 0; lanes < 64; lanes += 16) {
            sums[0] = wasm_i64x2_add(sums[0], wasm_v128_load(data + i * step + lanes));
            sums[1] = wasm_i64x2_add(sums[1], wasm_v128_load(other + i * step + lanes));
        }
    }
    const v128_t sum = wasm_i64x2_add(sums[0], sums[1]);
    return static_cast<uint64_t>(wasm_i64x2_extract_lane(sum, 0) + wasm_i64x2_extract_lane(sum, 1));
}

long long multiply_adds(int repetitions) {
    constexpr int count = 8;
    volatile int seed = 1;
    alignas(16) int8_t activations[4 * count];
    v128_t words[count];
    for (int i = 0; i < count; ++i) {
        words[i] = wasm_i8x16_splat(static_cast<int8_t>(seed));
        for (int j = 0; j < 4; ++j) {
            activations[4 * i + j] = static_cast<int8_t>(seed);
        }
    }
    v128_t sums[4] = {};
    for (int i = 0; i < repetitions; ++i) {
        for (v128_t& sum : sums) {
            sum = add(sum, dot<Type::Q4_0, 0, 8>(words, activations));
        }
        words[i % count] = sums[i % 4];
    }
    seed = static_cast<int>(add_lanes(add(add(sums[0], sums[1]), add(sums[2], sums[3]))));
    return 4LL * count * 16 * repetitions;
}

#if defined(__wasm_relaxed_simd__)
constexpr const char* name = "wasm-relaxed";
#else
constexpr const char* name = "wasm-simd128";
#endif

}  // namespace

const Kernels wasm_kernels =
    make_table<Sixteen, 4>(name, {quantise, half_from_float, read, multiply_adds},
                           [](auto type, auto size) { return multiply<type.value, size.value>; });

}  // namespace pocketlm

#endif
