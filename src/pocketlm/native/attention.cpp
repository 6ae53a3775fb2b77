#include "attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace pocketlm {
namespace {

constexpr float minus_infinity = -std::numeric_limits<float>::infinity();

}  // namespace

AttentionScratch::AttentionScratch(int head_dim)
    : queries_(static_cast<size_t>(attention_rows * head_dim)),
      scores_(static_cast<size_t>(attention_rows * block_positions)),
      sums_(static_cast<size_t>(attention_rows * head_dim)),
      halves_(static_cast<size_t>(block_positions * head_dim)) {}

void attend(const KVCache& cache, const int32_t* blocks, int layer, int head, const Query* queries,
            int count, float scale, const Kernels& kernels, AttentionScratch& scratch) {
    const int head_dim = cache.head_dim();
    float* const scaled = scratch.queries();
    float* const scores = scratch.scores();
    float* const sums = scratch.sums();
    float maxima[attention_rows];
    float weights[attention_rows];
    int first = queries[0].first;
    int last = queries[0].last;
    for (int i = 0; i < count; ++i) {
        first = std::min(first, queries[i].first);
        last = std::max(last, queries[i].last);
        maxima[i] = minus_infinity;
        weights[i] = 0.0f;
        for (int d = 0; d < head_dim; ++d) {
            scaled[i * head_dim + d] = queries[i].input[d] * scale;
        }
    }
    std::fill_n(sums, count * head_dim, 0.0f);

    for (int block = first / block_positions; block <= last / block_positions; ++block) {
        const int base = block * block_positions;
        const int used = std::min(block_positions, last - base + 1);
        kernels.multiply_half(count, head_dim, block_positions, scaled, head_dim,
                              cache.keys(blocks[block], layer, head, scratch.halves(), kernels),
                              block_positions, scores, block_positions, false);
        for (int i = 0; i < count; ++i) {
            float* row = scores + i * block_positions;
            const int begin = std::clamp(queries[i].first - base, 0, block_positions);
            const int end = std::clamp(queries[i].last - base + 1, 0, block_positions);
            if (begin >= end) {
                std::fill_n(row, used, 0.0f);
                continue;
            }
            const float largest = *std::max_element(row + begin, row + end);
            if (largest > maxima[i]) {
                const float correction = std::exp(maxima[i] - largest);
                weights[i] *= correction;
                for (int d = 0; d < head_dim; ++d) {
                    sums[i * head_dim + d] *= correction;
                }
                maxima[i] = largest;
            }
            std::fill(row, row + begin, 0.0f);
            weights[i] += kernels.exponentials(row + begin, end - begin, maxima[i]);
            std::fill(row + end, row + block_positions, 0.0f);
        }
        kernels.multiply_half(count, used, head_dim, scores, block_positions,
                              cache.values(blocks[block], layer, head, scratch.halves(), kernels),
                              head_dim, sums, head_dim, true);
    }
    for (int i = 0; i < count; ++i) {
        const float inverse = 1.0f / weights[i];
        for (int d = 0; d < head_dim; ++d) {
            queries[i].output[d] = sums[i * head_dim + d] * inverse;
        }
    }
}

}  // namespace pocketlm
