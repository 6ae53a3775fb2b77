// The product that an adapter's projections up are made of, written once over vectors of 16 numbers
// (`V`, see sixteen.h).
#pragma once

#include "cache_kernels.h"

namespace pocketlm {

template <typename V, int rows>
static inline void add_low_rank_rows(const float* panel, int rank, const float* factors, size_t stride,
                                     float* out) {
    V totals[rows];
    for (int row = 0; row < rows; ++row) {
        totals[row] = V::load(out + row * panel_rows);
    }
    for (int i = 0; i < rank; ++i) {
        const V numbers = V::load(panel + i * panel_rows);
        for (int row = 0; row < rows; ++row) {
            const V factor = V::all(factors[static_cast<size_t>(row) * stride + static_cast<size_t>(i)]);
            totals[row] = factor.times(numbers, totals[row]);
        }
    }
    for (int row = 0; row < rows; ++row) {
        totals[row].store(out + row * panel_rows);
    }
}

template <typename V>
static void add_low_rank(const float* panel, int rank, const float* factors, size_t stride, int count,
                         float* out) {
    in_tiles<V::rows>(count, [&](auto tile, int row) {
        add_low_rank_rows<V, decltype(tile)::value>(panel, rank,
                                                    factors + static_cast<size_t>(row) * stride, stride,
                                                    out + row * panel_rows);
    });
}

}  // namespace pocketlm
