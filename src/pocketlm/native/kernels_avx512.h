// Kernels for AVX-512 with BW, DQ, VL and VNNI, but for large tiles where the processor has more than
// that: those are of the file that includes this one.
//
// A vector holds 16 rows of a panel, four columns each; VPDPBUSD multiplies all of them by four
// activations, broadcast from memory, without a widening step. Where the file is compiled for VBMI, quants
// that stand for other numbers are looked up 64 at once. Only C headers and intrinsics here: see half.h.
#pragma once

#include <immintrin.h>

#include "half.h"
#include "kernels.h"
#include "table.h"

namespace pocketlm {
namespace {

inline __m512 load_half(const uint16_t* at) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)));
}

inline __m512 load_half(const uint8_t* at) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)));
}

inline void store_half(uint16_t* at, __m512 values) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(at),
                        _mm512_cvtps_ph(values, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

inline __m512i load(const uint8_t* at) { return _mm512_loadu_si512(at); }

// What quants stand for is multiplied as (word - zero) * scale / times: integers without a sign, of which
// an integer is taken away. Numbers whose zero is a half count twice.
constexpr int times_of(Layout layout) {
    return static_cast<float>(static_cast<int>(layout.zero)) < layout.zero ? 2 : 1;
}

constexpr int zero_of(Layout layout) {
    return is_signed(layout) ? 128 : static_cast<int>(layout.zero * static_cast<float>(times_of(layout)));
}

// The words of all bytes of which the low bits are a quant, `less` taken away: VPERMB looks at six bits of a byte,
// whatever the upper two are.
struct alignas(64) Numbers {
    uint8_t at[64] = {};
};

template <Type type, int less>
constexpr Numbers numbers_of() {
    constexpr Layout layout = layout_of(type);
    Numbers numbers;
    for (int byte = 0; byte < 64; ++byte) {
        const int quant = byte % (1 << layout.bits);
        const int number = layout.codebook == Codebook::none
                               ? quant
                               : codebook_numbers[static_cast<int>(layout.codebook)][quant];
        const int offset = is_signed(layout) ? 128 : 0;
        numbers.at[byte] = static_cast<uint8_t>(number * times_of(layout) + offset - less);
    }
    return numbers;
}

// Chunks that are used more than once, kept in a register: GCC would read them from memory each time, and
// there are loads enough.
inline __m512i load_once(const uint8_t* at) {
    __m512i chunk = load(at);
    asm("" : "+v"(chunk));
    return chunk;
}

// The bits of `low` where `mask` has ones, those of `high` elsewhere.
inline __m512i choose(__m512i mask, __m512i low, __m512i high) {
    return _mm512_ternarylogic_epi32(mask, low, high, 0xca);
}

inline void take_apart_3(const uint8_t* group, __m512i words[8]) {
    const __m512i two_bits = _mm512_set1_epi8(3);
    __m512i chunks[3];
    for (int i = 0; i < 3; ++i) {
        chunks[i] = load_once(group + 64 * i);
        words[2 * i] = chunks[i];
        words[2 * i + 1] = _mm512_srli_epi16(chunks[i], 3);
    }
    words[6] = choose(two_bits, _mm512_srli_epi16(chunks[0], 6), _mm512_srli_epi16(chunks[2], 4));
    words[7] = choose(two_bits, _mm512_srli_epi16(chunks[1], 6), _mm512_srli_epi16(chunks[2], 5));
}

// Bytes of which the low bits are quants, the others whatever was beside them: words[0…3] are the columns 0…15 of all
// rows, four each, words[4…7] the columns 16…31.
template <int bits>
inline void take_apart(const uint8_t* group, __m512i words[8]) {
    if constexpr (bits == 3) {
        take_apart_3(group, words);
        return;
    }
    const __m512i four_bits = _mm512_set1_epi8(15);
    for (int chunk = 0; chunk < 4; ++chunk) {
        words[chunk] = load_once(group + 64 * chunk);
        words[4 + chunk] = _mm512_srli_epi16(words[chunk], 4);
    }
    if constexpr (bits == 5) {
        const __m512i fifth = load_once(group + 256);
        for (int chunk = 0; chunk < 8; ++chunk) {
            const __m512i high = chunk < 4 ? _mm512_slli_epi16(fifth, static_cast<unsigned>(4 - chunk))
                                           : _mm512_srli_epi16(fifth, static_cast<unsigned>(chunk - 4));
            words[chunk] = choose(four_bits, words[chunk], high);
        }
    }
    if constexpr (bits == 6) {
        for (int half = 0; half < 2; ++half) {
            const __m512i high = load_once(group + 256 + 64 * half);
            __m512i* out = words + 4 * half;
            out[0] = choose(four_bits, out[0], _mm512_slli_epi16(high, 4));
            out[1] = choose(four_bits, out[1], _mm512_slli_epi16(high, 2));
            out[2] = choose(four_bits, out[2], high);
            out[3] = choose(four_bits, out[3], _mm512_srli_epi16(high, 2));
        }
    }
}

// Bytes of which the low bits are quants become the words of a group (see times_of), `less` taken away from each.
template <Type type, int less>
inline void look_up(__m512i words[8]) {
    constexpr Layout layout = layout_of(type);
    static constexpr Numbers numbers = numbers_of<type, less>();
#if defined(__AVX512VBMI__)
    if constexpr (times_of(layout) == 2 || layout.codebook != Codebook::none) {
        const __m512i table = _mm512_load_si512(numbers.at);
        for (int chunk = 0; chunk < 8; ++chunk) {
            words[chunk] = _mm512_permutexvar_epi8(words[chunk], table);
        }
        return;
    }
#endif
    const __m512i mask = _mm512_set1_epi8((1 << layout.bits) - 1);
    for (int chunk = 0; chunk < 8; ++chunk) {
        words[chunk] = _mm512_and_si512(words[chunk], mask);
    }
    if constexpr (layout.codebook != Codebook::none) {
        const __m512i table = _mm512_broadcast_i32x4(
            _mm_load_si128(reinterpret_cast<const __m128i*>(numbers.at)));
        for (int chunk = 0; chunk < 8; ++chunk) {
            words[chunk] = _mm512_shuffle_epi8(table, words[chunk]);
        }
        return;
    }
    for (int chunk = 0; chunk < 8; ++chunk) {
        if constexpr (times_of(layout) == 2) {
            words[chunk] = _mm512_add_epi8(words[chunk], words[chunk]);
        }
        if constexpr (less != 0) {
            words[chunk] = _mm512_sub_epi8(words[chunk], _mm512_set1_epi8(static_cast<char>(less)));
        }
    }
}

// The words of a group, columns as take_apart has them.
template <Type type, int less>
inline void unpack(const uint8_t* group, __m512i words[8]) {
    constexpr int bits = layout_of(type).bits;
    if constexpr (bits == 8) {
        for (int chunk = 0; chunk < 8; ++chunk) {
            words[chunk] = load(group + 64 * chunk);
            if constexpr (less != 128) {
                words[chunk] = _mm512_xor_si512(words[chunk], _mm512_set1_epi8(-128));
            }
        }
    } else {
        take_apart<bits>(group, words);
        look_up<type, less>(words);
    }
}

inline __m512i broadcast(const int8_t* at) {
    int32_t word;
    __builtin_memcpy(&word, at, sizeof word);
    return _mm512_set1_epi32(word);
}

// An integer n of less than 23 bits, added to the bits of this number, gives the float number + n. Times a
// scale less number * scale, which is exact if the scale has 22 bits, that is n * scale, rounded once: as
// good as converting n, and one operation less.
constexpr float float_base = 12582912.0f;
constexpr int32_t float_base_bits = 0x4b400000;

// Tokens whose products are added up in turn, so that one sum need not wait for itself.
constexpr int tokens_in_turn = 4;

// Add the chunks first … last - 1 of the tokens' rows to `sums`.
template <int first, int last, int count>
inline void add_dots(const __m512i words[8], const int8_t* values, __m512i sums[count]) {
#pragma GCC unroll 8
    for (int chunk = first; chunk < last; ++chunk) {
#pragma GCC unroll 4
        for (int token = 0; token < count; ++token) {
            sums[token] = _mm512_dpbusd_epi32(
                sums[token], words[chunk], broadcast(values + token * group_columns + 4 * chunk));
        }
    }
}

// The processor's own guesses of what is read next end at every page, which costs an eighth of the
// bandwidth.
template <Type type, size_t ahead>
inline void prefetch(const uint8_t* at) {
    for (size_t line = 0; line < group_bytes(layout_of(type)); line += 64) {
        _mm_prefetch(reinterpret_cast<const char*>(at + ahead + line), _MM_HINT_T0);
    }
}

// A panel's groups, one after the other; fetched so many bytes ahead, `less` taken away from each word.
template <Type type, size_t ahead = 4096, int less = 0>
class Groups {
  public:
    static constexpr Layout layout = layout_of(type);
    // Columns 0…15 and 16…31 have scales of their own.
    static constexpr bool halves = layout.scales == Scales::super_halves;
    static constexpr bool has_minimum = pocketlm::has_minimum(layout);

    __m512i words[8];
    __m512 scale;       // halves: of the first
    __m512 high_scale;  // halves: of the second
    __m512 minimum;     // has_minimum

    explicit Groups(const Panel& panel) : at_(panel.data) {
        if constexpr (layout.scales == Scales::row_steps) {
            const __m512 part = _mm512_set1_ps(1.0f / static_cast<float>(times_of(layout)));
            base_ = _mm512_mul_ps(load_half(at_), part);
            step_ = _mm512_mul_ps(load_half(at_ + 32), part);
            at_ += head_bytes(layout);
        }
    }

    // Go to the next group, `index` of the panel.
    void next(int index) {
        if constexpr (super_bytes(layout) > 0) {
            if (index % super_groups == 0) {
                next_super();
            }
        }
        prefetch<type, ahead>(at_);
        unpack<type, less>(at_, words);
        const uint8_t* const scales = at_ + quant_bytes(layout);
        if constexpr (halves) {
            scale = _mm512_mul_ps(super_scale_, signed_bytes(scales));
            high_scale = _mm512_mul_ps(super_scale_, signed_bytes(scales + panel_rows));
        } else if constexpr (layout.scales == Scales::super_minimum) {
            scale = _mm512_mul_ps(super_scale_, unsigned_bytes(scales));
            minimum = _mm512_mul_ps(super_minimum_, unsigned_bytes(scales + panel_rows));
        } else if constexpr (layout.scales == Scales::super_signed) {
            scale = _mm512_mul_ps(super_scale_, signed_bytes(scales));
        } else if constexpr (layout.scales == Scales::row_steps) {
            // A permutation looks at the low four bits of an index alone.
            const __m512 code = _mm512_permutexvar_ps(
                codes_, _mm512_setr_ps(0.0f, 1.0f, 2.0f, 3.0f, 4.0f, 5.0f, 6.0f, 7.0f, 8.0f, 9.0f, 10.0f, 11.0f,
                                       12.0f, 13.0f, 14.0f, 15.0f));
            // See float_base.
            scale = _mm512_and_ps(_mm512_fmadd_ps(code, step_, base_),
                                  _mm512_castsi512_ps(_mm512_set1_epi32(scale_bits)));
            codes_ = _mm512_srli_epi32(codes_, 4);
        } else {
            scale = load_half(scales);
            if constexpr (has_minimum) {
                minimum = load_half(scales + 32);
            }
        }
        at_ += group_bytes(layout);
    }

  private:
    static __m512 signed_bytes(const uint8_t* at) {
        const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
        return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
    }
    static __m512 unsigned_bytes(const uint8_t* at) {
        const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
        return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes));
    }

    void next_super() {
        if constexpr (layout.scales == Scales::row_steps) {
            codes_ = load(at_);
        } else {
            super_scale_ = load_half(at_);
        }
        if constexpr (layout.scales == Scales::super_minimum) {
            super_minimum_ = _mm512_sub_ps(_mm512_setzero_ps(), load_half(at_ + 32));
        }
        at_ += super_bytes(layout);
    }

    const uint8_t* at_;
    __m512 super_scale_;
    __m512 super_minimum_;
    __m512 base_;
    __m512 step_;
    __m512i codes_;
};

