// Attention over blocks of the cache, with the softmax taken as the blocks go by (Milakov & Gimelshein
// 2018; Dao et al. 2022): no row of scores longer than a block is ever held.
#pragma once

#include <cstdint>
#include <vector>

#include "cache.h"
#include "kernels.h"

namespace pocketlm {

// The most query rows that are attended together.
constexpr int attention_rows = 16;

// One query: where it is, where its output goes, and the positions it sees, first … last.
struct Query {
    const float* input;
    float* output;
    int first;
    int last;
};

// A thread's working memory.
class AttentionScratch {
  public:
    explicit AttentionScratch(int head_dim);

    float* queries() { return queries_.data(); }
    float* scores() { return scores_.data(); }
    float* sums() { return sums_.data(); }
    uint16_t* halves() { return halves_.data(); }

  private:
    std::vector<float> queries_;
    std::vector<float> scores_;
    std::vector<float> sums_;
    std::vector<uint16_t> halves_;
};

// Attend `count` <= attention_rows queries of one sequence to one head of one layer. `blocks[i]` holds
// the positions 32i …; blocks that no query sees are not touched.
void attend(const KVCache& cache, const int32_t* blocks, int layer, int head, const Query* queries,
            int count, float scale, const Kernels& kernels, AttentionScratch& scratch);

}  // namespace pocketlm
