/* Parts of the kubelet by themselves: expansion, logs, credentials, files that change at once, quality of service. */
#include "../test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "http/server.h"
#include "kubelet/check.h"
#include "kubelet/credentials.h"
#include "kubelet/internal.h"
#include "kubelet/logs.h"
#include "kubelet/volumes.h"
#include "schema/nodefit.h"

static struct json *parse(struct arena *a, const char *text) {
        struct json_parse_opts opts = { .copy_strings = true };
        struct str s = arena_str(a, str_of(text));
        struct json *j = NULL;

        for (char *c = (char *) s.p; *c; c++)
                if (*c == '\'')
                        *c = '"';
        assert_int_equal(json_parse(a, s, &opts, &j, NULL), 0);
        return j;
}

static void variables_expand_as_upstream(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        const struct str env[][2] = { { STR("A"), STR("1") }, { STR("EMPTY"), STR("") } };
        static const char *const cases[][2] = {
                { "$(A)", "1" },     { "x$(A)y", "x1y" }, { "$(NONE)", "$(NONE)" },
                { "$$(A)", "$(A)" }, { "$", "$" },        { "$A", "$A" },
                { "$(A", "$(A" },    { "$$$(A)", "$1" },  { "$(EMPTY)!", "!" },
                { "a$$b", "a$b" },   { "", "" },          { "$(A)$(A)", "11" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
                assert_str(env_expand(a, str_of(cases[i][0]), env, ARRAY_SIZE(env)), cases[i][1]);
}

static void log_lines_parse(void **state) {
        struct log_line l;

        assert_true(log_parse(STR("2026-01-02T03:04:05.1Z stdout F hello world"), &l));
        assert_str(l.text, "hello world");
        assert_false(l.partial);
        assert_true(log_parse(STR("2026-01-02T03:04:05.1Z stderr P part"), &l));
        assert_true(l.partial);
        assert_true(log_parse(STR("2026-01-02T03:04:05.1Z stdout F "), &l));
        assert_int_equal(l.text.n, 0);
        assert_false(log_parse(STR("no log line"), &l));
        assert_false(log_parse(STR(""), &l));
}

static int temporary_file(const char *text) {
        char path[] = "/tmp/kubelet-test-XXXXXX";
        int fd = mkstemp(path);

        assert_true(fd >= 0);
        unlink(path);
        assert_int_equal(write(fd, text, strlen(text)), (ssize_t) strlen(text));
        return fd;
}

#define T "2026-01-02T03:04:05.1Z stdout "

static void the_tail_counts_lines(void **state) {
        static const char text[] = T "F one\n" T "P tw\n" T "F o\n" T "F three\n";
        _cleanup_close_ int fd = temporary_file(text);

        assert_int_equal(log_tail_offset(fd, 0), sizeof(text) - 1);
        assert_int_equal(log_tail_offset(fd, 1), sizeof(text) - 1 - strlen(T "F three\n"));
        assert_int_equal(log_tail_offset(fd, 3), strlen(T "F one\n"));
        assert_int_equal(log_tail_offset(fd, 4), 0);
        assert_int_equal(log_tail_offset(fd, 100), 0);
}

static void the_tail_is_found_across_blocks(void **state) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        _cleanup_close_ int fd = -1;

        for (int i = 0; i < 5000; i++)
                buf_printf(&b, T "F line %d\n", i);
        buf_putc(&b, 0);
        fd = temporary_file(b.p);
        char have[64] = { 0 };

        assert_true(pread(fd, have, sizeof(have) - 1, log_tail_offset(fd, 1000)) > 0);
        assert_true(strncmp(have, T "F line 4000\n", strlen(T "F line 4000\n")) == 0);
}

static void credentials_fit_their_registry(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        const struct json *config = parse(
                        a, "{'auths':{'https://index.docker.io/v1/"
                           "':{'auth':'dTpw'},'reg:5000':{'username':'a','password':'b'},"
                           "'reg:5000/"
                           "team':{'username':'t','password':'x'},'*.example.com':{'username':'w','password':'y'}}}");
        struct registry_auth *auths;
        size_t n;

        credentials_of_config(a, config, STR("docker.io/library/x:latest"), &auths, &n);
        assert_int_equal(n, 1);
        assert_str(auths[0].username, "u");
        assert_str(auths[0].password, "p");
        credentials_of_config(a, config, STR("reg:5000/team/x:1"), &auths, &n);
        assert_int_equal(n, 2);
        assert_str(auths[0].username, "t"); /* the longer path first */
        credentials_of_config(a, config, STR("a.example.com/x:1"), &auths, &n);
        assert_int_equal(n, 1);
        credentials_of_config(a, config, STR("a.b.example.com/x:1"), &auths, &n);
        assert_int_equal(n, 0);
        credentials_of_config(a, config, STR("quay.io/x:1"), &auths, &n);
        assert_int_equal(n, 0);
}

static char *read_text(const char *dir, const char *name) {
        _cleanup_free_ char *path = xprintf("%s/%s", dir, name);
        struct buf b = BUF_INIT;

        assert_int_equal(file_read(path, 0, &b, NULL), 0);
        return buf_take(&b, NULL);
}

static void files_change_all_at_once(void **state) {
        struct payload_file one[] = { { STR("a"), STR("1"), 0644 }, { STR("d/b"), STR("2"), 0600 } };
        struct payload_file two[] = { { STR("a"), STR("3"), 0644 } };
        struct payload p1 = { .v = one, .n = 2 }, p2 = { .v = two, .n = 1 };
        char dir[] = "/tmp/kubelet-atomic-XXXXXX";
        bool changed;
        struct stat st;

        assert_non_null(mkdtemp(dir));
        assert_int_equal(atomic_write(dir, &p1, -1, &changed, NULL), 0);
        assert_true(changed);
        _cleanup_free_ char *a = read_text(dir, "a"), *b = read_text(dir, "d/b");
        assert_string_equal(a, "1");
        assert_string_equal(b, "2");
        _cleanup_free_ char *link = xprintf("%s/a", dir), *gone = xprintf("%s/d", dir), *inner = xprintf("%s/d/b", dir);
        assert_int_equal(lstat(link, &st), 0);
        assert_true(S_ISLNK(st.st_mode));
        assert_int_equal(stat(inner, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);

        assert_int_equal(atomic_write(dir, &p1, -1, &changed, NULL), 0);
        assert_false(changed);
        assert_int_equal(atomic_write(dir, &p2, -1, &changed, NULL), 0);
        assert_true(changed);
        _cleanup_free_ char *c = read_text(dir, "a");
        assert_string_equal(c, "3");
        assert_int_equal(lstat(gone, &st), -1);

        two[0].owned = true;
        two[0].owner = geteuid() == 0 ? 1234 : geteuid();
        assert_int_equal(atomic_write(dir, &p2, -1, &changed, NULL), 0);
        assert_int_equal(changed, geteuid() == 0);
        assert_int_equal(stat(link, &st), 0);
        assert_int_equal(st.st_uid, two[0].owner);
        assert_int_equal(atomic_write(dir, &p2, -1, &changed, NULL), 0);
        assert_false(changed);
        assert_int_equal(file_remove_tree(dir, NULL), 0);
}

static void paths_out_of_a_volume_are_refused(void **state) {
        static const char *const bad[] = { "../x", "/x", "a/../../x", "..x", "" };
        char dir[] = "/tmp/kubelet-atomic-XXXXXX";

        assert_non_null(mkdtemp(dir));
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                struct payload_file f = { str_of(bad[i]), STR("1"), 0644 };
                struct payload p = { .v = &f, .n = 1 };

                assert_true(atomic_write(dir, &p, -1, NULL, NULL) < 0);
        }
        assert_int_equal(file_remove_tree(dir, NULL), 0);
}

static void sysctls_are_written_with_dots_or_slashes(void **state) {
        static const char *const names[][2] = {
                { "kernel.shm_rmid_forced", "kernel/shm_rmid_forced" },
                { "net.ipv4.conf.eth0/100.rp_filter", "net/ipv4/conf/eth0.100/rp_filter" },
                { "none", "none" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                for (size_t from = 0; from < 2; from++) {
                        _cleanup_free_ char *dots = sysctl_written(str_of(names[i][from]), '.');
                        _cleanup_free_ char *slashes = sysctl_written(str_of(names[i][from]), '/');

                        assert_string_equal(dots, names[i][0]);
                        assert_string_equal(slashes, names[i][1]);
                }
}

static void quality_of_service_follows_requests_and_limits(void **state) {
        static const struct {
                const char *resources, *qos;
        } cases[] = {
                { "{}", "BestEffort" },
                { "{'requests':{'cpu':'1'}}", "Burstable" },
                { "{'limits':{'cpu':'1','memory':'1Gi'}}", "Guaranteed" },
                { "{'requests':{'cpu':'1','memory':'1Gi'},'limits':{'cpu':'1000m','memory':'1024Mi'}}", "Guaranteed" },
                { "{'requests':{'cpu':'1'},'limits':{'cpu':'2','memory':'1Gi'}}", "Burstable" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_(arena_freep) struct arena *a = arena_new(0);
                struct str text = arena_printf(a, "{'spec':{'containers':[{'name':'c','resources':%s}]}}",
                                               cases[i].resources);

                assert_string_equal(qos_name(pod_qos(parse(a, text.p))), cases[i].qos);
        }
}

static void a_pod_asks_for_the_largest_of_its_phases(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        const struct json *spec = parse(a, "{'initContainers':[{'resources':{'requests':{'cpu':'3'}}},"
                                           "{'restartPolicy':'Always','resources':{'requests':{'cpu':'1'}}},"
                                           "{'resources':{'requests':{'cpu':'1'}}}],"
                                           "'containers':[{'resources':{'requests':{'cpu':'500m'}}},{'resources':{'"
                                           "requests':{'cpu':'500m'}}}],"
                                           "'overhead':{'cpu':'100m'}}");

        assert_int_equal(pod_request(spec, "requests", "cpu", true), 3100);
}

static void back_off_doubles_and_is_forgotten(void **state) {
        int64_t s = NSEC_PER_SEC, now = 1000 * s;
        struct backoff b = { 0 };

        assert_int_equal(backoff_remaining(&b, now, now), 0); /* the first restart is at once */
        assert_int_equal(backoff_next(&b, now, now), 10 * s);
        assert_int_equal(backoff_remaining(&b, now + 1 * s, now + 3 * s), 8 * s);
        assert_int_equal(backoff_remaining(&b, now + 1 * s, now + 11 * s), 0);
        assert_int_equal(backoff_next(&b, now + 1 * s, now + 11 * s), 20 * s);
        for (int i = 0; i < 10; i++)
                backoff_next(&b, now, now);
        assert_int_equal(b.wait_ns, 300 * s);
        assert_int_equal(backoff_remaining(&b, now + 601 * s, now + 601 * s), 0);
        assert_int_equal(backoff_next(&b, now + 601 * s, now + 601 * s), 10 * s);
}

static void ports_are_found_by_name(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        const struct json *spec = parse(a, "{'ports':[{'name':'web','containerPort':8080}]}");
        uint16_t port;

        assert_int_equal(container_port(spec, parse(a, "'web'"), &port, NULL), 0);
        assert_int_equal(port, 8080);
        assert_int_equal(container_port(spec, parse(a, "90"), &port, NULL), 0);
        assert_int_equal(port, 90);
        assert_true(container_port(spec, parse(a, "'none'"), &port, NULL) < 0);
        assert_true(container_port(spec, parse(a, "0"), &port, NULL) < 0);
}

/* Redirects to what the query names; /end is 200, /bad is 500. */
static void web(struct http_request *r, void *arg) {
        struct http_header h = { STR("location"), http_request_query(r) };
        struct str path = http_request_path(r);

        if (str_eqc(path, "/to"))
                http_respond(r, 302, &h, 1, &(struct http_slice) { .data = STR("moved") }, 1);
        else
                http_respond_copy(r, str_eqc(path, "/end") ? 200 : 500, "text/plain", STR("here"));
}

struct told {
        struct loop *loop;
        enum check_result result;
        char *text;
};

static void told(enum check_result result, const char *text, void *arg) {
        struct told *t = arg;

        t->result = result;
        t->text = xstrdup(text);
        loop_stop(t->loop);
}

static void probes_follow_redirects_on_their_host(void **state) {
        static const struct {
                const char *path;
                enum check_result result;
                const char *text;
        } cases[] = {
                { "/end", CHECK_SUCCESS, "here" },
                { "/to?/end", CHECK_SUCCESS, "here" },
                { "/to?bad", CHECK_FAILURE, "HTTP probe failed with statuscode: 500" },
                { "/to?to?/to?end", CHECK_SUCCESS, "here" },
                { "/to?/to?", CHECK_WARNING, "Probe terminated redirects, Response body: moved" },
                { "/to?http://0.0.0.0/", CHECK_WARNING, "Probe terminated redirects, Response body: moved" },
        };
        struct http_server_options o = { .address = "127.0.0.1", .listen_fd = -1, .workers = 1, .handler = web };
        struct http_server *server;

        assert_int_equal(http_server_start(&o, &server, NULL), 0);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_(arena_freep) struct arena *a = arena_new(0);
                struct told t = { 0 };
                struct kubelet k = { 0 };
                _cleanup_free_ char *text =
                                xprintf("{'httpGet':{'port':%u,'path':'%s'}}", http_server_port(server), cases[i].path);

                assert_int_equal(loop_new("check", &t.loop, NULL), 0);
                k.loop = t.loop;
                check_start(&(struct check_options) {
                                .k = &k,
                                .handler = parse(a, text),
                                .ip = "127.0.0.1",
                                .timeout_ms = 5000,
                                .user_agent = "t",
                                .done = told,
                                .arg = &t,
                });
                loop_run(t.loop);
                assert_string_equal(t.text, cases[i].text);
                assert_int_equal(t.result, cases[i].result);
                free(t.text);
                loop_free(t.loop);
        }
        http_server_stop(server, 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(variables_expand_as_upstream),
                cmocka_unit_test(log_lines_parse),
                cmocka_unit_test(the_tail_counts_lines),
                cmocka_unit_test(the_tail_is_found_across_blocks),
                cmocka_unit_test(credentials_fit_their_registry),
                cmocka_unit_test(files_change_all_at_once),
                cmocka_unit_test(paths_out_of_a_volume_are_refused),
                cmocka_unit_test(sysctls_are_written_with_dots_or_slashes),
                cmocka_unit_test(quality_of_service_follows_requests_and_limits),
                cmocka_unit_test(a_pod_asks_for_the_largest_of_its_phases),
                cmocka_unit_test(back_off_doubles_and_is_forgotten),
                cmocka_unit_test(ports_are_found_by_name),
                cmocka_unit_test(probes_follow_redirects_on_their_host),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
