#include "cache.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

#include "half.h"

namespace pocketlm {
namespace {

constexpr int scale_group = 32;

// Quantise up to 32 numbers, `stride` bytes apart in the output; returns the scale, which is rounded
// to float16 first so that what is stored is what the numbers were divided by.
uint16_t quantise_group(const float* input, int count, int8_t* out, int stride) {
    float largest = 0.0f;
    for (int i = 0; i < count; ++i) {
        largest = std::max(largest, std::fabs(input[i]));
    }
    const uint16_t half = f16_from_float(largest / 127.0f);
    const float scale = float_from_f16(half);
    const float inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
    for (int i = 0; i < count; ++i) {
        const float value = std::nearbyint(input[i] * inverse);
        out[i * stride] = static_cast<int8_t>(std::clamp(value, -127.0f, 127.0f));
    }
    return half;
}

}  // namespace

KVCache::KVCache(int layers, int heads, int head_dim, const std::string& type)
    : layers_(layers),
      heads_(heads),
      head_dim_(head_dim) {
    if (layers <= 0 || layers > 4096 || heads <= 0 || heads > 4096 || head_dim <= 0 ||
        head_dim > 4096) {
        throw std::invalid_argument("the cache's dimensions are out of range");
    }
    groups_ = (head_dim + scale_group - 1) / scale_group;
    if (type == "f16") {
        type_ = CacheType::F16;
        side_bytes_ = static_cast<size_t>(block_positions * head_dim) * 2;
    } else if (type == "q8") {
        type_ = CacheType::Q8;
        side_bytes_ = static_cast<size_t>(block_positions) *
                      (static_cast<size_t>(head_dim) + 2 * static_cast<size_t>(groups_));
    } else {
        throw std::invalid_argument("a cache is of type f16 or q8, not " + type);
    }
    block_bytes_ = side_bytes_ * 2 * static_cast<size_t>(layers) * static_cast<size_t>(heads);
}

size_t KVCache::blocks_in_use() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return blocks_.size() - free_.size();
}

int KVCache::allocate() {
    Memory memory(block_bytes_);
    const std::lock_guard<std::mutex> lock(mutex_);
    return add(std::move(memory));
}

int KVCache::copy(int block) {
    Memory memory(block_bytes_);
    const std::lock_guard<std::mutex> lock(mutex_);
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
    const std::lock_guard<std::mutex> lock(mutex_);
    check(block);
    ++blocks_[static_cast<size_t>(block)].references;
}

void KVCache::release(int block) {
    const std::lock_guard<std::mutex> lock(mutex_);
    check(block);
    Block& held = blocks_[static_cast<size_t>(block)];
    if (--held.references == 0) {
        held.memory = Memory();
        free_.push_back(block);
    }
}

uint8_t* KVCache::data(int block) const {
    const std::lock_guard<std::mutex> lock(mutex_);
    check(block);
    return blocks_[static_cast<size_t>(block)].memory.data();
}

bool KVCache::holds(int block) const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return block >= 0 && static_cast<size_t>(block) < blocks_.size() &&
           blocks_[static_cast<size_t>(block)].references > 0;
}

void KVCache::check(int block) const {
    if (block < 0 || static_cast<size_t>(block) >= blocks_.size() ||
        blocks_[static_cast<size_t>(block)].references == 0) {
        throw std::invalid_argument("the cache has no block " + std::to_string(block));
    }
}

const uint8_t* KVCache::keys_at(int block, int layer, int head) const {
    const size_t index = static_cast<size_t>(layer) * static_cast<size_t>(heads_) +
                         static_cast<size_t>(head);
    return blocks_[static_cast<size_t>(block)].memory.data() + index * 2 * side_bytes_;
}

void KVCache::store(int block, int layer, int head, int position, const float* key,
                    const float* value, const Kernels& kernels) {
    uint8_t* key_bytes = const_cast<uint8_t*>(keys_at(block, layer, head));
    uint8_t* value_bytes = key_bytes + side_bytes_;
    if (type_ == CacheType::F16) {
        uint16_t* keys = reinterpret_cast<uint16_t*>(key_bytes);
        for (int i = 0; i < head_dim_; ++i) {
            keys[i * block_positions + position] = f16_from_float(key[i]);
        }
        kernels.half_from_float(value, head_dim_,
                                reinterpret_cast<uint16_t*>(value_bytes) + position * head_dim_);
        return;
    }
    const size_t numbers = static_cast<size_t>(block_positions * head_dim_);
    int8_t* keys = reinterpret_cast<int8_t*>(key_bytes);
    uint16_t* key_scales = reinterpret_cast<uint16_t*>(key_bytes + numbers);
    int8_t* values = reinterpret_cast<int8_t*>(value_bytes) + position * head_dim_;
    uint16_t* value_scales =
        reinterpret_cast<uint16_t*>(value_bytes + numbers) + position * groups_;
    for (int group = 0; group < groups_; ++group) {
        const int first = group * scale_group;
        const int count = std::min(scale_group, head_dim_ - first);
        key_scales[group * block_positions + position] = quantise_group(
            key + first, count, keys + first * block_positions + position, block_positions);
        value_scales[group] = quantise_group(value + first, count, values + first, 1);
    }
}

const uint16_t* KVCache::keys(int block, int layer, int head, uint16_t* scratch,
                              const Kernels& kernels) const {
    const uint8_t* bytes = keys_at(block, layer, head);
    if (type_ == CacheType::F16) {
        return reinterpret_cast<const uint16_t*>(bytes);
    }
    const int8_t* quants = reinterpret_cast<const int8_t*>(bytes);
    const uint16_t* scales =
        reinterpret_cast<const uint16_t*>(bytes + static_cast<size_t>(block_positions * head_dim_));
    for (int i = 0; i < head_dim_; ++i) {
        kernels.half_from_scaled(quants + i * block_positions,
                                 scales + i / scale_group * block_positions, block_positions,
                                 scratch + i * block_positions);
    }
    return scratch;
}

const uint16_t* KVCache::values(int block, int layer, int head, uint16_t* scratch,
                                const Kernels& kernels) const {
    const uint8_t* bytes = keys_at(block, layer, head) + side_bytes_;
    if (type_ == CacheType::F16) {
        return reinterpret_cast<const uint16_t*>(bytes);
    }
    const int8_t* quants = reinterpret_cast<const int8_t*>(bytes);
    const uint16_t* scales =
        reinterpret_cast<const uint16_t*>(bytes + static_cast<size_t>(block_positions * head_dim_));
    for (int position = 0; position < block_positions; ++position) {
        for (int group = 0; group < groups_; ++group) {
            const int first = position * head_dim_ + group * scale_group;
            kernels.half_from_int8(quants + first,
                                   float_from_f16(scales[position * groups_ + group]),
                                   std::min(scale_group, head_dim_ - group * scale_group),
                                   scratch + first);
        }
    }
    return scratch;
}

}  // namespace pocketlm
