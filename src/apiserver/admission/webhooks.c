/* Admission webhooks: mutating ones are asked one after the other, each sees what the one before has made; validating
 * ones are asked at the same time.
 *
 *   mutate: match ─▶ ask … mutated ─▶ patch, decode, default ─▶ match the next …   ─▶ admission_continue
 *   validate: match all ─▶ ask all … validated (n times), the last: the first refusal in order ─▶ admission_continue
 *
 * Reinvocation: when a patch changes something, webhooks with IfNeeded that were asked before it are asked once more,
 * in a second round through all plugins. */
#include "apiserver/admission/review.h"
#include "apiserver/extensions/custom.h"
#include "base/log.h"
#include "base/rand.h"
#include "json/build.h"
#include "schema/apply.h"
#include "schema/decode.h"
#include "schema/defaults.h"

struct ask {
        struct admission *ad;
        const struct admission_webhook *hook;
        size_t index; /* among those that mutate, or those that are asked to validate */
        const struct rest *as;
        struct str uid;
        struct webhook_call call;
        struct review_answer answer;
        int64_t since_ns;
        struct json *patched;  /* the object, in the version of as */
        bool changed;          /* by the patch */
        int code;              /* of the answer, for metrics */
        const char *rejection; /* what refuses the write: upstream's error_type, or NULL */
        int result;            /* 0, or negative with error */
        struct error error;
};

/* ---- one question ---- */

/* "failed-open.mutation.webhook.admission.k8s.io/round_0_index_2" and its kin, of the audit log. */
static void note(const struct ask *q, const char *what, struct str value) {
        const struct admission *ad = q->ad;

        op_annotate(ad->op,
                    arena_printf(ad->a, "%s.webhook.admission.k8s.io/round_%d_index_%zu", what, ad->again, q->index),
                    value);
}

#define MAX_WRITE_MS 34000 /* of which all webhooks of one write are done */
#define LATE_MS 50         /* after its deadline, so that the request has been answered */

/* How long this webhook may take; not more than the client waits. */
static int64_t time_left(const struct ask *q) {
        const struct api_call *c = q->ad->op->c;
        int64_t ms = q->hook->timeout_s * 1000LL, now = now_mono_ms();

        if (c->deadline_ms)
                ms = MIN(ms, c->deadline_ms - now);
        return MIN(ms, q->ad->since_ns / NSEC_PER_MSEC + MAX_WRITE_MS - now);
}

static int too_late(struct error *err) {
        return error_status(err, REASON_TIMEOUT, "Timeout: request did not complete within requested timeout");
}

/* No answer that could be understood: the webhook's policy decides. */
static int call_failed(const struct ask *q, const struct error *why, struct error *err) {
        if (q->hook->ignore) {
                log_warn("failed calling webhook %" STR_FMT ", failing open: %s", STR_ARG(q->hook->name),
                         error_text(why));
                admission_count_open(q->ad, q->hook->name);
                note(q, q->ad->validating ? "failed-open.validating" : "failed-open.mutation", q->hook->name);
        }
        if (time_left(q) <= 0)
                return too_late(err);
        if (q->hook->ignore)
                return 0;
        return error_status(err, REASON_INTERNAL,
                            "Internal error occurred: failed calling webhook \"%" STR_FMT "\": %s",
                            STR_ARG(q->hook->name), error_text(why));
}

#define MATCHES 2 /* ADMISSION_WAITS is 1 */

/* Rules, selectors and matchConditions: MATCHES with q->as, 0, ADMISSION_WAITS or a negative errno. */
static int matches(struct ask *q, struct error *err) {
        struct admission *ad = q->ad;
        struct cel_policy_run run = { .ignore = q->hook->ignore };
        _cleanup_error_ struct error e = ERROR_INIT;
        int r = admission_match(&q->hook->match, ad, &q->as, err);

        if (r <= 0 || !q->hook->conditions)
                return r > 0 ? MATCHES : r;
        r = admission_expressions(ad, q->as, q->hook->conditions, &run, err);
        if (r != 0)
                return r;
        int64_t began = now_mono_ns();
        r = cel_policy_matches(&run, &e);
        admission_observe_conditions(ad, q->hook->name, "webhook", now_mono_ns() - began, r);
        return r < 0 ? err_forbidden(err, ad->op->rest, admission_name(ad), "%s", error_text(&e)) : r * MATCHES;
}

