#include "source.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

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

uint64_t checked_size(const std::string& path, const struct stat& status) {
    if (!S_ISREG(status.st_mode)) {
        refuse_path(path, "not a regular file");
    }
    if (status.st_size <= 0) {
        refuse_path(path, "the file is empty");
    }
    return static_cast<uint64_t>(status.st_size);
}

}  // namespace

#if defined(__unix__) || defined(__APPLE__)

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
        if (size_ > PTRDIFF_MAX) {
            refuse(Fault::memory, path + ": the file has " + std::to_string(size_) +
                                      " bytes, more than this system can address");
        }
        mapping = mmap(nullptr, static_cast<size_t>(size_), PROT_READ, MAP_PRIVATE, file, 0);
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
    whole_ = true;
    mapped_ = true;
}

Source::~Source() {
    if (mapped_) {
        munmap(const_cast<uint8_t*>(data_), static_cast<size_t>(size_));
    }
}

#else

Source::Source(const std::string& path) {
    struct stat status;
    if (stat(path.c_str(), &status) != 0) {
        refuse_path(path, std::strerror(errno));
    }
    size_ = checked_size(path, status);
    const std::shared_ptr<std::FILE> file(std::fopen(path.c_str(), "rb"), [](std::FILE* open) {
        if (open != nullptr) {
            std::fclose(open);
        }
    });
    if (file == nullptr) {
        refuse_path(path, std::strerror(errno));
    }
    read_ = [file](uint64_t offset, uint8_t* to, size_t size) {
        return fseeko(file.get(), static_cast<off_t>(offset), SEEK_SET) == 0 &&
               std::fread(to, 1, size, file.get()) == size;
    };
}

Source::~Source() = default;

#endif

void Source::read(uint64_t offset, uint8_t* to, size_t size) const {
    if (!read_(offset, to, size)) {
        refuse(Fault::file, "bytes " + std::to_string(offset) + " to " +
                                std::to_string(offset + size) + " cannot be read");
    }
}

Source::Bytes Source::head(size_t size) {
    if (is_whole()) {
        return {data_, static_cast<size_t>(size_)};
    }
    head_ = {};
    head_ = Memory(static_cast<size_t>(std::min<uint64_t>(size, size_)));
    read(0, head_.data(), head_.size());
    return {head_.data(), head_.size()};
}

const uint8_t* Source::bytes(uint64_t offset, size_t size, bool keep) {
    if (is_whole()) {
        return data_ + offset;
    }
    if (keep) {
        kept_.emplace_back(size);
        read(offset, kept_.back().data(), size);
        return kept_.back().data();
    }
    if (passing_.size() < size) {
        passing_ = {};
        passing_ = Memory(size);
    }
    read(offset, passing_.data(), size);
    return passing_.data();
}

void Source::forget() {
    head_ = {};
    passing_ = {};
    read_ = nullptr;
}

}  // namespace pocketlm
