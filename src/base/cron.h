/* Cron schedules as Kubernetes reads them: five fields (minute hour day month weekday), names, lists, ranges, steps, or
 * one of @yearly @annually @monthly @weekly @daily @midnight @hourly, or "@every 1h30m".
 * https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#schedule-syntax */
#pragma once

#include "base/error.h"
#include "base/str.h"

struct timezone_data;

struct cron {
        uint64_t minute, hour, day, month, weekday; /* a bit for each value */
        bool any_day, any_weekday;                  /* "*": when both are given, either will do */
        int64_t every_ns;                           /* @every: the rest is not used */
};

/* -EINVAL with what is wrong. */
int cron_parse(struct str text, struct cron *ret, struct error *err);
/* The first time after t (ns UTC, whole minutes), by the clock of that zone (NULL: the machine's). INT64_MAX: never
 * within five years. */
int64_t cron_next(const struct cron *c, const struct timezone_data *zone, int64_t t);

/* A zone of the system's database, "Europe/Berlin". -ENOENT when there is none of that name. */
int timezone_load(struct str name, struct timezone_data **ret, struct error *err);
void timezone_free(struct timezone_data *z);
