// Memory for weights and cache blocks, in huge pages where the system has them: reading gigabytes a
// token, the processor would otherwise spend its time looking up addresses.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace pocketlm {

// Owns one allocation, aligned to 64 bytes or more. Large ones go back to the system when it ends.
// Throws std::bad_alloc.
class Memory {
  public:
    Memory() = default;
    explicit Memory(size_t bytes);
    ~Memory();
    Memory(Memory&& other) noexcept;
    Memory& operator=(Memory&& other) noexcept;
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;

    uint8_t* data() const { return data_; }
    size_t size() const { return size_; }

  private:
    uint8_t* data_ = nullptr;
    size_t size_ = 0;
};

// A part of an allocation that is shared with other parts, and lives as long as any of them.
struct Part {
    std::shared_ptr<Memory> whole;
    uint8_t* data = nullptr;
    size_t size = 0;
};

// `bytes` bytes, aligned to 64, from an allocation that many parts share: one of its own for each would
// end in up to 2 MiB of small pages. Throws std::bad_alloc.
Part share_memory(size_t bytes);

// Tell the system that the whole pages of a read-only file mapping will not be needed again.
void release_pages(const uint8_t* begin, size_t bytes);

}  // namespace pocketlm
