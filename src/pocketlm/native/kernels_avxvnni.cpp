// Kernels for AVX2 with AVX-VNNI (Alder Lake, Zen 5 and later; processors without AVX-512 too).
//
// VPDPBUSD multiplies unsigned quants by signed activations and adds four neighbours into 32 bits, with
// room for all.
#if defined(__x86_64__) || defined(_M_X64)

#include "kernels_avx2.h"

namespace pocketlm {
namespace {

template <Type type, int first, int last>
inline __m256 dot(const __m256i words[8], const int8_t* values) {
    // Two sums, so that one need not wait for the other.
    __m256i sums[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
#pragma GCC unroll 8
    for (int chunk = first; chunk < last; ++chunk) {
        __m256i& sum = sums[chunk % 2];
        const __m256i activations = broadcast(values + 4 * chunk);
        sum = is_signed(layout_of(type)) ? _mm256_dpbusd_avx_epi32(sum, _mm256_abs_epi8(words[chunk]),
                                                  _mm256_sign_epi8(activations, words[chunk]))
                        : _mm256_dpbusd_avx_epi32(sum, words[chunk], activations);
    }
    return _mm256_cvtepi32_ps(_mm256_add_epi32(sums[0], sums[1]));
}

long long multiply_adds(int repetitions) {
    constexpr int chains = 12;
    __m256i quants = _mm256_set1_epi8(7);
    const __m256i activations = _mm256_set1_epi8(1);
    __m256i sums[chains];
    for (__m256i& sum : sums) {
        sum = _mm256_setzero_si256();
    }
    for (int i = 0; i < repetitions; ++i) {
        asm volatile("" : "+x"(quants));  // as if it were another each time
#pragma GCC unroll 12
        for (int chain = 0; chain < chains; ++chain) {
            sums[chain] = _mm256_dpbusd_avx_epi32(sums[chain], quants, activations);
        }
    }
    for (__m256i& sum : sums) {
        asm volatile("" : "+x"(sum));
    }
    return 32LL * chains * repetitions;
}

}  // namespace

const Kernels avxvnni_kernels = table("avxvnni");

}  // namespace pocketlm

#endif
