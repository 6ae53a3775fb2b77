// Weights to the block formats of GGUF files and back, on all threads of a pool.
//
// Types are named as GGUF names them: F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q8_0, Q3_K, Q4_K, Q5_K, Q6_K,
// IQ4_NL, IQ4_XS. What a violated precondition throws is std::invalid_argument. Results do not depend on
// the number of threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "pool.h"

namespace pocketlm {

// Bytes of one row. Throws for an unknown type, or columns that are not whole blocks.
size_t quantised_row_bytes(const std::string& type, int64_t columns);

// The same without the numbers that the blocks of a row share.
size_t quantised_block_bytes(const std::string& type, int64_t columns);

// Round `weights` [rows, columns] to `out` [rows, row bytes]: each weight to its nearest value, with
// scales that make sum(importance * (weight - value)²) small; `importance` [columns], or null for equal.
// Floats round to nearest, ties to even.
void quantise(ThreadPool& pool, const std::string& type, const float* weights, int64_t rows,
              int64_t columns, const float* importance, uint8_t* out);

// How many numbers the blocks of a row share in this type: 0 for GGUF's own.
int shared_numbers(const std::string& type);

// Those numbers of each row: `shared` [rows, shared_numbers(type)].
void fit_rows(ThreadPool& pool, const std::string& type, const float* weights, int64_t rows,
              int64_t columns, const float* importance, float* shared);

constexpr int64_t most_feedback_columns = 1024;

// The same for `width` <= 1024 columns of a matrix, with error feedback (GPTQ, arXiv 2210.17323,
// algorithm 1): column j's error e = (weight - value) / factor[j][j] is subtracted, times factor[j][k],
// from the columns k > j before these are rounded. `factor` [width, width] is upper triangular; what is
// below the diagonal is not read. `shared` is what fit_rows made of the whole rows. `out` [rows, bytes of
// these blocks]; `errors` [rows, width] are the e, for the caller to subtract from the columns that
// follow: rest -= errors @ factor[these, rest].
void quantise_columns(ThreadPool& pool, const std::string& type, const float* weights, int64_t rows,
                      int64_t width, const float* importance, const float* factor,
                      const float* shared, uint8_t* out, float* errors);

// Stored rows as a reader has them: `data` of `bytes` to `out` [rows, columns].
void dequantise(ThreadPool& pool, const std::string& type, const uint8_t* data, size_t bytes,
                int64_t rows, int64_t columns, float* out);

}  // namespace pocketlm
