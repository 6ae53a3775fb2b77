// Kernels for AVX-512 with VBMI beside what kernels_avx512.cpp wants (Ice Lake, Zen 4 and later).
#if defined(__x86_64__) || defined(_M_X64)

#include "kernels_avx512.h"

namespace pocketlm {

const Kernels avx512vbmi_kernels = make_table<Sixteen, 16>(
    "avx512vbmi", own_kernels, [](auto type, auto size) { return multiply<type.value, size.value>; });

}  // namespace pocketlm

#endif
