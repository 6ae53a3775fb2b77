// Threads that share one piece of work at a time, and the phases that it is made of.
#pragma once

#include <atomic>
#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

#include "kernels.h"
#include "mutex.h"
#include "workers.h"

namespace pocketlm {

// Kernel tables that this processor can run, slowest first.
std::vector<const Kernels*> available_kernels();

// Physical cores that the process may use: its affinity and its control group's quota.
int default_threads();

class ThreadPool {
  public:
    // `instruction_set` names a table; empty is the fastest. Throws std::invalid_argument;
    // std::system_error when the system has no more threads.
    ThreadPool(int threads, const std::string& instruction_set);

    int threads() const { return threads_; }
    const Kernels& kernels() const { return *kernels_; }

    // Call work(0) here and work(thread) on every other thread that arrives before it returns, and
    // wait for those that did. The work must not throw, and must get done whoever arrives: it shares
    // itself out by a Phase. One call at a time: callers queue.
    void run(const std::function<void(int)>& work);

  private:
    const int threads_;
    const Kernels* kernels_;
    Workers workers_;
    Mutex callers_;
};

// Where the shares end that the tasks of a phase fall into, one after the other. Made for every operation
// of every step: it takes no memory of its own.
class Ends {
  public:
    static constexpr int most = 8;

    Ends(std::initializer_list<int> ends) {
        for (const int end : ends) {
            add(end);
        }
    }
    // At most `most` times.
    void add(int end) { ends_[count_++] = end; }

    int count() const { return count_; }
    int operator[](int share) const { return ends_[share]; }

  private:
    int count_ = 0;
    int ends_[most] = {};
};

// A part of some work: the tasks 0 … count-1, taken in runs by whichever thread asks, and done when
// all are finished. Threads meet at its end, not each other: one that the system holds up elsewhere
// holds up nobody unless it took a task.
//
// Tasks may fall into shares, one after the other. A thread begins with its own, whose data is in its
// core's cache since the last phase, and helps with the others when that is done.
class Phase {
  public:
    Phase() = default;
    Phase(int count, int step) { reset(count, step); }

    // Not while threads use it.
    void reset(int count, int step) { reset(Ends{count}, step); }
    // No run of tasks is of two shares.
    void reset(const Ends& ends, int step);

    // Tasks [first, last) of one share.
    struct Run {
        int share;
        int first;
        int last;
    };

    // The next tasks for a thread of so many, of its own share if that has any; false when none is left.
    bool take(int thread, int threads, Run* run);

    // Tasks that were taken are done.
    void finish(const Run& run) {
        shares_[run.share].finished.fetch_add(run.last - run.first, std::memory_order_release);
    }

    // Until all tasks are done. What was written for them is seen after.
    void wait() const;

  private:
    // On a cache line of its own: most of the time one thread writes there.
    struct alignas(64) Share {
        std::atomic<int> next{0};
        std::atomic<int> finished{0};
        int end = 0;
        int count = 0;
    };

    int step_ = 1;
    int share_count_ = 0;
    Share shares_[Ends::most];
};

// Call body(first, last) for all tasks of a phase that a thread of so many gets, and wait for the others.
template <typename Body>
void run_phase(Phase& phase, int thread, int threads, const Body& body) {
    Phase::Run run{};
    while (phase.take(thread, threads, &run)) {
        body(run.first, run.last);
        phase.finish(run);
    }
    phase.wait();
}

// The same where tasks have no shares.
template <typename Body>
void run_phase(Phase& phase, const Body& body) {
    run_phase(phase, 0, 1, body);
}

}  // namespace pocketlm
