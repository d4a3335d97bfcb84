#include "schema/nodefit.h"

#include "schema/types.h"

/* value.p NULL: the node has no such label. */
static bool requirement_holds(const struct json *r, struct str value) {
        struct str op = NodeSelectorRequirement_operator(r);
        const struct json *values = NodeSelectorRequirement_values(r);
        int64_t have, want;

        if (str_eqc(op, "In"))
                return value.p && json_has_str(values, value);
        if (str_eqc(op, "NotIn"))
                return !value.p || !json_has_str(values, value);
        if (str_eqc(op, "Exists"))
                return value.p;
        if (str_eqc(op, "DoesNotExist"))
                return !value.p;
        if (!value.p || str_to_i64(value, &have) < 0 || str_to_i64(json_str(json_item(values, 0)), &want) < 0)
                return false;
        return str_eqc(op, "Gt") ? have > want : str_eqc(op, "Lt") && have < want;
}

static bool term_holds(const struct object *node, const struct json *term) {
        const struct json *expressions = NodeSelectorTerm_matchExpressions(term),
                          *fields = NodeSelectorTerm_matchFields(term);

        if (json_len(expressions) == 0 && json_len(fields) == 0)
                return false; /* an empty term matches nothing */
        json_each_item(r, expressions)
                if (!requirement_holds(r, object_label(node, NodeSelectorRequirement_key(r))))
                        return false;
        json_each_item(r, fields) /* metadata.name is the only one */
                if (!requirement_holds(r, object_name(node)))
                        return false;
        return true;
}

bool node_matches(const struct object *node, const struct json *pod_spec) {
        const struct json *required = json_at_path(pod_spec, "affinity", "nodeAffinity",
                                                   "requiredDuringSchedulingIgnoredDuringExecution");

        json_each_member(m, PodSpec_nodeSelector(pod_spec)) {
                struct str value = object_label(node, json_key(m));

                if (!value.p || !str_eq(value, json_str(&m->value)))
                        return false;
        }
        if (!required)
                return true;
        json_each_item(term, NodeSelector_nodeSelectorTerms(required))
                if (term_holds(node, term))
                        return true;
        return false;
}

bool toleration_matches(const struct json *toleration, const struct json *taint) {
        struct str effect = Toleration_effect(toleration), key = Toleration_key(toleration),
                   op = Toleration_operator(toleration);

        if (!str_empty(effect) && !str_eq(effect, Taint_effect(taint)))
                return false;
        if (!str_empty(key) && !str_eq(key, Taint_key(taint)))
                return false;
        if (str_eqc(op, "Exists"))
                return true;
        return (str_empty(op) || str_eqc(op, "Equal")) && str_eq(Toleration_value(toleration), Taint_value(taint));
}

bool taints_tolerated(const struct object *node, const struct json *tolerations, bool no_schedule) {
        json_each_item(taint, NodeSpec_taints(Node_spec(object_json(node)))) {
                struct str effect = Taint_effect(taint);
                bool tolerated = false;

                if (!(no_schedule && str_eqc(effect, "NoSchedule")) && !str_eqc(effect, "NoExecute"))
                        continue;
                json_each_item(t, tolerations)
                        tolerated |= toleration_matches(t, taint);
                if (!tolerated)
                        return false;
        }
        return true;
}

int sysctl_safe_since(struct str name) {
        static const struct {
                const char *name;
                int since;
        } safe[] = {
                { "kernel.shm_rmid_forced", 0 },
                { "net.ipv4.ip_local_port_range", 0 },
                { "net.ipv4.tcp_syncookies", 0 },
                { "net.ipv4.ping_group_range", 0 },
                { "net.ipv4.ip_unprivileged_port_start", 0 },
                { "net.ipv4.ip_local_reserved_ports", 27 },
                { "net.ipv4.tcp_keepalive_time", 29 },
                { "net.ipv4.tcp_fin_timeout", 29 },
                { "net.ipv4.tcp_keepalive_intvl", 29 },
                { "net.ipv4.tcp_keepalive_probes", 29 },
                { "net.ipv4.tcp_rmem", 32 },
                { "net.ipv4.tcp_wmem", 32 },
        };

        for (size_t i = 0; i < ARRAY_SIZE(safe); i++)
                if (str_eqc(name, safe[i].name))
                        return safe[i].since;
        return -1;
}

char *sysctl_written(struct str name, char between) {
        char *text = str_dup(name), *first = strpbrk(text, "./");

        if (first && *first != between)
                for (char *p = text; *p; p++)
                        *p = *p == '.' ? '/' : *p == '/' ? '.' : *p;
        return text;
}
