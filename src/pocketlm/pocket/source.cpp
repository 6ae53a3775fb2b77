#include "source.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <sys/stat.h>
#if defined(__unix__) || defined(__APPLE__)
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#endif

#include "error.h"

namespace pocketlm {
namespace {

[[noreturn]] void refuse_path(const std::string& path, const char* what) {
    refuse(Fault::file, path + ": " + what);
}

size_t checked_size(const std::string& path, const struct stat& status) {
    if (!S_ISREG(status.st_mode)) {
        refuse_path(path, "not a regular file");
    }
    if (status.st_size <= 0) {
        refuse_path(path, "the file is empty");
    }
    const auto size = static_cast<uint64_t>(status.st_size);
    if (size > PTRDIFF_MAX) {
        refuse(Fault::memory, path + ": the file has " + std::to_string(size) +
                                  " bytes, more than this system can address");
    }
    return static_cast<size_t>(size);
}

}  // namespace

// Emscripten's mmap copies a file to memory as well; reading says so.
#if (defined(__unix__) || defined(__APPLE__)) && !defined(__EMSCRIPTEN__) && !defined(__wasm__)

Source::Source(const std::string& path) {
    struct stat status;
    // Before it is opened: opening a pipe would wait for a writer.
    if (stat(path.c_str(), &status) != 0) {
        refuse_path(path, std::strerror(errno));
    }
    checked_size(path, status);
    const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0 || fstat(file, &status) != 0) {
        const int code = errno;
        if (file >= 0) {
            close(file);
        }
        refuse_path(path, std::strerror(code));
    }
    void* mapping = MAP_FAILED;
    int code = 0;
    try {
        size_ = checked_size(path, status);
        mapping = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file, 0);
        code = errno;
    } catch (...) {
        close(file);
        throw;
    }
    close(file);
    if (mapping == MAP_FAILED) {
        refuse(code == ENOMEM ? Fault::memory : Fault::file, path + ": " + std::strerror(code));
    }
    data_ = static_cast<const uint8_t*>(mapping);
    held_ = Held::mapping;
}

Source::~Source() {
    if (held_ == Held::mapping) {
        munmap(const_cast<uint8_t*>(data_), size_);
    }
}

#else

Source::Source(const std::string& path) {
    struct stat status;
    if (stat(path.c_str(), &status) != 0) {
        refuse_path(path, std::strerror(errno));
    }
    size_ = checked_size(path, status);
    std::FILE* file = std::fopen(path.c_str(), "rb");
    if (file == nullptr) {
        refuse_path(path, std::strerror(errno));
    }
    // aligned_alloc wants whole units; kernels read vectors of up to 64 bytes.
    void* copy = std::aligned_alloc(64, (size_ + 63) / 64 * 64);
    const bool whole = copy != nullptr && std::fread(copy, 1, size_, file) == size_;
    std::fclose(file);
    if (!whole) {
        std::free(copy);
        if (copy == nullptr) {
            refuse(Fault::memory, path + ": no memory for its " + std::to_string(size_) + " bytes");
        }
        refuse_path(path, "it cannot be read to its end");
    }
    data_ = static_cast<const uint8_t*>(copy);
    held_ = Held::copy;
}

Source::~Source() {
    if (held_ == Held::copy) {
        std::free(const_cast<uint8_t*>(data_));
    }
}

#endif

}  // namespace pocketlm
