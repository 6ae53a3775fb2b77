#include "pool.h"

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "spin.h"

#if defined(__linux__)
#include <sched.h>
#endif
#if defined(POCKETLM_AMX) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif
#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace pocketlm {
namespace {

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

int checked_threads(int threads) {
    if (threads < 1 || threads > 1024) {
        throw std::invalid_argument("threads must be 1 to 1024, not " + std::to_string(threads));
    }
    return threads;
}

const Kernels& kernels_for(const std::string& instruction_set) {
    const std::vector<const Kernels*> tables = available_kernels();
    if (instruction_set.empty()) {
        return *tables.back();
    }
    const auto found = std::find_if(tables.begin(), tables.end(), [&](const Kernels* table) {
        return instruction_set == table->name;
    });
    if (found == tables.end()) {
        throw std::invalid_argument("this processor has no kernels for " + instruction_set);
    }
    return **found;
}

#if defined(__aarch64__) && defined(__APPLE__)
// By the name that the system has for a feature of the processor; older systems know no names.
bool has_feature(const char* name) {
    int has = 0;
    size_t size = sizeof has;
    return sysctlbyname(name, &has, &size, nullptr, 0) == 0 && has != 0;
}
bool has_dot_products() { return has_feature("hw.optional.arm.FEAT_DotProd"); }
bool has_matrix_products() { return has_feature("hw.optional.arm.FEAT_I8MM"); }
#elif defined(__aarch64__) && defined(__linux__)
bool has_dot_products() { return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0; }
bool has_matrix_products() { return (getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0; }
#elif defined(__aarch64__)
bool has_dot_products() { return false; }  // nobody to ask
bool has_matrix_products() { return false; }
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
        if (__builtin_cpu_supports("avx512vbmi")) {
            tables.push_back(&avx512vbmi_kernels);
#if defined(POCKETLM_AMX)
            if (has_amx()) {
                tables.push_back(&amx_kernels);
            }
#endif
        }
    }
#elif defined(__wasm_simd128__)
    tables.push_back(&wasm_kernels);
#elif defined(__aarch64__)
    if (has_dot_products()) {
        tables.push_back(&neon_kernels);
#if defined(POCKETLM_I8MM)
        if (has_matrix_products()) {
            tables.push_back(&i8mm_kernels);
        }
#endif
    }
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
#elif defined(__wasm__)
    return 1;  // whoever started more workers says how many
#else
    return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
#endif
}

ThreadPool::ThreadPool(int threads, const std::string& instruction_set)
    : threads_(checked_threads(threads)),
      kernels_(&kernels_for(instruction_set)),
      workers_(threads) {}

void ThreadPool::run(const std::function<void(int)>& work) {
    const Lock caller(callers_);
    workers_.run(work);
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
