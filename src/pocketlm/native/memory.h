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

// A part of an allocation that is shared with other parts, and lives as long as any of them. A part that
// ends before the others gives its whole pages back.
class Part {
  public:
    Part() = default;
    Part(std::shared_ptr<Memory> whole, uint8_t* data, size_t size);
    ~Part();
    Part(Part&& other) noexcept;
    Part& operator=(Part&& other) noexcept;
    Part(const Part&) = delete;
    Part& operator=(const Part&) = delete;

    uint8_t* data() const { return data_; }
    size_t size() const { return size_; }

  private:
    std::shared_ptr<Memory> whole_;
    uint8_t* data_ = nullptr;
    size_t size_ = 0;
};

// `bytes` bytes, aligned to 64, from an allocation that many parts share: one of its own for each would
// end in up to 2 MiB of small pages. Throws std::bad_alloc.
Part share_memory(size_t bytes);

// Tell the system that what the whole pages among these bytes hold is not needed any more: a file mapping
// can be read again, other memory is zero then.
void release_pages(const uint8_t* begin, size_t bytes);

}  // namespace pocketlm
