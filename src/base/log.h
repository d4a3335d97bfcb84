/* Log lines to stderr (or a file): time, level, component, message. One write(2) a line, thread-safe. */
#pragma once

#include <stdbool.h>

#include "base/macro.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

void log_set_level(enum log_level max);
bool log_enabled(enum log_level level);
/* Names the calling thread for ps, gdb and its log lines ("scheduler"). The text must stay valid. */
void log_set_component(const char *name);
void log_write(enum log_level level, const char *fmt, ...) _printf_(2, 3);

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...) log_write(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...) log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)                                           \
        do {                                                     \
                if (log_enabled(LOG_LEVEL_DEBUG))                \
                        log_write(LOG_LEVEL_DEBUG, __VA_ARGS__); \
        } while (0)
