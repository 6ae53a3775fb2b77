// Spellings of tokens in order, to be found whole or at the beginning of a text. Knows nothing else of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace pocketlm {

struct Piece {
    std::string_view spelling;  // not empty
    int32_t id;
};

class Pieces {
  public:
    Pieces() = default;
    // Of pieces of one spelling the one of the lowest id counts. What the views show must outlive this.
    explicit Pieces(std::vector<Piece> pieces);

    // By spelling, byte by byte: the pieces that a piece begins with come before it.
    const std::vector<Piece>& in_order() const { return pieces_; }

    // Null where there is none.
    const Piece* find(std::string_view spelling) const;
    // The longest piece that the text has at a byte.
    const Piece* longest_at(std::string_view text, size_t position) const;

  private:
    std::vector<Piece> pieces_;
};

}  // namespace pocketlm
