/* DNS messages as bytes: what is read, what is refused, what is written. */
#include "../test.h"

#include <errno.h>

#include "base/macro.h"
#include "dns/message.h"

/* Bytes of a literal, which may hold NULs. */
#define WIRE(lit) str_n(lit, sizeof(lit) - 1)
#define HEAD(flags, qd, an, ns, ar) "\x12\x34" flags "\0" qd "\0" an "\0" ns "\0" ar
#define WEB "\3web\7default\3svc\7cluster\5local\0"
#define QUERY HEAD("\1\0", "\1", "\0", "\0", "\0")

static uint16_t u16(const struct buf *b, size_t at) {
        return (uint16_t) ((uint8_t) b->p[at] << 8 | (uint8_t) b->p[at + 1]);
}

static void a_query_is_read(void **state) {
        struct dns_query q;
        assert_int_equal(dns_query_parse(WIRE(QUERY "\3WeB\7default\3svc\7cluster\5local\0\0\1\0\1"), &q), 0);
        assert_int_equal(q.id, 0x1234);
        assert_string_equal(q.name, "web.default.svc.cluster.local");
        assert_int_equal(q.type, DNS_A);
        assert_int_equal(q.class, 1);
        assert_int_equal(q.max_udp, 512);
        assert_false(q.edns);
        assert_int_equal(dns_query_parse(WIRE(QUERY "\0\0\2\0\1"), &q), 0);
        assert_string_equal(q.name, "");
}

static void edns_says_how_much_the_client_takes(void **state) {
        struct dns_query q;
        const struct {
                struct str wire;
                size_t max;
                bool dnssec;
        } cases[] = {
                { WIRE(HEAD("\1\0", "\1", "\0", "\0", "\1") "\1a\0\0\1\0\1"
                                                            "\0\0\x29\x04\xd0\0\0\x80\0\0\0"),
                  1232, true },
                { WIRE(HEAD("\1\0", "\1", "\0", "\0", "\1") "\1a\0\0\1\0\1"
                                                            "\0\0\x29\x10\0\0\0\0\0\0\0"),
                  1232, false },
                { WIRE(HEAD("\1\0", "\1", "\0", "\0", "\1") "\1a\0\0\1\0\1"
                                                            "\0\0\x29\0\1\0\0\0\0\0\0"),
                  512, false },
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                assert_int_equal(dns_query_parse(cases[i].wire, &q), 0);
                assert_true(q.edns);
                assert_int_equal(q.max_udp, cases[i].max);
                assert_int_equal(q.dnssec_ok, cases[i].dnssec);
        }
}

static void what_is_no_question_is_refused(void **state) {
        const struct {
                const char *why;
                struct str wire;
                int r;
                bool silent;
        } cases[] = {
                { "no header", WIRE("\x12\x34\1\0\0\1"), -EBADMSG, true },
                { "an answer", WIRE(HEAD("\x81\0", "\1", "\0", "\0", "\0") "\1a\0\0\1\0\1"), -EBADMSG, true },
                { "a notify", WIRE(HEAD("\x20\0", "\1", "\0", "\0", "\0") "\1a\0\0\1\0\1"), -EOPNOTSUPP, false },
                { "no question", WIRE(HEAD("\1\0", "\0", "\0", "\0", "\0")), -EBADMSG, false },
                { "two questions", WIRE(HEAD("\1\0", "\2", "\0", "\0", "\0") "\1a\0\0\1\0\1\1b\0\0\1\0\1"), -EBADMSG,
                  false },
                { "a cut name", WIRE(QUERY "\3we"), -EBADMSG, false },
                { "a cut type", WIRE(QUERY "\1a\0\0\1"), -EBADMSG, false },
                { "a name that is itself", WIRE(QUERY "\xc0\x0c\0\1\0\1"), -EBADMSG, false },
                { "a pointer forwards", WIRE(QUERY "\xc0\x10\0\1\0\1\1a\0"), -EBADMSG, false },
                { "a loop of two", WIRE(QUERY "\1a\xc0\x0c\0\1\0\1"), -EBADMSG, false },
                { "a pointer cut short", WIRE(QUERY "\1a\xc0"), -EBADMSG, false },
                { "a label of an unknown kind",
                  WIRE(QUERY "\x41"
                             "a\0\0\1\0\1"),
                  -EBADMSG, false },
                { "a dot in a label", WIRE(QUERY "\3a.b\0\0\1\0\1"), -EBADMSG, false },
                { "a NUL in a label", WIRE(QUERY "\3a\0b\0\0\1\0\1"), -EBADMSG, false },
                { "two OPT records",
                  WIRE(HEAD("\1\0", "\1", "\0", "\0", "\2") "\1a\0\0\1\0\1"
                                                            "\0\0\x29\4\0\0\0\0\0\0\0\0\0\x29\4\0\0\0\0\0\0\0"),
                  -EBADMSG, false },
                { "a record cut short",
                  WIRE(HEAD("\1\0", "\1", "\0", "\0", "\1") "\1a\0\0\1\0\1"
                                                            "\0\0\x29\4\0\0\0\0\0\0\5"),
                  -EBADMSG, false },
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct dns_query q;
                print_message("    %s\n", cases[i].why);
                assert_int_equal(dns_query_parse(cases[i].wire, &q), cases[i].r);
                assert_int_equal(!q.question_end, cases[i].silent);
        }
}

