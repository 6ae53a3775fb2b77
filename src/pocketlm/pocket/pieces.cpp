#include "pieces.h"

#include <algorithm>
#include <utility>

namespace pocketlm {

Pieces::Pieces(std::vector<Piece> pieces) : pieces_(std::move(pieces)) {
    std::sort(pieces_.begin(), pieces_.end(), [](const Piece& a, const Piece& b) {
        const int order = a.spelling.compare(b.spelling);
        return order != 0 ? order < 0 : a.id < b.id;
    });
    const auto same = [](const Piece& a, const Piece& b) { return a.spelling == b.spelling; };
    pieces_.erase(std::unique(pieces_.begin(), pieces_.end(), same), pieces_.end());
    pieces_.shrink_to_fit();
}

const Piece* Pieces::find(std::string_view spelling) const {
    const auto before = [](const Piece& piece, std::string_view text) { return piece.spelling < text; };
    const auto found = std::lower_bound(pieces_.begin(), pieces_.end(), spelling, before);
    return found != pieces_.end() && found->spelling == spelling ? &*found : nullptr;
}

const Piece* Pieces::longest_at(std::string_view text, size_t position) const {
    const Piece* longest = nullptr;
    // The pieces that agree with the text so far are neighbours, the shortest first.
    const Piece* low = pieces_.data();
    const Piece* high = low + pieces_.size();
    for (size_t depth = 0; low != high; ++depth) {
        if (low->spelling.size() == depth) {
            longest = low++;
        }
        if (position + depth == text.size()) {
            break;
        }
        const auto byte = static_cast<unsigned char>(text[position + depth]);
        const auto at_depth = [&](const Piece& piece) {
            return static_cast<unsigned char>(piece.spelling[depth]);
        };
        low = std::partition_point(low, high, [&](const Piece& piece) { return at_depth(piece) < byte; });
        high = std::partition_point(low, high, [&](const Piece& piece) { return at_depth(piece) == byte; });
    }
    return longest;
}

}  // namespace pocketlm
