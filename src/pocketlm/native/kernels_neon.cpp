// Kernels for ARMv8.2 with the dot product extension (Cortex-A55, A75, Apple A13 and later).
#if defined(__aarch64__)

#include "kernels_neon.h"

namespace pocketlm {
namespace {

template <int size>
struct Activations {
    explicit Activations(const int8_t* group) : values(group) {}
    const int8_t* values;
};

template <int first, int last, int size>
inline void dot(const int8x16_t words[8], const Activations<size>& activations,
                int32x4_t sums[size]) {
    for (int token = 0; token < size; ++token) {
        sums[token] = dot_one<first, last>(words, activations.values + token * group_columns);
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
            sums[chain] = vdotq_laneq_s32(sums[chain], quants, activations, 0);
        }
    }
    for (int32x4_t& sum : sums) {
        asm volatile("" : "+w"(sum));
    }
    return 16LL * chains * repetitions;
}

}  // namespace

const Kernels neon_kernels = table<4>("neon");

}  // namespace pocketlm

#endif
