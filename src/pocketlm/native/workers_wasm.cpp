// The threads of a web page. The page starts them, each a worker with an instance of this module over the same
// memory, and each calls pocketlm_web_worker, which never returns. There is one hall for all pools: one caller
// runs one piece of work at a time, and shares it with whoever is there. So no pool waits for workers that come
// late, or never.
#include "workers.h"

#include "spin.h"

namespace pocketlm {
#if defined(__wasm_atomics__)
namespace {

struct Hall {
    // A new generation is new work. An int, so that workers can sleep on it.
    alignas(64) int generation = 0;
    // Twice the workers inside, plus one while others may enter.
    alignas(64) std::atomic<int> door{0};
    const std::function<void(int)>* work = nullptr;
    int threads = 0;
};

Hall hall;

int generation() { return __atomic_load_n(&hall.generation, __ATOMIC_ACQUIRE); }

// Some tenths of a millisecond: longer than sampling a token takes.
constexpr int idle_spins = 300'000;

[[noreturn]] void serve(int thread) {
    int seen = 0;
    while (true) {
        for (int spins = 0; generation() == seen; ++spins) {
            if (spins > idle_spins) {
                __builtin_wasm_memory_atomic_wait32(&hall.generation, seen, -1);
            }
        }
        seen = generation();
        int state = hall.door.load(std::memory_order_acquire);
        while ((state & 1) != 0 &&
               !hall.door.compare_exchange_weak(state, state + 2, std::memory_order_acq_rel)) {
        }
        if ((state & 1) == 0) {
            continue;
        }
        if (thread < hall.threads) {
            (*hall.work)(thread);
        }
        hall.door.fetch_sub(2, std::memory_order_release);
    }
}

}  // namespace

// Called by the page's workers: 1, 2, … one each.
extern "C" __attribute__((export_name("pocketlm_web_worker"))) void pocketlm_web_worker(int thread) {
    serve(thread);
}

Workers::Workers(int threads) : threads_(threads) {}

void Workers::run(const std::function<void(int)>& work) {
    if (threads_ == 1) {
        work(0);
        return;
    }
    hall.work = &work;
    hall.threads = threads_;
    hall.door.store(1, std::memory_order_release);
    __atomic_fetch_add(&hall.generation, 1, __ATOMIC_ACQ_REL);
    __builtin_wasm_memory_atomic_notify(&hall.generation, static_cast<unsigned>(threads_ - 1));
    work(0);
    hall.door.fetch_sub(1, std::memory_order_acq_rel);
    spin([] { return hall.door.load(std::memory_order_acquire) == 0; });
}

#else

// A module that shares no memory: the caller does all.
Workers::Workers(int) {}

void Workers::run(const std::function<void(int)>& work) { work(0); }

#endif

Workers::~Workers() = default;

}  // namespace pocketlm
