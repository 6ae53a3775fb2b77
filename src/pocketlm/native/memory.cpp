#include "memory.h"

#include <cstdlib>
#include <new>
#include <utility>

#if defined(__unix__) || defined(__APPLE__)
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace pocketlm {
namespace {

constexpr size_t huge_page = size_t{2} << 20;

}  // namespace

Memory::Memory(size_t bytes) : size_(bytes) {
    const size_t alignment = bytes >= huge_page ? huge_page : 64;
    const size_t rounded = (bytes + alignment - 1) / alignment * alignment;
    if (rounded < bytes) {
        throw std::bad_alloc();
    }
    data_ = static_cast<uint8_t*>(std::aligned_alloc(alignment, rounded == 0 ? alignment : rounded));
    if (data_ == nullptr) {
        throw std::bad_alloc();
    }
#if defined(MADV_HUGEPAGE)
    if (alignment == huge_page) {
        // Advice alone: without huge pages everything works, a little slower. Only whole huge pages
        // below the size asked for, so that rounding up costs no memory.
        madvise(data_, bytes / huge_page * huge_page, MADV_HUGEPAGE);
    }
#endif
}

Memory::~Memory() { std::free(data_); }

Memory::Memory(Memory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Memory& Memory::operator=(Memory&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
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
