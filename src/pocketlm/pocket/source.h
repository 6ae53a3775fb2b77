// A model's bytes: a file that is mapped where the system can, read where it cannot, or the caller's memory.
//
// It knows files. It does not know what is in them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace pocketlm {

class Source {
  public:
    // Throws Error for a path that names no regular file, or an empty one.
    explicit Source(const std::string& path);
    // `data` stays the caller's, and must outlive this.
    Source(const uint8_t* data, size_t size) : data_(data), size_(size) {}
    ~Source();
    Source(const Source&) = delete;
    Source& operator=(const Source&) = delete;

    const uint8_t* data() const { return data_; }
    size_t size() const { return size_; }
    // Whether pages can be let go and read again.
    bool is_mapped() const { return held_ == Held::mapping; }

  private:
    enum class Held { nothing, mapping, copy };

    const uint8_t* data_ = nullptr;
    size_t size_ = 0;
    Held held_ = Held::nothing;
};

}  // namespace pocketlm
