// Kernels for vectors of 256 bits with AVX2, FMA and F16C, but for the instructions that multiply
// quants: those are of the file that includes this one, which says how with `dot`.
//
// A vector holds 8 rows of a panel, four columns each. Only C headers and intrinsics here: see half.h.
#pragma once

#include <immintrin.h>

#include "half.h"
#include "kernels.h"
#include "table.h"

namespace pocketlm {
namespace {

inline __m256i load(const void* at) {
    return _mm256_loadu_si256(static_cast<const __m256i*>(at));
}

inline __m128i load_128(const void* at) {
    return _mm_loadu_si128(static_cast<const __m128i*>(at));
}

inline __m256 load_half(const void* at) { return _mm256_cvtph_ps(load_128(at)); }

inline void store_half(uint16_t* at, __m256 values) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(at),
                     _mm256_cvtps_ph(values, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

inline float add_lanes(__m256 values) {
    __m128 sum = _mm_add_ps(_mm256_castps256_ps128(values), _mm256_extractf128_ps(values, 1));
    sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
    return _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)));
}

inline float largest_lane(__m256 values) {
    __m128 largest = _mm_max_ps(_mm256_castps256_ps128(values), _mm256_extractf128_ps(values, 1));
    largest = _mm_max_ps(largest, _mm_movehl_ps(largest, largest));
    return _mm_cvtss_f32(_mm_max_ss(largest, _mm_movehdup_ps(largest)));
}

// Replace quants by what they stand for.
template <Codebook codebook>
inline void look_up(__m256i words[8]) {
    if constexpr (codebook != Codebook::none) {
        alignas(16) static constexpr CodebookBytes numbers = codebook_bytes(codebook);
        const __m256i table = _mm256_broadcastsi128_si256(
            _mm_load_si128(reinterpret_cast<const __m128i*>(numbers.at)));
        for (int chunk = 0; chunk < 8; ++chunk) {
            words[chunk] = _mm256_shuffle_epi8(table, words[chunk]);
        }
    }
}

inline void unpack_3(const uint8_t* group, __m256i words[8]) {
    const __m256i low = _mm256_set1_epi8(7);
    const __m256i two = _mm256_set1_epi8(3);
    const __m256i four = _mm256_set1_epi8(4);
    __m256i chunks[3];
    for (int i = 0; i < 3; ++i) {
        chunks[i] = load(group + 64 * i);
        words[2 * i] = _mm256_and_si256(chunks[i], low);
        words[2 * i + 1] = _mm256_and_si256(_mm256_srli_epi16(chunks[i], 3), low);
    }
    words[6] = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(chunks[0], 6), two),
                               _mm256_and_si256(_mm256_srli_epi16(chunks[2], 4), four));
    words[7] = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(chunks[1], 6), two),
                               _mm256_and_si256(_mm256_srli_epi16(chunks[2], 5), four));
}

// Eight of a panel's rows: words[0…3] are their columns 0…15, four each, words[4…7] 16…31. `group`
// points at the first of the eight rows.
template <Type type>
inline void unpack(const uint8_t* group, __m256i words[8]) {
    constexpr int bits = layout_of(type).bits;
    if constexpr (bits == 8) {
        for (int chunk = 0; chunk < 8; ++chunk) {
            words[chunk] = load(group + 64 * chunk);
        }
        return;
    }
    if constexpr (bits == 3) {
        unpack_3(group, words);
        look_up<layout_of(type).codebook>(words);
        return;
    }
    const __m256i low = _mm256_set1_epi8(15);
    for (int chunk = 0; chunk < 4; ++chunk) {
        const __m256i nibbles = load(group + 64 * chunk);
        words[chunk] = _mm256_and_si256(nibbles, low);
        words[4 + chunk] = _mm256_and_si256(_mm256_srli_epi16(nibbles, 4), low);
    }
    if constexpr (bits == 5) {
        const __m256i fifth = load(group + 256);
        const __m256i sixteen = _mm256_set1_epi8(16);
        for (int chunk = 0; chunk < 8; ++chunk) {
            const __m256i bit = _mm256_set1_epi8(static_cast<char>(1 << chunk));
            const __m256i set = _mm256_cmpeq_epi8(_mm256_and_si256(fifth, bit), bit);
            words[chunk] = _mm256_or_si256(words[chunk], _mm256_and_si256(set, sixteen));
        }
    }
    if constexpr (bits == 6) {
        const __m256i upper = _mm256_set1_epi8(0x30);
        for (int half = 0; half < 2; ++half) {
            const __m256i high = load(group + 256 + 64 * half);
            __m256i* out = words + 4 * half;
            out[0] = _mm256_or_si256(out[0], _mm256_and_si256(_mm256_slli_epi16(high, 4), upper));
            out[1] = _mm256_or_si256(out[1], _mm256_and_si256(_mm256_slli_epi16(high, 2), upper));
            out[2] = _mm256_or_si256(out[2], _mm256_and_si256(high, upper));
            out[3] = _mm256_or_si256(out[3], _mm256_and_si256(_mm256_srli_epi16(high, 2), upper));
        }
    }
    look_up<layout_of(type).codebook>(words);
}

