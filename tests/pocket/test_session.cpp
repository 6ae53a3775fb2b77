// Sessions: however a text came to be in the cache, the logits after it are the same to the bit.
#include <algorithm>
#include <cstring>

#include "check.h"
#include "error.h"
#include "session.h"
#include "small_file.h"

using namespace pocketlm;

namespace {

using Bytes = std::vector<uint8_t>;
using Tokens = std::vector<int32_t>;

std::shared_ptr<Model> load(const Bytes& bytes, int threads = 1) {
    ModelOptions options;
    options.threads = threads;
    return Model::load(std::make_unique<Source>(bytes.data(), bytes.size()), options);
}

Tokens text_of(int count, int seed = 1) {
    Tokens tokens;
    for (int i = 0; i < count; ++i) {
        tokens.push_back((7 * i * i + 3 * i + seed) % small_file::vocabulary);
    }
    return tokens;
}

void step(Session& session, const Tokens& tokens) {
    session.step(tokens.data(), static_cast<int>(tokens.size()));
}

std::vector<float> logits_of(const Session& session) {
    CHECK(session.logits() != nullptr);
    return {session.logits(), session.logits() + session.model().program().vocab_size};
}

std::vector<float> logits_after(const std::shared_ptr<Model>& model, const Tokens& tokens) {
    Session session(model, 0);
    step(session, tokens);
    return logits_of(session);
}

bool same(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), 4 * a.size()) == 0;
}

Fault fault_of(const std::function<void()>& body) {
    try {
        body();
    } catch (const Error& error) {
        return error.fault();
    }
    fail(__FILE__, __LINE__, "not refused");
}

const char* const architectures[] = {"llama", "mistral", "phi3"};

}  // namespace

TEST(a_file_that_is_read_piece_by_piece_gives_the_same) {
    for (const char* architecture : architectures) {
        const Bytes bytes = small_file::model(architecture);
        size_t most = 0;
        const auto read = [&](uint64_t offset, uint8_t* to, size_t size) {
            CHECK(offset <= bytes.size() && size <= bytes.size() - offset);
            most = std::max(most, offset == 0 ? 0 : size);
            std::memcpy(to, bytes.data() + offset, size);
            return true;
        };
        const std::shared_ptr<Model> model =
            Model::load(std::make_unique<Source>(bytes.size(), read), {1, "q8", ""});
        CHECK(same(logits_after(model, text_of(40)), logits_after(load(bytes), text_of(40))));
        CHECK_EQUAL(model->mapped_bytes(), 0);
        CHECK(most > 0 && most < bytes.size() / 2);
    }
}

TEST(a_file_that_cannot_be_read) {
    const Bytes bytes = small_file::model();
    for (int reads = 0; reads < 4; ++reads) {
        int left = reads;
        const auto read = [&](uint64_t offset, uint8_t* to, size_t size) {
            if (left-- == 0) {
                return false;
            }
            std::memcpy(to, bytes.data() + offset, size);
            return true;
        };
        CHECK(fault_of([&] {
                  Model::load(std::make_unique<Source>(bytes.size(), read), {1, "q8", ""});
              }) == Fault::file);
    }
}

TEST(one_by_one_is_as_all_at_once) {
    for (const char* architecture : architectures) {
        const Bytes bytes = small_file::model(architecture);
        const std::shared_ptr<Model> model = load(bytes);
        const Tokens text = text_of(100);
        Session session(model, 0);
        for (const int32_t token : text) {
            step(session, {token});
        }
        CHECK(same(logits_of(session), logits_after(model, text)));
        CHECK(same(logits_of(session), logits_after(load(bytes, 3), text)));
    }
}

TEST(a_long_text_goes_in_parts) {
    const Bytes bytes = small_file::model("mistral");
    const std::shared_ptr<Model> model = load(bytes);
    const Tokens text = text_of(700);
    Session session(model, 0);
    step(session, Tokens(text.begin(), text.begin() + 300));
    step(session, Tokens(text.begin() + 300, text.end()));
    CHECK(same(logits_of(session), logits_after(model, text)));
}

