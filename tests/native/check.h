// The least that tests need: TEST registers, CHECK tells file and line, run_tests is main.
#pragma once

#include <cmath>
#include <cstdio>
#include <exception>
#include <functional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

struct Test {
    const char* name;
    void (*run)();
};

inline std::vector<Test>& tests() {
    static std::vector<Test> all;
    return all;
}

struct Registration {
    Registration(const char* name, void (*run)()) { tests().push_back({name, run}); }
};

#define TEST(name)                                        \
    static void name();                                   \
    static const Registration registration_##name(#name, name); \
    static void name()

[[noreturn]] inline void fail(const char* file, int line, const std::string& what) {
    std::ostringstream text;
    text << file << ":" << line << ": " << what;
    throw std::runtime_error(text.str());
}

#define CHECK(condition)                              \
    do {                                              \
        if (!(condition)) {                           \
            fail(__FILE__, __LINE__, #condition);     \
        }                                             \
    } while (false)

inline void check_equal(double got, double expected, const char* what, const char* file, int line) {
    if (!(got == expected)) {
        std::ostringstream text;
        text.precision(9);
        text << what << " is " << got << ", not " << expected;
        fail(file, line, text.str());
    }
}

#define CHECK_EQUAL(got, expected)                                                           \
    check_equal(static_cast<double>(got), static_cast<double>(expected), #got, __FILE__, __LINE__)

inline void check_close(double got, double expected, double tolerance, const char* what,
                        const char* file, int line) {
    if (!(std::fabs(got - expected) <= tolerance)) {
        std::ostringstream text;
        text.precision(9);
        text << what << " is " << got << ", not within " << tolerance << " of " << expected;
        fail(file, line, text.str());
    }
}

#define CHECK_CLOSE(got, expected, tolerance)                                                 \
    check_close(static_cast<double>(got), static_cast<double>(expected), tolerance, #got,     \
                __FILE__, __LINE__)

inline void check_refused(const std::function<void()>& body, const char* what, const char* file,
                          int line) {
    try {
        body();
    } catch (const std::invalid_argument&) {
        return;
    }
    fail(file, line, std::string("not refused: ") + what);
}

// std::invalid_argument, and nothing else, comes out.
#define CHECK_REFUSED(...) check_refused([&] { __VA_ARGS__; }, #__VA_ARGS__, __FILE__, __LINE__)

inline int run_tests() {
    int failures = 0;
    for (const Test& test : tests()) {
        try {
            test.run();
        } catch (const std::exception& error) {
            std::fprintf(stderr, "%s: %s\n", test.name, error.what());
            ++failures;
        }
    }
    std::printf("%d of %d tests passed\n", static_cast<int>(tests().size()) - failures,
                static_cast<int>(tests().size()));
    return failures == 0 ? 0 : 1;
}
