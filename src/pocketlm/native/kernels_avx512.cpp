// Kernels for AVX-512 with BW, DQ, VL and VNNI (Ice Lake, Zen 4 and later).
#if defined(__x86_64__) || defined(_M_X64)

#include "kernels_avx512.h"

namespace pocketlm {
namespace {

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

}  // namespace

const Kernels avx512_kernels = make_table<Sixteen, 16>(
    "avx512", own_kernels, [](auto type, auto size) { return multiply<type.value, size.value>; });

}  // namespace pocketlm

#endif
