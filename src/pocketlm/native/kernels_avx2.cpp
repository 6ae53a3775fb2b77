// Kernels for AVX2 with FMA and F16C (Haswell, Zen and later).
//
// VPMADDUBSW multiplies unsigned quants by signed activations and adds neighbours into 16 bits,
// saturating: 4-bit quants leave room to add eight such results before they are widened (8 * 2 * 15 *
// 127 < 2^15), 5-bit ones four, 6-bit ones two, and 8-bit ones, made unsigned by moving their sign to
// the activation, one.
#if defined(__x86_64__) || defined(_M_X64)

#include "kernels_avx2.h"

namespace pocketlm {
namespace {

template <Type type, int first, int last>
inline __m256 dot(const __m256i words[8], const int8_t* values) {
    constexpr bool has_sign = is_signed(layout_of(type));
    // How many 16-bit results, two products each, fit together.
    constexpr int room = has_sign ? 1 : 32767 / (2 * 127 * top_of(layout_of(type)));
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i sum = _mm256_setzero_si256();
    for (int begin = first; begin < last; begin += room) {
        __m256i narrow = _mm256_setzero_si256();
        for (int chunk = begin; chunk < begin + room && chunk < last; ++chunk) {
            const __m256i activations = broadcast(values + 4 * chunk);
            const __m256i product =
                has_sign ? _mm256_maddubs_epi16(_mm256_abs_epi8(words[chunk]),
                                                 _mm256_sign_epi8(activations, words[chunk]))
                          : _mm256_maddubs_epi16(words[chunk], activations);
            narrow = chunk == begin ? product : _mm256_add_epi16(narrow, product);
        }
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(narrow, ones));
    }
    return _mm256_cvtepi32_ps(sum);
}

long long multiply_adds(int repetitions) {
    constexpr int chains = 4;
    constexpr int room = 8;  // 16-bit results of 4-bit quants that fit together
    __m256i quants = _mm256_set1_epi8(7);
    __m256i activations = _mm256_set1_epi8(1);
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i sums[chains];
    for (__m256i& sum : sums) {
        sum = _mm256_setzero_si256();
    }
    for (int i = 0; i < repetitions; ++i) {
#pragma GCC unroll 4
        for (int chain = 0; chain < chains; ++chain) {
            __m256i narrow = _mm256_setzero_si256();
#pragma GCC unroll 8
            for (int j = 0; j < room; ++j) {
                asm volatile("" : "+x"(activations));  // as if it were another each time
                narrow = _mm256_add_epi16(narrow, _mm256_maddubs_epi16(quants, activations));
            }
            sums[chain] = _mm256_add_epi32(sums[chain], _mm256_madd_epi16(narrow, ones));
        }
    }
    for (__m256i& sum : sums) {
        asm volatile("" : "+x"(sum));
    }
    return 32LL * room * chains * repetitions;
}

}  // namespace

const Kernels avx2_kernels = table("avx2");

}  // namespace pocketlm

#endif
