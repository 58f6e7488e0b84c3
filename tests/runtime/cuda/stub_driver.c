/* A CUDA driver over host memory, as far as dsunet_runtime/cuda calls one, and the management
 * library: so that the bindings themselves can be tested where there is no GPU.  Work is carried out
 * at once.  What needs a context fails without one in the calling thread. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INVALID_CONTEXT = 201, NOT_FOUND = 500 };
enum { INSUFFICIENT_SIZE = 7 };
enum { MAJOR = 75, MINOR = 76, MEMORY_TYPE = 2, ORDINAL = 9, DEVICE_MEMORY = 2 };
enum { BLOCKING_WITHOUT_TIMING = 3, NON_BLOCKING = 1, THREAD_LOCAL_CAPTURE = 1 };

#define MEMORY ((size_t)8 << 30)
#define NEEDS_CONTEXT if (!depth) return INVALID_CONTEXT

typedef struct { void *to; const void *from; size_t size; } Copy;
typedef struct { int count; Copy copies[16]; } Graph;
typedef struct Block { void *start; size_t size; struct Block *next; } Block;

static _Thread_local void *stack[64];
static _Thread_local int depth;
static char primary_context;
static int retained;
static Graph *recording;
static Block *blocks;

int cuInit(unsigned flags) { return OK; }
int cuDriverGetVersion(int *version) { *version = 13000; return OK; }
int cuDeviceGetCount(int *count) { *count = 1; return OK; }
int cuDeviceGet(int *device, int index) { *device = index; return index ? INVALID_VALUE : OK; }
int cuDeviceGetName(char *text, int n, int device) { snprintf(text, n, "Stub"); return OK; }
int cuDeviceTotalMem_v2(size_t *size, int device) { *size = MEMORY; return OK; }
int cuDeviceGetPCIBusId(char *text, int n, int device) {
    snprintf(text, n, "0000:01:00.0");
    return OK;
}
int cuDeviceGetAttribute(int *value, int which, int device) {
    *value = which == MAJOR ? 8 : which == MINOR ? 9 : 0;
    return OK;
}

int cuDevicePrimaryCtxRetain(void **context, int device) {
    retained++;
    *context = &primary_context;
    return OK;
}
int cuDevicePrimaryCtxRelease_v2(int device) { return retained-- > 0 ? OK : INVALID_CONTEXT; }
int cuCtxPushCurrent_v2(void *context) {
    if (!context || !retained) return INVALID_CONTEXT;
    stack[depth++] = context;
    return OK;
}
int cuCtxPopCurrent_v2(void **context) {
    NEEDS_CONTEXT;
    *context = stack[--depth];
    return OK;
}

int cuMemAlloc_v2(uint64_t *pointer, size_t size) {
    NEEDS_CONTEXT;
    if (size > MEMORY) return OUT_OF_MEMORY;
    Block *block = malloc(sizeof *block);
    *block = (Block){aligned_alloc(256, (size + 255) / 256 * 256), size, blocks};
    blocks = block;
    *pointer = (uint64_t)block->start;
    return OK;
}
int cuMemFree_v2(uint64_t pointer) {
    NEEDS_CONTEXT;
    for (Block **at = &blocks; *at; at = &(*at)->next) {
        if ((uint64_t)(*at)->start != pointer) continue;
        Block *block = *at;
        *at = block->next;
        free(block->start), free(block);
        return OK;
    }
    return INVALID_VALUE;
}
int cuPointerGetAttribute(void *value, int which, uint64_t pointer) {
    NEEDS_CONTEXT;
    for (Block *block = blocks; block; block = block->next) {
        uint64_t start = (uint64_t)block->start;
        if (pointer < start || pointer >= start + block->size) continue;
        if (which == MEMORY_TYPE) *(unsigned *)value = DEVICE_MEMORY;
        else if (which == ORDINAL) *(int *)value = 0;
        else return INVALID_VALUE;
        return OK;
    }
    return INVALID_VALUE;
}
int cuMemHostAlloc(void **pointer, size_t size, unsigned flags) {
    NEEDS_CONTEXT;
    *pointer = malloc(size);
    return OK;
}
int cuMemFreeHost(void *pointer) { NEEDS_CONTEXT; free(pointer); return OK; }

static int copy(void *to, const void *from, size_t size) {
    if (recording) recording->copies[recording->count++] = (Copy){to, from, size};
    else memcpy(to, from, size);
    return OK;
}
int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t size, void *stream) {
    NEEDS_CONTEXT;
    return copy((void *)to, from, size);
}
int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t size, void *stream) {
    NEEDS_CONTEXT;
    return copy(to, (void *)from, size);
}
int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t size, void *stream) {
    NEEDS_CONTEXT;
    return copy((void *)to, (void *)from, size);
}

int cuStreamCreate(void **stream, unsigned flags) {
    NEEDS_CONTEXT;
    *stream = malloc(1);
    return flags == NON_BLOCKING ? OK : INVALID_VALUE;
}
int cuStreamDestroy_v2(void *stream) { NEEDS_CONTEXT; free(stream); return OK; }
int cuStreamSynchronize(void *stream) { NEEDS_CONTEXT; return OK; }
int cuStreamWaitEvent(void *stream, void *event, unsigned flags) {
    NEEDS_CONTEXT;
    return event ? OK : INVALID_VALUE;
}
int cuEventCreate(void **event, unsigned flags) {
    NEEDS_CONTEXT;
    *event = malloc(1);
    return flags == BLOCKING_WITHOUT_TIMING ? OK : INVALID_VALUE;
}
int cuEventDestroy_v2(void *event) { NEEDS_CONTEXT; free(event); return OK; }
int cuEventRecord(void *event, void *stream) { NEEDS_CONTEXT; return event ? OK : INVALID_VALUE; }
int cuEventSynchronize(void *event) { NEEDS_CONTEXT; return event ? OK : INVALID_VALUE; }

int cuStreamBeginCapture_v2(void *stream, int mode) {
    NEEDS_CONTEXT;
    recording = calloc(1, sizeof *recording);
    return mode == THREAD_LOCAL_CAPTURE ? OK : INVALID_VALUE;
}
int cuStreamEndCapture(void *stream, void **graph) {
    NEEDS_CONTEXT;
    *graph = recording;
    recording = NULL;
    return OK;
}
int cuGraphInstantiateWithFlags(void **executable, void *graph, unsigned long long flags) {
    *executable = memcpy(malloc(sizeof(Graph)), graph, sizeof(Graph));
    return OK;
}
int cuGraphDestroy(void *graph) { free(graph); return OK; }
int cuGraphExecDestroy(void *executable) { free(executable); return OK; }
int cuGraphLaunch(void *executable, void *stream) {
    NEEDS_CONTEXT;
    Graph *graph = executable;
    for (int i = 0; i < graph->count; i++)
        memcpy(graph->copies[i].to, graph->copies[i].from, graph->copies[i].size);
    return OK;
}

int nvmlInitWithFlags(unsigned flags) { return OK; }
int nvmlSystemGetDriverVersion(char *text, unsigned n) {
    snprintf(text, n, "580.95.05");
    return OK;
}
int nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, void **device) {
    *device = &primary_context;
    return strcmp(bus_id, "0000:01:00.0") ? INVALID_VALUE : OK;
}
int nvmlDeviceGetMemoryInfo(void *device, unsigned long long *total_free_used) {
    total_free_used[0] = MEMORY, total_free_used[1] = MEMORY - 1, total_free_used[2] = 1;
    return device == &primary_context ? OK : INVALID_VALUE;
}
int nvmlDeviceGetClockInfo(void *device, int which, unsigned *mhz) {
    *mhz = 2520;
    return which == 1 ? OK : INVALID_VALUE;
}
int nvmlDeviceGetPowerUsage(void *device, unsigned *milliwatts) { *milliwatts = 250500; return OK; }
int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *degrees) {
    *degrees = 61;
    return sensor == 0 ? OK : INVALID_VALUE;
}
/* Besides two that slow nothing down: idle, and clocks that somebody has set. */
int nvmlDeviceGetCurrentClocksThrottleReasons(void *device, unsigned long long *reasons) {
    *reasons = 0x1 | 0x2 | 0x4 | 0x20;
    return OK;
}
typedef struct { unsigned pid; unsigned long long used; unsigned instances[2]; } Process;
int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count, Process *found) {
    unsigned room = *count;
    *count = 2;
    if (device != &primary_context) return INVALID_VALUE;
    if (room < 2) return INSUFFICIENT_SIZE;
    found[0] = (Process){getpid() + 1, MEMORY, {0, 0}};
    found[1] = (Process){getpid(), 1 << 20, {0, 0}};
    for (Block *block = blocks; block; block = block->next) found[1].used += block->size;
    return OK;
}

/* cuda-python asks for each function by the name that it has in the header. */
int cuGetProcAddress_v2(
    const char *name, void **function, int version, uint64_t flags, int *found) {
    static const char *forms[] = {"%s_v2", "%sWithFlags", "%s"};
    char symbol[128];
    *function = NULL;
    for (int i = 0; i < 3 && !*function; i++) {
        snprintf(symbol, sizeof symbol, forms[i], name);
        *function = dlsym(dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD), symbol);
    }
    if (found) *found = *function ? 0 : 1;
    return *function ? OK : NOT_FOUND;
}
