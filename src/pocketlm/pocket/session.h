// A text in the cache: its tokens, where their keys and values are, and the logits after the last one.
//
// It knows token ids and blocks. It does not know text, nor how a token is chosen.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "model.h"

namespace pocketlm {

class Session {
  public:
    // At most `context` tokens; 0: the model's own context. Throws Error for more than that.
    Session(std::shared_ptr<Model> model, int context);
    ~Session();
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    const Model& model() const { return *model_; }
    int context() const { return context_; }
    const std::vector<int32_t>& tokens() const { return tokens_; }
    // After the last token, vocab_size floats; null before the first step and after rewinding.
    const float* logits() const { return fresh_ ? logits_.data() : nullptr; }

    // Process `count` tokens after those there are. Throws Error; then all is as it was, but for the logits.
    void step(const int32_t* tokens, int count);

    // Forget the tokens from `length` on. Throws Error for more than there are.
    void rewind(int length);

  private:
    void process(const std::vector<int32_t>& tokens);
    void forget(int length);
    void release(size_t first, size_t last);
    // The first block that a query at `position` sees.
    size_t first_seen(int position) const;

    std::shared_ptr<Model> model_;
    const int context_;
    std::vector<int32_t> tokens_;
    int written_ = 0;  // tokens whose keys and values are in the cache; after a rewind perhaps fewer than all
    int rope_set_ = 0;
    std::vector<int32_t> blocks_;  // of each 32 positions; gone where the window has passed
    std::vector<float> logits_;
    bool fresh_ = false;
};

}  // namespace pocketlm