// What a group adds to a token's sum: of its dot product plus float_base, as bits; and of its halves'
// dot products.
inline __m512 add_group(__m512 sum, __m512i bits, __m512 scale, __m512 shift, float token_scale) {
    const __m512 scaled = _mm512_fmadd_ps(_mm512_castsi512_ps(bits), scale, shift);
    return _mm512_fmadd_ps(scaled, _mm512_set1_ps(token_scale), sum);
}

inline __m512 shift_of(__m512 scale) { return _mm512_mul_ps(_mm512_set1_ps(-float_base), scale); }

template <Type type>
inline __m512 add_halves(__m512 sum, __m512i low, __m512i high, __m512 low_scale, __m512 high_scale,
                         float token_scale, float token_low, float token_sum) {
    const __m512 zero = _mm512_set1_ps(-layout_of(type).zero);
    const __m512 scaled = _mm512_fmadd_ps(_mm512_cvtepi32_ps(low), low_scale,
                                          _mm512_mul_ps(_mm512_cvtepi32_ps(high), high_scale));
    sum = _mm512_fmadd_ps(scaled, _mm512_set1_ps(token_scale), sum);
    sum = _mm512_fmadd_ps(_mm512_mul_ps(zero, low_scale), _mm512_set1_ps(token_low), sum);
    return _mm512_fmadd_ps(_mm512_mul_ps(zero, high_scale), _mm512_set1_ps(token_sum - token_low),
                           sum);
}

