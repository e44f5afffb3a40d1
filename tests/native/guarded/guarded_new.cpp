// Memory whose end or whose start, by turns, lies against a page that may not be touched.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>

namespace {

const size_t kPage = static_cast<size_t>(sysconf(_SC_PAGESIZE));

// A page to know the size by, a forbidden page, the room, a forbidden page.
void* allocate(size_t bytes) {
    bytes = std::max(bytes, size_t{1});
    const size_t room = (bytes + kPage - 1) / kPage * kPage;
    void* mapped = mmap(nullptr, room + 3 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) throw std::bad_alloc();
    *static_cast<size_t*>(mapped) = room + 3 * kPage;
    char* first = static_cast<char*>(mapped) + 2 * kPage;
    mprotect(first - kPage, kPage, PROT_NONE);
    mprotect(first + room, kPage, PROT_NONE);
    static bool at_end = false;  // the tests have one thread
    at_end = !at_end;
    // A type's size is a multiple of its alignment: what ends with the room is aligned.
    return at_end ? first + (room - bytes) : first;
}

void release(void* memory) {
    if (!memory) return;
    // Either way it starts in the room's first page.
    char* first = reinterpret_cast<char*>(reinterpret_cast<uintptr_t>(memory) / kPage * kPage);
    char* mapped = first - 2 * kPage;
    munmap(mapped, *reinterpret_cast<size_t*>(mapped));
}

}  // namespace

void* operator new(size_t bytes) { return allocate(bytes); }
void* operator new[](size_t bytes) { return allocate(bytes); }
void operator delete(void* memory) noexcept { release(memory); }
void operator delete[](void* memory) noexcept { release(memory); }
void operator delete(void* memory, size_t) noexcept { release(memory); }
void operator delete[](void* memory, size_t) noexcept { release(memory); }
