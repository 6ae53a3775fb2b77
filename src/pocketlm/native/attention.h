// Attention over blocks of the cache, with the softmax taken as the blocks go by (Milakov & Gimelshein
// 2018; Dao et al. 2022): no row of scores longer than a block is ever held.
//
// Positions go in stretches of a fixed length, and what the stretches come to is added up in their
// order. So several threads can share a long text, and the result is the same when one does it all.
#pragma once

#include <cstdint>
#include <vector>

#include "cache.h"
#include "kernels.h"

namespace pocketlm {

// The most query rows that are attended together.
constexpr int attention_rows = 24;

constexpr int stretch_positions = 256;

// One query: where it is, where its output goes, and the positions it sees, first … last.
struct Query {
    const float* input;
    float* output;
    int first;
    int last;
};

// Softmaxes of some rows over some positions: for each row the largest score, the sum of the weights
// relative to it, and the values blended by them.
class Softmaxes {
  public:
    // How many floats `rows` rows take.
    static size_t floats(int rows, int width) {
        return static_cast<size_t>(rows) * static_cast<size_t>(width + 2);
    }

    // Over `floats` floats at `data`.
    Softmaxes(float* data, int rows, int width) : data_(data), rows_(rows), width_(width) {}

    float* maxima() const { return data_; }
    float* weights() const { return data_ + rows_; }
    float* sums() const { return data_ + 2 * rows_; }

    // Begin without positions.
    void clear() const;
    // Add the positions of `later`, which come after those that are here.
    void add(const Softmaxes& later, const Kernels& kernels) const;
    // Multiply each row's weights and values by a factor.
    void scale(const float* factors) const;
    // The blended values go to the queries' outputs, `count` floats each.
    void write(const Query* queries, int count) const;

  private:
    float* data_;
    int rows_;
    int width_;
};

// A thread's working memory.
class AttentionScratch {
  public:
    explicit AttentionScratch(int width);

    float* queries() { return queries_.data(); }
    float* scores() { return scores_.data(); }
    float* stretch() { return stretch_.data(); }
    float* total() { return total_.data(); }

  private:
    std::vector<float> queries_;
    std::vector<float> scores_;
    std::vector<float> stretch_;
    std::vector<float> total_;
};

// `count` <= attention_rows queries of one sequence, for one head of one layer. `blocks[i]` holds the
// positions 32i …; blocks that no query sees are not touched.
class Attention {
  public:
    // Make the queries ready. `scratch` is for this alone until it goes.
    Attention(const KVCache& cache, const int32_t* blocks, int layer, int head, const Query* queries,
              int count, float scale, const Kernels& kernels, AttentionScratch& scratch);

    // What the positions of stretch `index` come to.
    void attend(int index, const Softmaxes& out) const;

    // All stretches, and the queries' outputs.
    void attend_all() const;

  private:
    void attend_block(int block, const Softmaxes& out) const;

    // Of the block that begins with position `base`, the positions that a query sees.
    int begin_of(int query, int base) const;
    int end_of(int query, int base) const;

    const KVCache& cache_;
    const int32_t* blocks_;
    int layer_;
    int head_;
    const Query* queries_;
    int count_;
    const Kernels& kernels_;
    AttentionScratch& scratch_;
    int first_;  // of the positions that a query sees
    int last_;
};

}  // namespace pocketlm
