#include "pool.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <set>
#include <sstream>
#include <stdexcept>
#include <utility>

#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif
#if defined(POCKETLM_AMX) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif
#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace pocketlm {
namespace {

// How long an idle worker spins before it sleeps: longer than sampling a token takes.
constexpr auto spin_time = std::chrono::microseconds(300);

inline void pause() {
#if defined(__x86_64__) || defined(_M_X64)
    _mm_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// Wait for something that happens very soon, or, when the system is busy, after others had the core.
template <typename Condition>
void spin(const Condition& happened) {
    for (int spins = 0; !happened(); ++spins) {
        pause();
        if (spins > 2000) {
            std::this_thread::yield();
        }
    }
}

#if defined(__linux__)
std::vector<int> allowed_processors() {
    cpu_set_t set;
    CPU_ZERO(&set);
    std::vector<int> processors;
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        for (int i = 0; i < CPU_SETSIZE; ++i) {
            if (CPU_ISSET(i, &set)) {
                processors.push_back(i);
            }
        }
    }
    return processors;
}

// Processors a control group (version 2) may use at once, rounded up; 0 where there is no limit.
int quota() {
    std::ifstream file("/sys/fs/cgroup/cpu.max");
    std::string limit;
    double period = 0.0;
    if (!(file >> limit >> period) || limit == "max" || period <= 0.0) {
        return 0;
    }
    std::istringstream number(limit);
    double time = 0.0;
    number >> time;
    return static_cast<int>((time + period - 1.0) / period);
}
#endif

#if defined(POCKETLM_AMX)
// Whether the processor has AMX for 8-bit numbers, and the system lets this process use it: its
// registers are large, so that Linux asks whoever wants them to say so.
bool has_amx() {
#if defined(__linux__)
    constexpr unsigned tile = 1u << 24;
    constexpr unsigned int8 = 1u << 25;
    unsigned eax = 0;
    unsigned ebx = 0;
    unsigned ecx = 0;
    unsigned edx = 0;
    if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0 ||
        (edx & (tile | int8)) != (tile | int8)) {
        return false;
    }
    constexpr int request_permission = 0x1023;  // ARCH_REQ_XCOMP_PERM
    constexpr int tile_data = 18;               // XFEATURE_XTILEDATA
    // Older systems do not know the request, and then do not save the registers either.
    static const bool permitted = syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
    return permitted;
#else
    return false;
#endif
}
#endif

}  // namespace

std::vector<const Kernels*> available_kernels() {
    std::vector<const Kernels*> tables{&portable_kernels};
#if defined(__x86_64__) || defined(_M_X64)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
        __builtin_cpu_supports("f16c")) {
        tables.push_back(&avx2_kernels);
#if defined(POCKETLM_AVXVNNI)
        if (__builtin_cpu_supports("avxvnni")) {
            tables.push_back(&avxvnni_kernels);
        }
#endif
    }
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512vnni")) {
        tables.push_back(&avx512_kernels);
#if defined(POCKETLM_AMX)
        if (has_amx()) {
            tables.push_back(&amx_kernels);
        }
#endif
    }
#elif defined(__aarch64__)
#if defined(__linux__)
    if ((getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0) {
        tables.push_back(&neon_kernels);
    }
#else
    tables.push_back(&neon_kernels);
#endif
#endif
    return tables;
}

int default_threads() {
#if defined(__linux__)
    // Two processors that share a core are named by the same list of siblings.
    std::set<std::string> cores;
    for (int processor : allowed_processors()) {
        std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(processor) +
                           "/topology/thread_siblings_list");
        std::string siblings;
        cores.insert(std::getline(file, siblings) ? siblings : std::to_string(processor));
    }
    int count = static_cast<int>(cores.size());
    if (const int limit = quota(); limit > 0) {
        count = std::min(count, limit);
    }
    return std::max(count, 1);
#else
    return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
#endif
}

ThreadPool::ThreadPool(int threads, const std::string& instruction_set) : threads_(threads) {
    if (threads < 1 || threads > 1024) {
        throw std::invalid_argument("threads must be 1 to 1024, not " + std::to_string(threads));
    }
    const std::vector<const Kernels*> tables = available_kernels();
    kernels_ = tables.back();
    if (!instruction_set.empty()) {
        const auto found = std::find_if(tables.begin(), tables.end(), [&](const Kernels* table) {
            return instruction_set == table->name;
        });
        if (found == tables.end()) {
            throw std::invalid_argument("this processor has no kernels for " + instruction_set);
        }
        kernels_ = *found;
    }
    try {
        for (int thread = 1; thread < threads; ++thread) {
            workers_.emplace_back([this, thread] { serve(thread); });
        }
    } catch (...) {
        stop();  // the system has no more threads: let go of those that there are
        throw;
    }
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::stop() {
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

void ThreadPool::run(const std::function<void(int)>& work) {
    const std::lock_guard<std::mutex> caller(callers_);
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

void ThreadPool::serve(int thread) {
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

void Phase::reset(const Ends& ends, int step) {
    step_ = step;
    share_count_ = ends.count();
    int first = 0;
    for (int i = 0; i < ends.count(); ++i) {
        shares_[i].next.store(first, std::memory_order_relaxed);
        shares_[i].finished.store(0, std::memory_order_relaxed);
        shares_[i].end = ends[i];
        shares_[i].count = ends[i] - first;
        first = ends[i];
    }
}

bool Phase::take(int thread, int threads, Run* run) {
    const int own = thread * share_count_ / threads;
    for (int i = 0; i < share_count_; ++i) {
        run->share = (own + i) % share_count_;
        Share& share = shares_[run->share];
        // Asking again after the end must not run the counter over.
        if (share.next.load(std::memory_order_relaxed) >= share.end) {
            continue;
        }
        run->first = share.next.fetch_add(step_, std::memory_order_relaxed);
        if (run->first < share.end) {
            run->last = std::min(run->first + step_, share.end);
            return true;
        }
    }
    return false;
}

void Phase::wait() const {
    for (int i = 0; i < share_count_; ++i) {
        const Share& share = shares_[i];
        spin([&] { return share.finished.load(std::memory_order_acquire) == share.count; });
    }
}

}  // namespace pocketlm
