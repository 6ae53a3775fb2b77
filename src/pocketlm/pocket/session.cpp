#include "session.h"

#include <algorithm>
#include <utility>

#include "error.h"

namespace pocketlm {
namespace {

// Most tokens of one native step; the desktop engine's, too.
constexpr int chunk = 256;
// With a sliding window, how far a text can be rewound before anything is processed again.
constexpr int spare = 512;
constexpr int32_t gone = -1;

}  // namespace

Session::Session(std::shared_ptr<Model> model, int context)
    : model_(std::move(model)),
      context_(context == 0 ? model_->program().context : context),
      logits_(static_cast<size_t>(model_->program().vocab_size)) {
    if (context_ < 1 || context_ > model_->program().context) {
        refuse(Fault::argument, "context is " + std::to_string(context) +
                                    "; this model's is 1 to " +
                                    std::to_string(model_->program().context) + " tokens");
    }
}

Session::~Session() {
    const Lock turn(model_->turn());
    release(0, blocks_.size());
}

void Session::step(const int32_t* tokens, int count) {
    const int length = static_cast<int>(tokens_.size());
    if (count < 1) {
        refuse(Fault::argument, "there are no tokens: give at least one");
    }
    if (count > context_ - length) {
        refuse(Fault::context, std::to_string(count) + " tokens after " + std::to_string(length) +
                                   " are more than the context of " + std::to_string(context_));
    }
    for (int i = 0; i < count; ++i) {
        if (tokens[i] < 0 || tokens[i] >= model_->program().vocab_size) {
            refuse(Fault::argument, "token id " + std::to_string(tokens[i]) +
                                        " is not in the vocabulary (0 to " +
                                        std::to_string(model_->program().vocab_size - 1) + ")");
        }
    }
    std::vector<int32_t> all = tokens_;
    all.insert(all.end(), tokens, tokens + count);
    fresh_ = false;
    const Lock turn(model_->turn());
    try {
        process(all);
    } catch (...) {
        forget(length);
        throw;
    }
    tokens_ = std::move(all);
    fresh_ = true;
}

void Session::process(const std::vector<int32_t>& tokens) {
    const int end = static_cast<int>(tokens.size());
    const int rope_set = model_->program().rope_set(end);
    if (rope_set != rope_set_) {
        // Keys turned by one set are of no use to the other, nor are those computed from them, layers above.
        forget(0);
        rope_set_ = rope_set;
    }
    while (written_ < end) {
        const int count = std::min(chunk, end - written_);
        while (blocks_.size() * block_positions < static_cast<size_t>(written_ + count)) {
            blocks_.reserve(blocks_.size() + 1);  // so that no block is lost
            blocks_.push_back(model_->cache().allocate());
        }
        const bool last = written_ + count == end;
        model_->run(tokens.data() + written_, count, written_, rope_set_, blocks_,
                    last ? logits_.data() : nullptr);
        written_ += count;
        release(0, first_seen(std::max(0, written_ - spare)));
    }
}

void Session::rewind(int length) {
    if (length < 0 || static_cast<size_t>(length) > tokens_.size()) {
        refuse(Fault::argument, "cannot rewind to " + std::to_string(length) + " of " +
                                    std::to_string(tokens_.size()) + " tokens");
    }
    if (static_cast<size_t>(length) < tokens_.size()) {
        const Lock turn(model_->turn());
        forget(length);
        tokens_.resize(static_cast<size_t>(length));
        fresh_ = false;
    }
}

// Lets go of what is written from `length` on, and of all where the window has passed what is needed.
void Session::forget(int length) {
    written_ = std::min(written_, length);
    size_t kept = static_cast<size_t>((written_ + block_positions - 1) / block_positions);
    const size_t first = std::min(first_seen(written_), kept);
    const auto begin = blocks_.begin();
    if (std::any_of(begin + static_cast<std::ptrdiff_t>(first),
                    begin + static_cast<std::ptrdiff_t>(kept),
                    [](int32_t block) { return block == gone; })) {
        written_ = 0;
        kept = 0;
    }
    release(kept, blocks_.size());
    blocks_.resize(kept);
}

void Session::release(size_t first, size_t last) {
    for (size_t i = first; i < last; ++i) {
        if (blocks_[i] != gone) {
            model_->cache().release(blocks_[i]);
            blocks_[i] = gone;
        }
    }
}

size_t Session::first_seen(int position) const {
    const int window = model_->program().window;
    return window == 0 ? 0 : static_cast<size_t>(std::max(0, position - window + 1) / block_positions);
}

}  // namespace pocketlm