/* MATCHES: the question is ready to be sent; 0: this webhook is passed over; ADMISSION_WAITS; negative: the write
 * fails. */
static int prepare(struct ask *q, void (*done)(struct webhook_call *w), struct error *err) {
        struct admission *ad = q->ad;
        struct op *op = ad->op;
        const struct rest *stored = op->rest->stored;
        _cleanup_error_ struct error e = ERROR_INIT;
        struct json object, old;
        int64_t ms = time_left(q);
        char uid[37];
        int r = 0;

        if (ms <= 0)
                return too_late(err);
        if (op->c->options.dry_run && !q->hook->dry_run)
                return err_bad_request(err, "admission webhook \"%" STR_FMT "\" does not support dry run",
                                       STR_ARG(q->hook->name));
        if (!q->hook->review) {
                error_set(&e, -EINVAL,
                          "could not create admission objects: webhook does not accept known AdmissionReview versions "
                          "(v1, v1beta1)");
                return call_failed(q, &e, err);
        }
        if (ad->obj)
                r = review_convert(ad, stored, q->as, ad->obj, NULL, &object, err);
        if (r == 0 && ad->old)
                r = review_convert(ad, stored, q->as, ad->old, NULL, &old, err);
        if (r != 0)
                return r;
        if (ad->obj && ad->operation != ADMIT_CONNECT) /* until it is stored its members stand as they came */
                schema_reorder(ad->a, sent_of(ad->a, q->as, op->sub).type, &object);
        rand_uuid(uid);
        q->since_ns = now_mono_ns();
        q->uid = arena_str(ad->a, str_n(uid, 36));
        q->call = (struct webhook_call) {
                .config = q->hook->client,
                .query = arena_printf(ad->a, "timeout=%llds", (long long) (ms + 999) / 1000),
                .body = review_question(ad->a, ad, q->as, q->hook->review, q->uid, ad->obj ? &object : NULL,
                                        ad->old ? &old : NULL),
                .timeout_ms = (unsigned) ms + (ms < q->hook->timeout_s * 1000LL ? LATE_MS : 0),
                .by_deadline = true,
                .loop = op->c->loop,
                .done = done,
        };
        if (q->hook->user)
                q->call.user = *q->hook->user;
        return MATCHES;
}

/* What the webhook says to it. */
static int verdict_of(struct ask *q, bool mutating, struct error *err) {
        _cleanup_error_ struct error e = ERROR_INIT;
        int r;

        q->code = 200;
        q->rejection = "no_error";
        q->answer = (struct review_answer) { 0 };
        if (q->call.error.err) {
                r = error_set(&e, -EINVAL, "failed to call webhook: %s", error_text(&q->call.error));
                e.code = q->call.status;
                error_clear(&q->call.error);
        } else {
                r = review_parse(q->ad->a, q->call.answer, q->hook->review, q->uid, mutating, &q->answer, &e);
        }
        json_each_item(w, q->answer.warnings)
                op_warn(q->ad->op, json_str(w));
        json_each_member(m, q->answer.annotations)
                op_annotate_named(q->ad->op,
                                  arena_printf(q->ad->a, "%" STR_FMT "/%" STR_FMT, STR_ARG(q->hook->name),
                                               STR_ARG(json_key(m))),
                                  json_str(&m->value));
        if (r < 0) {
                q->answer = (struct review_answer) { 0 };
                q->code = r != -EINVAL ? 0 : e.code ? e.code : 400;
                q->rejection = r == -EINVAL ? "calling_webhook_error" : "apiserver_internal_error";
                if (r == -EINVAL)
                        return call_failed(q, &e, err);
                error_move(err, &e);
                return r;
        }
        if (q->answer.allowed)
                return 0;
        r = review_denied(err, q->hook->name, q->answer.status);
        q->code = err->code;
        return r;
}

