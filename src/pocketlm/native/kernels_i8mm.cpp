// Kernels for ARMv8.2 with the dot product and the 8-bit matrix multiply extension (Neoverse V1, N2,
// Cortex-A710, Apple A15 and M2, and later).
//
// SMMLA multiplies two rows of eight columns by two tokens' eight into four sums of 32 bits: twice the
// work of SDOT. Sums are whole numbers, so every number is what NEON's kernels make it, to the bit. One
// token would leave half of it idle, and stays with SDOT.
#if defined(__aarch64__)

#include "kernels_neon.h"

namespace pocketlm {
namespace {

// Two tokens in a vector: pairs[i][chunk] holds columns 8 * chunk … 8 * chunk + 7 of token 2 * i, then
// of the one after it.
template <int size>
struct Activations {
    explicit Activations(const int8_t* group) {
        for (int token = 0; token < size; token += 2) {
            const int8_t* const values = group + token * group_columns;
            for (int half = 0; half < 2; ++half) {
                const int64x2_t one = vreinterpretq_s64_s8(vld1q_s8(values + 16 * half));
                const int64x2_t other =
                    vreinterpretq_s64_s8(vld1q_s8(values + group_columns + 16 * half));
                int8x16_t* const out = pairs[token / 2] + 2 * half;
                out[0] = vreinterpretq_s8_s64(vzip1q_s64(one, other));
                out[1] = vreinterpretq_s8_s64(vzip2q_s64(one, other));
            }
        }
    }
    int8x16_t pairs[size / 2][4];
};

template <>
struct Activations<1> {
    explicit Activations(const int8_t* group) : values(group) {}
    const int8_t* values;
};

// Eight columns of the first two rows and of the last two, from words of four columns of all four.
inline void pair_rows(const int8x16_t words[2], int8x16_t rows[2]) {
    const int32x4_t left = vreinterpretq_s32_s8(words[0]);
    const int32x4_t right = vreinterpretq_s32_s8(words[1]);
    rows[0] = vreinterpretq_s8_s32(vzip1q_s32(left, right));
    rows[1] = vreinterpretq_s8_s32(vzip2q_s32(left, right));
}

template <int first, int last, int size>
inline void dot(const int8x16_t words[8], const Activations<size>& activations,
                int32x4_t sums[size]) {
    if constexpr (size == 1) {
        sums[0] = dot_one<first, last>(words, activations.values);
    } else {
        int8x16_t rows[4][2];
        for (int chunk = 2 * first; chunk < 2 * last; ++chunk) {
            pair_rows(words + 2 * chunk, rows[chunk]);
        }
        for (int pair = 0; pair < size / 2; ++pair) {
            int32x4_t upper = vdupq_n_s32(0);
            int32x4_t lower = vdupq_n_s32(0);
            for (int chunk = 2 * first; chunk < 2 * last; ++chunk) {
                const int8x16_t tokens = activations.pairs[pair][chunk];
                upper = vmmlaq_s32(upper, tokens, rows[chunk][0]);
                lower = vmmlaq_s32(lower, tokens, rows[chunk][1]);
            }
            const int64x2_t one = vreinterpretq_s64_s32(upper);
            const int64x2_t other = vreinterpretq_s64_s32(lower);
            sums[2 * pair] = vreinterpretq_s32_s64(vzip1q_s64(one, other));
            sums[2 * pair + 1] = vreinterpretq_s32_s64(vzip2q_s64(one, other));
        }
    }
}

long long multiply_adds(int repetitions) {
    constexpr int chains = 8;
    int8x16_t quants = vdupq_n_s8(7);
    const int8x16_t activations = vdupq_n_s8(1);
    int32x4_t sums[chains];
    for (int32x4_t& sum : sums) {
        sum = vdupq_n_s32(0);
    }
    for (int i = 0; i < repetitions; ++i) {
        asm volatile("" : "+w"(quants));  // as if it were another each time
#pragma GCC unroll 8
        for (int chain = 0; chain < chains; ++chain) {
            sums[chain] = vmmlaq_s32(sums[chain], quants, activations);
        }
    }
    for (int32x4_t& sum : sums) {
        asm volatile("" : "+w"(sum));
    }
    return 32LL * chains * repetitions;
}

}  // namespace

const Kernels i8mm_kernels = table<8>("i8mm");

}  // namespace pocketlm

#endif
