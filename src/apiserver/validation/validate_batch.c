/* Jobs and CronJobs. */
#include "base/map.h"
#include "apiserver/validation/validate.h"
#include "base/cron.h"
#include "schema/selector.h"

#define MAX_INDEXED 100000 /* pods at a time, failed indexes; more completions than this have tighter limits */
#define MAX_WITH_MANY 10000
#define MAX_RULES 20
#define MAX_EXIT_CODES 255
#define MAX_INDEXES_TEXT ((size_t) 64 * 1024)

static const char *parse_index(struct arena *a, struct str s, int64_t completions, int64_t *ret) {
        if (str_to_i64(s, ret) < 0)
                return arena_printf(a, "cannot convert string to integer for index: \"%" STR_FMT "\"", STR_ARG(s)).p;
        if (*ret >= completions)
                return arena_printf(a, "too large index: \"%" STR_FMT "\"", STR_ARG(s)).p;
        return NULL;
}

static const char *not_increasing(struct arena *a, int64_t before, int64_t now) {
        return arena_printf(a, "non-increasing order, previous: %lld, current: %lld", (long long) before,
                            (long long) now)
                        .p;
}

/* Reads "1,3-5". Returns what is wrong with it, or NULL and how many indexes it names. */
static const char *parse_indexes(struct arena *a, struct str s, int64_t completions, int64_t *ret) {
        int64_t last = -1, total = 0;

        *ret = 0;
        while (!str_empty(s)) {
                ssize_t comma = str_find(s, ','), dash;
                struct str part = comma < 0 ? s : str_sub(s, 0, (size_t) comma);
                int64_t from, to;

                dash = str_find(part, '-');
                if (dash >= 0 && str_rfind(part, '-') != dash)
                        return arena_printf(a,
                                            "the fragment \"%" STR_FMT "\" violates the requirement that an index "
                                            "interval can have at most two parts separated by '-'",
                                            STR_ARG(part))
                                        .p;
                const char *problem =
                                parse_index(a, dash < 0 ? part : str_sub(part, 0, (size_t) dash), completions, &from);
                to = from;
                if (!problem && dash >= 0)
                        problem = parse_index(a, str_sub(part, (size_t) dash + 1, part.n), completions, &to);
                if (!problem && dash >= 0 && from >= to)
                        problem = not_increasing(a, from, to);
                if (!problem && last >= from)
                        problem = not_increasing(a, last, from);
                if (problem)
                        return problem;
                total += to - from + 1;
                last = to;
                if (comma >= 0 && (size_t) comma + 1 == s.n)
                        return parse_index(a, STR(""), completions, &from);
                s = comma < 0 ? STR("") : str_sub(s, (size_t) comma + 1, s.n);
        }
        *ret = total;
        return NULL;
}

CHECK(validate_success_rule, const struct json *rule, int64_t completions) {
        const struct path *indexes_path = PATH(p, "succeededIndexes"), *count_path = PATH(p, "succeededCount");
        const struct json *indexes = GET(rule, "succeededIndexes"), *count = GET(rule, "succeededCount");
        int64_t total = 0;

        REQUIRED_IF(!indexes && !count, p, "at least one of succeededCount or succeededIndexes must be specified");
        check_length_of(fe, indexes_path, json_str(indexes).n, MAX_INDEXES_TEXT);
        if (indexes) {
                const char *problem = parse_indexes(fe->a, json_str(indexes), completions, &total);

                INVALID_IF(problem, indexes_path, indexes, "error parsing succeededIndexes: %s", problem);
        }
        check_nonnegative(fe, count_path, count);
        INVALID_IF(json_int(count) > completions, count_path, count,
                   "must be less than or equal to %lld (the number of specified completions)", (long long) completions);
        INVALID_IF(indexes && json_int(count) > total, count_path, count,
                   "must be less than or equal to %lld (the number of indexes in the specified succeededIndexes field)",
                   (long long) total);
}

CHECK(validate_success_policy, const struct json *policy, int64_t completions) {
        const struct path *list = PATH(p, "rules");
        const struct json *rules = GET(policy, "rules");

        if (json_len(rules) == 0)
                field_required(fe, list, "at least one rules must be specified when the successPolicy is specified");
        check_count(fe, list, rules, MAX_RULES);
        each_at(rule, where, list, rules)
                validate_success_rule(fe, where, rule, completions);
}