static void names_end_at_255_octets(void **state) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct dns_query q;
        for (int last = 61; last <= 62; last++) {
                char label[64];
                memset(label, 'x', sizeof(label));
                buf_free(&b);
                buf_add(&b, QUERY, sizeof(QUERY) - 1);
                for (int i = 0; i < 4; i++) {
                        label[0] = (char) (i < 3 ? 63 : last);
                        buf_add(&b, label, (size_t) label[0] + 1);
                }
                buf_add(&b, "\0\0\1\0\1", 5);
                assert_int_equal(dns_query_parse(buf_str(&b), &q), last == 61 ? 0 : -EBADMSG);
        }
        assert_int_equal(strlen(q.name) <= 253, 1);
}

#define ASKED "\1a\0\0\1\0\1"

static struct dns_query query(struct str wire) {
        struct dns_query q;
        assert_int_equal(dns_query_parse(wire, &q), 0);
        return q;
}

static void an_answer_repeats_the_question_as_asked(void **state) {
        struct str wire = WIRE(HEAD("\1\0", "\1", "\0", "\0", "\1") "\1A\0\0\1\0\1"
                                                                    "\0\0\x29\x10\0\0\0\0\0\0\0");
        struct dns_query q = query(wire);
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct dns_writer w;
        dns_begin(&w, &b, wire, &q, DNS_NOERROR, true);
        dns_add_a(&w, "", 30, 0x0a000001);
        dns_end(&w, &q, 1232);
        const char expected[] = HEAD("\x85\x80", "\1", "\1", "\0", "\1") "\1A\0\0\1\0\1"
                                                                         "\xc0\x0c\0\1\0\1\0\0\0\x1e\0\4\x0a\0\0\1"
                                                                         "\0\0\x29\x04\xd0\0\0\0\0\0\0";
        assert_int_equal(b.n, sizeof(expected) - 1);
        assert_memory_equal(b.p, expected, b.n);
}

static void records_that_do_not_fit_are_left_out_and_said_so(void **state) {
        struct str wire = WIRE(QUERY ASKED);
        struct dns_query q = query(wire);
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct dns_writer w;
        dns_begin(&w, &b, wire, &q, DNS_NOERROR, true);
        for (uint32_t i = 0; i < 100; i++)
                dns_add_a(&w, "", 30, i);
        dns_end(&w, &q, 512);
        assert_true(b.n <= 512 && b.n > 512 - 16);
        assert_int_equal(b.p[2] & 2, 2);
        assert_int_equal(u16(&b, 6), (512 - 19) / 16);
        assert_int_equal(b.n, 19u + 16u * u16(&b, 6));
}

static void additional_records_go_in_silence(void **state) {
        struct str wire = WIRE(QUERY ASKED);
        struct dns_query q = query(wire);
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct dns_writer w;
        dns_begin(&w, &b, wire, &q, DNS_NOERROR, true);
        dns_add_srv(&w, "", 30, 0, 100, 80, "t.example");
        dns_section(&w, 2);
        for (uint32_t i = 0; i < 100; i++)
                dns_add_a(&w, "t.example", 30, i);
        dns_end(&w, &q, 512);
        assert_int_equal(b.p[2] & 2, 0);
        assert_int_equal(u16(&b, 6), 1);
        assert_true(u16(&b, 10) > 10 && u16(&b, 10) < 100);
        assert_true(b.n <= 512);
}

