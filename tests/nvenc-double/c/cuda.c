/* libcuda: cards, and contexts that are watched. */
#include "double.h"

enum { NO_DEVICE = 100, INVALID_VALUE = 1, INVALID_DEVICE = 101, INVALID_CONTEXT = 201, NOT_SUPPORTED = 801 };

struct context {
    bool alive;
};
static struct context contexts[256];
static int made;

static __thread struct context *stack[16];
static __thread int depth;

bool context_is_known(const void *context) {
    for (int i = 0; i < made; i++)
        if (&contexts[i] == context && contexts[i].alive) return true;
    return false;
}

bool context_is_current(const void *context) { return depth > 0 && stack[depth - 1] == context; }

int cuInit(unsigned flags) {
    begin();
    return script.cards > 0 ? 0 : NO_DEVICE;
}

int cuDriverGetVersion(int *version) {
    *version = 12080;
    return 0;
}

int cuDeviceGetCount(int *count) {
    *count = script.cards;
    return 0;
}

int cuDeviceGet(int *device, int index) {
    if (index < 0 || index >= script.cards) return INVALID_DEVICE;
    *device = index;
    return 0;
}

int cuDeviceGetName(char *name, int size, int device) {
    snprintf(name, size, "Double %d", device);
    return 0;
}

int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 75 ? 7 : attribute == 76 ? 5 : 0;
    return 0;
}

int cuDeviceComputeCapability(int *major, int *minor, int device) {
    *major = 7;
    *minor = 5;
    return 0;
}

int cuGetErrorName(int error, const char **name) {
    *name = error == NO_DEVICE ? "CUDA_ERROR_NO_DEVICE" : "CUDA_ERROR_OF_THE_DOUBLE";
    return 0;
}

int cuGetErrorString(int error, const char **text) { return cuGetErrorName(error, text); }

int cuCtxCreate_v2(void **context, unsigned flags, int device) {
    if (device < 0 || device >= script.cards || depth == 16) return INVALID_DEVICE;
    pthread_mutex_lock(&lock);
    struct context *new = made < 256 ? &contexts[made++] : NULL;
    if (new) new->alive = true;
    pthread_mutex_unlock(&lock);
    if (!new) return INVALID_VALUE;
    stack[depth++] = new;
    *context = new;
    return 0;
}

int cuCtxPushCurrent_v2(void *context) {
    if (!context_is_known(context) || depth == 16) {
        violation("cuCtxPushCurrent: not a context");
        return INVALID_CONTEXT;
    }
    stack[depth++] = context;
    return 0;
}

int cuCtxPopCurrent_v2(void **context) {
    if (depth == 0) {
        violation("cuCtxPopCurrent: nothing is current");
        return INVALID_CONTEXT;
    }
    struct context *top = stack[--depth];
    if (context) *context = top;
    return 0;
}

int cuCtxDestroy_v2(void *context) {
    if (!context_is_known(context)) {
        violation("cuCtxDestroy: not a context");
        return INVALID_CONTEXT;
    }
    if (depth > 0) violation("cuCtxDestroy: %d contexts are still pushed", depth);
    ((struct context *)context)->alive = false;
    report("\"call\":\"context_destroy\"");
    return 0;
}

/* Clients look all of these up at the start; who encodes pictures from memory calls none. */
#define ABSENT(name) \
    int name(void) { return NOT_SUPPORTED; }
ABSENT(cuCtxSetLimit) ABSENT(cuCtxGetDevice) ABSENT(cuMemAlloc_v2) ABSENT(cuMemAllocPitch_v2) ABSENT(cuMemAllocManaged)
ABSENT(cuMemsetD8Async) ABSENT(cuMemFree_v2) ABSENT(cuMemcpy) ABSENT(cuMemcpyAsync) ABSENT(cuMemcpy2D_v2)
ABSENT(cuMemcpy2DAsync_v2) ABSENT(cuMemcpyHtoD_v2) ABSENT(cuMemcpyHtoDAsync_v2) ABSENT(cuMemcpyDtoH_v2)
ABSENT(cuMemcpyDtoHAsync_v2) ABSENT(cuMemcpyDtoD_v2) ABSENT(cuMemcpyDtoDAsync_v2) ABSENT(cuDevicePrimaryCtxRetain)
ABSENT(cuDevicePrimaryCtxRelease) ABSENT(cuDevicePrimaryCtxSetFlags) ABSENT(cuDevicePrimaryCtxGetState)
ABSENT(cuDevicePrimaryCtxReset) ABSENT(cuStreamCreate) ABSENT(cuStreamQuery) ABSENT(cuStreamSynchronize)
ABSENT(cuStreamDestroy_v2) ABSENT(cuStreamAddCallback) ABSENT(cuEventCreate) ABSENT(cuEventDestroy_v2)
ABSENT(cuEventSynchronize) ABSENT(cuEventQuery) ABSENT(cuEventRecord) ABSENT(cuLaunchKernel) ABSENT(cuLinkCreate)
ABSENT(cuLinkAddData) ABSENT(cuLinkComplete) ABSENT(cuLinkDestroy) ABSENT(cuModuleLoadData) ABSENT(cuModuleUnload)
ABSENT(cuModuleGetFunction) ABSENT(cuModuleGetGlobal) ABSENT(cuTexObjectCreate) ABSENT(cuTexObjectDestroy)
ABSENT(cuGLGetDevices_v2) ABSENT(cuGraphicsGLRegisterImage) ABSENT(cuGraphicsUnregisterResource)
ABSENT(cuGraphicsMapResources) ABSENT(cuGraphicsUnmapResources) ABSENT(cuGraphicsSubResourceGetMappedArray)
ABSENT(cuGraphicsResourceGetMappedPointer_v2) ABSENT(cuCtxGetStreamPriorityRange) ABSENT(cuCtxGetCurrent)
ABSENT(cuMemsetD16Async) ABSENT(cuMemsetD32Async) ABSENT(cuMemsetD2D8Async) ABSENT(cuMemsetD2D16Async)
ABSENT(cuMemsetD2D32Async) ABSENT(cuMemHostAlloc) ABSENT(cuMemFreeHost) ABSENT(cuMemAllocAsync) ABSENT(cuMemFreeAsync)
ABSENT(cuStreamCreateWithPriority) ABSENT(cuStreamWaitEvent) ABSENT(cuLaunchHostFunc) ABSENT(cuArrayCreate_v2)
ABSENT(cuArray3DGetDescriptor_v2) ABSENT(cuArray3DCreate_v2) ABSENT(cuArrayDestroy) ABSENT(cuCtxSynchronize)
