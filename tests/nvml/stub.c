/* A stand-in for NVIDIA's libnvidia-ml.so.1: simulated GPUs in a file that all processes share.
 *
 * Loaded by the real nvidia-ml-py. The nvml* functions answer as the driver would; the stub_* functions are for tests,
 * through tests/nvml/stub.py. STUB_NVML names the file; without it there is no driver.
 *
 * Energy is integrated whenever a GPU's state changes or is looked at, by the machine's clock or by a virtual one. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define MAGIC 0x53544e56u
#define GPUS 8
#define CONTEXTS 64
#define CLOCKS 32
#define CALLS 8192
#define STATES 6
#define EXPORT __attribute__((visibility("default")))

/* nvmlReturn_t */
enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7,
       DRIVER_NOT_LOADED = 9, GPU_IS_LOST = 15 };
/* Functions that can be told to fail, and that are logged if they set something. Order as FUNCTIONS in stub.py. */
enum { F_INIT, F_HANDLE, F_UUID, F_ENERGY, F_POWER, F_MEMORY, F_CLOCKS, F_TEMPERATURE, F_UTILIZATION, F_PROCESSES,
       F_MIG, F_SUPPORTED, F_SET_GPU, F_SET_MEMORY, F_RESET_GPU, F_RESET_MEMORY, FUNCTIONS };

typedef struct { int pid; int is_virtual; uint64_t memory; } Context;
typedef struct { double at; int pid, gpu, function, low, high, result; } Call;
typedef struct {
    char uuid[96], name[96];
    uint32_t sm_clocks[CLOCKS], memory_clocks[CLOCKS]; /* ascending; 0 ends them */
    uint32_t sm_lock, memory_lock;                     /* highest MHz allowed; 0 is no lock */
    Context contexts[CONTEXTS];
    int busy, lost, mig, generation;
    uint64_t memory_total;
    double watts[STATES], seconds[STATES], joules[STATES], integrated_to;
    int errors[FUNCTIONS];
} Gpu;
typedef struct {
    uint32_t magic;
    pthread_mutex_t lock;
    double virtual_time; /* 0 is the machine's clock */
    int init_error, count;
    uint32_t calls;
    Call log[CALLS];
    Gpu gpus[GPUS];
} Shared;

static Shared *shared;
static int initialized;
static int handles[GPUS]; /* what a handle points to: the generation of its GPU when NVML was initialised */

static void lock(void) {
    if (pthread_mutex_lock(&shared->lock) == EOWNERDEAD) pthread_mutex_consistent(&shared->lock);
}
static void unlock(void) { pthread_mutex_unlock(&shared->lock); }

static double now(void) {
    if (shared->virtual_time > 0) return shared->virtual_time;
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    return at.tv_sec + at.tv_nsec / 1e9;
}

/* --- the simulation; the lock is held */

static int alive(int pid) { /* a zombie's context is gone, too */
    char path[64], line[512] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    size_t read = fread(line, 1, sizeof line - 1, file);
    fclose(file);
    line[read] = 0;
    char *end = strrchr(line, ')');
    return !end || end[2] != 'Z';
}

static int contexts(const Gpu *gpu) {
    int found = 0;
    for (int i = 0; i < CONTEXTS; i++) found += gpu->contexts[i].pid != 0;
    return found;
}

static uint32_t highest(const uint32_t *clocks) {
    uint32_t found = 0;
    for (int i = 0; i < CLOCKS && clocks[i]; i++) found = clocks[i];
    return found;
}

static int is_low(const Gpu *gpu) { return gpu->sm_lock && gpu->sm_lock <= highest(gpu->sm_clocks) / 2; }

/* 0, 1: no context; 2, 3: a context that idles; 4, 5: busy. The odd ones at low clocks. */
static int state(const Gpu *gpu) { return (gpu->busy ? 4 : contexts(gpu) ? 2 : 0) + is_low(gpu); }

static void integrate(Gpu *gpu) {
    double at = now(), passed = at - gpu->integrated_to;
    if (passed > 0) {
        int in = state(gpu);
        gpu->seconds[in] += passed;
        gpu->joules[in] += passed * gpu->watts[in];
        gpu->integrated_to = at;
    }
    for (int i = 0; i < CONTEXTS; i++)
        if (gpu->contexts[i].pid && !gpu->contexts[i].is_virtual && !alive(gpu->contexts[i].pid))
            gpu->contexts[i].pid = 0;
}

static double energy(const Gpu *gpu) {
    double sum = 0;
    for (int i = 0; i < STATES; i++) sum += gpu->joules[i];
    return sum;
}

/* --- NVML */

