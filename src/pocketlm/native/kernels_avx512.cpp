// Kernels for AVX-512 with BW, DQ, VL and VNNI (Cascade Lake).
#if defined(__x86_64__) || defined(_M_X64)

#include "kernels_avx512.h"

namespace pocketlm {

const Kernels avx512_kernels = make_table<Sixteen, 16>(
    "avx512", own_kernels, [](auto type, auto size) { return multiply<type.value, size.value>; });

}  // namespace pocketlm

#endif