inline __m256i broadcast(const int8_t* at) {
    int32_t word;
    __builtin_memcpy(&word, at, sizeof word);
    return _mm256_set1_epi32(word);
}

// Sums over the chunks first … last - 1: each row's four numbers times the four activations.
template <Type type, int first, int last>
inline __m256 dot(const __m256i words[8], const int8_t* values);

// As Kernels::multiply_adds.
long long multiply_adds(int repetitions);

// The processor's own guesses of what is read next end at every page, which costs an eighth of the
// bandwidth.
template <Type type>
inline void prefetch(const uint8_t* at) {
    constexpr size_t ahead = 4096;
    for (size_t line = 0; line < group_bytes(layout_of(type)); line += 64) {
        _mm_prefetch(reinterpret_cast<const char*>(at + ahead + line), _MM_HINT_T0);
    }
}

inline __m256 float_from_u8(const uint8_t* at) {
    return _mm256_cvtepi32_ps(
        _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(at))));
}

inline __m256 float_from_s8(const void* at) {
    return _mm256_cvtepi32_ps(
        _mm256_cvtepi8_epi32(_mm_loadl_epi64(static_cast<const __m128i*>(at))));
}

// The panel's rows from 8 * first on, 8 for each of `halves`.
template <Type type, int size, int halves>
inline void multiply_halves(const Panel& panel, const Tile& tile, int first, float* out) {
    constexpr Layout layout = layout_of(type);
    const __m256 zero = _mm256_set1_ps(-layout.zero);
    __m256 sums[halves][size];
    for (int i = 0; i < halves; ++i) {
        for (int token = 0; token < size; ++token) {
            sums[i][token] = _mm256_setzero_ps();
        }
    }
    const uint8_t* at = panel.data;
    const int8_t* values = tile.values;
    __m256 super_scales[halves] = {};
    __m256 super_minima[halves] = {};
    __m256 bases[halves] = {};
    __m256 steps[halves] = {};
    __m256i codes[halves] = {};
    if constexpr (layout.scales == Scales::row_steps) {
        for (int i = 0; i < halves; ++i) {
            bases[i] = load_half(at + 16 * (first + i));
            steps[i] = load_half(at + 32 + 16 * (first + i));
        }
        at += head_bytes(layout);
    }
    for (int group = 0; group < panel.groups; ++group) {
        if constexpr (super_bytes(layout) > 0) {
            if (group % super_groups == 0) {
                const uint8_t* const super = at;
                at += super_bytes(layout);
                for (int i = 0; i < halves; ++i) {
                    if constexpr (layout.scales == Scales::row_steps) {
                        codes[i] = load(super + 32 * (first + i));
                    } else {
                        super_scales[i] = load_half(super + 16 * (first + i));
                    }
                    if constexpr (layout.scales == Scales::super_minimum) {
                        super_minima[i] = _mm256_sub_ps(_mm256_setzero_ps(),
                                                        load_half(super + 32 + 16 * (first + i)));
                    }
                }
            }
        }
        if (first == 0) {
            prefetch<type>(at);
        }
        const uint8_t* const scales = at + quant_bytes(layout);
        const float* activation_scales = tile.scales + group * size;
        const float* activation_sums = tile.sums + group * size;
#pragma GCC unroll 2
        for (int i = 0; i < halves; ++i) {
            const int half = first + i;
            __m256i words[8];
            unpack<type>(at + 32 * half, words);
            if constexpr (layout.scales == Scales::super_halves) {
                const __m256 low_scale =
                    _mm256_mul_ps(super_scales[i], float_from_s8(scales + 8 * half));
                const __m256 high_scale =
                    _mm256_mul_ps(super_scales[i], float_from_s8(scales + 16 + 8 * half));
                const __m256 low_minimum = _mm256_mul_ps(zero, low_scale);
                const __m256 high_minimum = _mm256_mul_ps(zero, high_scale);
                const float* activation_low = tile.low_sums + group * size;
                for (int token = 0; token < size; ++token) {
                    const int8_t* row = values + token * group_columns;
                    const __m256 scaled = _mm256_fmadd_ps(
                        dot<type, 0, 4>(words, row), low_scale,
                        _mm256_mul_ps(dot<type, 4, 8>(words, row), high_scale));
                    __m256 sum = _mm256_fmadd_ps(
                        scaled, _mm256_set1_ps(activation_scales[token]), sums[i][token]);
                    sum = _mm256_fmadd_ps(low_minimum, _mm256_set1_ps(activation_low[token]), sum);
                    sums[i][token] = _mm256_fmadd_ps(
                        high_minimum,
                        _mm256_set1_ps(activation_sums[token] - activation_low[token]), sum);
                }
            } else {
                __m256 scale;
                __m256 minimum;
                if constexpr (layout.scales == Scales::super_minimum) {
                    scale = _mm256_mul_ps(super_scales[i], float_from_u8(scales + 8 * half));
                    minimum = _mm256_mul_ps(super_minima[i], float_from_u8(scales + 16 + 8 * half));
                } else if constexpr (layout.scales == Scales::super_signed) {
                    scale = _mm256_mul_ps(super_scales[i], float_from_s8(scales + 8 * half));
                } else if constexpr (layout.scales == Scales::row_steps) {
                    const __m256i code = _mm256_and_si256(codes[i], _mm256_set1_epi32(15));
                    codes[i] = _mm256_srli_epi32(codes[i], 4);
                    scale = _mm256_and_ps(
                        _mm256_fmadd_ps(_mm256_cvtepi32_ps(code), steps[i], bases[i]),
                        _mm256_castsi256_ps(_mm256_set1_epi32(scale_bits)));
                } else {
                    scale = load_half(scales + 16 * half);
                    if constexpr (layout.scales == Scales::half_minimum) {
                        minimum = load_half(scales + 32 + 16 * half);
                    }
                }
                const int32_t* const activation_totals = tile.totals + group * size;
                for (int token = 0; token < size; ++token) {
                    __m256 whole = dot<type, 0, 8>(words, values + token * group_columns);
                    if constexpr (layout.zero != 0) {
                        const float total = static_cast<float>(activation_totals[token]);
                        whole = _mm256_sub_ps(whole, _mm256_set1_ps(layout.zero * total));
                    }
                    __m256 sum = _mm256_fmadd_ps(_mm256_mul_ps(whole, scale),
                                                 _mm256_set1_ps(activation_scales[token]), sums[i][token]);
                    if constexpr (has_minimum(layout)) {
                        sum = _mm256_fmadd_ps(minimum, _mm256_set1_ps(activation_sums[token]), sum);
                    }
                    sums[i][token] = sum;
                }
            }
        }
        at += group_bytes(layout);
        values += size * group_columns;
    }
    for (int i = 0; i < halves; ++i) {
        for (int token = 0; token < size; ++token) {
            _mm256_storeu_ps(out + token * panel_rows + 8 * (first + i), sums[i][token]);
        }
    }
}