static void a_shuffle_loses_nothing(void **state) {
        struct str wire = WIRE(QUERY ASKED);
        struct dns_query q = query(wire);
        unsigned first[8] = { 0 };
        for (int round = 0; round < 400; round++) {
                _cleanup_buf_ struct buf b = BUF_INIT;
                struct dns_writer w;
                uint32_t seen = 0;
                dns_begin(&w, &b, wire, &q, DNS_NOERROR, true);
                for (uint32_t i = 0; i < 8; i++)
                        dns_add_a(&w, "", 30, i);
                dns_shuffle(&w, q.question_end);
                dns_end(&w, &q, 512);
                for (size_t at = q.question_end; at < b.n; at += 16)
                        seen |= 1u << b.p[at + 15];
                assert_int_equal(seen, 0xff);
                first[(uint8_t) b.p[q.question_end + 15]]++;
        }
        for (size_t i = 0; i < 8; i++)
                assert_true(first[i] > 10);
}

static void only_an_answer_to_the_question_counts(void **state) {
        struct dns_query q = query(WIRE(QUERY ASKED));
        uint32_t ttl;
        bool truncated;
        const struct {
                const char *what;
                struct str wire;
                int r;
                uint32_t ttl;
                bool truncated;
        } cases[] = {
                { "the least TTL",
                  WIRE(HEAD("\x81\x80", "\1", "\2", "\0", "\0") ASKED "\xc0\x0c\0\1\0\1\0\0\0\x1e\0\4aaaa"
                                                                      "\xc0\x0c\0\1\0\1\0\0\0\x0a\0\4aaab"),
                  0, 10, false },
                { "OPT has none",
                  WIRE(HEAD("\x81\x80", "\1", "\1", "\0", "\1") ASKED "\xc0\x0c\0\1\0\1\0\0\0\x1e\0\4aaaa"
                                                                      "\0\0\x29\4\xd0\0\0\0\0\0\0"),
                  0, 30, false },
                { "SOA's minimum",
                  WIRE(HEAD("\x81\x83", "\1", "\0", "\1", "\0") ASKED
                       "\0\0\6\0\1\0\0\0\x1e\0\x16\0\0\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0\1"
                       "\0\0\0\7"),
                  0, 7, false },
                { "a negative TTL is 0",
                  WIRE(HEAD("\x81\x80", "\1", "\1", "\0", "\0") ASKED "\xc0\x0c\0\1\0\1\xff\0\0\0\0\4aaaa"), 0, 0,
                  false },
                { "cut within a record", WIRE(HEAD("\x83\x80", "\1", "\2", "\0", "\0") ASKED "\xc0\x0c\0\1"), 0, 0,
                  true },
                { "nothing to keep", WIRE(HEAD("\x81\x80", "\1", "\0", "\0", "\0") ASKED), 0, 0, false },
                { "another name", WIRE(HEAD("\x81\x80", "\1", "\0", "\0", "\0") "\1b\0\0\1\0\1"), -EBADMSG, 0, false },
                { "another type", WIRE(HEAD("\x81\x80", "\1", "\0", "\0", "\0") "\1a\0\0\x1c\0\1"), -EBADMSG, 0,
                  false },
                { "another class", WIRE(HEAD("\x81\x80", "\1", "\0", "\0", "\0") "\1a\0\0\1\0\3"), -EBADMSG, 0, false },
                { "a query", WIRE(QUERY ASKED), -EBADMSG, 0, false },
                { "a record too long",
                  WIRE(HEAD("\x81\x80", "\1", "\1", "\0", "\0") ASKED "\xc0\x0c\0\1\0\1\0\0\0\x1e\0\5aaaa"), -EBADMSG,
                  0, false },
        };
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                print_message("    %s\n", cases[i].what);
                assert_int_equal(dns_answer_check(cases[i].wire, &q, &ttl, &truncated), cases[i].r);
                if (cases[i].r < 0)
                        continue;
                assert_int_equal(ttl, cases[i].ttl);
                assert_int_equal(truncated, cases[i].truncated);
        }
}

