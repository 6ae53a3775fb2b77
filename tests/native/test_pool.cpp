// Threads that share work: every task once, whoever arrives, in whatever number.
#include "pool.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "check.h"

using namespace pocketlm;

TEST(every_task_is_done_once) {
    for (int threads : {1, 2, 3, 8}) {
        ThreadPool pool(threads, "");
        for (int count : {0, 1, 2, 7, 64, 1000}) {
            for (int step : {1, 3, 16, 5000}) {
                std::vector<int> done(static_cast<size_t>(count));
                std::atomic<bool> known{true};
                Phase phase(count, step);
                pool.run([&](int thread) {
                    if (thread < 0 || thread >= threads) {
                        known = false;
                    }
                    run_phase(phase, [&](int first, int last) {
                        for (int i = first; i < last; ++i) {
                            ++done[static_cast<size_t>(i)];
                        }
                    });
                });
                CHECK(known);
                CHECK(std::all_of(done.begin(), done.end(), [](int n) { return n == 1; }));
            }
        }
    }
}

TEST(shares_are_begun_with_ones_own_and_done_whole) {
    for (int step : {1, 4, 50}) {
        Phase phase;
        phase.reset({7, 7, 20}, step);  // the second one has no tasks
        std::vector<int> order;
        Phase::Run run{};
        while (phase.take(2, 3, &run)) {
            CHECK(run.first < run.last && run.last <= 20 && (run.first < 7) == (run.last <= 7));
            for (int i = run.first; i < run.last; ++i) {
                order.push_back(i);
            }
        }
        CHECK_EQUAL(order.front(), 7);
        CHECK_EQUAL(order.back(), 6);
        std::sort(order.begin(), order.end());
        for (int i = 0; i < 20; ++i) {
            CHECK_EQUAL(order[static_cast<size_t>(i)], i);
        }
        CHECK_EQUAL(order.size(), size_t{20});
    }
    ThreadPool pool(3, "");
    for (int run = 0; run < 200; ++run) {
        std::vector<int> done(90);
        Phase phase;
        phase.reset({10, 11, 90}, 4);
        pool.run([&](int thread) {
            run_phase(phase, thread, 3, [&](int first, int last) {
                for (int i = first; i < last; ++i) {
                    ++done[static_cast<size_t>(i)];
                }
            });
        });
        CHECK(std::all_of(done.begin(), done.end(), [](int n) { return n == 1; }));
    }
}

// What one phase writes, the next one reads: plain numbers, so that a missing order is a race.
TEST(a_phase_sees_what_the_one_before_wrote) {
    constexpr int width = 97;
    constexpr int phases = 20;
    ThreadPool pool(4, "");
    for (int run = 0; run < 20; ++run) {
        std::vector<std::vector<long>> layers(phases + 1, std::vector<long>(width));
        std::iota(layers[0].begin(), layers[0].end(), run);
        std::vector<Phase> work(phases);
        for (Phase& phase : work) {
            phase.reset(width, 4);
        }
        pool.run([&](int) {
            for (size_t layer = 0; layer < phases; ++layer) {
                run_phase(work[layer], [&](int first, int last) {
                    for (int i = first; i < last; ++i) {
                        const size_t other = static_cast<size_t>(width - 1 - i);
                        layers[layer + 1][static_cast<size_t>(i)] = layers[layer][other] + 1;
                    }
                });
            }
        });
        for (int i = 0; i < width; ++i) {
            CHECK_EQUAL(layers[phases][static_cast<size_t>(i)], run + i + phases);
        }
    }
}

TEST(many_short_runs_end) {
    ThreadPool pool(3, "");
    long sum = 0;
    for (int run = 0; run < 2000; ++run) {
        std::atomic<long> part{0};
        Phase phase(5, 1);
        pool.run([&](int) {
            run_phase(phase, [&](int first, int last) { part += last - first; });
        });
        sum += part;
        if (run % 500 == 0) {
            std::this_thread::sleep_for(std::chrono::milliseconds(2));  // workers fall asleep
        }
    }
    CHECK_EQUAL(sum, 10000);
}

TEST(callers_queue) {
    ThreadPool pool(2, "");
    std::vector<std::thread> callers;
    std::vector<int> sums(4);
    for (size_t caller = 0; caller < sums.size(); ++caller) {
        callers.emplace_back([&pool, &sum = sums[caller]] {
            for (int run = 0; run < 50; ++run) {
                std::atomic<int> part{0};
                Phase phase(10, 3);
                pool.run([&](int) {
                    run_phase(phase, [&](int first, int last) { part += last - first; });
                });
                sum += part;
            }
        });
    }
    for (std::thread& caller : callers) {
        caller.join();
    }
    CHECK(sums == std::vector<int>(4, 500));
}

TEST(pools_come_and_go) {
    for (int i = 0; i < 50; ++i) {
        ThreadPool pool(1 + i % 5, "");
        CHECK_EQUAL(pool.threads(), 1 + i % 5);
    }
}

TEST(each_table_is_found_by_its_name) {
    std::set<std::string> names;
    for (const Kernels* kernels : available_kernels()) {
        names.insert(kernels->name);
        CHECK(&ThreadPool(1, kernels->name).kernels() == kernels);
    }
    CHECK(names.count("portable") == 1);
    CHECK_EQUAL(names.size(), available_kernels().size());
    CHECK(&ThreadPool(1, "").kernels() == available_kernels().back());
    CHECK_REFUSED(ThreadPool(1, "mmx"));
}

TEST(thread_counts_out_of_range_are_refused) {
    for (int threads : {0, -1, 1025, 1000000}) {
        CHECK_REFUSED(ThreadPool(threads, ""));
    }
    CHECK(default_threads() >= 1);
}

int main(int argc, char** argv) {
    // For the scripts that run this on other processors.
    if (argc == 2 && std::string(argv[1]) == "--instruction-set") {
        std::puts(available_kernels().back()->name);
        return 0;
    }
    return run_tests();
}