static int attach(const char *path, int fresh) {
    int file = open(path, O_RDWR | (fresh ? O_CREAT | O_TRUNC : 0), 0600);
    if (file < 0) return -1;
    if (fresh && ftruncate(file, sizeof(Shared))) { close(file); return -1; }
    void *at = mmap(NULL, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (at == MAP_FAILED) return -1;
    if (!fresh && ((Shared *)at)->magic != MAGIC) { munmap(at, sizeof(Shared)); return -1; }
    if (shared) munmap(shared, sizeof(Shared));
    shared = at;
    initialized = 0;
    return 0;
}

EXPORT int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    const char *path = getenv("STUB_NVML");
    if (!shared && (!path || attach(path, 0))) return DRIVER_NOT_LOADED;
    lock();
    int result = shared->init_error;
    for (int i = 0; i < GPUS; i++) handles[i] = shared->gpus[i].generation;
    if (!result) initialized++;
    unlock();
    return result;
}
EXPORT int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
EXPORT int nvmlShutdown(void) {
    if (!initialized) return UNINITIALIZED;
    initialized--;
    return SUCCESS;
}
EXPORT const char *nvmlErrorString(int result) {
    static char text[32];
    snprintf(text, sizeof text, "stub error %d", result);
    return text;
}

/* The GPU of a handle, with the lock held and its energy integrated, if `function` does not fail there. */
static Gpu *enter(int *handle, int function, int *result) {
    if (!shared || !initialized) { *result = UNINITIALIZED; return NULL; }
    if (handle < handles || handle >= handles + GPUS) { *result = INVALID_ARGUMENT; return NULL; }
    lock();
    Gpu *gpu = &shared->gpus[handle - handles];
    integrate(gpu);
    *result = gpu->lost || *handle != gpu->generation ? GPU_IS_LOST : gpu->errors[function];
    if (!*result) return gpu;
    unlock();
    return NULL;
}
#define ENTER(function) int result; Gpu *gpu = enter(device, function, &result); if (!gpu) return result
#define LEAVE do { unlock(); return SUCCESS; } while (0)