/* The answer is dealt with: 0 or 1, or the write fails. */
static void observe(struct ask *q, int r) {
        int64_t ns = now_mono_ns() - q->since_ns, *all = &q->ad->op->c->webhooks_ns;

        admission_observe_webhook(q->ad, q->hook->name, ns, q->code, r < 0 ? q->rejection : NULL);
        /* those that validate are asked at the same time */
        *all = q->ad->validating ? MAX(*all, ns) : *all + ns;
}

/* ---- mutating ---- */

struct mutation {
        struct ask ask;
        size_t next;
        bool *before, *due; /* by webhook: was asked and may be again; must be */
        struct json last;   /* what the first round has made */
        struct json owners; /* managedFields before; null: none */
        bool rounded;       /* their times: see rounds_times */
};

static int internal(struct error *err, const struct error *why) {
        return error_status(err, REASON_INTERNAL, "Internal error occurred: %s", error_text(why));
}

/* A patched object may not move elsewhere; where there are no namespaces it may name any. */
static int check_place(const struct admission *ad, const struct json *obj, struct error *err) {
        struct str ns = json_str(json_at_path(obj, "metadata", "namespace")), wanted = ad->op->namespace;

        return ad->operation == ADMIT_CONNECT || str_empty(ns) || str_empty(wanted) || str_eq(ns, wanted)
                               ? 0
                               : err_bad_request(err, OTHER_NAMESPACE);
}

/* A document as an object of its type; the defaults of *ret come by complete. */
static int decode(const struct ask *q, const struct schema_type *t, const struct json *doc, struct json *ret,
                  struct error *err) {
        const struct rest *as = q->as;
        _cleanup_error_ struct error e = ERROR_INIT;
        int r = t == as->resource->type && as->custom ? crd_prune(q->ad->a, as->custom->schema, doc, NULL, ret, &e)
                                                      : schema_decode(q->ad->a, t, doc, NULL, ret, &e);

        return r < 0 ? internal(err, &e) : 0;
}

static void complete(const struct ask *q, const struct schema_type *t, struct json *obj) {
        if (t == q->as->resource->type && q->as->custom)
                *obj = crd_complete(q->ad->a, q->as->custom->schema, obj);
        else
                schema_default(q->ad->a, t, obj);
}

static void patch_converted(struct admission *ad, int r);

/* Does it change more than who owns what? */
static bool owns_anew(struct arena *a, const struct json *old, const struct json *obj, const struct json *owners) {
        static const char *const keys[] = { "labels", "annotations", "finalizers", "ownerReferences" };
        struct json was = json_copy_shallow(a, old), now = json_copy_shallow(a, obj);
        const struct json *managers = json_at_path(old, "metadata", "managedFields");
        bool differs = !managers || !json_equal(managers, owners);

        for (size_t i = 0; i < ARRAY_SIZE(keys) && !differs; i++) {
                const struct json *p = json_at_path(old, "metadata", keys[i]),
                                  *q = json_at_path(obj, "metadata", keys[i]);

                differs = p && q ? !json_equal(p, q) : p != q;
        }
        json_removec(&was, "metadata");
        json_removec(&now, "metadata");
        return differs || !json_equal(&was, &now);
}

/* Upstream has this write's time in managedFields finer than what comes back: the first patch, whatever it says,
 * changes that, and so the object. */
static bool rounds_times(struct mutation *m) {
        const struct admission *ad = m->ask.ad;
        bool first = !m->rounded;

        m->rounded = true;
        return first && !ad->op->rest->custom && json_len(&m->owners) > 0 &&
               (!ad->op->old || owns_anew(ad->a, object_json(ad->op->old), ad->obj, &m->owners));
}