TEST(rewinding_forgets) {
    for (const char* architecture : architectures) {
        const Bytes bytes = small_file::model(architecture);
        const std::shared_ptr<Model> model = load(bytes);
        const Tokens text = text_of(90);
        for (const int length : {0, 1, 31, 32, 33, 47, 48, 49, 89}) {
            Session session(model, 0);
            step(session, text);
            session.rewind(length);
            CHECK(session.logits() == nullptr);
            CHECK_EQUAL(session.tokens().size(), length);
            const Tokens other = text_of(11, 5);
            step(session, other);
            Tokens whole(text.begin(), text.begin() + length);
            whole.insert(whole.end(), other.begin(), other.end());
            CHECK(same(logits_of(session), logits_after(model, whole)));
        }
    }
}

TEST(rewinding_past_what_a_window_let_go) {
    const Bytes bytes = small_file::model("mistral");
    const std::shared_ptr<Model> model = load(bytes);
    const Tokens text = text_of(1500);
    Session session(model, 0);
    step(session, text);
    // Only what is seen, and what a short way back needs, is kept.
    CHECK(model->cache().blocks_in_use() <= (small_file::window + 512) / 32 + 3);
    session.rewind(1300);
    step(session, {3});
    session.rewind(400);
    step(session, {4});
    Tokens whole(text.begin(), text.begin() + 400);
    whole.push_back(4);
    CHECK(same(logits_of(session), logits_after(model, whole)));
}

TEST(blocks_come_back) {
    const Bytes bytes = small_file::model();
    const std::shared_ptr<Model> model = load(bytes);
    {
        Session session(model, 0);
        step(session, text_of(100));
        CHECK_EQUAL(model->cache().blocks_in_use(), 4);
        session.rewind(33);
        CHECK_EQUAL(model->cache().blocks_in_use(), 2);
    }
    CHECK_EQUAL(model->cache().blocks_in_use(), 0);
}

TEST(sessions_do_not_disturb_each_other) {
    const Bytes bytes = small_file::model();
    const std::shared_ptr<Model> model = load(bytes);
    Session first(model, 0);
    Session second(model, 0);
    step(first, text_of(40));
    step(second, text_of(60, 9));
    step(first, {1, 2, 3});
    Tokens whole = text_of(40);
    whole.insert(whole.end(), {1, 2, 3});
    CHECK(same(logits_of(first), logits_after(model, whole)));
    CHECK(same(logits_of(second), logits_after(model, text_of(60, 9))));
}

TEST(what_fails_changes_nothing) {
    const Bytes bytes = small_file::model();
    const std::shared_ptr<Model> model = load(bytes);
    Session session(model, 50);
    step(session, text_of(40));
    const int32_t outside[] = {1, small_file::vocabulary};
    const int32_t negative[] = {-1};
    CHECK(fault_of([&] { session.step(outside, 2); }) == Fault::argument);
    CHECK(fault_of([&] { session.step(negative, 1); }) == Fault::argument);
    CHECK(fault_of([&] { session.step(outside, 0); }) == Fault::argument);
    CHECK(fault_of([&] { step(session, text_of(11)); }) == Fault::context);
    CHECK(fault_of([&] { session.rewind(41); }) == Fault::argument);
    CHECK(fault_of([&] { session.rewind(-1); }) == Fault::argument);
    step(session, text_of(10));
    Tokens whole = text_of(40);
    for (const int32_t token : text_of(10)) {
        whole.push_back(token);
    }
    CHECK(same(logits_of(session), logits_after(model, whole)));
    CHECK(fault_of([&] { Session(model, small_file::context + 1); }) == Fault::argument);
    CHECK(fault_of([&] { Session(model, -1); }) == Fault::argument);
}

int main() { return run_tests(); }