EXPORT int nvmlDeviceGetCount_v2(unsigned *count) {
    if (!shared || !initialized) return UNINITIALIZED;
    *count = shared->count;
    return SUCCESS;
}
EXPORT int nvmlDeviceGetHandleByIndex_v2(unsigned index, int **device) {
    if (!shared || !initialized) return UNINITIALIZED;
    if (index >= (unsigned)shared->count) return INVALID_ARGUMENT;
    if (shared->gpus[index].lost) return GPU_IS_LOST;
    *device = &handles[index];
    return shared->gpus[index].errors[F_HANDLE];
}
EXPORT int nvmlDeviceGetHandleByUUID(const char *uuid, int **device) {
    if (!shared || !initialized) return UNINITIALIZED;
    for (int i = 0; i < shared->count; i++)
        if (!strcmp(shared->gpus[i].uuid, uuid)) return nvmlDeviceGetHandleByIndex_v2(i, device);
    return NOT_FOUND;
}
EXPORT int nvmlDeviceGetIndex(int *device, unsigned *index) {
    ENTER(F_HANDLE);
    *index = gpu - shared->gpus;
    LEAVE;
}
EXPORT int nvmlDeviceGetUUID(int *device, char *uuid, unsigned size) {
    ENTER(F_UUID);
    snprintf(uuid, size, "%s", gpu->uuid);
    LEAVE;
}
EXPORT int nvmlDeviceGetName(int *device, char *name, unsigned size) {
    ENTER(F_UUID);
    snprintf(name, size, "%s", gpu->name);
    LEAVE;
}
EXPORT int nvmlDeviceGetTotalEnergyConsumption(int *device, unsigned long long *millijoules) {
    ENTER(F_ENERGY);
    *millijoules = (unsigned long long)(energy(gpu) * 1000);
    LEAVE;
}
EXPORT int nvmlDeviceGetPowerUsage(int *device, unsigned *milliwatts) {
    ENTER(F_POWER);
    *milliwatts = (unsigned)(gpu->watts[state(gpu)] * 1000 + 0.5);
    LEAVE;
}
EXPORT int nvmlDeviceGetMemoryInfo(int *device, unsigned long long *memory) {
    ENTER(F_MEMORY);
    unsigned long long used = 0;
    for (int i = 0; i < CONTEXTS; i++)
        if (gpu->contexts[i].pid) used += gpu->contexts[i].memory;
    memory[0] = gpu->memory_total;
    memory[1] = gpu->memory_total - used;
    memory[2] = used;
    LEAVE;
}
EXPORT int nvmlDeviceGetClockInfo(int *device, unsigned type, unsigned *mhz) {
    ENTER(F_CLOCKS);
    const uint32_t *clocks = type == 2 ? gpu->memory_clocks : gpu->sm_clocks;
    uint32_t limit = type == 2 ? gpu->memory_lock : gpu->sm_lock;
    /* Without a context the driver lets the clocks fall by itself. */
    *mhz = limit ? limit : state(gpu) >= 2 ? highest(clocks) : clocks[0];
    LEAVE;
}
EXPORT int nvmlDeviceGetTemperatureV(int *device, unsigned *temperature) {
    ENTER(F_TEMPERATURE);
    temperature[2] = 30 + (unsigned)(gpu->watts[state(gpu)] / 4);
    LEAVE;
}
EXPORT int nvmlDeviceGetTemperature(int *device, unsigned sensor, unsigned *temperature) {
    (void)sensor;
    ENTER(F_TEMPERATURE);
    *temperature = 30 + (unsigned)(gpu->watts[state(gpu)] / 4);
    LEAVE;
}
EXPORT int nvmlDeviceGetUtilizationRates(int *device, unsigned *rates) {
    ENTER(F_UTILIZATION);
    rates[0] = gpu->busy ? 100 : 0;
    rates[1] = gpu->busy ? 50 : 0;
    LEAVE;
}
typedef struct { unsigned pid; unsigned long long memory; unsigned instance, compute_instance; } Process;
EXPORT int nvmlDeviceGetComputeRunningProcesses_v3(int *device, unsigned *count, Process *processes) {
    ENTER(F_PROCESSES);
    unsigned found = contexts(gpu), room = *count;
    *count = found;
    if (found > (processes ? room : 0)) { unlock(); return INSUFFICIENT_SIZE; }
    for (int i = 0, at = 0; i < CONTEXTS; i++)
        if (gpu->contexts[i].pid)
            processes[at++] = (Process){gpu->contexts[i].pid, gpu->contexts[i].memory, 0xffffffff, 0xffffffff};
    LEAVE;
}
EXPORT int nvmlDeviceGetGraphicsRunningProcesses_v3(int *device, unsigned *count, Process *processes) {
    (void)processes;
    ENTER(F_PROCESSES);
    *count = 0;
    LEAVE;
}
EXPORT int nvmlDeviceGetMigMode(int *device, unsigned *current, unsigned *pending) {
    ENTER(F_MIG);
    *current = *pending = gpu->mig;
    LEAVE;
}
static int supported(const uint32_t *clocks, unsigned *count, unsigned *answer) { /* descending, as the driver does */
    unsigned found = 0, room = *count;
    while (found < CLOCKS && clocks[found]) found++;
    *count = found;
    if (found > (answer ? room : 0)) return INSUFFICIENT_SIZE;
    for (unsigned i = 0; i < found; i++) answer[i] = clocks[found - 1 - i];
    return SUCCESS;
}
EXPORT int nvmlDeviceGetSupportedMemoryClocks(int *device, unsigned *count, unsigned *clocks) {
    ENTER(F_SUPPORTED);
    result = supported(gpu->memory_clocks, count, clocks);
    unlock();
    return result;
}
EXPORT int nvmlDeviceGetSupportedGraphicsClocks(int *device, unsigned memory, unsigned *count, unsigned *clocks) {
    (void)memory;
    ENTER(F_SUPPORTED);
    result = supported(gpu->sm_clocks, count, clocks);
    unlock();
    return result;
}
/* Every attempt to set or reset is written down, with what came of it. */
static int set(int *device, int function, unsigned low, unsigned high) {
    int result;
    Gpu *gpu = enter(device, function, &result);
    if (!shared || !initialized) return result;
    if (!gpu) lock();
    int memory = function == F_SET_MEMORY || function == F_RESET_MEMORY;
    int sets = function == F_SET_GPU || function == F_SET_MEMORY;
    if (gpu) {
        uint32_t *clocks = memory ? gpu->memory_clocks : gpu->sm_clocks;
        if (sets && (low > high || low < clocks[0] || high > highest(clocks))) result = INVALID_ARGUMENT;
        if (!result) *(memory ? &gpu->memory_lock : &gpu->sm_lock) = sets ? high : 0;
    }
    Call call = {now(), getpid(), (int)(device - handles), function, (int)low, (int)high, result};
    shared->log[shared->calls++ % CALLS] = call;
    unlock();
    return result;
}
EXPORT int nvmlDeviceSetGpuLockedClocks(int *device, unsigned low, unsigned high) {
    return set(device, F_SET_GPU, low, high);
}
EXPORT int nvmlDeviceSetMemoryLockedClocks(int *device, unsigned low, unsigned high) {
    return set(device, F_SET_MEMORY, low, high);
}
EXPORT int nvmlDeviceResetGpuLockedClocks(int *device) { return set(device, F_RESET_GPU, 0, 0); }
EXPORT int nvmlDeviceResetMemoryLockedClocks(int *device) { return set(device, F_RESET_MEMORY, 0, 0); }
EXPORT int nvmlSystemGetDriverVersion(char *version, unsigned size) {
    snprintf(version, size, "580.105.08");
    return SUCCESS;
}

