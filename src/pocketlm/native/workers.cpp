#include "workers.h"

#include <chrono>

#include "spin.h"

namespace pocketlm {
namespace {

// How long an idle worker spins before it sleeps: longer than sampling a token takes.
constexpr auto spin_time = std::chrono::microseconds(300);

}  // namespace

Workers::Workers(int threads) : threads_(threads) {
    try {
        for (int thread = 1; thread < threads; ++thread) {
            workers_.emplace_back([this, thread] { serve(thread); });
        }
    } catch (...) {
        stop();  // the system has no more threads: let go of those that there are
        throw;
    }
}

Workers::~Workers() { stop(); }

void Workers::stop() {
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        stopping_ = true;
        generation_.fetch_add(1);
    }
    wake_.notify_all();
    for (std::thread& worker : workers_) {
        worker.join();
    }
}

void Workers::run(const std::function<void(int)>& work) {
    if (threads_ == 1) {
        work(0);
        return;
    }
    work_ = &work;
    door_.store(1, std::memory_order_release);
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        generation_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    work(0);
    door_.fetch_sub(1, std::memory_order_acq_rel);
    spin([&] { return door_.load(std::memory_order_acquire) == 0; });
}

void Workers::serve(int thread) {
    unsigned seen = 0;
    while (!stopping_) {
        const auto start = std::chrono::steady_clock::now();
        while (generation_.load(std::memory_order_acquire) == seen) {
            for (int i = 0; i < 32; ++i) {
                pause();
            }
            if (std::chrono::steady_clock::now() - start > spin_time) {
                std::unique_lock<std::mutex> lock(mutex_);
                wake_.wait(lock, [&] { return generation_.load() != seen; });
            }
        }
        seen = generation_.load(std::memory_order_acquire);
        int state = door_.load(std::memory_order_acquire);
        while ((state & 1) != 0 &&
               !door_.compare_exchange_weak(state, state + 2, std::memory_order_acq_rel)) {
        }
        if ((state & 1) != 0) {
            (*work_)(thread);
            door_.fetch_sub(2, std::memory_order_release);
        }
    }
}

}  // namespace pocketlm