static bool has_container(const struct json *pod, struct str name) {
        return json_find_by(GET(pod, "containers"), "name", name) ||
               json_find_by(GET(pod, "initContainers"), "name", name);
}

CHECK(validate_exit_codes, const struct json *codes, const struct json *pod) {
        const struct path *list = PATH(p, "values");
        const struct json *values = GET(codes, "values"), *container = GET(codes, "containerName");
        struct str op_name = TEXT(codes, "operator");
        bool ordered = true;

        REQUIRED_IF(str_empty(op_name), PATH(p, "operator"), "valid values: [\"In\" \"NotIn\"]");
        INVALID_IF(container && !has_container(pod, json_str(container)), PATH(p, "containerName"), container,
                   "must be one of the container or initContainer names in the pod template");
        fe->at = list; /* before and after its items, as it is found */
        if (json_len(values) == 0)
                field_invalid(fe, list, values, "at least one value is required");
        else if (json_len(values) > MAX_EXIT_CODES)
                field_too_many(fe, list, json_len(values), MAX_EXIT_CODES);
        _cleanup_(map_freep) struct map *seen = map_new(NULL);

        for (size_t i = 0; i < json_len(values); i++) {
                const struct json *v = json_item(values, i);

                if (str_eqc(op_name, "In") && json_int(v) == 0)
                        field_invalid(fe, PATH_INDEX(list, i), v, "must not be 0 for the In operator");
                REFUSE_IF(duplicate_value,
                          !map_put(seen, arena_printf(fe->a, "%lld", (long long) json_int(v)), (void *) v),
                          PATH_INDEX(list, i), v);
                ordered = ordered && (i == 0 || json_int(json_item(values, i - 1)) <= json_int(v));
        }
        INVALID_IF(!ordered, list, values, "must be ordered");
        fe->at = NULL;
}

CHECK(validate_failure_rule, const struct json *rule, const struct json *spec) {
        const struct path *list = PATH(p, "onPodConditions");
        const struct json *codes = GET(rule, "onExitCodes"), *conditions = GET(rule, "onPodConditions");
        struct str action = TEXT(rule, "action");

        if (str_empty(action))
                field_required(fe, PATH(p, "action"), "valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]");
        else if (str_eqc(action, "FailIndex") && !GET(spec, "backoffLimitPerIndex"))
                field_invalid_str(fe, PATH(p, "action"), action, "requires the backoffLimitPerIndex to be set");
        if (codes)
                validate_exit_codes(fe, PATH(p, "onExitCodes"), codes, json_at_path(spec, "template", "spec"));
        check_count(fe, list, conditions, 20);
        each_at(c, at, list, conditions) {
                check_field(fe, PATH(at, "type"), TEXT(c, "type"), check_qualified_name);
                if (str_empty(TEXT(c, "status")))
                        field_required(fe, PATH(at, "status"), "valid values: [\"False\" \"True\" \"Unknown\"]");
                else
                        check_enum(fe, PATH(at, "status"), TEXT(c, "status"), WORDS("False", "True", "Unknown"));
        }
        if (codes && json_len(conditions) > 0)
                field_invalid_whole(fe, p, "specifying both OnExitCodes and OnPodConditions is not supported");
        if (!codes && json_len(conditions) == 0)
                field_invalid_whole(fe, p, "specifying one of OnExitCodes and OnPodConditions is required");
}

static void validate_failure_policy(struct field_errors *fe, const struct path *p, const struct json *spec) {
        const struct path *list = PATH(PATH(p, "podFailurePolicy"), "rules");
        const struct json *rules = json_at_path(spec, "podFailurePolicy", "rules");

        check_count(fe, list, rules, MAX_RULES);
        each_at(rule, at, list, rules)
                validate_failure_rule(fe, at, rule, spec);
}