/* A patch cannot make another kind of it; one that it takes away is still there. */
static int check_kind(const struct ask *q, const struct json *before, struct json *doc, struct error *err) {
        struct str kind = STR(""), version = STR(""), group, was = json_str(json_getc(before, "kind")),
                   own = json_str(json_getc(before, "apiVersion"));
        _cleanup_error_ struct error e = ERROR_INIT;

        if (review_kind(doc, &kind, &version, &e) < 0)
                return internal(err, &e);
        kind = kind.n ? kind : was;
        version = version.n ? version : own;
        json_set_str(q->ad->a, doc, "kind", kind);
        json_set_str(q->ad->a, doc, "apiVersion", version);
        if (str_eq(kind, was) && str_eq(version, own))
                return 0;
        ssize_t slash = str_find(version, '/');
        group = str_sub(version, 0, slash < 0 ? 0 : (size_t) slash);
        struct str v = str_sub(version, (size_t) (slash + 1), version.n);
        if (!api_find_type(group, v, kind))
                return error_status(err, REASON_INTERNAL,
                                    "Internal error occurred: no kind \"%" STR_FMT
                                    "\" is registered for version \"%" STR_FMT
                                    "\" in scheme \"pkg/api/legacyscheme/scheme.go:30\"",
                                    STR_ARG(kind), STR_ARG(version));
        return error_status(err, REASON_UNKNOWN,
                            "converting (%" STR_FMT ".%" STR_FMT ") to (%" STR_FMT ".%" STR_FMT "): unknown conversion",
                            STR_ARG(v), STR_ARG(kind), STR_ARG(str_empty(q->as->group) ? STR("core") : q->as->group),
                            STR_ARG(q->as->kind));
}

/* 0 with ask.changed; ADMISSION_WAITS: patch_converted takes up what the conversion webhook answers; or a negative
 * errno. */
static int apply_patch(struct mutation *m, struct error *err) {
        struct ask *q = &m->ask;
        struct admission *ad = q->ad;
        const struct op *op = ad->op;
        const struct schema_type *t = op->sub ? op->sub->type : q->as->resource->type;
        _cleanup_error_ struct error e = ERROR_INIT;
        struct json before, same, doc, after, back;
        int r;

        if (!ad->obj)
                return error_status(err, REASON_INTERNAL,
                                    "Internal error occurred: admission webhook \"%" STR_FMT
                                    "\" attempted to modify the object, which is not supported for this operation",
                                    STR_ARG(q->hook->name));
        r = review_convert(ad, op->rest->stored, q->as, ad->obj, NULL, &before, err); /* which was asked for before */
        if (r != 0)
                return r;
        if (json_patch_apply(ad->a, &before, q->answer.patch, &doc, &e) < 0)
                return internal(err, &e);
        if (!(q->as->custom && t == q->as->resource->type) && check_kind(q, &before, &doc, err) < 0)
                return err->err;
        if (decode(q, t, &doc, &after, err) < 0)
                return err->err;
        q->changed = rounds_times(m) || decode(q, t, &before, &same, &e) < 0 || !json_equal(&same, &after);
        complete(q, t, &after);
        if (check_place(ad, &after, err) < 0)
                return err->err;
        review_forget(ad);
        q->patched = json_new(ad->a, after);
        r = review_convert(ad, q->as, op->rest->stored, q->patched, patch_converted, &back, err);
        if (r == 0)
                *ad->obj = back;
        return r;
}

/* What webhooks may not do to managedFields is undone. */
static void check_owners(struct mutation *m) {
        struct admission *ad = m->ask.ad;
        struct json *meta = json_get_mut(ad->obj, STR("metadata"));
        _cleanup_error_ struct error e = ERROR_INIT;

        if (!json_is(meta, JSON_OBJECT) || apply_check_managers(ad->a, ad->obj, &e) == 0)
                return;
        if (json_is(&m->owners, JSON_NULL))
                json_removec(meta, "managedFields");
        else
                json_setc(ad->a, meta, "managedFields", m->owners);
        op_warn(ad->op, arena_printf(ad->a,
                                     ".metadata.managedFields was in an invalid state after admission; this could be "
                                     "caused by an outdated mutating admission controller; please fix your requests: "
                                     "%s",
                                     error_text(&e)));
}

