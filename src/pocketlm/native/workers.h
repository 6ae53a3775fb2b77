// A pool's other threads: the system's, or those that a web page started.
//
// They do what they are given. They do not share it out: see pool.h.
#pragma once

#include <atomic>
#include <functional>

#if !defined(__wasm__)
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>
#endif

namespace pocketlm {

class Workers {
  public:
    // `threads` of a pool, the caller's among them. Throws std::system_error when the system has no more.
    explicit Workers(int threads);
    ~Workers();
    Workers(const Workers&) = delete;
    Workers& operator=(const Workers&) = delete;

    // Call work(0) here and work(thread) on every other thread that arrives before it returns, and wait for
    // those that did. One call at a time.
    void run(const std::function<void(int)>& work);

  private:
#if !defined(__wasm__) || defined(__wasm_atomics__)
    const int threads_;
#endif
#if !defined(__wasm__)
    void serve(int thread);
    void stop();

    std::vector<std::thread> workers_;

    // A new generation is new work. Workers spin for it briefly, then sleep.
    std::atomic<unsigned> generation_{0};
    std::atomic<bool> stopping_{false};
    std::mutex mutex_;
    std::condition_variable wake_;

    // Twice the workers inside, plus one while others may enter.
    alignas(64) std::atomic<int> door_{0};
    const std::function<void(int)>* work_ = nullptr;
#endif
};

}  // namespace pocketlm