// Add what a group, which `groups` has come to, is to the sums of `size` tokens of a tile of `all`.
template <Type type, int size, int all, size_t ahead>
inline __attribute__((always_inline)) void add_group_of(const Groups<type, ahead>& groups, int group,
                                                        const Tile& tile, __m512 (&sums)[size]) {
    constexpr int zero = zero_of(layout_of(type));
    constexpr int step = size < tokens_in_turn ? size : tokens_in_turn;
    const __m512 shift = shift_of(groups.scale);
    const int8_t* const values = tile.values + static_cast<size_t>(group) * all * group_columns;
#pragma GCC unroll 4
    for (int first = 0; first < size; first += step) {
        const int8_t* const rows = values + first * group_columns;
        const int at = group * all + first;
        __m512i dots[step];
        if constexpr (groups.halves) {
            __m512i highs[step];
            for (int i = 0; i < step; ++i) {
                dots[i] = highs[i] = _mm512_setzero_si512();
            }
            add_dots<0, 4, step>(groups.words, rows, dots);
            add_dots<4, 8, step>(groups.words, rows, highs);
            for (int i = 0; i < step; ++i) {
                sums[first + i] = add_halves<type>(
                    sums[first + i], dots[i], highs[i], groups.scale, groups.high_scale,
                    tile.scales[at + i], tile.low_sums[at + i], tile.sums[at + i]);
            }
        } else {
            for (int i = 0; i < step; ++i) {
                dots[i] = _mm512_set1_epi32(zero == 0 ? float_base_bits
                                                      : float_base_bits - zero * tile.totals[at + i]);
            }
            if constexpr (step < tokens_in_turn) {
                // Two sums, so that one need not wait for the other.
                __m512i highs[step];
                for (__m512i& high : highs) {
                    high = _mm512_setzero_si512();
                }
                add_dots<0, 4, step>(groups.words, rows, dots);
                add_dots<4, 8, step>(groups.words, rows, highs);
                for (int i = 0; i < step; ++i) {
                    dots[i] = _mm512_add_epi32(dots[i], highs[i]);
                }
            } else {
                add_dots<0, 8, step>(groups.words, rows, dots);
            }
            for (int i = 0; i < step; ++i) {
                __m512& sum = sums[first + i];
                sum = add_group(sum, dots[i], groups.scale, shift, tile.scales[at + i]);
                if constexpr (groups.has_minimum) {
                    sum = _mm512_fmadd_ps(groups.minimum, _mm512_set1_ps(tile.sums[at + i]), sum);
                }
            }
        }
    }
}