/* Limits of jobs whose pods are numbered. */
static void validate_indexed(struct field_errors *fe, const struct path *p, const struct json *spec) {
        const struct json *parallelism = GET(spec, "parallelism"), *completions = GET(spec, "completions"),
                          *failed = GET(spec, "maxFailedIndexes");
        const struct path *pods_path = PATH(p, "parallelism"), *failed_path = PATH(p, "maxFailedIndexes");
        bool many = json_int(completions) > MAX_INDEXED && GET(spec, "backoffLimitPerIndex");

        REQUIRED_IF(!completions, PATH(p, "completions"), "when completion mode is Indexed");
        INVALID_IF(json_int(parallelism) > MAX_INDEXED, pods_path, parallelism,
                   "must be less than or equal to %d when completion mode is Indexed", MAX_INDEXED);
        if (completions && failed && json_int(failed) > json_int(completions))
                field_invalid(fe, failed_path, failed, "must be less than or equal to completions");
        if (json_int(failed) > MAX_INDEXED)
                field_invalid(fe, failed_path, failed, "must be less than or equal to %d", MAX_INDEXED);
        if (!many)
                return;
        REQUIRED_IF(!failed, failed_path, "must be specified when completions is above 100000");
        for (int i = 0; i < 2; i++)
                if (json_int(i ? failed : parallelism) > MAX_WITH_MANY)
                        field_invalid(fe, i ? failed_path : pods_path, i ? failed : parallelism,
                                      "must be less than or equal to %d when completions are above %d and used with "
                                      "backoff limit per index",
                                      MAX_WITH_MANY, MAX_INDEXED);
}

static void validate_completion(struct field_errors *fe, const struct path *p, const struct json *spec) {
        const struct json *manager = GET(spec, "managedBy");
        struct str mode = TEXT(spec, "completionMode");

        if (GET(spec, "maxFailedIndexes") && !GET(spec, "backoffLimitPerIndex"))
                TELL_AT(PATH(p, "maxFailedIndexes"),
                        field_required(fe, PATH(p, "backoffLimitPerIndex"), "when maxFailedIndexes is specified"));
        if (manager)
                check_domain_path(fe, PATH(p, "managedBy"), json_str(manager));
        check_length_of(fe, PATH(p, "managedBy"), json_str(manager).n, 63);
        if (str_eqc(mode, "Indexed")) {
                validate_indexed(fe, p, spec);
                if (GET(spec, "successPolicy"))
                        validate_success_policy(fe, PATH(p, "successPolicy"), GET(spec, "successPolicy"),
                                                json_int(GET(spec, "completions")));
                return;
        }
        each_word(word, "backoffLimitPerIndex", "maxFailedIndexes", "successPolicy")
                TELL_AT(word[0] == 's' ? PATH(p, word) : PATH(p, "managedBy"), /* after what is wrong with that */
                        INVALID_IF(GET(spec, word) && (!GET(spec, "completionMode") || str_eqc(mode, "NonIndexed") ||
                                                       word[0] == 's'),
                                   PATH(p, word), GET(spec, word), "requires indexed completion mode"));
}

CHECK(validate_job_spec, const struct json *spec, const struct json *old) {
        const struct path *template = PATH(p, "template"),
                          *restart_path = PATH(PATH(template, "spec"), "restartPolicy");
        struct str restart = json_str(json_at_path(spec, "template", "spec", "restartPolicy"));

        validate_completion(fe, p, spec);
        if (GET(spec, "podFailurePolicy"))
                validate_failure_policy(fe, p, spec);
        if (GET(spec, "podReplacementPolicy"))
                check_enum(fe, PATH(p, "podReplacementPolicy"), TEXT(spec, "podReplacementPolicy"),
                           GET(spec, "podFailurePolicy") ? WORDS("Failed") : WORDS("Failed", "TerminatingOrFailed"));
        fe->at = template; /* after all that is wrong with it */
        if (str_empty(restart) || str_eqc(restart, "Always"))
                field_required(fe, restart_path, "valid values: \"OnFailure\", \"Never\"");
        else if (check_enum(fe, restart_path, restart, WORDS("OnFailure", "Never")) && GET(spec, "podFailurePolicy") &&
                 !str_eqc(restart, "Never"))
                field_invalid_str(fe, restart_path, restart,
                                  "only \"Never\" is supported when podFailurePolicy is specified");
        fe->at = NULL;
}

/* A copy of `to` that has `keys` as `from` has them. */
static struct json with(struct arena *a, const struct json *to, const struct json *from, const char *const *keys) {
        struct json copy = json_is(to, JSON_OBJECT) ? json_copy_shallow(a, to) : json_new_object();

        for (; *keys; keys++)
                json_put(a, &copy, *keys, GET(from, *keys));
        return copy;
}

/* The template of a job is fixed, but for the placement of a suspended one that has not been started. */
CHECK(check_template, const struct json *now, const struct json *old) {
        const struct json *affinity = json_at_path(now, "spec", "affinity");
        struct json meta = with(fe->a, GET(old, "metadata"), GET(now, "metadata"), WORDS("annotations", "labels")),
                    spec = with(fe->a, GET(old, "spec"), GET(now, "spec"),
                                WORDS("nodeSelector", "tolerations", "schedulingGates")),
                    allowed = json_copy_shallow(fe->a, old),
                    moved = with(fe->a, GET(&spec, "affinity"), affinity, WORDS("nodeAffinity"));

        json_put(fe->a, &spec, "affinity", affinity || json_len(&moved) > 0 ? &moved : NULL);
        json_put(fe->a, &allowed, "metadata", GET(now, "metadata") || json_len(&meta) > 0 ? &meta : NULL);
        json_setc(fe->a, &allowed, "spec", spec);
        INVALID_IF(!json_equal(now, &allowed), p, now, "field is immutable");
}

CHECK(validate_job_update, const struct json *obj, const struct json *old_job) {
        static const char *const fixed[] = { "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy",
                                             "successPolicy" };
        const struct json *spec = GET(obj, "spec"), *old = GET(old_job, "spec"),
                          *completions = GET(spec, "completions"), *before = GET(old, "completions");
        const struct path *template = PATH(p, "template");
        int phase = fe->phase; /* one after the other, wherever the fields stand */

        if (!str_eqc(TEXT(spec, "completionMode"), "Indexed"))
                check_immutable(fe, PATH(p, "completions"), completions, before);
        else if (completions && json_int(completions) != json_int(before) &&
                 json_int(completions) != json_int(GET(spec, "parallelism")))
                field_invalid(fe, PATH(p, "completions"), completions,
                              "can only be modified in tandem with spec.parallelism");
        fe->phase++;
        check_immutable(fe, PATH(p, "selector"), GET(spec, "selector"), GET(old, "selector"));
        fe->phase += 2;
        if (json_bool(GET(old, "suspend")) && !json_at_path(old_job, "status", "startTime"))
                check_template(fe, template, GET(spec, "template"), GET(old, "template"));
        else if (!json_equal(GET(spec, "template"), GET(old, "template")))
                field_invalid(fe, template, GET(spec, "template"), "field is immutable");
        for (size_t i = 0; i < ARRAY_SIZE(fixed); i++, fe->phase++)
                check_immutable(fe, PATH(p, fixed[i]), GET(spec, fixed[i]), GET(old, fixed[i]));
        fe->phase = phase;
}

/* Labels that make the pods of a job its own, unless it selects them itself. Old jobs may lack the later two. */
static void check_generated(struct field_errors *fe, const struct json *obj, const struct selector *s) {
        static const char *const labels[][2] = { { "controller-uid", "uid" },
                                                 { "job-name", "name" },
                                                 { "batch.kubernetes.io/controller-uid", "uid" },
                                                 { "batch.kubernetes.io/job-name", "name" } };
        const struct path *p = PATH(NULL, "spec"), *at = PATH(PATH(PATH(p, "template"), "metadata"), "labels");
        const struct path *first = PATH(p, "-"); /* of all that is wrong with it */
        const struct json *has = json_at_path(obj, "spec", "template", "metadata", "labels"),
                          *had = json_at_path(fe->old, "spec", "template", "metadata", "labels");
        size_t n = fe->old && !(GET(had, labels[2][0]) && GET(had, labels[3][0])) ? 2 : ARRAY_SIZE(labels);
        struct json expected = json_new_object();

        if (json_bool(json_at_path(obj, "spec", "manualSelector")))
                return;
        fe->at = first;
        for (size_t i = 0; i < n; i++) {
                struct str value = json_str(json_at_path(obj, "metadata", labels[i][1]));

                json_setc(fe->a, &expected, labels[i][0], json_of_str(value));
                if (!GET(has, labels[i][0]))
                        field_required(fe, PATH_KEY(at, str_of(labels[i][0])),
                                       arena_printf(fe->a, "must be '%" STR_FMT "'", STR_ARG(value)).p);
                else if (!str_eq(TEXT(has, labels[i][0]), value))
                        field_invalid(fe, PATH_KEY(at, str_of(labels[i][0])), has, "must be '%" STR_FMT "'",
                                      STR_ARG(value));
        }
        json_sort(&expected);
        INVALID_IF(s && !selector_matches_labels(s, &expected), PATH(p, "selector"),
                   json_at_path(obj, "spec", "selector"), "`selector` not auto-generated");
        fe->at = NULL;
}

/* Pods of an indexed job are named after it and their number. */
static void check_job_name(struct field_errors *fe, const struct json *obj) {
        struct str name = json_str(json_at_path(obj, "metadata", "name")), pod;
        int64_t n = json_int(json_at_path(obj, "spec", "completions"));
        const char *messages[MAX_MESSAGES];

        if (n <= 0 || !str_eqc(json_str(json_at_path(obj, "spec", "completionMode")), "Indexed"))
                return;
        pod = arena_printf(fe->a, "%" STR_FMT "-%lld", STR_ARG(name), (long long) n - 1);
        INVALID_STR_IF(check_dns_label(pod, messages) > 0, PATH(PATH(NULL, "metadata"), "name"), name,
                       "will not able to create pod with invalid DNS label: %" STR_FMT, STR_ARG(pod));
}

void validate_job(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct path *p = PATH(NULL, "spec");
        const struct json *spec = GET(obj, "spec"), *selector = GET(spec, "selector"),
                          *labels = json_at_path(spec, "template", "metadata", "labels");
        struct selector s;
        bool first = !old || fe->list.n == 0; /* upstream's update looks at the new job, and then at its spec again */
        bool fine = selector && selector_from_object(fe->a, selector, &s, NULL) >= 0;

        if (first && selector)
                check_generated(fe, obj, fine ? &s : NULL);
        validate_job_spec(fe, p, spec, old);
        fe->phase++;
        REQUIRED_IF(!selector, PATH(p, "selector"), "");
        if (!selector || fine)
                INVALID_IF(!selector || !selector_matches_labels(&s, labels),
                           PATH(PATH(PATH(p, "template"), "metadata"), "labels"), labels,
                           "`selector` does not match template `labels`");
        if (first)
                check_job_name(fe, obj);
        fe->phase++;
        if (old)
                validate_job_update(fe, p, obj, old);
        fe->phase -= 2;
}

/* ---- how a job is ---- */

static bool is_true(const struct json *job, const char *type) {
        return condition_is(GET(job, "status"), type, "True");
}

/* The pods that a job has seen end and not counted yet, each once. */
static void check_uncounted(struct field_errors *fe, const struct path *p, const struct json *status) {
        const struct json *both = GET(status, "uncountedTerminatedPods");
        struct json seen = json_new_object();

        each_word(list, "succeeded", "failed") {
                each_at(uid, at, PATH(PATH(p, "uncountedTerminatedPods"), list), GET(both, list)) {
                        if (str_empty(json_str(uid)))
                                field_invalid(fe, at, uid, "must not be empty");
                        else if (json_get(&seen, json_str(uid)))
                                field_duplicate(fe, at, json_str(uid));
                        json_set(fe->a, &seen, json_str(uid), json_of_bool(true));
                }
        }
}

/* Times are texts of one form: their order is that of the texts. */
static bool earlier(struct str a, struct str b) {
        int order = memcmp(a.p, b.p, MIN(a.n, b.n));

        return !str_empty(a) && !str_empty(b) && order < 0;
}

/* What of the statuses is not as it was: bad values may stay. */
static bool changed(const struct json *obj, const struct json *old, const char *member) {
        const struct json *x = json_at_path(obj, "status", member), *y = json_at_path(old, "status", member);

        return x && y ? !json_equal(x, y) : json_type(x) != json_type(y);
}

/* Told in this order, whatever the fields. */
#define IN_TURN(kind, cond, ...)                       \
        do {                                           \
                if (cond) {                            \
                        field_##kind(fe, __VA_ARGS__); \
                        field_errors_settle(fe);       \
                }                                      \
        } while (0)

/* The conditions that say how a job ended. */
struct outcome {
        bool complete, failed, failing, succeeding, finished;
};

static struct outcome outcome_of(const struct json *job) {
        struct outcome o = { is_true(job, "Complete"), is_true(job, "Failed"), is_true(job, "FailureTarget"),
                             is_true(job, "SuccessCriteriaMet"), false };

        o.finished = o.complete || o.failed;
        return o;
}

CHECK(check_job_end, const struct json *obj, const struct json *old) {
        const struct path *end_path = PATH(p, "completionTime"), *at = PATH(p, "conditions");
        const struct json *end = json_at_path(obj, "status", "completionTime");
        struct outcome now = outcome_of(obj), was = outcome_of(old);
        bool completes = now.complete != was.complete, fails = now.failed != was.failed,
             ended = changed(obj, old, "completionTime"), moved = changed(obj, old, "startTime"),
             set = json_is(end, JSON_STRING);

        IN_TURN(invalid_whole, (completes || fails) && now.complete && now.failed, at,
                "cannot set Complete=True and Failed=true conditions");
        IN_TURN(invalid_whole, (completes || now.failing != was.failing) && now.complete && now.failing, at,
                "cannot set Complete=True and FailureTarget=true conditions");
        IN_TURN(invalid, (ended || completes) && set && !now.complete, end_path, end,
                "cannot set completionTime when there is no Complete=True condition");
        IN_TURN(required, (ended || completes) && !set && now.complete, end_path,
                "completionTime is required for Complete jobs");
        IN_TURN(invalid, (ended || moved) && earlier(json_str(end), json_str(json_at_path(obj, "status", "startTime"))),
                end_path, end, "completionTime cannot be set before startTime");
        IN_TURN(invalid_whole, (fails || changed(obj, old, "failedIndexes")) && now.failed && !now.failing, at,
                "cannot set Failed=True condition without the FailureTarget=true condition");
        IN_TURN(invalid_whole, (completes || now.succeeding != was.succeeding) && now.complete && !now.succeeding, at,
                "cannot set Complete=True condition without the SuccessCriteriaMet=true condition");
}

/* What a finished job no longer has. */
CHECK(check_job_rest, const struct json *obj, const struct json *old) {
        const struct json *status = GET(obj, "status"), *both = GET(status, "uncountedTerminatedPods"),
                          *completions = json_at_path(obj, "spec", "completions");
        bool finished = outcome_of(obj).finished, now = finished != outcome_of(old).finished,
             nothing = json_bool(json_at_path(obj, "spec", "suspend")) && completions && json_int(completions) == 0;

        IN_TURN(invalid, finished && (now || changed(obj, old, "active")) && json_int(GET(status, "active")) > 0,
                PATH(p, "active"), GET(status, "active"), "active>0 is invalid for finished job");
        IN_TURN(required,
                finished && (now || changed(obj, old, "startTime")) && !nothing &&
                                !json_is(GET(status, "startTime"), JSON_STRING),
                PATH(p, "startTime"), "startTime is required for finished job");
        IN_TURN(invalid,
                finished && (now || changed(obj, old, "uncountedTerminatedPods")) &&
                                json_len(GET(both, "succeeded")) + json_len(GET(both, "failed")) > 0,
                PATH(p, "uncountedTerminatedPods"), both, "uncountedTerminatedPods needs to be empty for finished job");
}

