// Threads that share one piece of work at a time, and the barrier between its parts.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "kernels.h"

namespace pocketlm {

// Kernel tables that this processor can run, slowest first.
std::vector<const Kernels*> available_kernels();

// Physical cores that the process may use: its affinity and its control group's quota.
int default_threads();

class ThreadPool {
  public:
    // `instruction_set` names a table; empty is the fastest. Throws std::invalid_argument.
    ThreadPool(int threads, const std::string& instruction_set);
    ~ThreadPool();
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;

    int threads() const { return threads_; }
    const Kernels& kernels() const { return *kernels_; }

    // Call work(thread) on every thread, the caller's being thread 0, and wait for all. The work must
    // not throw. One call at a time: callers queue.
    void run(const std::function<void(int)>& work);

    // Within run: wait until all threads are here. What they wrote before is seen by all after.
    void barrier();

  private:
    void serve(int thread);

    const int threads_;
    const Kernels* kernels_;
    std::vector<std::thread> workers_;
    std::mutex callers_;

    // A new generation is new work. Workers spin for it briefly, then sleep.
    std::atomic<unsigned> generation_{0};
    std::atomic<int> unfinished_{0};
    std::atomic<bool> stopping_{false};
    const std::function<void(int)>* work_ = nullptr;
    std::mutex mutex_;
    std::condition_variable wake_;

    alignas(64) std::atomic<int> arrived_{0};
    alignas(64) std::atomic<unsigned> phase_{0};
};

// Hands out the numbers 0 … count-1 in runs of `step`, to whichever thread asks.
class Counter {
  public:
    void reset() { next_.store(0, std::memory_order_relaxed); }
    // The next run [first, last), or false when none is left.
    bool take(int count, int step, int* first, int* last) {
        *first = next_.fetch_add(step, std::memory_order_relaxed);
        *last = *first + step < count ? *first + step : count;
        return *first < count;
    }

  private:
    alignas(64) std::atomic<int> next_{0};
};

}  // namespace pocketlm
