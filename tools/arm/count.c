/* QEMU TCG plugin (API version 1): counts guest instructions.
 *
 * The guest marks a region with the unused system call 1000: syscall(1000, n) appends a line "mark<n> ..." with the
 * counters so far to the file given by out=. The counters are not atomic: count single-threaded guests only.
 */
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb *));
extern void qemu_plugin_register_vcpu_syscall_cb(plugin_id, void (*)(plugin_id, unsigned, int64_t, uint64_t, uint64_t,
                                                 uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t));
extern void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int, void *, uint64_t);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
extern const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);

#define EXPORT __attribute__((visibility("default")))
EXPORT int qemu_plugin_version = 1;
enum { ADD_U64 = 0, MARK_SYSCALL = 1000 };

static uint64_t instructions, dot_products, simd, loads_stores;
static const char *out;

static void translated(plugin_id id, struct qemu_plugin_tb *block) {
    size_t n = qemu_plugin_tb_n_insns(block);
    uint64_t dot = 0, vector = 0, memory = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t word;
        memcpy(&word, qemu_plugin_insn_data(qemu_plugin_tb_get_insn(block, i)), sizeof word);
        /* Arm ARM, C4.1: SDOT and UDOT by vector and by element; data processing (SIMD); loads and stores */
        dot += (word & 0x9f20fc00) == 0x0e009400 || (word & 0x9f00f400) == 0x0f00e000;
        vector += (word & 0x0e000000) == 0x0e000000;
        memory += (word & 0x0a000000) == 0x08000000;
    }
    qemu_plugin_register_vcpu_tb_exec_inline(block, ADD_U64, &instructions, n);
    if (dot) qemu_plugin_register_vcpu_tb_exec_inline(block, ADD_U64, &dot_products, dot);
    if (vector) qemu_plugin_register_vcpu_tb_exec_inline(block, ADD_U64, &simd, vector);
    if (memory) qemu_plugin_register_vcpu_tb_exec_inline(block, ADD_U64, &loads_stores, memory);
}

static void called(plugin_id id, unsigned cpu, int64_t number, uint64_t mark, uint64_t b, uint64_t c, uint64_t d,
                   uint64_t e, uint64_t f, uint64_t g, uint64_t h) {
    if (number != MARK_SYSCALL) return;
    char line[200];
    int size = snprintf(line, sizeof line, "mark%llu instructions %llu dot_products %llu simd %llu loads_stores %llu\n",
                        (unsigned long long)mark, (unsigned long long)instructions, (unsigned long long)dot_products,
                        (unsigned long long)simd, (unsigned long long)loads_stores);
    int file = open(out, O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (file < 0 || write(file, line, size) != size) _exit(1);
    close(file);
}

EXPORT int qemu_plugin_install(plugin_id id, const void *info, int count, char **options) {
    for (int i = 0; i < count; i++)
        if (!strncmp(options[i], "out=", 4)) out = strdup(options[i] + 4);
    if (!out) return 1;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_vcpu_syscall_cb(id, called);
    return 0;
}
