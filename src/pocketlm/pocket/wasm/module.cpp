// The module's own part: reading a model by way of the page, and memory that runs out with an exception.
//
// What a page calls besides is pocketlm.h, and malloc and free for what it hands over.
#include <cstdlib>
#include <new>

#include "pocketlm.h"

// The page fills `length` bytes at `to` from `offset` on of the model that is being loaded; 0 when it did.
extern "C" __attribute__((import_module("pocketlm"), import_name("read"))) int32_t pocketlm_web_read(
    double offset, void* to, int32_t length);

namespace {

// At once as much as a call's length can say.
constexpr size_t most = size_t{1} << 30;

int32_t read_from_page(void*, uint64_t offset, void* to, size_t length) {
    char* at = static_cast<char*>(to);
    while (length > 0) {
        const size_t part = length < most ? length : most;
        if (pocketlm_web_read(static_cast<double>(offset), at, static_cast<int32_t>(part)) != 0) {
            return 1;
        }
        offset += part;
        at += part;
        length -= part;
    }
    return 0;
}

void* allocated(size_t size, size_t alignment) {
    // aligned_alloc wants whole units.
    const size_t whole = (size + alignment - 1) / alignment * alignment;
    void* const memory = whole < size ? nullptr : std::aligned_alloc(alignment, whole == 0 ? alignment : whole);
    if (memory == nullptr) {
        throw std::bad_alloc();
    }
    return memory;
}

}  // namespace

// A GGUF file of `bytes` bytes. NULL where it fails, as pocketlm_model_load.
extern "C" pocketlm_model* pocketlm_web_load(double bytes, const pocketlm_model_options* options) {
    pocketlm_reader reader;
    reader.size = sizeof reader;
    reader.bytes = static_cast<uint64_t>(bytes);
    reader.read = read_from_page;
    reader.context = nullptr;
    return pocketlm_model_load_reader(&reader, options);
}

// The library's own gives up where there is no memory.
void* operator new(size_t size) { return allocated(size, alignof(std::max_align_t)); }
void* operator new(size_t size, std::align_val_t alignment) {
    return allocated(size, static_cast<size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }
