// A server by Larson and Krishnan (1998): each thread replaces random ones of its blocks, then ends and
// leaves them to a successor, which frees what others allocated.
//
//   alloc-larson plain|sized GENERATIONS
//
// `sized` calls C++14's `operator delete(void *, size_t)`, `plain` the one without.

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <thread>
#include <vector>

constexpr int LINES = 2, BLOCKS = 5000, REPLACEMENTS = 100000;

struct Block { void *start; size_t size; };

template <bool SIZED> void free_block(Block block) {
    if (SIZED) ::operator delete(block.start, block.size);
    else ::operator delete(block.start);
}

static Block new_block(uint64_t &random) {
    random ^= random << 13; random ^= random >> 7; random ^= random << 17;
    size_t size = 10 + (random >> 32) % 990;
    auto block = Block{::operator new(size), size};
    memset(block.start, 1, 8);
    return block;
}

template <bool SIZED> void generation(std::vector<Block> &blocks, uint64_t random) {
    for (int n = 0; n < REPLACEMENTS; n++) {
        random ^= random << 13; random ^= random >> 7; random ^= random << 17;
        Block &place = blocks[(random >> 32) % BLOCKS];
        free_block<SIZED>(place);
        place = new_block(random);
    }
}

template <bool SIZED> void line(int generations, uint64_t random) {
    std::vector<Block> blocks;
    for (int n = 0; n < BLOCKS; n++) blocks.push_back(new_block(random));
    // One thread after the other: each finds the blocks of the one before.
    for (int n = 0; n < generations; n++) std::thread(generation<SIZED>, std::ref(blocks), random + n).join();
    for (Block block : blocks) free_block<SIZED>(block);
}

int main(int count, char **words) {
    if (count != 3) return 2;
    auto run = std::string(words[1]) == "sized" ? line<true> : line<false>;
    std::vector<std::thread> lines;
    for (int n = 0; n < LINES; n++) lines.emplace_back(run, atoi(words[2]), 2 * n + 1);
    for (auto &thread : lines) thread.join();
}
