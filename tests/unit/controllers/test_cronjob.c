/* CronJobs, and the schedules they understand. */
#include "help.h"

#include <unistd.h>

#include "base/time.h"
#include "base/cron.h"

extern const struct controller_class cronjob_controller;
static const struct controller_class *const classes[] = { &cronjob_controller, NULL };

/* ---- schedules ---- */

static const char *next(const char *schedule, const char *zone, const char *from) {
        static char text[36];
        struct timezone_data *z = NULL;
        struct cron c;
        int64_t t;

        assert_int_equal(cron_parse(str_of(schedule), &c, NULL), 0);
        if (zone)
                assert_int_equal(timezone_load(str_of(zone), &z, NULL), 0);
        assert_int_equal(time_parse(str_of(from), &t), 0);
        t = cron_next(&c, z, t);
        timezone_free(z);
        return t == INT64_MAX ? "never" : (time_format(text, t).p);
}

static void the_next_time_is_found(void **state) {
        static const struct {
                const char *schedule, *zone, *from, *want;
        } cases[] = {
                { "* * * * *", "UTC", "2025-01-01T00:00:00Z", "2025-01-01T00:01:00Z" },
                { "*/15 * * * *", "UTC", "2025-01-01T00:07:30Z", "2025-01-01T00:15:00Z" },
                { "30 2 * * *", "UTC", "2025-01-01T02:30:00Z", "2025-01-02T02:30:00Z" },
                { "0 0 29 2 *", "UTC", "2025-01-01T00:00:00Z", "2028-02-29T00:00:00Z" },
                { "0 9 * * mon-fri", "UTC", "2025-01-03T10:00:00Z", "2025-01-06T09:00:00Z" },
                { "0 0 13 * FRI", "UTC", "2025-01-01T00:00:00Z", "2025-01-03T00:00:00Z" }, /* either will do */
                { "5/20 8,20 1 */3 *", "UTC", "2025-01-01T20:26:00Z", "2025-01-01T20:45:00Z" },
                { "0 0 */1 * MON", "UTC", "2025-01-01T00:00:00Z", "2025-01-06T00:00:00Z" }, /* every day is no choice */
                { "*-5 * * * *", "UTC", "2025-01-01T00:00:00Z", "2025-01-01T00:01:00Z" },
                { "@monthly", "UTC", "2025-01-31T00:00:00Z", "2025-02-01T00:00:00Z" },
                { "@every 90s", "UTC", "2025-01-01T00:00:10Z", "2025-01-01T00:01:40Z" },
                { "0 0 31 2 *", "UTC", "2025-01-01T00:00:00Z", "never" },
                { "0 12 * * *", "Europe/Berlin", "2025-01-01T00:00:00Z", "2025-01-01T11:00:00Z" },
                { "0 12 * * *", "Europe/Berlin", "2025-07-01T00:00:00Z", "2025-07-01T10:00:00Z" },
                { "30 2 * * *", "Europe/Berlin", "2025-03-29T12:00:00Z",
                  "2025-03-31T00:30:00Z" }, /* skipped on the 30th */
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                if (strcmp(cases[i].zone, "UTC") && access("/usr/share/zoneinfo/Europe/Berlin", R_OK) != 0)
                        continue;
                assert_string_equal(next(cases[i].schedule,
                                         access("/usr/share/zoneinfo/UTC", R_OK) == 0 ? cases[i].zone : NULL,
                                         cases[i].from),
                                    cases[i].want);
        }
}

static void nonsense_is_refused(void **state) {
        static const char *const bad[] = { "",          "* * * *",      "* * * * * *", "60 * * * *",    "* 24 * * *",
                                           "* * 0 * *", "* * * 13 *",   "* * * * 8",   "5-1 * * * *",   "*/0 * * * *",
                                           "a * * * *", "@fortnightly", "@every x",    "1-2-3 * * * *", "-1 * * * *" };

        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                struct cron c;

                assert_true(cron_parse(str_of(bad[i]), &c, NULL) < 0);
        }
}

/* ---- the controller ---- */

static void create(struct cluster *k, const char *more) {
        fake_api_create(k->api, &res_cronjobs, "ns",
                        "{'metadata':{'name':'cj'},'spec':{'timeZone':'UTC','schedule':'*/5 * * * "
                        "*',%s'jobTemplate':{'metadata':{'labels':{'a':'b'}},"
                        "'spec':{'template':{'spec':{'restartPolicy':'Never','containers':[{'name':'c','image':'i'}]}}}"
                        "}}}",
                        more);
        cluster_settle(k);
}

static struct object *cj(struct cluster *k) {
        return fake_api_get(k->api, &res_cronjobs, "ns", "cj");
}

static void finish(struct cluster *k, const char *type) {
        struct object *jobs[64];
        size_t n = fake_api_list(k->api, &res_jobs, "ns", jobs, 64);
        char time[36];

        for (size_t i = 0; i < n; i++) {
                _cleanup_free_ char *name = str_dup(object_name(jobs[i]));

                if (json_len(at(jobs[i], "status.conditions")) == 0)
                        fake_api_patch(k->api, &res_jobs, "ns", name, "status",
                                       "{'status':{'startTime':'%.*s','completionTime':'%.*s','conditions':[{'type':'%"
                                       "s','status':'True'}]}}",
                                       STR_ARG(time_format(time, k->clock.ns)), STR_ARG(time_format(time, k->clock.ns)),
                                       type);
        }
        cluster_settle(k);
}