// `size` tokens of a tile of `all`.
template <Type type, int size, int all = size>
void multiply(const Panel& panel, const Tile& tile, float* out) {
    __m512 sums[size];
    for (int token = 0; token < size; ++token) {
        sums[token] = _mm512_setzero_ps();
    }
    Groups<type> groups(panel);
    for (int group = 0; group < panel.groups; ++group) {
        groups.next(group);
        add_group_of<type, size, all>(groups, group, tile, sums);
    }
    for (int token = 0; token < size; ++token) {
        _mm512_storeu_ps(out + token * panel_rows, sums[token]);
    }
}

template <Type type>
void multiply_pair(const Panel& first, const Panel& second, const Tile& tile, float* first_out,
                   float* second_out) {
    __m512 first_sum[1] = {_mm512_setzero_ps()};
    __m512 second_sum[1] = {_mm512_setzero_ps()};
    constexpr size_t ahead = 2048;  // at two places
    Groups<type, ahead> first_groups(first);
    Groups<type, ahead> second_groups(second);
    for (int group = 0; group < first.groups; ++group) {
        first_groups.next(group);
        add_group_of<type, 1, 1>(first_groups, group, tile, first_sum);
        second_groups.next(group);
        add_group_of<type, 1, 1>(second_groups, group, tile, second_sum);
    }
    _mm512_storeu_ps(first_out, first_sum[0]);
    _mm512_storeu_ps(second_out, second_sum[0]);
}

