/* QEMU TCG plugin (API version 1): how often each translated block ran between two marks.
 *
 * The guest marks places with the unused system call 1000: syscall(1000, n). From the second mark on, each writes
 * "mark <n>" and then, for each block that ran since the mark before, "count words-in-hex" to the file given by out=.
 * The counters are not atomic: count single-threaded guests only.
 */
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb *));
extern void qemu_plugin_register_vcpu_syscall_cb(plugin_id, void (*)(plugin_id, unsigned, int64_t, uint64_t, uint64_t,
                                                 uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t));
extern void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int, void *, uint64_t);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
extern const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);

#define EXPORT __attribute__((visibility("default")))
EXPORT int qemu_plugin_version = 1;
enum { ADD_U64 = 0, MARK_SYSCALL = 1000, BUCKETS = 65536, MAX_WORDS = 1024 };

typedef struct block {
    uint64_t address, count, count_at_mark;
    uint32_t size;
    struct block *next;
    uint32_t words[];
} block;

static block *blocks[BUCKETS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *out;

static block *find(uint64_t address, const uint32_t *words, uint32_t size) {
    block **head = &blocks[(address >> 2) % BUCKETS], *known;
    for (known = *head; known; known = known->next)
        if (known->address == address && known->size == size && !memcmp(known->words, words, 4 * size)) return known;
    known = calloc(1, sizeof *known + 4 * size);
    if (!known) abort();
    known->address = address;
    known->size = size;
    memcpy(known->words, words, 4 * size);
    known->next = *head;
    return *head = known;
}

static void translated(plugin_id id, struct qemu_plugin_tb *translation) {
    uint32_t words[MAX_WORDS], size = qemu_plugin_tb_n_insns(translation);
    if (size > MAX_WORDS) size = MAX_WORDS;
    for (uint32_t i = 0; i < size; i++)
        memcpy(&words[i], qemu_plugin_insn_data(qemu_plugin_tb_get_insn(translation, i)), 4);
    pthread_mutex_lock(&lock);
    block *known = find(qemu_plugin_tb_vaddr(translation), words, size);
    pthread_mutex_unlock(&lock);
    qemu_plugin_register_vcpu_tb_exec_inline(translation, ADD_U64, &known->count, 1);
}

static void called(plugin_id id, unsigned cpu, int64_t number, uint64_t mark, uint64_t b, uint64_t c, uint64_t d,
                   uint64_t e, uint64_t f, uint64_t g, uint64_t h) {
    static FILE *file;
    if (number != MARK_SYSCALL) return;
    if (file) fprintf(file, "mark %llu\n", (unsigned long long)mark);
    for (int i = 0; i < BUCKETS; i++)
        for (block *known = blocks[i]; known; known = known->next) {
            if (file && known->count > known->count_at_mark) {
                fprintf(file, "%llu ", (unsigned long long)(known->count - known->count_at_mark));
                for (uint32_t k = 0; k < known->size; k++) fprintf(file, "%08x", __builtin_bswap32(known->words[k]));
                fputc('\n', file);
            }
            known->count_at_mark = known->count;
        }
    if (file ? fflush(file) : !(file = fopen(out, "w"))) abort();
}

EXPORT int qemu_plugin_install(plugin_id id, const void *info, int count, char **options) {
    for (int i = 0; i < count; i++)
        if (!strncmp(options[i], "out=", 4)) out = strdup(options[i] + 4);
    if (!out) return 1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_vcpu_syscall_cb(id, called);
    return 0;
}