static void mutated(struct webhook_call *w);

/* 0: nobody is left to ask; ADMISSION_WAITS; or a negative errno. */
static int ask_next(struct mutation *m, struct error *err) {
        struct admission *ad = m->ask.ad;

        for (size_t i = m->next; i < ad->set->webhooks[HOOKS_MUTATING].n; i++) {
                m->ask = (struct ask) { .ad = ad, .hook = &ad->set->webhooks[HOOKS_MUTATING].v[i], .index = i };
                m->next = i; /* once more, after a conversion */
                int r = matches(&m->ask, err);
                if (r == 0 || (r == MATCHES && ad->again && !m->due[i]))
                        continue;
                if (r == MATCHES)
                        r = prepare(&m->ask, mutated, err);
                if (r == MATCHES) {
                        m->next = i + 1;
                        webhook_call(ad->s, &m->ask.call); /* who goes on may be another thread */
                        return ADMISSION_WAITS;
                }
                if (r != 0)
                        return r;
        }
        if (ad->changed)
                check_owners(m);
        if (ad->changed && !ad->again)
                m->last = json_copy_tree(ad->a, ad->obj);
        return 0;
}

/* Those asked before this change see what has become of the object. */
static void make_due(struct mutation *m) {
        for (size_t i = 0; i < m->ask.ad->set->webhooks[HOOKS_MUTATING].n; i++) {
                m->due[i] |= m->before[i];
                m->before[i] = false;
        }
}

/* Whether it has changed the object; and with what, for logs of the level Request (audit/event.c). */
static void note_mutation(const struct ask *q, bool changed, bool patched) {
        struct str configuration = q->hook->configuration, name = q->hook->name;
        _cleanup_buf_ struct buf mutation = BUF_INIT, patch = BUF_INIT;
        struct json o = json_build(q->ad->a, "{configuration:%s,webhook:%s,mutated:%b}", configuration, name, changed);

        json_write(&mutation, &o);
        note(q, "mutation", buf_str(&mutation));
        if (!patched)
                return;
        o = json_build(q->ad->a, "{configuration:%s,webhook:%s,patch:%j,patchType:'JSONPatch'}", configuration, name,
                       q->answer.patch);
        json_write(&patch, &o);
        note(q, "patch", buf_str(&patch));
}

/* One webhook is done with, the next one's turn. */
static void settle(struct mutation *m, int r) {
        struct ask *q = &m->ask;
        struct admission *ad = q->ad;

        observe(q, r);
        if (r == 0 && q->changed) {
                make_due(m);
                ad->changed = true;
        }
        if (ad->s->audit)
                note_mutation(q, r == 0 && q->changed, r == 0 && q->patched);
        if (r == 0 && q->hook->if_needed)
                m->before[m->next - 1] = true;
        if (r == 0)
                r = ask_next(m, &ad->op->c->error);
        if (r != ADMISSION_WAITS)
                admission_continue(ad, r);
}

static void patch_converted(struct admission *ad, int r) {
        struct mutation *m = ad->webhooks;

        if (r == 0)
                r = review_convert(ad, m->ask.as, ad->op->rest->stored, m->ask.patched, NULL, ad->obj,
                                   &ad->op->c->error);
        m->ask.code = r < 0 ? 0 : 200;
        review_forget(ad);
        settle(m, r);
}

static void mutated(struct webhook_call *w) {
        struct mutation *m = container_of(w, struct mutation, ask.call);
        struct error *err = &m->ask.ad->op->c->error;
        int r = verdict_of(&m->ask, true, err);

        if (r == 0 && m->ask.answer.patch) {
                m->ask.rejection = "apiserver_internal_error";
                r = apply_patch(m, err);
                m->ask.code = r < 0 ? 0 : 200;
        }
        if (r != ADMISSION_WAITS)
                settle(m, r);
}

