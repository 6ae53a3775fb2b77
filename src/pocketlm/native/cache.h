// The KV cache: reference-counted blocks of 32 positions, each with the keys and values of all layers
// (layout.h says how they lie).
//
// It stores; which block holds which tokens is its callers' business.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels.h"
#include "memory.h"
#include "mutex.h"

namespace pocketlm {

// Turn each 32 neighbours among `count` numbers by a Hadamard matrix. Products of two rows that are both
// turned stay what they were; a number that stands out is spread over its group, so that four bits hold
// the group better (Ashkboos et al. 2024).
void turn_groups(float* row, int count);

class KVCache {
  public:
    // `type` is "f32", "f16", "q8" or "q4"; or one for keys and one for values: "q8/q4". Throws
    // std::invalid_argument.
    KVCache(int layers, int heads, int head_dim, const std::string& type);

    int layers() const { return layers_; }
    int heads() const { return heads_; }
    int head_dim() const { return head_dim_; }
    size_t block_bytes() const { return block_bytes_; }
    size_t blocks_in_use() const;

    // A new block with one reference. Throws std::bad_alloc. Not beside a step: blocks' addresses may move.
    int allocate();
    // A new block with one reference and the same contents.
    int copy(int block);
    void retain(int block);
    void release(int block);

    // The block's memory, block_bytes() of it, which stays where it is while it has a reference.
    uint8_t* data(int block) const;

    // Whether `block` has a reference.
    bool holds(int block) const;

    // Write one position's key and value (head_dim floats each) of a layer and head.
    void store(int block, int layer, int head, int position, const float* key, const float* value,
               const Kernels& kernels);

    // A block's side of keys (or values) of a layer and head.
    const uint8_t* keys(int block, int layer, int head) const;
    const uint8_t* values(int block, int layer, int head) const {
        return keys(block, layer, head) + key_bytes_;
    }
    CacheType key_type() const { return key_type_; }
    CacheType value_type() const { return value_type_; }
    // head_dim and the zeros after it.
    int padded_dim() const { return padded_dim_; }
    // Whether keys are turned (turn_groups), so that queries must be too.
    bool turns_keys() const { return key_type_ == CacheType::Q4; }

  private:
    struct Block {
        Memory memory;
        int references = 0;
    };

    // `row` has zeros after head_dim, up to a multiple of 32.
    void store_key(uint8_t* out, int position, const float* row, const Kernels& kernels) const;
    void store_value(uint8_t* out, int position, const float* row, const Kernels& kernels) const;
    // Both with the mutex held.
    void check(int block) const;
    int add(Memory memory);

    int layers_;
    int heads_;
    int head_dim_;
    int padded_dim_;
    CacheType key_type_;
    CacheType value_type_;
    size_t key_bytes_;  // of one layer and head
    size_t value_bytes_;
    size_t block_bytes_;
    // The table of blocks moves when it grows, and steps read it: callers do not allocate during one.
    mutable Mutex mutex_;
    std::vector<Block> blocks_;
    std::vector<int> free_;
};

}  // namespace pocketlm
