#include "merges.h"

#include <algorithm>
#include <utility>

namespace pocketlm {
namespace {

constexpr uint32_t none = static_cast<uint32_t>(-1);  // no neighbour
constexpr int32_t joined = -1;                        // the id of a symbol that became part of another

}  // namespace

Merges::Merges(std::vector<Merge> merges, size_t symbols) : merges_(std::move(merges)), begin_(symbols + 1) {
    std::sort(merges_.begin(), merges_.end(), [](const Merge& a, const Merge& b) {
        return a.left != b.left ? a.left < b.left : a.right != b.right ? a.right < b.right : a.rank > b.rank;
    });
    const auto same = [](const Merge& a, const Merge& b) { return a.left == b.left && a.right == b.right; };
    merges_.erase(std::unique(merges_.begin(), merges_.end(), same), merges_.end());
    merges_.shrink_to_fit();
    for (const Merge& merge : merges_) {
        ++begin_[static_cast<size_t>(merge.left) + 1];
    }
    for (size_t i = 1; i < begin_.size(); ++i) {
        begin_[i] += begin_[i - 1];
    }
}

const Merge* Merges::find(int32_t left, int32_t right) const {
    const Merge* begin = merges_.data() + begin_[static_cast<size_t>(left)];
    const Merge* end = merges_.data() + begin_[static_cast<size_t>(left) + 1];
    const Merge* found = std::lower_bound(
        begin, end, right, [](const Merge& merge, int32_t wanted) { return merge.right < wanted; });
    return found != end && found->right == right ? found : nullptr;
}

void Joiner::join(const std::vector<int32_t>& word, std::vector<int32_t>& out) {
    const auto count = static_cast<uint32_t>(word.size());
    symbols_.clear();
    heap_.clear();
    for (uint32_t i = 0; i < count; ++i) {
        symbols_.push_back({word[i], i == 0 ? none : i - 1, i + 1 == count ? none : i + 1});
    }
    for (uint32_t i = 0; i < count; ++i) {
        consider(i);
    }
    std::make_heap(heap_.begin(), heap_.end(), worse);
    while (!heap_.empty()) {
        const Candidate best = heap_.front();
        std::pop_heap(heap_.begin(), heap_.end(), worse);
        heap_.pop_back();
        Symbol& left = symbols_[best.position];
        // Since it was found, either symbol may have become part of another.
        if (left.id != best.merge->left || left.next == none ||
            symbols_[left.next].id != best.merge->right) {
            continue;
        }
        Symbol& right = symbols_[left.next];
        left.id = best.merge->result;
        right.id = joined;
        left.next = right.next;
        if (left.next != none) {
            symbols_[left.next].previous = best.position;
        }
        for (const uint32_t changed : {left.previous, best.position}) {
            if (changed != none && consider(changed)) {
                std::push_heap(heap_.begin(), heap_.end(), worse);
            }
        }
    }
    for (uint32_t i = 0; i < count; i = symbols_[i].next) {
        out.push_back(symbols_[i].id);
    }
}

// Adds the pair that begins at a symbol, if it merges; the heap is yet to be told.
bool Joiner::consider(uint32_t position) {
    const Symbol& left = symbols_[position];
    if (left.next == none) {
        return false;
    }
    const Merge* merge = merges_.find(left.id, symbols_[left.next].id);
    if (merge == nullptr) {
        return false;
    }
    heap_.push_back({merge->rank, position, merge});
    return true;
}

}  // namespace pocketlm