// Memory decides the speed of few tokens, and must not wait for a second pass over what is there; more
// tokens' sums leave registers for half of the rows alone.
template <Type type, int size>
void multiply(const Panel& panel, const Tile& tile, float* out) {
    if constexpr (size <= 2) {
        multiply_halves<type, size, 2>(panel, tile, 0, out);
    } else {
        multiply_halves<type, size, 1>(panel, tile, 0, out);
        multiply_halves<type, size, 1>(panel, tile, 1, out);
    }
}

inline __m256 absolute(__m256 values) {
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), values);
}

inline int add_words(__m256i words) {
    __m128i sum =
        _mm_add_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1));
    return _mm_cvtsi128_si32(sum);
}

void quantise(const float* input, int columns, int index, int size, int8_t* values, float* scales,
              int32_t* totals, float* sums, float* low_sums) {
    for (int group = 0; group < columns / group_columns; ++group) {
        __m256 in[4];
        __m256 largest = _mm256_setzero_ps();
        for (int i = 0; i < 4; ++i) {
            in[i] = _mm256_loadu_ps(input + group * group_columns + 8 * i);
            largest = _mm256_max_ps(largest, absolute(in[i]));
        }
        const float limit = largest_lane(largest);
        const float scale = limit / 127.0f;
        const __m256 inverse = _mm256_set1_ps(limit > vanishing ? 127.0f / limit : 0.0f);
        __m256i quants[4];
        for (int i = 0; i < 4; ++i) {
            quants[i] = _mm256_cvtps_epi32(_mm256_mul_ps(in[i], inverse));
        }
        const __m256i low = _mm256_add_epi32(quants[0], quants[1]);
        const __m256i high = _mm256_add_epi32(quants[2], quants[3]);
        // Packing works within 128-bit lanes: the permutation puts the words back in order.
        const __m256i packed = _mm256_packs_epi16(_mm256_packs_epi32(quants[0], quants[1]),
                                                  _mm256_packs_epi32(quants[2], quants[3]));
        const __m256i ordered =
            _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
        const int at = group * size + index;
        _mm256_storeu_si256(
            reinterpret_cast<__m256i*>(values + static_cast<size_t>(at) * group_columns), ordered);
        scales[at] = scale;
        totals[at] = add_words(_mm256_add_epi32(low, high));
        sums[at] = scale * static_cast<float>(totals[at]);
        low_sums[at] = scale * static_cast<float>(add_words(low));
    }
}