static void makes_a_job_at_each_time(void **state) {
        _cluster_ struct cluster k;
        struct object *job;

        cluster_start(&k, NULL, classes);
        create(&k, "");
        cluster_advance(&k, 299);
        assert_int_equal(count(&k, &res_jobs, "ns"), 0);
        cluster_advance(&k, 2);
        job = only(&k, &res_jobs, "ns");
        assert_string_equal(text_at(job, "metadata.name"), "cj-28928165"); /* minutes since 1970 */
        assert_string_equal(text_at(job, "metadata.labels.a"), "b");
        assert_string_equal(text_at(job, "metadata.ownerReferences.0.kind"), "CronJob");
        assert_true(str_eqc(json_str(json_getc(at(job, "metadata.annotations"),
                                               "batch.kubernetes.io/cronjob-scheduled-timestamp")),
                            "2025-01-01T00:05:00Z"));
        assert_string_equal(text_at(cj(&k), "status.lastScheduleTime"), "2025-01-01T00:05:00Z");
        assert_string_equal(text_at(cj(&k), "status.active.0.name"), "cj-28928165");
        cluster_advance(&k, 300);
        assert_int_equal(count(&k, &res_jobs, "ns"), 2);
        finish(&k, "Complete");
        assert_int_equal(json_len(at(cj(&k), "status.active")), 0);
        assert_true(*text_at(cj(&k), "status.lastSuccessfulTime"));
        assert_int_equal(events(&k, "cj", "SawCompletedJob"), 2);
}

static void an_active_job_that_somebody_deletes_is_missed(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        create(&k, "");
        cluster_advance(&k, 301);
        assert_int_equal(events(&k, "cj", "MissingJob"), 0);
        fake_api_delete(k.api, &res_jobs, "ns", text_at(only(&k, &res_jobs, "ns"), "metadata.name"), NULL);
        cluster_settle(&k);
        assert_int_equal(events(&k, "cj", "MissingJob"), 1);
        assert_int_equal(json_len(at(cj(&k), "status.active")), 0);
}

static void a_time_that_never_comes_is_said(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        create(&k, "");
        assert_int_equal(events(&k, "cj", "InvalidSchedule"), 0);
        fake_api_patch(k.api, &res_cronjobs, "ns", "cj", "", "{'spec':{'schedule':'59 23 31 2 *'}}");
        cluster_settle(&k);
        assert_int_equal(events(&k, "cj", "InvalidSchedule"), 1);
}

static void forbid_waits_for_the_one_before(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        create(&k, "'concurrencyPolicy':'Forbid',");
        cluster_advance(&k, 301);
        cluster_advance(&k, 300);
        assert_int_equal(count(&k, &res_jobs, "ns"), 1);
        assert_true(events(&k, "cj", "JobAlreadyActive") >= 1);
        finish(&k, "Complete");
        assert_int_equal(count(&k, &res_jobs, "ns"), 2);
}

static void replace_ends_the_one_before(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        create(&k, "'concurrencyPolicy':'Replace',");
        cluster_advance(&k, 301);
        cluster_advance(&k, 300);
        assert_string_equal(text_at(only(&k, &res_jobs, "ns"), "metadata.name"), "cj-28928170");
}

static void suspended_it_makes_none(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        create(&k, "'suspend':true,");
        cluster_advance(&k, 1000);
        assert_int_equal(count(&k, &res_jobs, "ns"), 0);
}

static void history_is_kept_to_its_limits(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        create(&k, "'successfulJobsHistoryLimit':2,'failedJobsHistoryLimit':1,");
        for (int i = 0; i < 6; i++) {
                cluster_advance(&k, 300);
                cluster_advance(&k, 1);
                finish(&k, i % 3 ? "Complete" : "Failed");
        }
        assert_int_equal(count(&k, &res_jobs, "ns"), 3);
}

static void what_was_missed_is_made_up_for_once(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        create(&k, "'suspend':true,");
        cluster_advance(&k, 86400 * 30); /* 8,640 times */
        fake_api_patch(k.api, &res_cronjobs, "ns", "cj", "", "{'spec':{'suspend':false}}");
        cluster_settle(&k);
        assert_int_equal(count(&k, &res_jobs, "ns"), 1);
        assert_string_equal(text_at(cj(&k), "status.lastScheduleTime"), "2025-01-31T00:00:00Z");
}

static void too_late_is_left_out(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        create(&k, "'suspend':true,'startingDeadlineSeconds':60,");
        cluster_advance(&k, 500);
        fake_api_patch(k.api, &res_cronjobs, "ns", "cj", "", "{'spec':{'suspend':false}}");
        cluster_settle(&k);
        assert_int_equal(count(&k, &res_jobs, "ns"), 0);
        cluster_advance(&k, 150);
        assert_int_equal(count(&k, &res_jobs, "ns"), 1);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_next_time_is_found),
                cmocka_unit_test(nonsense_is_refused),
                cmocka_unit_test(makes_a_job_at_each_time),
                cmocka_unit_test(an_active_job_that_somebody_deletes_is_missed),
                cmocka_unit_test(forbid_waits_for_the_one_before),
                cmocka_unit_test(replace_ends_the_one_before),
                cmocka_unit_test(suspended_it_makes_none),
                cmocka_unit_test(history_is_kept_to_its_limits),
                cmocka_unit_test(what_was_missed_is_made_up_for_once),
                cmocka_unit_test(too_late_is_left_out),
                cmocka_unit_test(a_time_that_never_comes_is_said),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
