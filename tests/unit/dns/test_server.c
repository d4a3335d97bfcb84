/* The DNS server over real sockets: the cluster's names from a real API, others from a resolver of the test's own.
 * Answers are read with libc's parser, not ours. */
#include "../net/ground.h"

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <resolv.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/file.h"
#include "base/time.h"
#include "dns/dns.h"
#include "dns/message.h"
#include "net/netlink.h"

/* ---- a resolver ---- */

#define N_UPSTREAM 2

/* Answers by the first label: see answer_upstream(). */
static struct upstream {
        pthread_t thread;
        int udp, tcp;
        atomic_int over_udp, over_tcp;
        atomic_bool silent;
} upstream[N_UPSTREAM];
static int stop_pipe[2];

static void answer_upstream(struct upstream *u, struct str wire, bool tcp, void (*reply)(struct str answer, void *arg),
                            void *arg) {
        struct dns_query q;
        struct dns_writer w;
        _cleanup_buf_ struct buf b = BUF_INIT;
        if (dns_query_parse(wire, &q) < 0 || atomic_load(&u->silent))
                return;
        struct str name = str_of(q.name);
        bool none = str_has_prefix(name, STR("none."));
        dns_begin(&w, &b, wire, &q,
                  none                                 ? DNS_NXDOMAIN
                  : str_has_prefix(name, STR("fail.")) ? DNS_SERVFAIL
                                                       : DNS_NOERROR,
                  false);
        if (none) {
                dns_section(&w, 1);
                dns_add_soa(&w, "com", 60, 1);
        } else if (str_has_prefix(name, STR("alias."))) {
                dns_add_name(&w, "", DNS_CNAME, 300, "real.example.com");
                dns_add_a(&w, "real.example.com", 300, 0xc0000207);
        } else if (str_has_prefix(name, STR("big."))) {
                for (uint32_t i = 0; i < 300; i++)
                        dns_add_a(&w, "", 300, 0xc6120000 + i);
        } else if (str_has_prefix(name, STR("liar."))) {
                char wrong[512];
                memcpy(wrong, wire.p, wire.n);
                wrong[0] ^= 1; /* another id */
                wrong[2] |= (char) 0x80;
                reply(str_n(wrong, wire.n), arg);
                wrong[0] ^= 1;
                wrong[13] ^= 1; /* another question */
                reply(str_n(wrong, wire.n), arg);
                dns_add_a(&w, "", 300, 0xc0000209);
        } else if (q.type == DNS_A && !str_has_prefix(name, STR("fail."))) {
                dns_add_a(&w, "", str_has_prefix(name, STR("brief.")) ? 1 : 300, 0xc0000201);
        }
        dns_end(&w, &q, tcp ? 65535 : q.max_udp);
        reply(buf_str(&b), arg);
}

struct peer {
        int fd;
        struct sockaddr_in from;
};

static void reply_udp(struct str answer, void *arg) {
        struct peer *p = arg;
        sendto(p->fd, answer.p, answer.n, 0, (struct sockaddr *) &p->from, sizeof(p->from));
}

static void reply_tcp(struct str answer, void *arg) {
        struct peer *p = arg;
        char head[2] = { (char) (answer.n >> 8), (char) answer.n };
        assert_int_equal(write(p->fd, head, 2), 2);
        assert_int_equal(write(p->fd, answer.p, answer.n), answer.n);
}

static void *run_upstream(void *arg) {
        struct upstream *u = arg;
        for (;;) {
                struct pollfd fds[] = { { u->udp, POLLIN, 0 }, { u->tcp, POLLIN, 0 }, { stop_pipe[0], POLLIN, 0 } };
                char in[2048];
                poll(fds, 3, -1);
                if (fds[2].revents)
                        return NULL;
                if (fds[0].revents) {
                        struct peer p = { .fd = u->udp };
                        socklen_t len = sizeof(p.from);
                        ssize_t n = recvfrom(u->udp, in, sizeof(in), 0, (struct sockaddr *) &p.from, &len);
                        atomic_fetch_add(&u->over_udp, 1);
                        if (n > 0)
                                answer_upstream(u, str_n(in, (size_t) n), false, reply_udp, &p);
                }
                if (fds[1].revents) {
                        struct peer p = { .fd = accept(u->tcp, NULL, NULL) };
                        ssize_t n = recv(p.fd, in, sizeof(in), 0);
                        atomic_fetch_add(&u->over_tcp, 1);
                        if (n > 2)
                                answer_upstream(u, str_n(in + 2, (size_t) n - 2), true, reply_tcp, &p);
                        close(p.fd);
                }
        }
}