// See sixteen.h.
struct Sixteen {
    static constexpr int rows = 4;
    static constexpr int together = 1;
    static constexpr int stored_rows = 2;
    static constexpr int tokens = 2;
    __m256 low;
    __m256 high;

    static Sixteen all(float number) { return {_mm256_set1_ps(number), _mm256_set1_ps(number)}; }
    static Sixteen load(const float* at) { return {_mm256_loadu_ps(at), _mm256_loadu_ps(at + 8)}; }
    // Masks of the first `count` of 16 lanes.
    struct First {
        __m256i low;
        __m256i high;
        explicit First(int count) {
            alignas(32) static constexpr int32_t lanes[32] = {-1, -1, -1, -1, -1, -1, -1, -1,
                                                              -1, -1, -1, -1, -1, -1, -1, -1};
            low = pocketlm::load(lanes + 16 - count);
            high = pocketlm::load(lanes + 24 - count);
        }
    };
    static Sixteen load_first(const float* at, int count, float rest) {
        const First first(count);
        const __m256 others = _mm256_set1_ps(rest);
        return {_mm256_blendv_ps(others, _mm256_maskload_ps(at, first.low), _mm256_castsi256_ps(first.low)),
                _mm256_blendv_ps(others, _mm256_maskload_ps(at + 8, first.high),
                                 _mm256_castsi256_ps(first.high))};
    }
    void store_first(float* at, int count) const {
        const First first(count);
        _mm256_maskstore_ps(at, first.low, low);
        _mm256_maskstore_ps(at + 8, first.high, high);
    }
    static Sixteen floats(const uint8_t* at) { return load(reinterpret_cast<const float*>(at)); }
    static Sixteen halves(const uint8_t* at) { return {load_half(at), load_half(at + 16)}; }
    static Sixteen brain_halves(const uint8_t* at) {
        const auto widen = [](const uint8_t* from) {
            return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load_128(from)), 16));
        };
        return {widen(at), widen(at + 16)};
    }
    static Sixteen signed_bytes(__m128i numbers) {
        return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(numbers)),
                _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(numbers, 8)))};
    }
    static Sixteen bytes(const uint8_t* at) { return signed_bytes(load_128(at)); }
    static Sixteen nibbles(const uint8_t* at, bool high) {
        const __m128i shifted = _mm_srl_epi16(load_128(at), _mm_cvtsi32_si128(high ? 4 : 0));
        const __m128i numbers = _mm_and_si128(shifted, _mm_set1_epi8(15));
        return signed_bytes(_mm_sub_epi8(numbers, _mm_set1_epi8(8)));
    }
    void store(float* at) const {
        _mm256_storeu_ps(at, low);
        _mm256_storeu_ps(at + 8, high);
    }
    Sixteen operator+(Sixteen other) const {
        return {_mm256_add_ps(low, other.low), _mm256_add_ps(high, other.high)};
    }
    Sixteen operator-(Sixteen other) const {
        return {_mm256_sub_ps(low, other.low), _mm256_sub_ps(high, other.high)};
    }
    Sixteen operator*(Sixteen other) const {
        return {_mm256_mul_ps(low, other.low), _mm256_mul_ps(high, other.high)};
    }
    Sixteen operator/(Sixteen other) const {
        return {_mm256_div_ps(low, other.low), _mm256_div_ps(high, other.high)};
    }
    Sixteen times(Sixteen other, Sixteen plus) const {
        return {_mm256_fmadd_ps(low, other.low, plus.low),
                _mm256_fmadd_ps(high, other.high, plus.high)};
    }
    Sixteen times_exact(Sixteen other, Sixteen plus) const { return times(other, plus); }
    Sixteen shortened() const {
        const auto shorten = [](__m256 numbers) {
            const __m256i raised = _mm256_add_epi32(_mm256_castps_si256(numbers), _mm256_set1_epi32(0x80));
            return _mm256_castsi256_ps(_mm256_and_si256(raised, _mm256_set1_epi32(~0xff)));
        };
        return {shorten(low), shorten(high)};
    }
    Sixteen max(Sixteen other) const {
        return {_mm256_max_ps(low, other.low), _mm256_max_ps(high, other.high)};
    }
    Sixteen min(Sixteen other) const {
        return {_mm256_min_ps(low, other.low), _mm256_min_ps(high, other.high)};
    }
    Sixteen rounded() const {
        constexpr int nearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
        return {_mm256_round_ps(low, nearest), _mm256_round_ps(high, nearest)};
    }
    Sixteen scaled(Sixteen exponents) const {
        const auto power = [](__m256 n) {
            const __m256i biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
            return _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23));
        };
        return *this * Sixteen{power(exponents.low), power(exponents.high)};
    }
    Sixteen where_not_below(Sixteen x, Sixteen least) const {
        return {_mm256_and_ps(_mm256_cmp_ps(x.low, least.low, _CMP_GE_OQ), low),
                _mm256_and_ps(_mm256_cmp_ps(x.high, least.high, _CMP_GE_OQ), high)};
    }
    float sum() const { return add_lanes(_mm256_add_ps(low, high)); }
    float largest() const { return largest_lane(_mm256_max_ps(low, high)); }
};