/* What ended stays so, and counters only grow. */
CHECK(check_job_progress, const struct json *obj, const struct json *old) {
        static const char *const growing[] = { "failed", "succeeded" };
        const struct path *at = PATH(p, "conditions"), *end_path = PATH(p, "completionTime");
        const struct json *spec = GET(obj, "spec"), *completions = GET(spec, "completions"),
                          *end = json_at_path(obj, "status", "completionTime");
        struct outcome now = outcome_of(obj), was = outcome_of(old);
        bool elastic = str_eqc(TEXT(spec, "completionMode"), "Indexed") &&
                       json_int_or(completions, -1) == json_int_or(GET(spec, "parallelism"), -1),
             resumes = is_true(old, "Suspended") && condition_is(GET(obj, "status"), "Suspended", "False");
        struct json zero = json_of_int(0);

        each_word(word, "Failed", "Complete", "FailureTarget")
                IN_TURN(invalid_whole, is_true(old, word) && !is_true(obj, word), at,
                        arena_printf(fe->a, "cannot disable the terminal %s=True condition", word).p);
        for (size_t i = 0; i < ARRAY_SIZE(growing); i++) {
                const struct json *v = json_at_path(obj, "status", growing[i]);

                IN_TURN(invalid,
                        json_int(v) < json_int(json_at_path(old, "status", growing[i])) && (i == 0 || !elastic),
                        PATH(p, growing[i]), v ? v : &zero, "cannot decrease the %s counter", growing[i]);
        }
        IN_TURN(invalid,
                changed(obj, old, "completionTime") && json_is(end, JSON_STRING) &&
                                json_is(json_at_path(old, "status", "completionTime"), JSON_STRING),
                end_path, end, "completionTime cannot be mutated");
        IN_TURN(required,
                changed(obj, old, "startTime") && json_is(json_at_path(old, "status", "startTime"), JSON_STRING) &&
                                !resumes && !json_bool(GET(spec, "suspend")),
                PATH(p, "startTime"), "startTime cannot be removed for unsuspended job");
        IN_TURN(invalid_whole, was.succeeding && !now.succeeding, at,
                "cannot disable the SuccessCriteriaMet=True condition");
        IN_TURN(invalid_whole, was.complete && !was.succeeding && now.succeeding, at,
                "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions");
}

/* The first index that both lists name, or -1. */
static int64_t overlap(struct arena *a, struct str completed, struct str failed) {
        struct str other, rest;

        str_each(one, completed, ',')
                for (rest = failed; str_split(&rest, ',', &other);) {
                        struct str parts[2] = { one, other };
                        int64_t bounds[2][2] = { { 0, -1 }, { 0, -1 } };

                        for (int i = 0; i < 2; i++) {
                                ssize_t dash = str_find(parts[i], '-');

                                if (parse_index(a, str_sub(parts[i], 0, dash < 0 ? parts[i].n : (size_t) dash),
                                                INT64_MAX, &bounds[i][0]) ||
                                    parse_index(a, str_sub(parts[i], (size_t) (dash + 1), parts[i].n), INT64_MAX,
                                                &bounds[i][1]))
                                        bounds[i][1] = -1;
                        }
                        if (bounds[0][0] <= bounds[1][1] && bounds[1][0] <= bounds[0][1])
                                return MAX(bounds[0][0], bounds[1][0]);
                }
        return -1;
}

CHECK(check_job_indexes, const struct json *obj, const struct json *old) {
        static const char *const lists[] = { "completedIndexes", "failedIndexes" };
        const struct json *spec = GET(obj, "spec"), *status = GET(obj, "status"), *failed = GET(status, lists[1]),
                          *completions = GET(spec, "completions");
        bool is_changed[] = { changed(obj, old, lists[0]), changed(obj, old, lists[1]) };
        int64_t n;

        for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
                bool looked_at = completions && is_changed[i] &&
                                 (i == 0 || (failed && GET(spec, "backoffLimitPerIndex")));
                const char *problem =
                                looked_at ? parse_indexes(fe->a, TEXT(status, lists[i]), json_int(completions), &n)
                                          : NULL;

                IN_TURN(invalid, problem, PATH(p, lists[i]), GET(status, lists[i]), "error parsing %s: %s", lists[i],
                        problem);
        }
        IN_TURN(invalid,
                is_changed[0] && !str_empty(TEXT(status, lists[0])) &&
                                !str_eqc(TEXT(spec, "completionMode"), "Indexed"),
                PATH(p, lists[0]), GET(status, lists[0]),
                "cannot set non-empty completedIndexes when non-indexed completion mode");
        IN_TURN(invalid, failed && is_changed[1] && !GET(spec, "backoffLimitPerIndex"), PATH(p, lists[1]), failed,
                "cannot set non-null failedIndexes when backoffLimitPerIndex is null");
        n = (is_changed[0] || is_changed[1]) && completions ? overlap(fe->a, TEXT(status, lists[0]), json_str(failed))
                                                            : -1;
        IN_TURN(invalid, n >= 0, PATH(p, lists[1]), failed, "failedIndexes and completedIndexes overlap at index: %lld",
                (long long) n);
}