static void kept_answers_grow_older_and_fit_the_next_query(void **state) {
        char answer[] = HEAD("\x81\x80", "\1", "\2", "\0", "\1") ASKED "\xc0\x0c\0\1\0\1\0\0\1\x2c\0\4aaaa"
                                                                       "\xc0\x0c\0\1\0\1\0\0\0\3\0\4aaab"
                                                                       "\0\0\x29\4\xd0\0\0\x80\0\0\0";
        struct str next = WIRE("\x77\x88\1\0\0\1\0\0\0\0\0\0"
                               "\1A\0\0\1\0\1");
        struct dns_query q = query(next);
        dns_age(answer, sizeof(answer) - 1, 5);
        dns_adopt(answer, sizeof(answer) - 1, next, &q);
        assert_memory_equal(answer, "\x77\x88\x81\x80", 4);
        assert_memory_equal(answer + 12, "\1A\0", 3);
        assert_memory_equal(answer + 19 + 6, "\0\0\1\x27", 4); /* 300 - 5 */
        assert_memory_equal(answer + 35 + 6, "\0\0\0\0", 4);   /* not below 0 */
        assert_memory_equal(answer + 51 + 5, "\0\0\x80\0", 4); /* OPT's flags are no TTL */
}

static void a_query_of_our_own_can_be_read(void **state) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        dns_make_query(&b, "db.example.com", DNS_AAAA);
        struct dns_query q = query(buf_str(&b));
        assert_string_equal(q.name, "db.example.com");
        assert_int_equal(q.type, DNS_AAAA);
        assert_true(q.edns);
        assert_int_equal(q.flags, 0x0100);
}

static void others_records_are_taken_over(void **state) {
        struct str wire = WIRE(QUERY ASKED);
        struct dns_query q = query(wire);
        struct str theirs = WIRE(HEAD("\x81\x80", "\1", "\3", "\0", "\0") "\1b\2to\0\0\1\0\1"
                                                                          "\xc0\x0c\0\5\0\1\0\0\0\x1e\0\4\1c\xc0\x0e"
                                                                          "\1c\xc0\x0e\0\1\0\1\0\0\0\x1e\0\4aaaa"
                                                                          "\xc0\x0c\0\x10\0\1\0\0\0\x1e\0\2\1t");
        const char expected[] =
                        HEAD("\x85\x80", "\1", "\3", "\0", "\0") ASKED "\xc0\x0c\0\5\0\1\0\0\0\x1e\0\6\1b\2to\0"
                                                                       "\1b\2to\0\0\5\0\1\0\0\0\x1e\0\6\1c\2to\0"
                                                                       "\1c\2to\0\0\1\0\1\0\0\0\x1e\0\4aaaa";
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct dns_writer w;
        dns_begin(&w, &b, wire, &q, DNS_NOERROR, true);
        dns_add_name(&w, "", DNS_CNAME, 30, "b.to");
        dns_copy_answers(&w, theirs);
        dns_copy_answers(&w, WIRE("\1\2\3"));
        dns_end(&w, &q, 512);
        assert_int_equal(b.n, sizeof(expected) - 1);
        assert_memory_equal(b.p, expected, b.n);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_query_is_read),
                cmocka_unit_test(edns_says_how_much_the_client_takes),
                cmocka_unit_test(what_is_no_question_is_refused),
                cmocka_unit_test(names_end_at_255_octets),
                cmocka_unit_test(an_answer_repeats_the_question_as_asked),
                cmocka_unit_test(records_that_do_not_fit_are_left_out_and_said_so),
                cmocka_unit_test(additional_records_go_in_silence),
                cmocka_unit_test(a_shuffle_loses_nothing),
                cmocka_unit_test(only_an_answer_to_the_question_counts),
                cmocka_unit_test(kept_answers_grow_older_and_fit_the_next_query),
                cmocka_unit_test(a_query_of_our_own_can_be_read),
                cmocka_unit_test(others_records_are_taken_over),
        };
        return cmocka_run_group_tests_name("dns messages", tests, NULL, NULL);
}
