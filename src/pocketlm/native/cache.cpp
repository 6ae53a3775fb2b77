#include "cache.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

#include "half.h"

namespace pocketlm {
namespace {

constexpr int widest_head = 4096;

CacheType type_named(const std::string& name) {
    if (name == "f32") {
        return CacheType::F32;
    }
    if (name == "f16") {
        return CacheType::F16;
    }
    if (name == "q8") {
        return CacheType::Q8;
    }
    if (name == "q4") {
        return CacheType::Q4;
    }
    throw std::invalid_argument("a cache is of type f32, f16, q8 or q4, not " + name);
}

// A group as -8 … 7 times a scale. The number that is largest becomes -8, so that all 16 are of use;
// then the scale is the one that fits best (least squares).
uint16_t quantise_nibbles(const float* input, uint8_t* out) {
    float extreme = 0.0f;
    for (int i = 0; i < cache_group; ++i) {
        extreme = std::fabs(input[i]) > std::fabs(extreme) ? input[i] : extreme;
    }
    const float inverse = std::fabs(extreme) > vanishing ? -8.0f / extreme : 0.0f;
    float products = 0.0f;
    float squares = 0.0f;
    for (int i = 0; i < cache_group; ++i) {
        const float exact = input[i] * inverse;
        const float bounded = exact > -8.0f ? (exact < 7.0f ? exact : 7.0f) : -8.0f;
        const int quant = static_cast<int>(bounded + 8.5f);
        const float meaning = static_cast<float>(quant - 8);
        out[i] = static_cast<uint8_t>(quant);
        products += input[i] * meaning;
        squares += meaning * meaning;
    }
    return f16_from_float(squares > 0.0f ? products / squares : 0.0f);
}

// One position's key or value, made ready to be stored: quants (in 4 bits, one a byte), and a scale a
// group.
struct Quantised {
    int8_t quants[widest_head];
    uint16_t scales[widest_head / cache_group];
};

// `row` has zeros up to a multiple of 32.
void quantise(CacheType type, const float* row, int count, const Kernels& kernels, Quantised& out) {
    const int groups = (count + cache_group - 1) / cache_group;
    if (type == CacheType::Q4) {
        for (int group = 0; group < groups; ++group) {
            out.scales[group] =
                quantise_nibbles(row + group * cache_group,
                                 reinterpret_cast<uint8_t*>(out.quants) + group * cache_group);
        }
        return;
    }
    float scales[widest_head / cache_group];
    int32_t totals[widest_head / cache_group];
    float sums[widest_head / cache_group];
    float low_sums[widest_head / cache_group];
    kernels.quantise(row, groups * cache_group, 0, 1, out.quants, scales, totals, sums,
                     low_sums);
    for (int group = 0; group < groups; ++group) {
        out.scales[group] = f16_from_float(scales[group]);
    }
}

uint8_t pair(const Quantised& row, int dim) {
    return static_cast<uint8_t>(row.quants[dim] | row.quants[dim + cache_group / 2] << 4);
}

}  // namespace

void turn_groups(float* row, int count) {
    const float scale = 1.0f / std::sqrt(static_cast<float>(cache_group));
    for (float* group = row; group < row + count; group += cache_group) {
        for (int apart = 1; apart < cache_group; apart *= 2) {
            for (int i = 0; i < cache_group; i += 2 * apart) {
                for (int j = i; j < i + apart; ++j) {
                    const float sum = group[j] + group[j + apart];
                    group[j + apart] = group[j] - group[j + apart];
                    group[j] = sum;
                }
            }
        }
        for (int i = 0; i < cache_group; ++i) {
            group[i] *= scale;
        }
    }
}

KVCache::KVCache(int layers, int heads, int head_dim, const std::string& type)
    : layers_(layers),
      heads_(heads),
      head_dim_(head_dim) {
    if (layers <= 0 || layers > 4096 || heads <= 0 || heads > 4096 || head_dim <= 0 ||
        head_dim > widest_head) {
        throw std::invalid_argument("the cache's dimensions are out of range");
    }
    padded_dim_ = (head_dim + 15) / 16 * 16;
    const size_t slash = type.find('/');
    key_type_ = type_named(type.substr(0, slash));
    value_type_ = slash == std::string::npos ? key_type_ : type_named(type.substr(slash + 1));
    if ((key_type_ == CacheType::Q4 || value_type_ == CacheType::Q4) && head_dim % cache_group != 0) {
        throw std::invalid_argument("a 4-bit cache needs heads of a multiple of 32 numbers, not " +
                                    std::to_string(head_dim));
    }
    key_bytes_ = cache_side_bytes(key_type_, padded_dim_);
    value_bytes_ = cache_side_bytes(value_type_, padded_dim_);
    block_bytes_ =
        (key_bytes_ + value_bytes_) * static_cast<size_t>(layers) * static_cast<size_t>(heads);
}

size_t KVCache::blocks_in_use() const {
    const Lock lock(mutex_);
    return blocks_.size() - free_.size();
}

int KVCache::allocate() {
    Memory memory(block_bytes_);
    const Lock lock(mutex_);
    return add(std::move(memory));
}

int KVCache::copy(int block) {
    Memory memory(block_bytes_);
    const Lock lock(mutex_);
    check(block);
    std::copy_n(blocks_[static_cast<size_t>(block)].memory.data(), block_bytes_, memory.data());
    return add(std::move(memory));
}

int KVCache::add(Memory memory) {
    int block = static_cast<int>(blocks_.size());
    if (free_.empty()) {
        free_.reserve(blocks_.size() + 1);  // so that release cannot fail
        blocks_.emplace_back();
    } else {
        block = free_.back();
        free_.pop_back();
    }
    blocks_[static_cast<size_t>(block)] = {std::move(memory), 1};
    return block;
}

void KVCache::retain(int block) {
    const Lock lock(mutex_);
    check(block);
    ++blocks_[static_cast<size_t>(block)].references;
}

void KVCache::release(int block) {
    const Lock lock(mutex_);
    check(block);
    Block& held = blocks_[static_cast<size_t>(block)];
    if (--held.references == 0) {
        held.memory = Memory();
        free_.push_back(block);
    }
}

uint8_t* KVCache::data(int block) const {
    const Lock lock(mutex_);
    check(block);
    return blocks_[static_cast<size_t>(block)].memory.data();
}

bool KVCache::holds(int block) const {
    const Lock lock(mutex_);
    return block >= 0 && static_cast<size_t>(block) < blocks_.size() &&
           blocks_[static_cast<size_t>(block)].references > 0;
}

void KVCache::check(int block) const {
    if (block < 0 || static_cast<size_t>(block) >= blocks_.size() ||
        blocks_[static_cast<size_t>(block)].references == 0) {
        throw std::invalid_argument("the cache has no block " + std::to_string(block));
    }
}

const uint8_t* KVCache::keys(int block, int layer, int head) const {
    const size_t index = static_cast<size_t>(layer) * static_cast<size_t>(heads_) +
                         static_cast<size_t>(head);
    return blocks_[static_cast<size_t>(block)].memory.data() + index * (key_bytes_ + value_bytes_);
}

void KVCache::store(int block, int layer, int head, int position, const float* key,
                    const float* value, const Kernels& kernels) {
    uint8_t* const keys_out = const_cast<uint8_t*>(keys(block, layer, head));
    uint8_t* const values_out = keys_out + key_bytes_;
    float row[widest_head];
    const int groups = (head_dim_ + cache_group - 1) / cache_group;
    std::fill(row + head_dim_, row + groups * cache_group, 0.0f);
    std::copy_n(key, head_dim_, row);
    if (turns_keys()) {
        turn_groups(row, head_dim_);
    }
    store_key(keys_out, position, row, kernels);
    std::copy_n(value, head_dim_, row);
    store_value(values_out, position, row, kernels);
}

void KVCache::store_key(uint8_t* out, int position, const float* row, const Kernels& kernels) const {
    if (key_type_ == CacheType::F32) {
        float* const keys_out = reinterpret_cast<float*>(out);
        for (int dim = 0; dim < padded_dim_; ++dim) {
            keys_out[dim * block_positions + position] = row[dim];
        }
        return;
    }
    if (key_type_ == CacheType::F16) {
        uint16_t halves[widest_head];
        kernels.half_from_float(row, padded_dim_, halves);
        uint16_t* const keys_out = reinterpret_cast<uint16_t*>(out);
        for (int dim = 0; dim < padded_dim_; ++dim) {
            keys_out[dim * block_positions + position] = halves[dim];
        }
        return;
    }
    Quantised key;
    quantise(key_type_, row, padded_dim_, kernels, key);
    if (key_type_ == CacheType::Q8) {
        for (int dim = 0; dim < padded_dim_; ++dim) {
            out[dim * block_positions + position] = static_cast<uint8_t>(key.quants[dim]);
        }
    } else {
        for (int at = 0; at < padded_dim_ / 2; ++at) {
            const int half = cache_group / 2;
            out[at * block_positions + position] = pair(key, at / half * cache_group + at % half);
        }
    }
    uint16_t* const scales =
        reinterpret_cast<uint16_t*>(out + cache_number_bytes(key_type_, padded_dim_));
    for (int group = 0; group * cache_group < padded_dim_; ++group) {
        scales[group * block_positions + position] = key.scales[group];
    }
}

void KVCache::store_value(uint8_t* out, int position, const float* row,
                          const Kernels& kernels) const {
    if (value_type_ == CacheType::F32) {
        std::copy_n(row, padded_dim_, reinterpret_cast<float*>(out) + position * padded_dim_);
        return;
    }
    if (value_type_ == CacheType::F16) {
        kernels.half_from_float(row, padded_dim_,
                                reinterpret_cast<uint16_t*>(out) + position * padded_dim_);
        return;
    }
    Quantised value;
    quantise(value_type_, row, padded_dim_, kernels, value);
    if (value_type_ == CacheType::Q8) {
        std::copy_n(value.quants, padded_dim_,
                    reinterpret_cast<int8_t*>(out) + position * padded_dim_);
    } else {
        for (int at = 0; at < padded_dim_ / 2; ++at) {
            const int half = cache_group / 2;
            out[position * padded_dim_ / 2 + at] = pair(value, at / half * cache_group + at % half);
        }
    }
    uint16_t* const scales =
        reinterpret_cast<uint16_t*>(out + cache_number_bytes(value_type_, padded_dim_));
    for (int group = 0; group * cache_group < padded_dim_; ++group) {
        scales[group * block_positions + position] = value.scales[group];
    }
}

}  // namespace pocketlm