void validate_job_status(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct path *p = PATH(NULL, "status"), *at = PATH(p, "conditions");
        const struct json *status = GET(obj, "status"), *ready = GET(status, "ready"),
                          *terminating = GET(status, "terminating");
        struct outcome now = outcome_of(obj), was = outcome_of(old);

        check_uncounted(fe, p, status);
        field_errors_settle(fe);
        check_job_end(fe, p, obj, old);
        check_job_rest(fe, p, obj, old);
        check_job_indexes(fe, p, obj, old);
        IN_TURN(invalid,
                now.finished && (!was.finished || changed(obj, old, "terminating")) && json_int(terminating) > 0,
                PATH(p, "terminating"), terminating, "terminating>0 is invalid for finished job");
        IN_TURN(invalid,
                (changed(obj, old, "ready") || changed(obj, old, "active")) && ready &&
                                json_int(ready) > json_int(GET(status, "active")),
                PATH(p, "ready"), ready, "cannot set more ready pods than active");
        IN_TURN(invalid_whole, now.succeeding && now.failed, at,
                "cannot set SuccessCriteriaMet=True and Failed=true conditions");
        IN_TURN(invalid_whole, now.succeeding && now.failing, at,
                "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions");
        IN_TURN(invalid_whole, json_at_path(obj, "spec", "successPolicy") && now.complete && !now.succeeding, at,
                "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True");
        check_job_progress(fe, p, obj, old);
}

CHECK(check_schedule, const struct json *spec, const struct json *old) {
        struct str schedule = TEXT(spec, "schedule");
        bool zoned = str_search(schedule, STR("TZ")) >= 0, had = str_search(TEXT(old, "schedule"), STR("TZ")) >= 0;
        _cleanup_error_ struct error e = ERROR_INIT;
        struct cron cron;

        INVALID_STR_IF(cron_parse(schedule, &cron, &e) < 0, p, schedule, "%s", error_text(&e));
        INVALID_STR_IF(zoned && (!had || GET(spec, "timeZone")), p, schedule,
                       had ? "cannot use both timeZone field and TZ or CRON_TZ in schedule"
                           : "cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
}

CHECK(check_zone, const struct json *zone) {
        struct timezone_data *found = NULL;
        struct str name = json_str(zone);

        if (str_empty(name))
                return field_invalid(fe, p, zone, "timeZone must be nil or non-empty string");
        INVALID_IF(str_eq_fold(name, STR("Local")), p, zone,
                   "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones");
        if (str_eqc(name, "Local") || str_eqc(name, "UTC")) /* need no file */
                return;
        INVALID_IF(timezone_load(name, &found, NULL) < 0, p, zone, "unknown time zone %" STR_FMT, STR_ARG(name));
        timezone_free(found);
}

void validate_cronjob(struct field_errors *fe, const struct json *obj, const struct json *old) {
        static const char *const no_manual[] = { "nil", "false", NULL };
        const struct path *p = PATH(NULL, "spec"), *job_path = PATH(PATH(p, "jobTemplate"), "spec");
        const struct json *spec = GET(obj, "spec");
        const struct json *zone = GET(spec, "timeZone"), *job = json_at_path(spec, "jobTemplate", "spec");
        struct str name = json_str(json_at_path(obj, "metadata", "name"));

        fe->phase++;
        INVALID_STR_IF(!old && name.n > 52, PATH(PATH(NULL, "metadata"), "name"), name,
                       "must be no more than 52 characters");
        fe->phase--;
        if (!str_empty(TEXT(spec, "schedule")))
                check_schedule(fe, PATH(p, "schedule"), spec, GET(old, "spec"));
        if (zone && (!old || !json_equal(zone, json_at_path(old, "spec", "timeZone"))))
                check_zone(fe, PATH(p, "timeZone"), zone);
        validate_job_spec(fe, job_path, job, NULL);
        forget_errors_at(fe, PATH(job_path, "selector")); /* there shall be none */
        if (GET(job, "selector"))
                invalid_at(fe, job_path, job, "selector", "`selector` will be auto-generated");
        if (json_bool(GET(job, "manualSelector")))
                field_not_supported_value(fe, PATH(job_path, "manualSelector"), GET(job, "manualSelector"), no_manual);
}