void half_from_float(const float* input, int count, uint16_t* out) {
    int i = 0;
    for (; i + 8 <= count; i += 8) {
        store_half(out + i, _mm256_loadu_ps(input + i));
    }
    for (; i < count; ++i) {
        out[i] = f16_from_float(input[i]);
    }
}

uint64_t read(const uint8_t* data, size_t size, bool halves) {
    const size_t ahead = halves ? 2048 : 4096;
    const size_t step = halves ? 64 : 128;
    const uint8_t* const other = data + (halves ? size / 2 : 64);
    __m256i sums[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    for (size_t i = 0; i < size / 128; ++i) {
        const size_t at = i * step;
        _mm_prefetch(reinterpret_cast<const char*>(data + at + ahead), _MM_HINT_T0);
        _mm_prefetch(reinterpret_cast<const char*>(other + at + ahead), _MM_HINT_T0);
        for (size_t lanes = 0; lanes < 64; lanes += 32) {
            const auto* one = reinterpret_cast<const __m256i*>(data + at + lanes);
            const auto* two = reinterpret_cast<const __m256i*>(other + at + lanes);
            sums[0] = _mm256_add_epi64(sums[0], _mm256_loadu_si256(one));
            sums[1] = _mm256_add_epi64(sums[1], _mm256_loadu_si256(two));
        }
    }
    alignas(32) uint64_t lanes[4];
    _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), _mm256_add_epi64(sums[0], sums[1]));
    return lanes[0] + lanes[1] + lanes[2] + lanes[3];
}

constexpr Kernels table(const char* name) {
    return make_table<Sixteen, 4>(name, {quantise, half_from_float, read, multiply_adds},
                                  [](auto type, auto size) { return multiply<type.value, size.value>; });
}

}  // namespace
}  // namespace pocketlm