// The sum of 16 signed bytes.
inline int sum_of(__m128i bytes) {
    const __m128i sums = _mm_sad_epu8(_mm_xor_si128(bytes, _mm_set1_epi8(-128)), _mm_setzero_si128());
    return _mm_cvtsi128_si32(_mm_add_epi64(sums, _mm_unpackhi_epi64(sums, sums))) - 16 * 128;
}

void quantise(const float* input, int columns, int index, int size, int8_t* values, float* scales,
              int32_t* totals, float* sums, float* low_sums) {
    for (int group = 0; group < columns / group_columns; ++group) {
        const __m512 low = _mm512_loadu_ps(input + group * group_columns);
        const __m512 high = _mm512_loadu_ps(input + group * group_columns + 16);
        const float largest =
            _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(low), _mm512_abs_ps(high)));
        const float scale = largest / 127.0f;
        const __m512 inverse = _mm512_set1_ps(largest > vanishing ? 127.0f / largest : 0.0f);
        const __m512i low_quants = _mm512_cvtps_epi32(_mm512_mul_ps(low, inverse));
        const __m512i high_quants = _mm512_cvtps_epi32(_mm512_mul_ps(high, inverse));
        const __m128i low_bytes = _mm512_cvtepi32_epi8(low_quants);
        const __m128i high_bytes = _mm512_cvtepi32_epi8(high_quants);
        const int at = group * size + index;
        __m128i* out = reinterpret_cast<__m128i*>(values + static_cast<size_t>(at) * group_columns);
        _mm_storeu_si128(out, low_bytes);
        _mm_storeu_si128(out + 1, high_bytes);
        const int low_total = sum_of(low_bytes);
        scales[at] = scale;
        totals[at] = low_total + sum_of(high_bytes);
        sums[at] = scale * static_cast<float>(totals[at]);
        low_sums[at] = scale * static_cast<float>(low_total);
    }
}

// See sixteen.h.
struct Sixteen {
    static constexpr int rows = 8;
    static constexpr int together = 2;
    static constexpr int stored_rows = 4;
    static constexpr int tokens = 4;
    __m512 lanes;

