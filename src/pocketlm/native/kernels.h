// The kernels, one table an instruction set. A table is chosen once, when a thread pool is made.
//
// Every kernel gives each number by the same sequence of operations whatever the tile it is computed
// in: results depend neither on the number of threads nor on what else is in the batch.
#pragma once

#include "layout.h"

namespace pocketlm {

// The largest tile of any table, in tokens. Tiles are powers of two.
constexpr int largest_tile = 128;
constexpr int tile_sizes = 8;

// Activations whose largest magnitude in a group is not above this are quantised to zero: the inverse
// of the scale would overflow.
constexpr float vanishing = 1e-36f;

// A tile of N activation rows, quantised to 8 bits in groups of 32. A group's data of all N rows lie
// together: values [groups][N][32], the others [groups][N].
struct Tile {
    const int8_t* values;
    const float* scales;
    const int32_t* totals;  // sum of the group's values
    const float* sums;      // scale * that
    const float* low_sums;  // the same, of its first 16 values
};

struct Kernels {
    const char* name;

    // The tile (in tokens) that this table multiplies fastest.
    int tile;

    // out[N][16] = panel x tile, for N = 1 << size. Null for types that are not prepared.
    void (*multiply[type_count][tile_sizes])(const Panel& panel, const Tile& tile, float* out);

    // The same of two panels of equal length and one token. Some memory gives more when it is read at two
    // places; null where that was not seen.
    void (*multiply_pair[type_count])(const Panel& first, const Panel& second, const Tile& tile,
                                      float* first_out, float* second_out);

    // out[count][16] = rows x inputs, for weights as stored: `rows` <= 16 rows of F32, F16 or BF16,
    // `stride` bytes apart; inputs are `count` rows of float32, `columns` apart.
    void (*multiply_rows[3])(const void* weights, size_t stride, int rows, int columns,
                             const float* inputs, int count, float* out);

    // Quantise one row as row `index` of a tile of `size` rows.
    void (*quantise)(const float* input, int columns, int index, int size, int8_t* values,
                     float* scales, int32_t* totals, float* sums, float* low_sums);

    // out = input / rms(input) * weight.
    void (*normalise)(const float* input, const float* weight, float epsilon, int count, float* out);

    // out = silu(gate) * up.
    void (*gate)(const float* gate, const float* up, int count, float* out);

    // out[rows][32] = queries[rows][head_dim] x the keys of a block (layout.h). Where keys are quants, queries
    // have 16 digits (half.h).
    void (*match_keys[cache_type_count])(int rows, int head_dim, const float* queries,
                                         const uint8_t* keys, float* out);

    // sums[rows][head_dim] += weights[rows][32] x the values of a block's first `used` positions.
    void (*blend_values[cache_type_count])(int rows, int head_dim, int used, const float* weights,
                                           const uint8_t* values, float* sums);

    // out[count][16] += factors[count][rank] x panel[rank][16]; rows of factors are `stride` apart.
    void (*add_low_rank)(const float* panel, int rank, const float* factors, size_t stride, int count,
                         float* out);

    // The largest of `count` > 0 values.
    float (*largest)(const float* values, int count);

    // values[i] = exp(values[i] - maximum), returning their sum.
    float (*exponentials)(float* values, int count, float maximum);

    void (*half_from_float)(const float* input, int count, uint16_t* out);

    // Nothing but reading `size` bytes, a multiple of 128, from the beginning on, or in two halves at once.
    // Returns something that depends on all of them.
    uint64_t (*read)(const uint8_t* data, size_t size, bool halves);

    // Nothing but the instructions of `multiply` that multiply and add, on registers, for measuring
    // what they allow. Returns how many multiply-adds of 8-bit numbers that was.
    long long (*multiply_adds)(int repetitions);
};

extern const Kernels portable_kernels;
#if defined(__x86_64__) || defined(_M_X64)
extern const Kernels avx2_kernels;
#if defined(POCKETLM_AVXVNNI)
extern const Kernels avxvnni_kernels;
#endif
extern const Kernels avx512_kernels;
extern const Kernels avx512vbmi_kernels;
#if defined(POCKETLM_AMX)
extern const Kernels amx_kernels;
#endif
#endif
#if defined(__wasm_simd128__)
extern const Kernels wasm_kernels;
#endif
#if defined(__aarch64__)
extern const Kernels neon_kernels;
#if defined(POCKETLM_I8MM)
extern const Kernels i8mm_kernels;
#endif
#endif

}  // namespace pocketlm
