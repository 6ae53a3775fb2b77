#include "memory.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <utility>

#include "mutex.h"

#if defined(__unix__) || defined(__APPLE__)
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace pocketlm {
namespace {

constexpr size_t line = 64;
#if defined(__wasm__)
// A page of WebAssembly. Parts share little, so that nothing lies idle.
constexpr size_t huge_page = size_t{64} << 10;
constexpr size_t shared_bytes = 4 * huge_page;
#else
constexpr size_t huge_page = size_t{2} << 20;
constexpr size_t shared_bytes = 64 * huge_page;
#endif

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
#elif defined(__wasm__)
// Straight from the engine: the C library's malloc takes the next power of two. Pages never go back to it: those
// that are free make a list, by their addresses, that lies in themselves.
struct Free {
    Free* next;
    size_t bytes;

    uint8_t* begin() { return reinterpret_cast<uint8_t*>(this); }
    uint8_t* end() { return begin() + bytes; }
};

Free* first_free = nullptr;

uint8_t* map_pages(size_t bytes) {
    const size_t wanted = round_up(bytes, huge_page);
    Free** best = nullptr;
    for (Free** link = &first_free; *link != nullptr; link = &(*link)->next) {
        if ((*link)->bytes >= wanted && (best == nullptr || (*link)->bytes < (*best)->bytes)) {
            best = link;
        }
    }
    if (best == nullptr) {
        const size_t page = __builtin_wasm_memory_grow(0, wanted / huge_page);
        if (page == SIZE_MAX) {
            throw std::bad_alloc();
        }
        return reinterpret_cast<uint8_t*>(page * huge_page);
    }
    Free* const taken = *best;
    *best = taken->next;
    if (taken->bytes > wanted) {
        *best = new (taken->begin() + wanted) Free{taken->next, taken->bytes - wanted};
    }
    return taken->begin();
}

void unmap_pages(uint8_t* data, size_t bytes) {
    Free** link = &first_free;
    Free* before = nullptr;
    while (*link != nullptr && (*link)->begin() < data) {
        before = *link;
        link = &before->next;
    }
    Free* freed = new (data) Free{*link, round_up(bytes, huge_page)};
    *link = freed;
    if (before != nullptr && before->end() == data) {
        before->next = freed->next;
        before->bytes += freed->bytes;
        freed = before;
    }
    if (freed->next != nullptr && freed->end() == freed->next->begin()) {
        freed->bytes += freed->next->bytes;
        freed->next = freed->next->next;
    }
}
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
    static Mutex mutex;
    static std::weak_ptr<Memory> newest;
    static size_t used = 0;

    const size_t rounded = round_up(bytes, line);
    const Lock lock(mutex);
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
