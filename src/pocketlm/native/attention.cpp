#include "attention.h"

#include <algorithm>
#include <limits>

#include "half.h"

namespace pocketlm {
namespace {

constexpr float minus_infinity = -std::numeric_limits<float>::infinity();

// Blocks of one text lie anywhere in memory: the processor cannot guess where the next one is.
void prefetch(const uint8_t* data, size_t bytes) {
    for (size_t line = 0; line < bytes; line += 64) {
        __builtin_prefetch(data + line);
    }
}

// e^(x - maximum), by the kernels: a C library's exponential is not the same everywhere.
float exponential(const Kernels& kernels, float x, float maximum) {
    kernels.exponentials(&x, 1, maximum);
    return x;
}

}  // namespace

void Softmaxes::clear() const {
    std::fill_n(maxima(), rows_, minus_infinity);
    std::fill_n(weights(), rows_ * (1 + width_), 0.0f);
}

void Softmaxes::add(const Softmaxes& later, const Kernels& kernels) const {
    for (int row = 0; row < rows_; ++row) {
        const float largest = std::max(maxima()[row], later.maxima()[row]);
        if (largest == minus_infinity) {
            continue;  // neither has a position yet
        }
        const float old_factor = exponential(kernels, maxima()[row], largest);
        const float new_factor = exponential(kernels, later.maxima()[row], largest);
        maxima()[row] = largest;
        weights()[row] = weights()[row] * old_factor + later.weights()[row] * new_factor;
        float* const sum = sums() + row * width_;
        const float* const other = later.sums() + row * width_;
        for (int i = 0; i < width_; ++i) {
            sum[i] = sum[i] * old_factor + other[i] * new_factor;
        }
    }
}

void Softmaxes::scale(const float* factors) const {
    for (int row = 0; row < rows_; ++row) {
        if (factors[row] == 1.0f) {
            continue;
        }
        weights()[row] *= factors[row];
        float* const sum = sums() + row * width_;
        for (int i = 0; i < width_; ++i) {
            sum[i] *= factors[row];
        }
    }
}

void Softmaxes::write(const Query* queries, int count) const {
    for (int row = 0; row < rows_; ++row) {
        const float inverse = 1.0f / weights()[row];
        for (int i = 0; i < count; ++i) {
            queries[row].output[i] = sums()[row * width_ + i] * inverse;
        }
    }
}

AttentionScratch::AttentionScratch(int width)
    : queries_(static_cast<size_t>(attention_rows * width)),
      scores_(static_cast<size_t>(attention_rows * block_positions)),
      stretch_(Softmaxes::floats(attention_rows, width)),
      total_(Softmaxes::floats(attention_rows, width)) {}

Attention::Attention(const KVCache& cache, const int32_t* blocks, int layer, int head,
                     const Query* queries, int count, float scale, const Kernels& kernels,
                     AttentionScratch& scratch)
    : cache_(cache),
      blocks_(blocks),
      layer_(layer),
      head_(head),
      queries_(queries),
      count_(count),
      kernels_(kernels),
      scratch_(scratch),
      first_(queries[0].first),
      last_(queries[0].last) {
    const int width = cache.padded_dim();
    for (int i = 0; i < count; ++i) {
        first_ = std::min(first_, queries[i].first);
        last_ = std::max(last_, queries[i].last);
        float* const row = scratch.queries() + i * width;
        for (int dim = 0; dim < cache.head_dim(); ++dim) {
            row[dim] = queries[i].input[dim] * scale;
        }
        std::fill(row + cache.head_dim(), row + width, 0.0f);
        if (cache.turns_keys()) {
            turn_groups(row, width);
        }
        if (cache_scaled(cache.key_type())) {
            std::transform(row, row + width, row, shortened);
        }
    }
}

void Attention::attend(int index, const Softmaxes& out) const {
    out.clear();
    const int first = std::max(first_, index * stretch_positions);
    const int last = std::min(last_, (index + 1) * stretch_positions - 1);
    for (int block = first / block_positions; block <= last / block_positions; ++block) {
        attend_block(block, out);
    }
}

void Attention::attend_all() const {
    const int width = cache_.padded_dim();
    const Softmaxes total(scratch_.total(), count_, width);
    const int first = first_ / stretch_positions;
    attend(first, total);
    for (int index = first + 1; index <= last_ / stretch_positions; ++index) {
        const Softmaxes stretch(scratch_.stretch(), count_, width);
        attend(index, stretch);
        total.add(stretch, kernels_);
    }
    total.write(queries_, cache_.head_dim());
}

int Attention::begin_of(int query, int base) const {
    return std::clamp(queries_[query].first - base, 0, block_positions);
}

int Attention::end_of(int query, int base) const {
    return std::clamp(queries_[query].last - base + 1, 0, block_positions);
}

void Attention::attend_block(int block, const Softmaxes& out) const {
    const int width = cache_.padded_dim();
    const int base = block * block_positions;
    const int used = std::min(block_positions, last_ - base + 1);
    const uint8_t* const keys = cache_.keys(blocks_[block], layer_, head_);
    const uint8_t* const values = cache_.values(blocks_[block], layer_, head_);
    prefetch(values, cache_side_bytes(cache_.value_type(), width));
    kernels_.match_keys[static_cast<int>(cache_.key_type())](count_, width, scratch_.queries(), keys,
                                                             scratch_.scores());
    if (base + block_positions <= last_) {
        prefetch(cache_.keys(blocks_[block + 1], layer_, head_),
                 cache_side_bytes(cache_.key_type(), width));
    }
    // What each row's sums are multiplied by, its maximum being a larger one now: of all rows at once.
    float corrections[attention_rows] = {};
    bool corrected = false;
    for (int i = 0; i < count_; ++i) {
        const int begin = begin_of(i, base);
        const int end = end_of(i, base);
        if (begin < end) {
            const float* const row = scratch_.scores() + i * block_positions;
            const float largest = std::max(out.maxima()[i], kernels_.largest(row + begin, end - begin));
            corrections[i] = out.maxima()[i] - largest;
            corrected |= corrections[i] != 0.0f;
            out.maxima()[i] = largest;
        }
    }
    if (corrected) {
        kernels_.exponentials(corrections, count_, 0.0f);
        out.scale(corrections);
    }
    for (int i = 0; i < count_; ++i) {
        float* const row = scratch_.scores() + i * block_positions;
        const int begin = begin_of(i, base);
        const int end = end_of(i, base);
        if (begin >= end) {
            std::fill_n(row, used, 0.0f);
            continue;
        }
        std::fill(row, row + begin, 0.0f);
        out.weights()[i] += kernels_.exponentials(row + begin, end - begin, out.maxima()[i]);
        std::fill(row + end, row + block_positions, 0.0f);
    }
    kernels_.blend_values[static_cast<int>(cache_.value_type())](
        count_, width, used, scratch_.scores(), values, out.sums());
}

}  // namespace pocketlm