/* --- for tests */

EXPORT int stub_create(const char *path, double at) {
    if (attach(path, 1)) return -1;
    shared->virtual_time = at;
    pthread_mutexattr_t how;
    pthread_mutexattr_init(&how);
    pthread_mutexattr_setpshared(&how, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&how, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&shared->lock, &how);
    shared->magic = MAGIC;
    return 0;
}
EXPORT int stub_open(const char *path) { return attach(path, 0); }
EXPORT void stub_close(void) {
    if (shared) munmap(shared, sizeof(Shared));
    shared = NULL;
    initialized = 0;
}
EXPORT int stub_add(const char *uuid, const char *name, uint64_t memory, const uint32_t *sm_clocks,
                    const uint32_t *memory_clocks, const double *watts) {
    if (shared->count == GPUS) return -1;
    lock();
    Gpu *gpu = &shared->gpus[shared->count++];
    snprintf(gpu->uuid, sizeof gpu->uuid, "%s", uuid);
    snprintf(gpu->name, sizeof gpu->name, "%s", name);
    gpu->memory_total = memory;
    for (int i = 0; i < CLOCKS && sm_clocks[i]; i++) gpu->sm_clocks[i] = sm_clocks[i];
    for (int i = 0; i < CLOCKS && memory_clocks[i]; i++) gpu->memory_clocks[i] = memory_clocks[i];
    memcpy(gpu->watts, watts, sizeof gpu->watts);
    gpu->integrated_to = now();
    gpu->generation = 1;
    unlock();
    return shared->count - 1;
}
EXPORT void stub_set_time(double at) { /* until then each GPU went on as it was */
    lock();
    int was_virtual = shared->virtual_time > 0;
    for (int i = 0; i < shared->count; i++) integrate(&shared->gpus[i]);
    shared->virtual_time = at;
    for (int i = 0; i < shared->count; i++) {
        if (was_virtual != (at > 0)) shared->gpus[i].integrated_to = now();
        integrate(&shared->gpus[i]);
    }
    unlock();
}
EXPORT int stub_context(int index, int pid, uint64_t memory, int is_virtual, int on) {
    int done = -1;
    lock();
    Gpu *gpu = &shared->gpus[index];
    integrate(gpu);
    Context *free_place = NULL, *place = NULL;
    for (int i = 0; i < CONTEXTS; i++) {
        if (gpu->contexts[i].pid == pid) place = &gpu->contexts[i];
        if (!gpu->contexts[i].pid && !free_place) free_place = &gpu->contexts[i];
    }
    if (on && !place) place = free_place;
    if (place) {
        *place = on ? (Context){pid, is_virtual, memory} : (Context){0, 0, 0};
        done = 0;
    }
    unlock();
    return done;
}
EXPORT void stub_busy(int index, int on) {
    lock();
    integrate(&shared->gpus[index]);
    shared->gpus[index].busy = on;
    unlock();
}
EXPORT void stub_inject(int index, int function, int error) { /* of F_INIT for all GPUs */
    lock();
    if (function == F_INIT) shared->init_error = error;
    else shared->gpus[index].errors[function] = error;
    unlock();
}
EXPORT void stub_lose(int index, int lost) { /* one that comes back has been reset, and wants NVML to start anew */
    lock();
    Gpu *gpu = &shared->gpus[index];
    integrate(gpu);
    if (lost && !gpu->lost) {
        gpu->generation++;
        gpu->sm_lock = gpu->memory_lock = 0;
        gpu->busy = 0;
        memset(gpu->contexts, 0, sizeof gpu->contexts);
    }
    gpu->lost = lost;
    unlock();
}
EXPORT void stub_mig(int index, int on) { shared->gpus[index].mig = on; }
EXPORT void stub_locks(int index, uint32_t *locks) {
    locks[0] = shared->gpus[index].sm_lock;
    locks[1] = shared->gpus[index].memory_lock;
}
EXPORT void stub_lock_clocks(int index, uint32_t sm, uint32_t memory) { /* as an administrator by hand: not logged */
    lock();
    integrate(&shared->gpus[index]);
    shared->gpus[index].sm_lock = sm;
    shared->gpus[index].memory_lock = memory;
    unlock();
}
EXPORT void stub_ledger(int index, double *seconds, double *joules) {
    lock();
    Gpu *gpu = &shared->gpus[index];
    integrate(gpu);
    memcpy(seconds, gpu->seconds, sizeof gpu->seconds);
    memcpy(joules, gpu->joules, sizeof gpu->joules);
    unlock();
}
EXPORT unsigned stub_calls(void) { return shared->calls; }
EXPORT void stub_call(unsigned at, Call *call) {
    lock();
    *call = shared->log[at % CALLS];
    unlock();
}
