// Every form of C++17's new and delete. Each block is shown to malloc_usable_size, which a preloaded library
// answers for its own blocks only: so none of them comes from elsewhere. What is asked for in vain ends as the
// standard says: a handler's turn, then bad_alloc or null.
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <malloc.h>
#include <new>

static int failures = 0;

#define EXPECT(that) \
    do { if (!(that)) { std::printf("line %d: %s\n", __LINE__, #that); ++failures; } } while (0)

static void *checked(void *block, std::size_t size, std::size_t align) {
    EXPECT(block && malloc_usable_size(block) >= size);
    EXPECT(reinterpret_cast<std::uintptr_t>(block) % align == 0);
    std::memset(block, 0xa5, size);
    return block;
}

static const std::size_t sizes[] = {0, 1, 24, 100, 4096, 32768, 100000, 3 << 20};

static void plain() {
    for (std::size_t size : sizes) {
        ::operator delete(checked(::operator new(size), size, 16));
        ::operator delete(checked(::operator new(size), size, 16), size);
        ::operator delete(checked(::operator new(size, std::nothrow), size, 16), std::nothrow);
        ::operator delete[](checked(::operator new[](size), size, 16));
        ::operator delete[](checked(::operator new[](size), size, 16), size);
        ::operator delete[](checked(::operator new[](size, std::nothrow), size, 16), std::nothrow);
    }
}

static void aligned() {
    for (std::size_t size : sizes) {
        for (std::size_t bytes = 32; bytes <= 1 << 16; bytes *= 2) {
            std::align_val_t align{bytes};
            ::operator delete(checked(::operator new(size, align), size, bytes), align);
            ::operator delete(checked(::operator new(size, align), size, bytes), size, align);
            ::operator delete(checked(::operator new(size, align, std::nothrow), size, bytes), align, std::nothrow);
            ::operator delete[](checked(::operator new[](size, align), size, bytes), align);
            ::operator delete[](checked(::operator new[](size, align), size, bytes), size, align);
            ::operator delete[](checked(::operator new[](size, align, std::nothrow), size, bytes), align, std::nothrow);
        }
    }
}

static int handled = 0;

static void handler() {
    if (++handled % 3 == 0) std::set_new_handler(nullptr);
}

template <typename New> static bool refused(New make) {
    handled = 0;
    std::set_new_handler(handler);
    try {
        return make() == nullptr && handled == 3;
    } catch (const std::bad_alloc &) {
        return handled == 3;
    }
}

static void in_vain() {
    volatile std::size_t most = PTRDIFF_MAX;
    std::align_val_t align{256};
    EXPECT(refused([&] { return ::operator new(most); }));
    EXPECT(refused([&] { return ::operator new[](most); }));
    EXPECT(refused([&] { return ::operator new(most, std::nothrow); }));
    EXPECT(refused([&] { return ::operator new[](most, std::nothrow); }));
    EXPECT(refused([&] { return ::operator new(most, align); }));
    EXPECT(refused([&] { return ::operator new[](most, align); }));
    EXPECT(refused([&] { return ::operator new(most, align, std::nothrow); }));
    EXPECT(refused([&] { return ::operator new[](most, align, std::nothrow); }));
}

int main() {
    plain();
    aligned();
    in_vain();
    std::printf("%d failures\n", failures);
    return failures != 0;
}
