/* The script that says how to behave, and the log of what was asked, in the folder that holds the library. */
#define _GNU_SOURCE
#include "double.h"

#include <dlfcn.h>
#include <libgen.h>

struct script script;
pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static FILE *log_file;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* Of a Turing card, which has all that the bridge asks for. */
static const int turing[][2] = {
    {NV_ENC_CAPS_NUM_MAX_BFRAMES, 4},
    {NV_ENC_CAPS_SUPPORTED_RATECONTROL_MODES, 63},
    {NV_ENC_CAPS_WIDTH_MAX, 4096},
    {NV_ENC_CAPS_HEIGHT_MAX, 4096},
    {NV_ENC_CAPS_SUPPORT_DYN_RES_CHANGE, 1},
    {NV_ENC_CAPS_SUPPORT_DYN_BITRATE_CHANGE, 1},
    {NV_ENC_CAPS_SUPPORT_INTRA_REFRESH, 1},
    {NV_ENC_CAPS_SUPPORT_CUSTOM_VBV_BUF_SIZE, 1},
    {NV_ENC_CAPS_SUPPORT_DYNAMIC_SLICE_MODE, 1},
    {NV_ENC_CAPS_MB_PER_SEC_MAX, 983040},
    {NV_ENC_CAPS_SUPPORT_LOOKAHEAD, 1},
    {NV_ENC_CAPS_SUPPORT_TEMPORAL_AQ, 1},
    {NV_ENC_CAPS_SUPPORT_10BIT_ENCODE, 1},
    {NV_ENC_CAPS_SUPPORT_WEIGHTED_PREDICTION, 1},
    {NV_ENC_CAPS_SUPPORT_CABAC, 1},
    {NV_ENC_CAPS_SUPPORT_BFRAME_REF_MODE, 3},
    {NV_ENC_CAPS_WIDTH_MIN, 145},
    {NV_ENC_CAPS_HEIGHT_MIN, 49},
    {NV_ENC_CAPS_NUM_ENCODER_ENGINES, 1},
    {NV_ENC_CAPS_SINGLE_SLICE_INTRA_REFRESH, 1},
};

static void obey(const char *word, const char *value) {
    int number = atoi(value), second = 0;
    if (!strcmp(word, "cards")) script.cards = number;
    else if (!strcmp(word, "api")) sscanf(value, "%d.%d", &script.api_major, &script.api_minor);
    else if (!strcmp(word, "open_status")) script.open_status = number;
    else if (!strcmp(word, "initialize_status")) script.initialize_status = number;
    else if (!strcmp(word, "reconfigure_status")) script.reconfigure_status = number;
    else if (!strcmp(word, "sessions")) script.sessions = number;
    else if (!strcmp(word, "codecs")) snprintf(script.codecs, sizeof script.codecs, "%.60s", value);
    else if (!strcmp(word, "uhq")) script.uhq = number;
    else if (!strcmp(word, "fail_at")) script.fail_at = number;
    else if (!strcmp(word, "fail_status")) script.fail_status = number;
    else if (!strcmp(word, "fail_once")) script.fail_once = number;
    else if (!strcmp(word, "busy")) script.busy = number;
    else if (!strcmp(word, "lock_busy")) script.lock_busy = number;
    else if (!strcmp(word, "slow_ms")) script.slow_ms = number;
    else if (!strcmp(word, "hevc")) snprintf(script.hevc, sizeof script.hevc, "%s", value);
    else if (!strcmp(word, "av1")) snprintf(script.av1, sizeof script.av1, "%s", value);
    else if (!strcmp(word, "cap") && sscanf(value, "%d %d", &number, &second) == 2 && number >= 0 && number < 64) script.caps[number] = second;
    else violation("script: %s %s", word, value);
}

static void start(void) {
    script = (struct script){.cards = 1, .api_major = 13, .sessions = 8, .codecs = "h264,hevc,av1", .uhq = true, .fail_at = -1, .fail_status = NV_ENC_ERR_GENERIC};
    for (size_t i = 0; i < sizeof turing / sizeof *turing; i++) script.caps[turing[i][0]] = turing[i][1];
    Dl_info self;
    if (!dladdr((void *)start, &self)) return;
    char path[1024], folder[1000];
    snprintf(path, sizeof path, "%s", self.dli_fname);
    snprintf(folder, sizeof folder, "%s", dirname(path));
    snprintf(path, sizeof path, "%s/log", folder);
    log_file = fopen(path, "a");
    if (log_file) setvbuf(log_file, NULL, _IOLBF, 0);
    snprintf(path, sizeof path, "%s/script", folder);
    FILE *file = fopen(path, "r");
    if (!file) return;
    char line[600];
    while (fgets(line, sizeof line, file)) {
        char word[64], value[512];
        if (sscanf(line, "%63s %511[^\n]", word, value) == 2) obey(word, value);
    }
    fclose(file);
}

void begin(void) { pthread_once(&once, start); }

static void write_line(const char *before, const char *format, va_list arguments, const char *after) {
    char text[4096];
    vsnprintf(text, sizeof text, format, arguments);
    if (log_file) fprintf(log_file, "%s%s%s\n", before, text, after);
}

void report(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    write_line("{", format, arguments, "}");
    va_end(arguments);
}

void violation(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    write_line("{\"violation\":\"", format, arguments, "\"}");
    va_end(arguments);
}