/* The objects that configure admission are not subject to it: a broken webhook can be removed. */
static bool exempt(const struct admission *ad) {
        return str_eqc(ad->op->rest->group, "admissionregistration.k8s.io");
}

int admission_webhooks_mutate(struct admission *ad, struct error *err) {
        const struct admission_set *set = admission_set_of(ad);
        struct mutation *m = ad->webhooks;

        if (!set || set->webhooks[HOOKS_MUTATING].n == 0 || exempt(ad))
                return 0;
        if (!m) {
                ad->webhooks = m = arena_new_of(ad->a, struct mutation);
                m->before = arena_array(ad->a, bool, set->webhooks[HOOKS_MUTATING].n);
                m->due = arena_array(ad->a, bool, set->webhooks[HOOKS_MUTATING].n);
                const struct json *owners = json_at_path(ad->obj, "metadata", "managedFields");
                m->owners = owners ? json_copy_tree(ad->a, owners) : json_null();
        }
        m->ask.ad = ad;
        if (ad->resumed) {
                ad->resumed = false;
                return ask_next(m, err);
        }
        review_forget(ad);
        m->next = 0;
        if (ad->again && !json_equal(&m->last, ad->obj)) /* by a built-in plugin, in this round */
                make_due(m);
        return ask_next(m, err);
}

/* ---- validating ---- */

struct validation {
        atomic_size_t pending; /* answers, and the one who asks */
        size_t n;
        struct ask *asks;
};

static int verdict(struct validation *v, struct error *err) {
        int r = 0;

        for (size_t i = 0; i < v->n; i++) {
                if (r == 0 && v->asks[i].result < 0) {
                        r = v->asks[i].result;
                        error_move(err, &v->asks[i].error);
                }
                error_clear(&v->asks[i].error);
        }
        return r;
}

static void validated(struct webhook_call *w) {
        struct ask *q = container_of(w, struct ask, call);
        struct admission *ad = q->ad;
        struct validation *v = ad->webhooks;

        q->result = verdict_of(q, false, &q->error);
        observe(q, q->result);
        if (atomic_fetch_sub(&v->pending, 1) == 1)
                admission_continue(ad, verdict(v, &ad->op->c->error));
}

/* Who is to be asked. */
static int find_all(struct admission *ad, struct validation *v, struct error *err) {
        v->asks = arena_array(ad->a, struct ask, ad->set->webhooks[HOOKS_VALIDATING].n);
        for (size_t i = 0; i < ad->set->webhooks[HOOKS_VALIDATING].n; i++) {
                struct ask *q = &v->asks[v->n];

                *q = (struct ask) { .ad = ad, .hook = &ad->set->webhooks[HOOKS_VALIDATING].v[i], .index = v->n };
                int r = matches(q, err);
                if (r == MATCHES)
                        r = prepare(q, validated, err);
                if (r != 0 && r != MATCHES)
                        return r;
                v->n += r == MATCHES;
        }
        return 0;
}

int admission_webhooks_validate(struct admission *ad, struct error *err) {
        const struct admission_set *set = admission_set_of(ad);
        struct validation *v;

        if (!set || set->webhooks[HOOKS_VALIDATING].n == 0 || exempt(ad))
                return 0;
        if (!ad->resumed)
                review_forget(ad);
        ad->resumed = false;
        ad->webhooks = v = arena_new_of(ad->a, struct validation);
        int r = find_all(ad, v, err);
        if (r != 0 || v->n == 0)
                return r;
        size_t n = v->n;
        atomic_store(&v->pending, n + 1);
        for (size_t i = 0; i < n; i++) /* the arena belongs to the answers from here on */
                webhook_call(ad->s, &v->asks[i].call);
        return atomic_fetch_sub(&v->pending, 1) == 1 ? verdict(v, err) : ADMISSION_WAITS;
}