static void start_upstream(void) {
        assert_int_equal(pipe(stop_pipe), 0);
        for (int i = 0; i < N_UPSTREAM; i++) {
                struct upstream *u = &upstream[i];
                struct sockaddr_in a = { .sin_family = AF_INET,
                                         .sin_port = htons(53),
                                         .sin_addr.s_addr = htonl(0x7f000101 + (uint32_t) i) };
                u->udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
                u->tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
                assert_int_equal(bind(u->udp, (struct sockaddr *) &a, sizeof(a)), 0);
                assert_int_equal(bind(u->tcp, (struct sockaddr *) &a, sizeof(a)), 0);
                assert_int_equal(listen(u->tcp, 16), 0);
                pthread_create(&u->thread, NULL, run_upstream, u);
        }
}

static void stop_upstream(void) {
        assert_int_equal(write(stop_pipe[1], "x", 1), 1);
        for (int i = 0; i < N_UPSTREAM; i++) {
                pthread_join(upstream[i].thread, NULL);
                close(upstream[i].udp);
                close(upstream[i].tcp);
        }
        close(stop_pipe[0]);
        close(stop_pipe[1]);
}

/* ---- the client ---- */

static struct ground_api api;
static struct dns *dns;
static char resolv_conf[64];

static struct sockaddr_in server_address(void) {
        return (struct sockaddr_in) { .sin_family = AF_INET,
                                      .sin_port = htons(dns_port(dns)),
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static int connect_to(int type) {
        struct sockaddr_in a = server_address();
        struct timeval limit = { 10, 0 };
        int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
        assert_true(fd >= 0);
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
        assert_int_equal(connect(fd, (struct sockaddr *) &a, sizeof(a)), 0);
        return fd;
}

static size_t read_tcp(int fd, unsigned char *dst, size_t max) {
        unsigned char head[2];
        size_t n = 0, want;
        assert_int_equal(recv(fd, head, 2, MSG_WAITALL), 2);
        want = (size_t) head[0] << 8 | head[1];
        assert_true(want <= max);
        n = (size_t) recv(fd, dst, want, MSG_WAITALL);
        assert_int_equal(n, want);
        return n;
}

static size_t make_query(unsigned char dst[512], const char *name, int type) {
        int n = res_mkquery(ns_o_query, name, ns_c_in, type, NULL, 0, NULL, dst, 512);
        assert_true(n > 0);
        return (size_t) n;
}

static size_t exchange(const char *name, int type, bool tcp, unsigned char *answer, size_t max) {
        unsigned char q[514];
        size_t n = make_query(q + 2, name, type);
        q[0] = (unsigned char) (n >> 8);
        q[1] = (unsigned char) n;
        _cleanup_close_ int fd = connect_to(tcp ? SOCK_STREAM : SOCK_DGRAM);
        if (tcp) {
                assert_int_equal(send(fd, q, n + 2, 0), n + 2);
                return read_tcp(fd, answer, max);
        }
        assert_int_equal(send(fd, q + 2, n, 0), n);
        ssize_t got = recv(fd, answer, max, 0);
        assert_true(got > 0);
        return (size_t) got;
}

static const char *rdata(ns_msg *m, const ns_rr *rr, char *dst, size_t n) {
        char name[NS_MAXDNAME] = "";
        const unsigned char *d = ns_rr_rdata(*rr);
        int skip = ns_rr_type(*rr) == ns_t_srv ? 6 : 0;
        switch (ns_rr_type(*rr)) {
        case ns_t_a:
                return inet_ntop(AF_INET, d, dst, (socklen_t) n);
        case ns_t_soa:
                return "SOA";
        case ns_t_txt:
                snprintf(dst, n, "%.*s", d[0], d + 1);
                return dst;
        default:
                assert_true(dn_expand(ns_msg_base(*m), ns_msg_end(*m), d + skip, name, sizeof(name)) > 0);
                if (skip)
                        snprintf(dst, n, "%d %d %d %s", ns_get16(d), ns_get16(d + 2), ns_get16(d + 4), name);
                else
                        snprintf(dst, n, "%s", name);
                return dst;
        }
}

static int by_text(const void *a, const void *b) {
        return strcmp(*(char *const *) a, *(char *const *) b);
}

/* "NOERROR aa: name data, name data; authority; additional", each section sorted. */
static const char *describe(unsigned char *wire, size_t n) {
        static char text[65536];
        static const char *const rcodes[] = { "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED" };
        ns_msg m;
        assert_int_equal(ns_initparse(wire, (int) n, &m), 0);
        size_t at = (size_t) snprintf(text, sizeof(text), "%s%s%s:", rcodes[ns_msg_getflag(m, ns_f_rcode)],
                                      ns_msg_getflag(m, ns_f_aa) ? " aa" : "", ns_msg_getflag(m, ns_f_tc) ? " tc" : "");
        for (int section = ns_s_an; section <= ns_s_ar; section++) {
                char *lines[512];
                int lines_n = ns_msg_count(m, section);
                assert_true(lines_n <= 512);
                for (int i = 0; i < lines_n; i++) {
                        char data[1024];
                        ns_rr rr;
                        assert_int_equal(ns_parserr(&m, section, i, &rr), 0);
                        lines[i] = xprintf(" %s %s", ns_rr_name(rr), rdata(&m, &rr, data, sizeof(data)));
                }
                qsort(lines, (size_t) lines_n, sizeof(*lines), by_text);
                at += (size_t) snprintf(text + at, sizeof(text) - at, "%s", section > ns_s_an ? ";" : "");
                for (int i = 0; i < lines_n; i++) {
                        at += (size_t) snprintf(text + at, sizeof(text) - at, "%s%s", i ? "," : "", lines[i]);
                        free(lines[i]);
                }
        }
        return text;
}

static const char *ask_over(const char *name, int type, bool tcp) {
        static unsigned char answer[65536];
        return describe(answer, exchange(name, type, tcp, answer, sizeof(answer)));
}

static const char *ask(const char *name, int type) {
        return ask_over(name, type, false);
}

#define NO_SUCH "NXDOMAIN aa:; cluster.local SOA;"
#define NOTHING "NOERROR aa:; cluster.local SOA;"

static void expect(const char *name, int type, const char *expected) {
        const char *got = NULL;
        for (int64_t end = now_mono_ms() + 3000; now_mono_ms() < end; usleep(5000)) /* the watch may be on its way */
                if (strcmp(got = ask(name, type), expected) == 0)
                        return;
        print_error("%s\n", name);
        assert_string_equal(got, expected);
}

/* ---- the cluster's names ---- */

static void a_service_has_its_cluster_ip(void **state) {
        ground_put(&api, &res_services, "default",
                   "{'metadata':{'name':'web'},'spec':{'clusterIP':'10.96.3.7','ports':["
                   "{'name':'http','port':80},{'name':'dns','port':53,'protocol':'UDP'}]}}");
        expect("web.default.svc.cluster.local", ns_t_a, "NOERROR aa: web.default.svc.cluster.local 10.96.3.7;;");
        expect("WEB.Default.svc.cluster.LOCAL", ns_t_a, "NOERROR aa: WEB.Default.svc.cluster.LOCAL 10.96.3.7;;");
        expect("web.default.svc.cluster.local", ns_t_aaaa, NOTHING);
        expect("web.default.svc.cluster.local", ns_t_txt, NOTHING);
        expect("web.other.svc.cluster.local", ns_t_a, NO_SUCH);
        expect("other.default.svc.cluster.local", ns_t_a, NO_SUCH);
        expect("a.b.c.web.default.svc.cluster.local", ns_t_a, NO_SUCH);
        expect("xweb.cluster.local", ns_t_a, NO_SUCH);
}

static void names_between_are_there_without_records(void **state) {
        expect("cluster.local", ns_t_a, NOTHING);
        expect("svc.cluster.local", ns_t_a, NOTHING);
        expect("default.svc.cluster.local", ns_t_a, NOTHING);
        expect("nowhere.svc.cluster.local", ns_t_a, NO_SUCH);
        expect("default.pod.cluster.local", ns_t_a, NOTHING);
        expect("cluster.local", ns_t_soa, "NOERROR aa: cluster.local SOA;;");
        expect("dns-version.cluster.local", ns_t_txt, "NOERROR aa: dns-version.cluster.local 1.1.0;;");
}

static void ports_have_srv_records(void **state) {
        ground_put(&api, &res_services, "default",
                   "{'metadata':{'name':'srv'},'spec':{'clusterIP':'10.96.3.8','ports':["
                   "{'name':'http','port':80},{'name':'dns','port':53,'protocol':'UDP'}]}}");
        expect("_http._tcp.srv.default.svc.cluster.local", ns_t_srv,
               "NOERROR aa: _http._tcp.srv.default.svc.cluster.local 0 100 80 srv.default.svc.cluster.local;;"
               " srv.default.svc.cluster.local 10.96.3.8");
        expect("_dns._udp.srv.default.svc.cluster.local", ns_t_srv,
               "NOERROR aa: _dns._udp.srv.default.svc.cluster.local 0 100 53 srv.default.svc.cluster.local;;"
               " srv.default.svc.cluster.local 10.96.3.8");
        expect("_dns._tcp.srv.default.svc.cluster.local", ns_t_srv, NO_SUCH);
        expect("srv.default.svc.cluster.local", ns_t_srv,
               "NOERROR aa: srv.default.svc.cluster.local 0 50 53 srv.default.svc.cluster.local,"
               " srv.default.svc.cluster.local 0 50 80 srv.default.svc.cluster.local;; srv.default.svc.cluster.local "
               "10.96.3.8");
}

static void put_headless(void) {
        ground_put(&api, &res_services, "default",
                   "{'metadata':{'name':'db'},'spec':{'clusterIP':'None','ports':[{'name':'sql','port':5432}]}}");
        ground_put(&api, &res_endpointslices, "default",
                   "{'metadata':{'name':'db-1','labels':{'kubernetes.io/service-name':'db'}},'addressType':'IPv4',"
                   "'ports':[{'name':'sql','port':15432}],'endpoints':["
                   "{'addresses':['10.244.0.5'],'hostname':'db-0','conditions':{'ready':true}},"
                   "{'addresses':['10.244.0.6'],'conditions':{'ready':true}},"
                   "{'addresses':['10.244.0.7'],'conditions':{'ready':false}}]}");
        /* another slice for another port, with one address again */
        ground_put(&api, &res_endpointslices, "default",
                   "{'metadata':{'name':'db-2','labels':{'kubernetes.io/service-name':'db'}},'addressType':'IPv4',"
                   "'ports':[{'name':'mon','port':9187}],'endpoints':[{'addresses':['10.244.0.5'],'hostname':'db-0','"
                   "conditions':{'ready':true}}]}");
}

static void a_headless_service_has_its_ready_endpoints(void **state) {
        put_headless();
        expect("db.default.svc.cluster.local", ns_t_a,
               "NOERROR aa: db.default.svc.cluster.local 10.244.0.5, db.default.svc.cluster.local 10.244.0.6;;");
        expect("db-0.db.default.svc.cluster.local", ns_t_a,
               "NOERROR aa: db-0.db.default.svc.cluster.local 10.244.0.5;;");
        expect("10-244-0-6.db.default.svc.cluster.local", ns_t_a,
               "NOERROR aa: 10-244-0-6.db.default.svc.cluster.local 10.244.0.6;;");
        expect("10-244-0-7.db.default.svc.cluster.local", ns_t_a, NO_SUCH);
        expect("db-1.db.default.svc.cluster.local", ns_t_a, NO_SUCH);
        expect("_sql._tcp.db.default.svc.cluster.local", ns_t_srv,
               "NOERROR aa: _sql._tcp.db.default.svc.cluster.local 0 50 15432 10-244-0-6.db.default.svc.cluster.local,"
               " _sql._tcp.db.default.svc.cluster.local 0 50 15432 db-0.db.default.svc.cluster.local;;"
               " 10-244-0-6.db.default.svc.cluster.local 10.244.0.6, db-0.db.default.svc.cluster.local 10.244.0.5");
        expect("db-0.db.default.svc.cluster.local", ns_t_srv,
               "NOERROR aa: db-0.db.default.svc.cluster.local 0 50 15432 db-0.db.default.svc.cluster.local,"
               " db-0.db.default.svc.cluster.local 0 50 9187 db-0.db.default.svc.cluster.local;; "
               "db-0.db.default.svc.cluster.local 10.244.0.5");
}

static void an_empty_headless_service_is_no_name(void **state) {
        ground_put(&api, &res_services, "default",
                   "{'metadata':{'name':'void'},'spec':{'clusterIP':'None','ports':[{'port':80}]}}");
        usleep(50000);
        expect("void.default.svc.cluster.local", ns_t_a, NO_SUCH);
}

static void pods_have_names_by_address(void **state) {
        expect("10-244-0-9.default.pod.cluster.local", ns_t_a,
               "NOERROR aa: 10-244-0-9.default.pod.cluster.local 10.244.0.9;;");
        expect("10-244-0-9.nowhere.pod.cluster.local", ns_t_a, NO_SUCH);
        expect("10-244-0-999.default.pod.cluster.local", ns_t_a, NO_SUCH);
        expect("web-0.default.pod.cluster.local", ns_t_a, NO_SUCH);
}

static void addresses_have_names(void **state) {
        put_headless();
        ground_put(&api, &res_services, "default",
                   "{'metadata':{'name':'rev'},'spec':{'clusterIP':'10.96.3.9','ports':[{'port':80}]}}");
        expect("9.3.96.10.in-addr.arpa", ns_t_ptr,
               "NOERROR aa: 9.3.96.10.in-addr.arpa rev.default.svc.cluster.local;;");
        expect("5.0.244.10.in-addr.arpa", ns_t_ptr,
               "NOERROR aa: 5.0.244.10.in-addr.arpa db-0.db.default.svc.cluster.local,"
               " 5.0.244.10.in-addr.arpa db-0.db.default.svc.cluster.local;;");
        expect("9.3.96.10.in-addr.arpa", ns_t_a, "NOERROR aa:; in-addr.arpa SOA;");
        expect("6.0.244.10.in-addr.arpa", ns_t_ptr, "NOERROR:;;"); /* nobody's: asked upstream, which knows no PTR */
}

static void what_changes_is_seen(void **state) {
        ground_put(&api, &res_services, "default",
                   "{'metadata':{'name':'brief'},'spec':{'clusterIP':'10.96.3.10','ports':[{'port':80}]}}");
        expect("brief.default.svc.cluster.local", ns_t_a, "NOERROR aa: brief.default.svc.cluster.local 10.96.3.10;;");
        ground_delete(&api, &res_services, "default", "brief");
        expect("brief.default.svc.cluster.local", ns_t_a, NO_SUCH);
}

static void an_external_name_is_followed(void **state) {
        ground_put(&api, &res_services, "default",
                   "{'metadata':{'name':'out'},'spec':{'type':'ExternalName','externalName':'www.example.com.'}}");
        ground_put(&api, &res_services, "default",
                   "{'metadata':{'name':'chain'},'spec':{'type':'ExternalName','externalName':'alias.example.com'}}");
        ground_put(&api, &res_services, "default",
                   "{'metadata':{'name':'inner'},'spec':{'type':'ExternalName','externalName':'web.default.svc.cluster."
                   "local'}}");
        ground_put(&api, &res_services, "default",
                   "{'metadata':{'name':'two'},'spec':{'type':'ExternalName','externalName':'out.default.svc.cluster."
                   "local'}}");
        ground_put(&api, &res_services, "default",
                   "{'metadata':{'name':'ring'},'spec':{'type':'ExternalName','externalName':'ring.default.svc.cluster."
                   "local'}}");
        ground_put(&api, &res_services, "default",
                   "{'metadata':{'name':'gone'},'spec':{'type':'ExternalName','externalName':'fail.example.com'}}");
        expect("out.default.svc.cluster.local", ns_t_a,
               "NOERROR aa: out.default.svc.cluster.local www.example.com, www.example.com 192.0.2.1;;");
        expect("out.default.svc.cluster.local", ns_t_cname,
               "NOERROR aa: out.default.svc.cluster.local www.example.com;;");
        expect("out.default.svc.cluster.local", ns_t_aaaa,
               "NOERROR aa: out.default.svc.cluster.local www.example.com;;");
        expect("out.default.svc.cluster.local", ns_t_txt, NOTHING);
        expect("chain.default.svc.cluster.local", ns_t_a,
               "NOERROR aa: alias.example.com real.example.com, "
               "chain.default.svc.cluster.local alias.example.com, real.example.com 192.0.2.7;;");
        expect("inner.default.svc.cluster.local", ns_t_a,
               "NOERROR aa: inner.default.svc.cluster.local web.default.svc.cluster.local, "
               "web.default.svc.cluster.local 10.96.3.7;;");
        expect("two.default.svc.cluster.local", ns_t_a,
               "NOERROR aa: out.default.svc.cluster.local www.example.com,"
               " two.default.svc.cluster.local out.default.svc.cluster.local, www.example.com 192.0.2.1;;");
        expect("gone.default.svc.cluster.local", ns_t_a,
               "NOERROR aa: gone.default.svc.cluster.local fail.example.com;;");
        expect("ring.default.svc.cluster.local", ns_t_a,
               "NOERROR aa: ring.default.svc.cluster.local ring.default.svc.cluster.local;;");
}

static void many_endpoints_are_cut_over_udp_and_whole_over_tcp(void **state) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        for (int i = 0; i < 100; i++)
                buf_printf(&b, "%s{'addresses':['10.244.9.%d'],'conditions':{'ready':true}}", i ? "," : "", i + 1);
        ground_put(&api, &res_services, "default",
                   "{'metadata':{'name':'wide'},'spec':{'clusterIP':'None','ports':[{'port':80}]}}");
        ground_put(&api, &res_endpointslices, "default",
                   "{'metadata':{'name':'wide-1','labels':{'kubernetes.io/"
                   "service-name':'wide'}},'addressType':'IPv4','endpoints':[%" STR_FMT "]}",
                   STR_ARG(buf_str(&b)));
        eventually(strncmp(ask("wide.default.svc.cluster.local", ns_t_a), "NOERROR aa tc: wide", 19) == 0);
        const char *all = ask_over("wide.default.svc.cluster.local", ns_t_a, true);
        int n = 0;
        for (const char *p = all; (p = strstr(p, " 10.244.9.")); p++)
                n++;
        assert_int_equal(n, 100);
        assert_int_equal(strncmp(all, "NOERROR aa: ", 12), 0);
}

/* ---- others' names ---- */

static int asked(void) {
        int n = 0;
        for (int i = 0; i < N_UPSTREAM; i++)
                n += atomic_load(&upstream[i].over_udp) + atomic_load(&upstream[i].over_tcp);
        return n;
}

static uint32_t ttl_of(const char *name) {
        unsigned char answer[4096];
        ns_msg m;
        ns_rr rr;
        size_t n = exchange(name, ns_t_a, false, answer, sizeof(answer));
        assert_int_equal(ns_initparse(answer, (int) n, &m), 0);
        assert_int_equal(ns_parserr(&m, ns_s_an, 0, &rr), 0);
        return ns_rr_ttl(rr);
}

static void answers_are_kept_and_grow_older(void **state) {
        int before = asked();
        assert_int_equal(ttl_of("kept.example.com"), 300);
        usleep(1100000);
        assert_in_range(ttl_of("kept.example.com"), 298, 299);
        assert_string_equal(ask("KEPT.example.com", ns_t_a),
                            "NOERROR: KEPT.example.com 192.0.2.1;;"); /* the letters as asked */
        assert_string_equal(ask("none.example.com", ns_t_a), "NXDOMAIN:; com SOA;");
        assert_string_equal(ask("none.example.com", ns_t_a), "NXDOMAIN:; com SOA;");
        assert_int_equal(asked() - before, 2);
        ask("brief.example.com", ns_t_a);
        usleep(1100000);
        ask("brief.example.com", ns_t_a);
        assert_int_equal(asked() - before, 4);
}

static void failures_are_not_kept(void **state) {
        int before = asked();
        assert_string_equal(ask("fail.example.com", ns_t_a), "SERVFAIL:;;");
        assert_string_equal(ask("fail.example.com", ns_t_a), "SERVFAIL:;;");
        assert_int_equal(asked() - before, 2);
}

static void the_next_server_is_asked_when_one_is_silent(void **state) {
        int64_t begun = now_mono_ms();
        atomic_store(&upstream[0].silent, true);
        assert_string_equal(ask("second.example.com", ns_t_a), "NOERROR: second.example.com 192.0.2.1;;");
        assert_in_range(now_mono_ms() - begun, 900, 2000);
        begun = now_mono_ms();
        assert_string_equal(ask_over("third.example.com", ns_t_a, true), "NOERROR: third.example.com 192.0.2.1;;");
        assert_in_range(now_mono_ms() - begun, 0, 3000);
        atomic_store(&upstream[0].silent, false);
}

static void silence_everywhere_is_a_failure(void **state) {
        for (int i = 0; i < N_UPSTREAM; i++)
                atomic_store(&upstream[i].silent, true);
        assert_string_equal(ask("lost.example.com", ns_t_a), "SERVFAIL:;;");
        for (int i = 0; i < N_UPSTREAM; i++)
                atomic_store(&upstream[i].silent, false);
}

static void wrong_answers_are_not_believed(void **state) {
        assert_string_equal(ask("liar.example.com", ns_t_a), "NOERROR: liar.example.com 192.0.2.9;;");
}

static void a_cut_answer_is_asked_for_again_over_tcp(void **state) {
        const char *cut = ask("big.example.com", ns_t_a);
        assert_int_equal(strncmp(cut, "NOERROR tc:", 11), 0);
        const char *all = ask_over("big.example.com", ns_t_a, true);
        assert_int_equal(strncmp(all, "NOERROR: big", 12), 0);
        assert_non_null(strstr(all, " 198.18.1.43"));
}

static void the_list_of_servers_is_read_again(void **state) {
        assert_int_equal(file_write(resolv_conf, STR("# nobody\n"), 0600, NULL), 0);
        assert_string_equal(ask("new.example.com", ns_t_a), "SERVFAIL:;;");
        assert_int_equal(file_write(resolv_conf,
                                    STR("search a b\nnameserver\t127.0.1.2 \n options x\nnameserver ::1\n"), 0600,
                                    NULL),
                         0);
        int before = atomic_load(&upstream[1].over_udp);
        assert_string_equal(ask("new.example.com", ns_t_a), "NOERROR: new.example.com 192.0.2.1;;");
        assert_int_equal(atomic_load(&upstream[1].over_udp) - before, 1);
        assert_int_equal(file_write(resolv_conf, STR("nameserver 127.0.1.1\nnameserver 127.0.1.2\n"), 0600, NULL), 0);
}

static void the_list_may_become_empty_while_somebody_waits(void **state) {
        _cleanup_close_ int fd = connect_to(SOCK_DGRAM);
        unsigned char q[512], answer[512];
        for (int i = 0; i < N_UPSTREAM; i++)
                atomic_store(&upstream[i].silent, true);
        size_t n = make_query(q, "waiting.example.com", ns_t_a);
        assert_int_equal(send(fd, q, n, 0), n);
        usleep(100000);
        assert_int_equal(file_write(resolv_conf, STR(""), 0600, NULL), 0);
        assert_string_equal(ask("other.example.com", ns_t_a), "SERVFAIL:;;");
        ssize_t got = recv(fd, answer, sizeof(answer), 0);
        assert_true(got > 0);
        assert_string_equal(describe(answer, (size_t) got), "SERVFAIL:;;");
        for (int i = 0; i < N_UPSTREAM; i++)
                atomic_store(&upstream[i].silent, false);
        assert_int_equal(file_write(resolv_conf, STR("nameserver 127.0.1.1\nnameserver 127.0.1.2\n"), 0600, NULL), 0);
}

/* ---- what clients do ---- */

static void questions_over_one_connection_are_all_answered(void **state) {
        _cleanup_close_ int fd = connect_to(SOCK_STREAM);
        const char *names[] = { "web.default.svc.cluster.local", "pipe.example.com",
                                "nobody.default.svc.cluster.local" };
        unsigned char q[3][514], answer[4096];
        bool seen[3] = { 0 };
        for (int i = 0; i < 3; i++) {
                size_t n = make_query(q[i] + 2, names[i], ns_t_a);
                q[i][0] = 0;
                q[i][1] = (unsigned char) n;
                assert_int_equal(send(fd, q[i], 1, 0), 1); /* in pieces */
                usleep(1000);
                assert_int_equal(send(fd, q[i] + 1, n + 1, 0), n + 1);
        }
        shutdown(fd, SHUT_WR); /* "no more questions" is not "no more answers" */
        for (int i = 0; i < 3; i++) {
                read_tcp(fd, answer, sizeof(answer));
                for (int j = 0; j < 3; j++)
                        if (memcmp(answer, q[j] + 2, 2) == 0)
                                seen[j] = true;
        }
        assert_true(seen[0] && seen[1] && seen[2]);
        assert_int_equal(recv(fd, answer, 1, 0), 0);
}

static void nonsense_is_refused_or_ignored(void **state) {
        unsigned char answer[512];
        const char bad[] = "\x12\x34\1\0\0\1\0\0\0\0\0\0\xc0\x0c\0\1\0\1",
                   notify[] = "\x12\x34\x20\0\0\1\0\0\0\0\0\0\1a\0\0\6\0\1";
        _cleanup_close_ int fd = connect_to(SOCK_DGRAM);
        send(fd, "x", 1, 0);
        send(fd, bad, sizeof(bad) - 1, 0);
        assert_int_equal(recv(fd, answer, sizeof(answer), 0), 12);
        assert_int_equal(answer[3] & 15, DNS_FORMERR);
        send(fd, notify, sizeof(notify) - 1, 0);
        assert_true(recv(fd, answer, sizeof(answer), 0) > 0);
        assert_int_equal(answer[3] & 15, DNS_NOTIMP);
}

/* A new connection is not closed at once. */
static bool has_room(void) {
        int fd = connect_to(SOCK_STREAM);
        struct pollfd p = { .fd = fd, .events = POLLIN };
        bool open = poll(&p, 1, 50) == 0;

        close(fd);
        return open;
}

static void connections_are_limited(void **state) {
        int fds[520], open = 0;
        for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
                fds[i] = connect_to(SOCK_STREAM);
        usleep(300000);
        for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
                char c;
                open += recv(fds[i], &c, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
                close(fds[i]);
        }
        assert_int_equal(open, 512);
        eventually(has_room()); /* it has heard that the others are closed */
        eventually(strncmp(ask_over("web.default.svc.cluster.local", ns_t_a, true), "NOERROR", 7) == 0);
}

static void a_client_that_does_not_read_is_cut_off(void **state) {
        int fd = connect_to(SOCK_STREAM), small = 4096;
        unsigned char q[514];
        size_t n = make_query(q + 2, "wide.default.svc.cluster.local", ns_t_a);
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
        q[0] = 0;
        q[1] = (unsigned char) n;
        for (int i = 0; i < 20000 && send(fd, q, n + 2, MSG_NOSIGNAL) > 0; i++) /* for 32 MB of answers */
                ;
        struct pollfd p = { .fd = fd };
        assert_int_equal(poll(&p, 1, 30000), 1);
        assert_true(p.revents & POLLHUP);
        close(fd);
}

static void stopping_waits_for_nobody(void **state) {
        struct dns *other;
        struct dns_options o = {
                .client = api.client, .domain = "cluster.local", .address = "127.0.0.1", .resolv_conf = resolv_conf
        };
        struct dns *first = dns;
        unsigned char q[514];
        _cleanup_error_ struct error err = ERROR_INIT;
        assert_int_equal(dns_start(&o, &other, &err), 0);
        for (int i = 0; i < N_UPSTREAM; i++)
                atomic_store(&upstream[i].silent, true);
        dns = other;
        _cleanup_close_ int udp = connect_to(SOCK_DGRAM), tcp = connect_to(SOCK_STREAM),
                            leaving = connect_to(SOCK_STREAM);
        dns = first;
        size_t n = make_query(q + 2, "waiting.example.org", ns_t_a);
        q[0] = 0;
        q[1] = (unsigned char) n;
        send(udp, q + 2, n, 0);
        send(tcp, q, n + 2, 0);
        send(leaving, q, n + 2, 0);
        usleep(50000);
        close(TAKE_FD(leaving)); /* gone while its question is still being asked */
        usleep(50000);
        int64_t begun = now_mono_ms();
        dns_stop(other);
        assert_in_range(now_mono_ms() - begun, 0, 500);
        for (int i = 0; i < N_UPSTREAM; i++)
                atomic_store(&upstream[i].silent, false);
}

static void a_taken_port_is_an_error(void **state) {
        struct dns *other;
        struct dns_options o = {
                .client = api.client, .domain = "cluster.local", .address = "127.0.0.1", .port = dns_port(dns)
        };
        _cleanup_error_ struct error err = ERROR_INIT;
        assert_int_equal(dns_start(&o, &other, &err), -EADDRINUSE);
        _cleanup_free_ char *text = xprintf("DNS cannot listen on 127.0.0.1:%d: address already in use", dns_port(dns));
        assert_string_equal(error_text(&err), text);
}

static int start(void **state) {
        struct dns_options o = {
                .client = NULL, .domain = "cluster.local", .address = "127.0.0.1", .resolv_conf = resolv_conf
        };
        _cleanup_error_ struct error err = ERROR_INIT;
        start_upstream();
        ground_api_start(&api);
        o.client = api.client;
        snprintf(resolv_conf, sizeof(resolv_conf), "/tmp/cube-dns-test-%d", getpid());
        assert_int_equal(file_write(resolv_conf, STR("nameserver 127.0.1.1\nnameserver 127.0.1.2\n"), 0600, NULL), 0);
        assert_int_equal(dns_start(&o, &dns, &err), 0);
        eventually(strcmp(ask("nobody.cluster.local", ns_t_a), NO_SUCH) == 0);
        return 0;
}

static int stop(void **state) {
        dns_stop(dns);
        ground_api_stop(&api);
        stop_upstream();
        unlink(resolv_conf);
        return 0;
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_service_has_its_cluster_ip),
                cmocka_unit_test(names_between_are_there_without_records),
                cmocka_unit_test(ports_have_srv_records),
                cmocka_unit_test(a_headless_service_has_its_ready_endpoints),
                cmocka_unit_test(an_empty_headless_service_is_no_name),
                cmocka_unit_test(pods_have_names_by_address),
                cmocka_unit_test(addresses_have_names),
                cmocka_unit_test(what_changes_is_seen),
                cmocka_unit_test(an_external_name_is_followed),
                cmocka_unit_test(many_endpoints_are_cut_over_udp_and_whole_over_tcp),
                cmocka_unit_test(answers_are_kept_and_grow_older),
                cmocka_unit_test(failures_are_not_kept),
                cmocka_unit_test(the_next_server_is_asked_when_one_is_silent),
                cmocka_unit_test(silence_everywhere_is_a_failure),
                cmocka_unit_test(wrong_answers_are_not_believed),
                cmocka_unit_test(a_cut_answer_is_asked_for_again_over_tcp),
                cmocka_unit_test(the_list_of_servers_is_read_again),
                cmocka_unit_test(the_list_may_become_empty_while_somebody_waits),
                cmocka_unit_test(questions_over_one_connection_are_all_answered),
                cmocka_unit_test(nonsense_is_refused_or_ignored),
                cmocka_unit_test(connections_are_limited),
                cmocka_unit_test(a_client_that_does_not_read_is_cut_off),
                cmocka_unit_test(stopping_waits_for_nobody),
                cmocka_unit_test(a_taken_port_is_an_error),
        };
        if (!ground_enter())
                return 77;
        return cmocka_run_group_tests_name("dns server", tests, start, stop);
}
