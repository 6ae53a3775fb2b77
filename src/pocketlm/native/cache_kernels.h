// Attention's two products with a block of the cache, written once over vectors of 16 numbers (`V`, see
// sixteen.h).
//
// Each number is computed by the same operations however many rows go together.
#pragma once

#include "kernels.h"

namespace pocketlm {

// a * b + c, of which b are numbers of the cache, and a has 16 digits where they are quants.
template <typename V, CacheType type>
static inline V add_product(const V& a, const V& b, const V& c) {
    return cache_scaled(type) ? a.times_exact(b, c) : a.times(b, c);
}

// Sixteen keys of one dimension, from `position` on.
template <typename V, CacheType type>
static inline V read_keys(const uint8_t* keys, int dim, int position) {
    if constexpr (type == CacheType::F32) {
        return V::load(reinterpret_cast<const float*>(keys) + dim * block_positions + position);
    } else if constexpr (type == CacheType::F16) {
        return V::halves(keys + 2 * (dim * block_positions + position));
    } else if constexpr (type == CacheType::Q8) {
        return V::bytes(keys + dim * block_positions + position);
    } else {
        const int row = dim / cache_group * (cache_group / 2) + dim % (cache_group / 2);
        return V::nibbles(keys + row * block_positions + position,
                          (dim & (cache_group / 2)) != 0);
    }
}

// Sixteen numbers of one position's value, from `dim` on.
template <typename V, CacheType type>
static inline V read_values(const uint8_t* values, int head_dim, int position, int dim) {
    if constexpr (type == CacheType::F32) {
        return V::load(reinterpret_cast<const float*>(values) + position * head_dim + dim);
    } else if constexpr (type == CacheType::F16) {
        return V::halves(values + 2 * (position * head_dim + dim));
    } else if constexpr (type == CacheType::Q8) {
        return V::bytes(values + position * head_dim + dim);
    } else {
        const int group = dim / cache_group * cache_group;
        return V::nibbles(values + (position * head_dim + group) / 2,
                          (dim & (cache_group / 2)) != 0);
    }
}

// The scales of a group, those of 16 positions from `position` on.
template <typename V, CacheType type>
static inline V read_scales(const uint8_t* side, int head_dim, int group, int position) {
    const size_t numbers = cache_number_bytes(type, head_dim);
    return V::halves(side + numbers + 2 * (group * block_positions + position));
}

template <typename V, CacheType type, int rows>
static inline void match_rows(const uint8_t* keys, int head_dim, const float* queries, float* out) {
    constexpr int together = V::together;
    for (int position = 0; position < block_positions; position += 16 * together) {
        for (int first = 0; first < head_dim; first += cache_group) {
            const int last = first + cache_group < head_dim ? first + cache_group : head_dim;
            V sums[rows][together];
            for (int row = 0; row < rows; ++row) {
                for (int i = 0; i < together; ++i) {
                    sums[row][i] = V::all(0.0f);
                }
            }
            for (int dim = first; dim < last; ++dim) {
                V numbers[together];
                for (int i = 0; i < together; ++i) {
                    numbers[i] = read_keys<V, type>(keys, dim, position + 16 * i);
                }
                for (int row = 0; row < rows; ++row) {
                    const V query = V::all(queries[row * head_dim + dim]);
                    for (int i = 0; i < together; ++i) {
                        sums[row][i] = add_product<V, type>(query, numbers[i], sums[row][i]);
                    }
                }
            }
            for (int i = 0; i < together; ++i) {
                const int at = position + 16 * i;
                V scale = V::all(1.0f);
                if constexpr (cache_scaled(type)) {
                    scale = read_scales<V, type>(keys, head_dim, first / cache_group, at);
                }
                for (int row = 0; row < rows; ++row) {
                    float* const score = out + row * block_positions + at;
                    const V before = first == 0 ? V::all(0.0f) : V::load(score);
                    sums[row][i].times(scale, before).store(score);
                }
            }
        }
    }
}

// The columns `dim` … of the values, 16 * columns of them within one group.
template <typename V, CacheType type, int rows, int columns>
static inline void blend_columns(const uint8_t* values, int head_dim, int dim, int used,
                                 const float* weights, float* sums) {
    float scaled[rows * block_positions];
    const float* factors = weights;
    if constexpr (cache_scaled(type)) {
        for (int position = 0; position < block_positions; position += 16) {
            const V scale = read_scales<V, type>(values, head_dim, dim / cache_group, position);
            for (int row = 0; row < rows; ++row) {
                const int at = row * block_positions + position;
                (V::load(weights + at) * scale).shortened().store(scaled + at);
            }
        }
        factors = scaled;
    }
    V totals[rows][columns];
    for (int row = 0; row < rows; ++row) {
        for (int i = 0; i < columns; ++i) {
            totals[row][i] = V::load(sums + row * head_dim + dim + 16 * i);
        }
    }
    for (int position = 0; position < used; ++position) {
        V numbers[columns];
        for (int i = 0; i < columns; ++i) {
            numbers[i] = read_values<V, type>(values, head_dim, position, dim + 16 * i);
        }
        for (int row = 0; row < rows; ++row) {
            const V factor = V::all(factors[row * block_positions + position]);
            for (int i = 0; i < columns; ++i) {
                totals[row][i] = add_product<V, type>(factor, numbers[i], totals[row][i]);
            }
        }
    }
    for (int row = 0; row < rows; ++row) {
        for (int i = 0; i < columns; ++i) {
            totals[row][i].store(sums + row * head_dim + dim + 16 * i);
        }
    }
}

template <typename V, CacheType type, int rows>
static inline void blend_rows(const uint8_t* values, int head_dim, int used, const float* weights,
                              float* sums) {
    int dim = 0;
    for (; dim + 16 * V::together <= head_dim; dim += 16 * V::together) {
        blend_columns<V, type, rows, V::together>(values, head_dim, dim, used, weights, sums);
    }
    if (dim < head_dim) {
        blend_columns<V, type, rows, 1>(values, head_dim, dim, used, weights, sums);
    }
}

template <int count>
struct Rows {
    static constexpr int value = count;
};

// Call body(Rows<n>, first row) for tiles that cover the rows.
template <int most, typename Body>
static inline void in_tiles(int rows, const Body& body) {
    int row = 0;
    for (; row + most <= rows; row += most) {
        body(Rows<most>{}, row);
    }
    if constexpr (most > 1) {
        in_tiles<most == 8 ? 4 : most - 1>(
            rows - row, [&](auto tile, int first) { body(tile, row + first); });
    }
}

template <typename V, CacheType type>
static void match_keys(int rows, int head_dim, const float* queries, const uint8_t* keys,
                       float* out) {
    in_tiles<V::rows>(rows, [&](auto tile, int row) {
        match_rows<V, type, decltype(tile)::value>(keys, head_dim, queries + row * head_dim,
                                                   out + row * block_positions);
    });
}

template <typename V, CacheType type>
static void blend_values(int rows, int head_dim, int used, const float* weights,
                         const uint8_t* values, float* sums) {
    in_tiles<V::rows>(rows, [&](auto tile, int row) {
        blend_rows<V, type, decltype(tile)::value>(values, head_dim, used,
                                                   weights + row * block_positions,
                                                   sums + row * head_dim);
    });
}

}  // namespace pocketlm
