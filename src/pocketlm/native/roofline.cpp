#include "roofline.h"

#include <algorithm>
#include <atomic>
#include <chrono>

namespace pocketlm {
namespace {

constexpr size_t piece = size_t{1} << 20;
// Tasks a thread, and loops a task: some hundredths of a second in all.
constexpr int rounds = 32;
constexpr int repetitions = 1 << 14;

double seconds_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

double read_gb_s(ThreadPool& pool, const std::vector<std::shared_ptr<const Matrix>>& matrices) {
    struct Piece {
        const uint8_t* data;
        size_t size;
    };
    std::vector<Piece> pieces;
    size_t total = 0;
    for (const std::shared_ptr<const Matrix>& matrix : matrices) {
        for (size_t at = 0; at < matrix->bytes(); at += piece) {
            pieces.push_back({matrix->data() + at, std::min(piece, matrix->bytes() - at)});
        }
        total += matrix->bytes();
    }
    double best = 0.0;
    for (const bool halves : {false, true}) {
        std::atomic<uint64_t> kept{0};
        Phase phase(static_cast<int>(pieces.size()), 1);
        const auto start = std::chrono::steady_clock::now();
        pool.run([&](int) {
            run_phase(phase, [&](int first, int) {
                const Piece& part = pieces[static_cast<size_t>(first)];
                kept.fetch_add(pool.kernels().read(part.data, part.size / 128 * 128, halves),
                               std::memory_order_relaxed);
            });
        });
        best = std::max(best, static_cast<double>(total) / seconds_since(start) / 1e9);
    }
    return best;
}

double int8_gmac_s(ThreadPool& pool) {
    std::atomic<long long> done{0};
    Phase phase(rounds * pool.threads(), 1);
    const auto start = std::chrono::steady_clock::now();
    pool.run([&](int) {
        run_phase(phase, [&](int, int) {
            done.fetch_add(pool.kernels().multiply_adds(repetitions),
                           std::memory_order_relaxed);
        });
    });
    return static_cast<double>(done.load()) / seconds_since(start) / 1e9;
}

}  // namespace pocketlm