    static Sixteen all(float number) { return {_mm512_set1_ps(number)}; }
    static Sixteen load(const float* at) { return {_mm512_loadu_ps(at)}; }
    static __mmask16 first(int count) { return static_cast<__mmask16>((1 << count) - 1); }
    static Sixteen load_first(const float* at, int count, float rest) {
        return {_mm512_mask_loadu_ps(_mm512_set1_ps(rest), first(count), at)};
    }
    void store_first(float* at, int count) const { _mm512_mask_storeu_ps(at, first(count), lanes); }
    static Sixteen floats(const uint8_t* at) { return {_mm512_loadu_ps(at)}; }
    static Sixteen halves(const uint8_t* at) { return {load_half(at)}; }
    static Sixteen brain_halves(const uint8_t* at) {
        const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
        return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16))};
    }
    static Sixteen bytes(const uint8_t* at) {
        const __m128i numbers = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
        return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(numbers))};
    }
    static Sixteen nibbles(const uint8_t* at, bool high) {
        // A permutation looks at the low four bits of an index alone.
        const __m128i numbers = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
        const __m512i indices = _mm512_srlv_epi32(_mm512_cvtepu8_epi32(numbers),
                                                  _mm512_set1_epi32(high ? 4 : 0));
        const __m512 meanings = _mm512_setr_ps(-8.0f, -7.0f, -6.0f, -5.0f, -4.0f, -3.0f, -2.0f, -1.0f,
                                               0.0f, 1.0f, 2.0f, 3.0f, 4.0f, 5.0f, 6.0f, 7.0f);
        return {_mm512_permutexvar_ps(indices, meanings)};
    }
    void store(float* at) const { _mm512_storeu_ps(at, lanes); }
    Sixteen operator+(Sixteen other) const { return {_mm512_add_ps(lanes, other.lanes)}; }
    Sixteen operator-(Sixteen other) const { return {_mm512_sub_ps(lanes, other.lanes)}; }
    Sixteen operator*(Sixteen other) const { return {_mm512_mul_ps(lanes, other.lanes)}; }
    Sixteen operator/(Sixteen other) const { return {_mm512_div_ps(lanes, other.lanes)}; }
    Sixteen times(Sixteen other, Sixteen plus) const {
        return {_mm512_fmadd_ps(lanes, other.lanes, plus.lanes)};
    }
    Sixteen times_exact(Sixteen other, Sixteen plus) const { return times(other, plus); }
    Sixteen shortened() const {
        const __m512i raised = _mm512_add_epi32(_mm512_castps_si512(lanes), _mm512_set1_epi32(0x80));
        return {_mm512_castsi512_ps(_mm512_and_si512(raised, _mm512_set1_epi32(~0xff)))};
    }
    Sixteen max(Sixteen other) const { return {_mm512_max_ps(lanes, other.lanes)}; }
    Sixteen min(Sixteen other) const { return {_mm512_min_ps(lanes, other.lanes)}; }
    Sixteen rounded() const {
        return {_mm512_roundscale_ps(lanes, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
    }
    Sixteen scaled(Sixteen exponents) const { return {_mm512_scalef_ps(lanes, exponents.lanes)}; }
    Sixteen where_not_below(Sixteen x, Sixteen least) const {
        return {_mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x.lanes, least.lanes, _CMP_GE_OQ), lanes)};
    }
    float sum() const {
        const __m256 eight =
            _mm256_add_ps(_mm512_castps512_ps256(lanes), _mm512_extractf32x8_ps(lanes, 1));
        __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
        four = _mm_add_ps(four, _mm_movehl_ps(four, four));
        return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
    }
    float largest() const { return _mm512_reduce_max_ps(lanes); }
};

void half_from_float(const float* input, int count, uint16_t* out) {
    int i = 0;
    for (; i + 16 <= count; i += 16) {
        store_half(out + i, _mm512_loadu_ps(input + i));
    }
    for (; i < count; ++i) {
        out[i] = f16_from_float(input[i]);
    }
}

uint64_t read(const uint8_t* data, size_t size, bool halves) {
    const size_t ahead = halves ? 2048 : 4096;
    const size_t step = halves ? 64 : 128;
    const uint8_t* const other = data + (halves ? size / 2 : 64);
    __m512i sums[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
    for (size_t i = 0; i < size / 128; ++i) {
        const size_t at = i * step;
        _mm_prefetch(data + at + ahead, _MM_HINT_T0);
        _mm_prefetch(other + at + ahead, _MM_HINT_T0);
        sums[0] = _mm512_add_epi64(sums[0], load(data + at));
        sums[1] = _mm512_add_epi64(sums[1], load(other + at));
    }
    return static_cast<uint64_t>(_mm512_reduce_add_epi64(_mm512_add_epi64(sums[0], sums[1])));
}

long long multiply_adds(int repetitions) {
    constexpr int chains = 16;
    __m512i quants = _mm512_set1_epi8(7);
    const __m512i activations = _mm512_set1_epi8(1);
    __m512i sums[chains];
    for (__m512i& sum : sums) {
        sum = _mm512_setzero_si512();
    }
    for (int i = 0; i < repetitions; ++i) {
        asm volatile("" : "+v"(quants));  // as if it were another each time
#pragma GCC unroll 16
        for (int chain = 0; chain < chains; ++chain) {
            sums[chain] = _mm512_dpbusd_epi32(sums[chain], quants, activations);
        }
    }
    for (__m512i& sum : sums) {
        asm volatile("" : "+v"(sum));
    }
    return 64LL * chains * repetitions;
}

constexpr OwnKernels own_kernels = {quantise, half_from_float, read, multiply_adds};

}  // namespace
}  // namespace pocketlm
