// The KV cache: reference-counted blocks of 32 positions, each with the keys and values of all layers.
//
// It stores; which block holds which tokens is its callers' business. Within a block, each layer and
// head has its keys, [head_dim][32 positions], so that a query meets 32 keys without sums across a
// vector, and its values, [32 positions][head_dim]. In 8 bits, each 32 numbers along head_dim share a
// float16 scale: key scales are [groups][32 positions], value scales [32 positions][groups].
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "kernels.h"
#include "memory.h"

namespace pocketlm {

constexpr int block_positions = 32;

enum class CacheType { F16, Q8 };

class KVCache {
  public:
    // `type` is "f16" or "q8". Throws std::invalid_argument.
    KVCache(int layers, int heads, int head_dim, const std::string& type);

    int layers() const { return layers_; }
    int heads() const { return heads_; }
    int head_dim() const { return head_dim_; }
    size_t block_bytes() const { return block_bytes_; }
    size_t blocks_in_use() const;

    // A new block with one reference. Throws std::bad_alloc.
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

    // The keys (or values) as float16; `scratch` has 32 * head_dim numbers for types that need them.
    const uint16_t* keys(int block, int layer, int head, uint16_t* scratch,
                         const Kernels& kernels) const;
    const uint16_t* values(int block, int layer, int head, uint16_t* scratch,
                           const Kernels& kernels) const;

  private:
    struct Block {
        Memory memory;
        int references = 0;
    };

    const uint8_t* keys_at(int block, int layer, int head) const;
    // Both with the mutex held.
    void check(int block) const;
    int add(Memory memory);

    int layers_;
    int heads_;
    int head_dim_;
    int groups_;
    CacheType type_;
    size_t side_bytes_;  // keys, or values, of one layer and head
    size_t block_bytes_;
    // The table of blocks moves when it grows, and steps read it: callers do not allocate during one.
    mutable std::mutex mutex_;
    std::vector<Block> blocks_;
    std::vector<int> free_;
};

}  // namespace pocketlm
