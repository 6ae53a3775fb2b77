// A loaded model: its file, its program bound to weights and kernels, and its tokenizer.
//
// It knows how a program becomes an executor. It holds no text: sessions do.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "executor.h"
#include "mutex.h"
#include "program.h"
#include "source.h"
#include "tokenizer.h"

namespace pocketlm {

struct ModelOptions {
    int threads = 0;                  // 0: the physical cores at our disposal
    std::string cache_type = "q8";    // as native/cache.h names them
    std::string instruction_set;      // empty: the best that the processor has
};

class Model {
  public:
    // Throws Error.
    static std::shared_ptr<Model> load(std::unique_ptr<Source> source, const ModelOptions& options);

    const Program& program() const { return program_; }
    const Tokenizer& tokenizer() const { return tokenizer_; }
    const std::string& name() const { return name_; }
    const std::string& chat_template() const { return chat_template_; }  // Jinja; empty: none
    const std::vector<int32_t>& ends() const { return ends_; }      // ascending
    const std::vector<int32_t>& banned() const { return banned_; }  // never to be sampled
    // Bytes of all matrices as kernels read them, and how many of them are read where the file has them.
    size_t weight_bytes() const { return weight_bytes_; }
    size_t mapped_bytes() const { return mapped_bytes_; }
    int threads() const { return pool_->threads(); }
    const char* instruction_set() const { return pool_->kernels().name; }

    // What a session works with, by turns: whoever holds the lock.
    Mutex& turn() { return turn_; }
    KVCache& cache() { return *cache_; }
    // `tokens` from `position` on; logits after the last of them, vocab_size floats, unless null.
    void run(const int32_t* tokens, int count, int position, int rope_set,
             const std::vector<int32_t>& blocks, float* logits);

  private:
    class Binder;

    Model(std::unique_ptr<Source> source, const Gguf& file, const ModelOptions& options);

    std::unique_ptr<Source> source_;
    Program program_;  // its weights' tensors are gone once it is bound
    Tokenizer tokenizer_;
    std::string name_;
    std::string chat_template_;
    std::vector<int32_t> ends_;
    std::vector<int32_t> banned_;
    size_t weight_bytes_ = 0;
    size_t mapped_bytes_ = 0;
    std::shared_ptr<ThreadPool> pool_;
    std::shared_ptr<KVCache> cache_;
    std::unique_ptr<Executor> executor_;
    Mutex turn_;
};

}  // namespace pocketlm
