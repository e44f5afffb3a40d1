// Compiled without the thread sanitizer's instrumentation, for which the emulator itself does not exist;
// ADROIT_EMULATE_THREADS then says that the kernels have it.
#include "emulator.h"

#include <sys/mman.h>
#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(ADROIT_EMULATE_THREADS)
#include <sanitizer/tsan_interface.h>
#endif

namespace adroit::tests {
namespace {

#if defined(ADROIT_EMULATE_THREADS)
constexpr size_t kStackBytes = 32 * 1024;  // the thread sanitizer visits it all for every block
#else
constexpr size_t kStackBytes = 256 * 1024;
#endif
constexpr size_t kSharedBytes = 48 * 1024;
constexpr int kVariables = 4;  // shared ones that a kernel declares, at most

struct Fiber {
    ucontext_t context{};
    char* stack = nullptr;
    Index index;
    bool ended = false;
    unsigned barriers = 0;      // that it passed
    void* sanitizer = nullptr;  // what the sanitizer knows this fiber by
};

struct Block {
    std::vector<Fiber> fibers;
    size_t current = 0;
    ucontext_t scheduler{};
    void* scheduler_sanitizer = nullptr;
    const void* scheduler_stack = nullptr;
    size_t scheduler_stack_bytes = 0;
    const std::function<void()>* kernel = nullptr;
    const void* declarations[kVariables] = {};
    char* variables[kVariables] = {};
    char* memory = nullptr;    // stacks; then what is below
    char* shared = nullptr;    // the next free byte of shared memory
    char* barriers = nullptr;  // two addresses that stand for this barrier and the next
    char end = 0;              // one that stands for the kernel's end
    unsigned number = 0;
};

Block* running = nullptr;

#if defined(__SANITIZE_ADDRESS__)
void begin_switch(void** save, const void* stack, size_t bytes) { __sanitizer_start_switch_fiber(save, stack, bytes); }
void end_switch(void* saved, const void** from, size_t* bytes) { __sanitizer_finish_switch_fiber(saved, from, bytes); }
#else
void begin_switch(void**, const void*, size_t) {}
void end_switch(void*, const void**, size_t*) {}
#endif

#if defined(ADROIT_EMULATE_THREADS)
void acquire(void* address) { __tsan_acquire(address); }
void release(void* address) { __tsan_release(address); }
void* new_thread() { return __tsan_create_fiber(0); }
void delete_thread(void* thread) { __tsan_destroy_fiber(thread); }
void* this_thread() { return __tsan_get_current_fiber(); }
void become(void* thread) { __tsan_switch_to_fiber(thread, __tsan_switch_to_fiber_no_sync); }
#else
void acquire(void*) {}
void release(void*) {}
void* new_thread() { return nullptr; }
void delete_thread(void*) {}
void* this_thread() { return nullptr; }
void become(void*) {}
#endif

// From a fiber back to the scheduler; returns when the scheduler chooses the fiber again.
void yield(bool ended) {
    Block& block = *running;
    Fiber& fiber = block.fibers[block.current];
    void* saved = nullptr;
    begin_switch(ended ? nullptr : &saved, block.scheduler_stack, block.scheduler_stack_bytes);
    become(block.scheduler_sanitizer);
    swapcontext(&fiber.context, &block.scheduler);
    end_switch(saved, nullptr, nullptr);
}

void enter_fiber() {
    Block& block = *running;
    end_switch(nullptr, &block.scheduler_stack, &block.scheduler_stack_bytes);
    (*block.kernel)();
    release(&block.end);
    block.fibers[block.current].ended = true;
    yield(true);
}

void resume(Block& block, size_t index) {
    block.current = index;
    Fiber& fiber = block.fibers[index];
    void* saved = nullptr;
    begin_switch(&saved, fiber.stack, kStackBytes);
    become(fiber.sanitizer);
    swapcontext(&block.scheduler, &fiber.context);
    end_switch(saved, nullptr, nullptr);
}

void prepare(Block& block, unsigned index) {
    Fiber& fiber = block.fibers[index];
    fiber.index.x = index;
    fiber.ended = false;
    fiber.barriers = 0;
    fiber.stack = block.memory + index * kStackBytes;
    // A thread of its own for every block: blocks, too, are not ordered.
    fiber.sanitizer = new_thread();
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack;
    fiber.context.uc_stack.ss_size = kStackBytes;
    makecontext(&fiber.context, enter_fiber, 0);
}

// Memory of one block. It is given back after each: to the thread sanitizer, memory that is used again
// would be a race of two blocks.
size_t memory_bytes(const Block& block) { return block.fibers.size() * kStackBytes + kSharedBytes + 2; }

void begin_memory(Block& block) {
    void* memory =
        mmap(nullptr, memory_bytes(block), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) std::perror("emulator"), std::abort();
    block.memory = static_cast<char*>(memory);
    block.shared = block.memory + block.fibers.size() * kStackBytes;
    block.barriers = block.shared + kSharedBytes;
}

#if defined(ADROIT_EMULATE_THREADS)
char* take_shared(Block& block, size_t bytes) {
    char* memory = block.shared;
    block.shared += (bytes + 15) / 16 * 16;
    return memory;
}
void give_shared(char*) {}
#else
char* take_shared(Block&, size_t bytes) { return new (std::align_val_t(16)) char[bytes]; }
void give_shared(char* memory) { ::operator delete[](memory, std::align_val_t(16)); }
#endif

void end_memory(Block& block) {
    for (int i = 0; i < kVariables; ++i) {
        if (block.declarations[i]) give_shared(block.variables[i]);
        block.declarations[i] = nullptr;
    }
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(block.memory, memory_bytes(block));
#endif
    munmap(block.memory, memory_bytes(block));
}

// One round is what all threads do up to the next barrier.
void run_block(Block& block) {
    begin_memory(block);
    for (unsigned i = 0; i < block.fibers.size(); ++i) prepare(block, i);
    for (size_t left = block.fibers.size(); left > 0;) {
        left = 0;
        for (size_t i = 0; i < block.fibers.size(); ++i) {
            if (!block.fibers[i].ended) resume(block, i);
            left += !block.fibers[i].ended;
        }
    }
    for (Fiber& fiber : block.fibers) delete_thread(fiber.sanitizer);
    end_memory(block);
}

}  // namespace

Index thread_index() { return running->fibers[running->current].index; }
Index block_index() { return {running->number}; }

void* shared_variable(const void* declaration, size_t bytes) {
    Block& block = *running;
    int i = 0;
    while (block.declarations[i] && block.declarations[i] != declaration) ++i;
    if (!block.declarations[i]) {
        block.declarations[i] = declaration;
        block.variables[i] = take_shared(block, bytes);
        // Volatile: a call of memset would be seen as an access of the kernel's.
        for (size_t b = 0; b < bytes; ++b) static_cast<volatile char*>(block.variables[i])[b] = static_cast<char>(0xff);
    }
    return block.variables[i];
}

void synchronize_block() {
    // Two addresses in turn: a thread that is already at the next barrier must not be ordered by this one.
    Fiber& fiber = running->fibers[running->current];
    char* barrier = &running->barriers[fiber.barriers++ % 2];
    release(barrier);
    yield(false);
    acquire(barrier);
}

void run_kernel(int64_t blocks, int threads, const std::function<void()>& kernel) {
    Block block;
    block.fibers.resize(static_cast<size_t>(threads));
    block.kernel = &kernel;
    block.scheduler_sanitizer = this_thread();
    running = &block;
    for (int64_t i = 0; i < blocks; ++i) {
        block.number = static_cast<unsigned>(i);
        run_block(block);
    }
    running = nullptr;
    acquire(&block.end);  // the caller sees what all blocks did
}

}  // namespace adroit::tests
