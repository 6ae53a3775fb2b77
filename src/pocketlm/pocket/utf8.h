// Whether bytes are UTF-8.
#pragma once

#include <cstddef>
#include <string_view>

namespace pocketlm {

// Whole characters of the shortest form, none of them half of a surrogate pair (Unicode 15, table 3-7).
inline bool is_utf8(std::string_view text) {
    for (size_t at = 0; at < text.size();) {
        const auto byte = [&](size_t i) -> unsigned {
            return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0u;
        };
        const unsigned lead = byte(0);
        const size_t length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
        const unsigned least = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
        const unsigned most = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
        if ((lead >= 0x80 && lead < 0xc2) || lead > 0xf4 ||
            (length > 1 && (byte(1) < least || byte(1) > most))) {
            return false;
        }
        for (size_t i = 2; i < length; ++i) {
            if ((byte(i) & 0xc0) != 0x80) {
                return false;
            }
        }
        at += length;
    }
    return true;
}

}  // namespace pocketlm
