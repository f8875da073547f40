// Threads, containers, strings, exceptions and blocks that are freed by another thread than the one that made
// them. Prints one number per thread and their sum; the same in each run, whatever the allocator.
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

namespace {

struct Random {
    uint64_t state;
    uint64_t next() {
        state ^= state << 13;
        state ^= state >> 7;
        return state ^= state << 17;
    }
};

struct Parcel {
    virtual ~Parcel() = default;
    virtual uint64_t weigh() const = 0;
};

struct Text : Parcel {
    std::string text;
    explicit Text(Random& random) : text(random.next() % 300, char('a' + random.next() % 26)) {}
    uint64_t weigh() const override {
        uint64_t sum = 0;
        for (unsigned char letter : text) sum = sum * 31 + letter;
        return sum;
    }
};

// Over-aligned: `new` goes by aligned_alloc.
struct alignas(64) Line : Parcel {
    uint64_t words[14];
    explicit Line(Random& random) { for (auto& word : words) word = random.next(); }
    uint64_t weigh() const override {
        if (reinterpret_cast<uintptr_t>(this) % 64) throw std::logic_error("misaligned");
        uint64_t sum = 0;
        for (auto word : words) sum ^= word;
        return sum;
    }
};

// Goods from one thread to the next.
class Belt {
    std::mutex mutex;
    std::condition_variable filled;
    std::deque<std::unique_ptr<Parcel>> parcels;

public:
    void put(std::unique_ptr<Parcel> parcel) {
        std::lock_guard<std::mutex> lock(mutex);
        parcels.push_back(std::move(parcel));
        filled.notify_one();
    }
    std::unique_ptr<Parcel> take() {
        std::unique_lock<std::mutex> lock(mutex);
        filled.wait(lock, [&] { return !parcels.empty(); });
        auto parcel = std::move(parcels.front());
        parcels.pop_front();
        return parcel;
    }
};

uint64_t containers(Random& random) {
    std::map<uint64_t, std::string> tree;
    std::unordered_map<std::string, std::vector<uint64_t>> table;
    for (int i = 0; i < 4000; i++) {
        uint64_t key = random.next() % 2000;
        tree[key] += std::to_string(key);
        if (tree[key].size() > 200) tree.erase(key);
        table[std::to_string(key % 500)].push_back(key);
        if (i % 7 == 0) table.erase(std::to_string(random.next() % 500));
    }
    uint64_t sum = 0;
    for (auto& [key, text] : tree) sum += key * text.size();
    for (auto& [name, keys] : table) for (auto key : keys) sum += key * name.size();
    return sum;
}

int descend(Random& random, int depth) {
    std::vector<std::string> kept(depth % 5, std::string(depth * 3, 'x'));
    if (depth == 0) throw std::runtime_error(std::to_string(random.next() % 1000) + std::string(100, '.'));
    return descend(random, depth - 1) + int(kept.size());
}

uint64_t exceptions(Random& random) {
    uint64_t sum = 0;
    for (int i = 0; i < 300; i++) {
        try {
            descend(random, i % 20);
        } catch (const std::runtime_error& error) {
            sum += std::stoi(error.what());
        }
    }
    try {
        std::vector<char> huge(SIZE_MAX / 4);
        sum = 0;
    } catch (const std::bad_alloc&) {
        sum += 1;
    }
    return sum;
}

// Allocates when its thread ends, after the destructors of other thread-locals may have run.
struct Last {
    std::vector<std::string> words;
    std::atomic<uint64_t>* sum = nullptr;
    ~Last() {
        for (int i = 0; i < 100; i++) words.push_back(std::string(i, 'z'));
        for (auto& word : words) if (sum) *sum += word.size();
    }
};
thread_local Last last;

}  // namespace

int main(int count, char** arguments) {
    int rounds = count > 1 ? std::stoi(arguments[1]) : 40;
    const int threads = 6;
    const int parcels = 400;
    std::vector<Belt> belts(threads);
    std::vector<uint64_t> sums(threads);
    std::atomic<uint64_t> ends{0};
    for (int round = 0; round < rounds; round++) {
        std::vector<std::thread> running;
        for (int n = 0; n < threads; n++) {
            running.emplace_back([&, n] {
                Random random{uint64_t(round * 1000 + n + 1)};
                last.sum = &ends;
                for (int i = 0; i < parcels; i++) {
                    if (random.next() % 3) belts[n].put(std::make_unique<Text>(random));
                    else belts[n].put(std::make_unique<Line>(random));
                }
                uint64_t sum = containers(random) + exceptions(random);
                for (int i = 0; i < parcels; i++) sum += belts[(n + 1) % threads].take()->weigh();
                sums[n] = sums[n] * 31 + sum;
            });
        }
        for (auto& thread : running) thread.join();
    }
    uint64_t total = ends;
    for (auto sum : sums) {
        std::printf("%016llx\n", static_cast<unsigned long long>(sum));
        total += sum;
    }
    std::printf("%016llx\n", static_cast<unsigned long long>(total));
}
