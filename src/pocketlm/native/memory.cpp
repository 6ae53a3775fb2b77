#include "memory.h"

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <new>
#include <utility>

#if defined(__unix__) || defined(__APPLE__)
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace pocketlm {
namespace {

constexpr size_t line = 64;
constexpr size_t huge_page = size_t{2} << 20;
constexpr size_t shared_bytes = 64 * huge_page;

size_t round_up(size_t bytes, size_t alignment) {
    const size_t rounded = (bytes + alignment - 1) / alignment * alignment;
    if (rounded < bytes) {
        throw std::bad_alloc();
    }
    return rounded;
}

#if defined(__unix__) || defined(__APPLE__)
// Straight from the system, so that it goes back there; aligned by mapping too much and unmapping the
// ends.
uint8_t* map_pages(size_t bytes) {
    const size_t mapped = round_up(bytes, huge_page) + huge_page;
    void* const begin =
        mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (begin == MAP_FAILED) {
        throw std::bad_alloc();
    }
    const uintptr_t address = reinterpret_cast<uintptr_t>(begin);
    const uintptr_t aligned = round_up(address, huge_page);
    const size_t before = aligned - address;
    if (before > 0) {
        munmap(begin, before);
    }
    if (const size_t after = huge_page - before; after > 0) {
        munmap(reinterpret_cast<void*>(aligned + mapped - huge_page), after);
    }
#if defined(MADV_HUGEPAGE)
    // Advice alone. Whole huge pages only: a rounded-up end would cost memory.
    madvise(reinterpret_cast<void*>(aligned), bytes / huge_page * huge_page, MADV_HUGEPAGE);
#endif
    return reinterpret_cast<uint8_t*>(aligned);
}

void unmap_pages(uint8_t* data, size_t bytes) { munmap(data, round_up(bytes, huge_page)); }
#else
uint8_t* map_pages(size_t bytes) {
    return static_cast<uint8_t*>(::operator new(bytes, std::align_val_t{line}));
}

void unmap_pages(uint8_t* data, size_t) { ::operator delete(data, std::align_val_t{line}); }
#endif

}  // namespace

Memory::Memory(size_t bytes) : size_(bytes) {
    if (bytes >= huge_page) {
        data_ = map_pages(bytes);
    } else if (bytes > 0) {
        data_ = static_cast<uint8_t*>(::operator new(bytes, std::align_val_t{line}));
    }
}

Memory::~Memory() {
    if (size_ >= huge_page) {
        unmap_pages(data_, size_);
    } else if (size_ > 0) {
        ::operator delete(data_, std::align_val_t{line});
    }
}

Memory::Memory(Memory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Memory& Memory::operator=(Memory&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
}

Part::Part(std::shared_ptr<Memory> whole, uint8_t* data, size_t size)
    : whole_(std::move(whole)), data_(data), size_(size) {}

Part::~Part() {
    if (whole_ != nullptr && whole_.use_count() > 1) {
        release_pages(data_, size_);
    }
}

Part::Part(Part&& other) noexcept
    : whole_(std::move(other.whole_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

Part& Part::operator=(Part&& other) noexcept {
    std::swap(whole_, other.whole_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
}

Part share_memory(size_t bytes) {
    static std::mutex mutex;
    static std::weak_ptr<Memory> newest;
    static size_t used = 0;

    const size_t rounded = round_up(bytes, line);
    const std::lock_guard<std::mutex> lock(mutex);
    std::shared_ptr<Memory> whole = newest.lock();
    if (whole == nullptr || rounded > whole->size() - used) {
        whole = std::make_shared<Memory>(round_up(std::max(rounded, shared_bytes), huge_page));
        newest = whole;
        used = 0;
    }
    uint8_t* const data = whole->data() + used;
    used += rounded;
    return {std::move(whole), data, bytes};
}

void release_pages(const uint8_t* begin, size_t bytes) {
#if defined(__unix__) || defined(__APPLE__)
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const uintptr_t first = (reinterpret_cast<uintptr_t>(begin) + page - 1) / page * page;
    const uintptr_t last = (reinterpret_cast<uintptr_t>(begin) + bytes) / page * page;
    if (first < last) {
        madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
    }
#else
    (void)begin;
    (void)bytes;
#endif
}

}  // namespace pocketlm
