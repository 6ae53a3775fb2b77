// Page-aligned memory for weights and cache blocks, in huge pages where the system has them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace pocketlm {

// Owns one allocation. Throws std::bad_alloc.
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

// Tell the system that the whole pages of a read-only file mapping will not be needed again.
void release_pages(const uint8_t* begin, size_t bytes);

}  // namespace pocketlm
