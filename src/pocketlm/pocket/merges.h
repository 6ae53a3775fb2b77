// Byte-pair encoding (Sennrich et al. 2016): neighbours become one symbol, the best pair of a word first.
//
// Knows symbols as numbers. Knows no text and no spellings.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace pocketlm {

struct Merge {
    int32_t left;
    int32_t right;
    int32_t result;
    uint32_t rank;  // the lowest comes first
};

// What pairs of symbols become.
class Merges {
  public:
    Merges() = default;
    // The symbols are 0 … symbols-1. Of merges of one pair the one of the highest rank counts.
    Merges(std::vector<Merge> merges, size_t symbols);

    // Null where the two do not merge.
    const Merge* find(int32_t left, int32_t right) const;

  private:
    std::vector<Merge> merges_;    // by left, then by right
    std::vector<uint32_t> begin_;  // where those of each left symbol begin
};

// Joins the symbols of words. Holds memory for a word, so that it can be used for many.
class Joiner {
  public:
    explicit Joiner(const Merges& merges) : merges_(merges) {}

    // Appends what a word becomes: of the pairs that merge, the one of the lowest rank is joined, of several
    // the leftmost, until there is none. Takes time in proportion to n log n.
    void join(const std::vector<int32_t>& word, std::vector<int32_t>& out);

  private:
    struct Symbol {
        int32_t id;
        uint32_t previous;
        uint32_t next;
    };
    struct Candidate {
        uint32_t rank;
        uint32_t position;  // of the left symbol
        const Merge* merge;
    };
    // For the heap's algorithms, which keep the greatest in front.
    static bool worse(const Candidate& a, const Candidate& b) {
        return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
    }
    bool consider(uint32_t position);

    const Merges& merges_;
    std::vector<Symbol> symbols_;
    std::vector<Candidate> heap_;
};

}  // namespace pocketlm
