// A model's bytes: a file that is mapped where the system can, the caller's memory, or what the caller reads
// piece by piece.
//
// It knows files. It does not know what is in them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "memory.h"

namespace pocketlm {

class Source {
  public:
    // `size` bytes from `offset` on, to `to`; false where they cannot be read.
    using Read = std::function<bool(uint64_t offset, uint8_t* to, size_t size)>;

    // Throws Error for a path that names no regular file, or an empty one.
    explicit Source(const std::string& path);
    // `data` stays the caller's, and must outlive this.
    Source(const uint8_t* data, size_t size) : data_(data), size_(size), whole_(true) {}
    Source(uint64_t size, Read read) : size_(size), read_(std::move(read)) {}
    ~Source();
    Source(const Source&) = delete;
    Source& operator=(const Source&) = delete;

    uint64_t size() const { return size_; }

    // Whether pages can be let go and read again.
    bool is_mapped() const { return mapped_; }
    // Whether all bytes are where `head` begins; otherwise there is as much of them as was asked for.
    bool is_whole() const { return whole_; }

    struct Bytes {
        const uint8_t* data;
        size_t size;
    };
    // The first bytes: `size` of them, or more. They last until the next call. Throws Error, std::bad_alloc.
    Bytes head(size_t size);

    // Bytes that lie in the source: until the next call, or, with `keep`, as long as this. Throws Error,
    // std::bad_alloc.
    const uint8_t* bytes(uint64_t offset, size_t size, bool keep);

    // Let go of what was read and is not kept.
    void forget();

  private:
    void read(uint64_t offset, uint8_t* to, size_t size) const;

    const uint8_t* data_ = nullptr;
    uint64_t size_ = 0;
    bool whole_ = false;
    bool mapped_ = false;
    Read read_;
    Memory head_;
    Memory passing_;
    std::vector<Memory> kept_;
};

}  // namespace pocketlm
