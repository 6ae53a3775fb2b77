#include "error.h"

#include <cstdio>

namespace pocketlm {

std::string shown(std::string_view name) {
    constexpr size_t longest = 64;
    std::string text = "'";
    for (const char c : name.substr(0, longest)) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte >= 0x20 && byte < 0x7f && c != '\'' && c != '\\') {
            text += c;
        } else {
            char escaped[5];
            std::snprintf(escaped, sizeof escaped, "\\x%02x", static_cast<unsigned>(byte));
            text += escaped;
        }
    }
    return text + (name.size() > longest ? "...'" : "'");
}

}  // namespace pocketlm
