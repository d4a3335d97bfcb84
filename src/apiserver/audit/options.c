/* The flags of the audit log: --audit-log-* and --audit-webhook-*, which have the same names for both plugins. */
#include <math.h>

#include "apiserver/audit/audit.h"
#include "apiserver/flags.h"

static const char *const modes[] = { "batch", "blocking", "blocking-strict", NULL };

static const char *value_of(struct apiserver *s, const char *plugin, const char *name, const char *dflt) {
        _cleanup_free_ char *flag = xprintf("audit-%s-%s", plugin, name);

        return server_flag(s, flag, dflt);
}

static int number_of(struct apiserver *s, const char *plugin, const char *name, int64_t *value, struct error *err) {
        const char *text = value_of(s, plugin, name, NULL);

        if (!text || str_to_i64(str_of(text), value) == 0)
                return 0;
        return error_set(err, -EINVAL, "--audit-%s-%s=%s: this is no number", plugin, name, text);
}

static int check_batches(const struct audit_plugin *p, bool throttled, struct error *err) {
        const struct {
                const char *what;
                double value;
        } positive[] = { { "buffer size", (double) p->buffer_size },
                         { "max batch size", (double) p->max_size },
                         { "throttle QPS", throttled ? p->qps : 1 },
                         { "throttle burst", throttled ? (double) p->burst : 1 } };

        for (size_t i = 0; i < ARRAY_SIZE(positive); i++)
                if (positive[i].value <= 0)
                        return error_set(err, -EINVAL, "invalid audit batch %s %s %g, must be a positive number",
                                         p->name, positive[i].what, positive[i].value);
        return 0;
}

static int check(const struct audit_plugin *p, const char *version, struct error *err) {
        if (p->max_event <= 0)
                return error_set(err, -EINVAL,
                                 "invalid audit truncate %s max event size %lld, must be a positive number", p->name,
                                 (long long) p->max_event);
        if (p->max_batch < p->max_event)
                return error_set(err, -EINVAL,
                                 "invalid audit truncate %s max batch size %lld, must be greater than max event size "
                                 "(%lld)",
                                 p->name, (long long) p->max_batch, (long long) p->max_event);
        if (strcmp(version, "audit.k8s.io/v1") != 0)
                return error_set(err, -EINVAL, "invalid group version, allowed versions are [\"audit.k8s.io/v1\"]");
        return 0;
}

int audit_plugin_read(struct apiserver *s, const char *name, struct audit_plugin *p, struct error *err) {
        const char *mode = value_of(s, name, "mode", modes[p->mode]), *wait = value_of(s, name, "batch-max-wait", NULL),
                   *qps = value_of(s, name, "batch-throttle-qps", NULL);
        const struct {
                const char *flag;
                int64_t *value;
        } numbers[] = { { "batch-buffer-size", &p->buffer_size },
                        { "batch-max-size", &p->max_size },
                        { "batch-throttle-burst", &p->burst },
                        { "truncate-max-event-size", &p->max_event },
                        { "truncate-max-batch-size", &p->max_batch } };
        bool throttled = p->qps > 0; /* by default */
        size_t m = 0;
        int r = 0;

        p->name = name;
        if (!value_of(s, name, strcmp(name, "log") == 0 ? "path" : "config-file", NULL))
                return 0; /* it is off, and nobody looks at the rest */
        p->max_event = 100 * 1024;
        p->max_batch = 10 * 1024 * 1024;
        while (modes[m] && strcmp(mode, modes[m]) != 0)
                m++;
        if (!modes[m])
                return error_set(err, -EINVAL,
                                 "invalid audit %s mode %s, allowed modes are \"batch,blocking,blocking-strict\"", name,
                                 mode);
        p->mode = (enum audit_mode) m;
        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(numbers); i++)
                r = number_of(s, name, numbers[i].flag, numbers[i].value, err);
        if (r == 0 && wait && duration_parse(str_of(wait), &p->max_wait_ms) < 0)
                r = error_set(err, -EINVAL, "--audit-%s-batch-max-wait=%s: this is no duration", name, wait);
        else if (wait)
                p->max_wait_ms /= NSEC_PER_MSEC;
        if (qps)
                p->qps = strtod(qps, NULL);
        throttled = strcmp(value_of(s, name, "batch-throttle-enable", throttled ? "true" : "false"), "true") == 0;
        if (r == 0)
                r = check(p, value_of(s, name, "version", "audit.k8s.io/v1"), err);
        if (r == 0 && p->mode == AUDIT_BATCH)
                r = check_batches(p, throttled, err);
        if (!throttled)
                p->qps = 0;
        if (strcmp(value_of(s, name, "truncate-enabled", "false"), "true") != 0)
                p->max_event = p->max_batch = INT64_MAX;
        p->tokens = (double) p->burst;
        p->refilled_ms = now_mono_ms();
        return r;
}

int64_t audit_take_token(struct audit_plugin *p) {
        int64_t now = now_mono_ms();

        if (p->qps <= 0)
                return 0;
        p->tokens = fmin((double) p->burst, p->tokens + (double) (now - p->refilled_ms) * p->qps / 1000);
        p->refilled_ms = now;
        if (p->tokens < 1)
                return (int64_t) ((1 - p->tokens) * 1000 / p->qps) + 1;
        p->tokens -= 1;
        return 0;
}
