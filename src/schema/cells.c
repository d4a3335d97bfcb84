/* Cells of `kubectl get` that are more than a value of the object: `x()` in a column of api/ is cell_x() here. What
 * they show is what upstream's printers show. */
#include "base/time.h"
#include "json/object.h"
#include "schema/hooks.h"
#include "schema/types.h"

static struct json of_str(struct str s, const char *absent) {
        return s.n > 0 ? json_of_str(s) : json_of_cstr(absent);
}

static struct json of_buf(struct arena *a, struct buf *b, const char *absent) {
        struct json v = b->n > 0 ? json_of_copy(a, buf_str(b)) : json_of_cstr(absent);

        buf_free(b);
        return v;
}

static void join(struct buf *b, struct str s, const char *separator) {
        if (b->n > 0)
                buf_addc(b, separator);
        buf_add_str(b, s);
}

static void add_lower(struct buf *b, struct str s) {
        for (size_t i = 0; i < s.n; i++)
                buf_putc(b, s.p[i] >= 'A' && s.p[i] <= 'Z' ? (char) (s.p[i] - 'A' + 'a') : s.p[i]);
}

static struct json age(struct arena *a, struct str time, int64_t now) {
        char text[36];
        int64_t at;

        if (time_parse(time, &at) < 0)
                return json_of_cstr("<unknown>");
        return json_of_copy(a, duration_human(text, now - at));
}

static bool is_true(const struct json *conditions, const char *type) {
        return str_eqc(json_str(json_getc(json_find_by(conditions, "type", str_of(type)), "status")), "True");
}

static bool deleting(const struct json *object) {
        return ObjectMeta_deletionTimestamp(Pod_metadata(object)).n > 0;
}

/* ---- pods ---- */

struct pod_summary {
        int64_t ready, total, restarts, sidecar_restarts;
        struct str last_restart, last_sidecar_restart;
        char reason[256];
        bool initializing;
};

static void set_reason(struct pod_summary *s, const char *prefix, struct str reason) {
        snprintf(s->reason, sizeof(s->reason), "%s%" STR_FMT, prefix, STR_ARG(reason));
}

static void set_exit(struct pod_summary *s, const char *prefix, const struct json *terminated) {
        int64_t signal = ContainerStateTerminated_signal(terminated);

        if (ContainerStateTerminated_reason(terminated).n > 0)
                set_reason(s, prefix, ContainerStateTerminated_reason(terminated));
        else if (signal != 0)
                snprintf(s->reason, sizeof(s->reason), "%sSignal:%lld", prefix, (long long) signal);
        else
                snprintf(s->reason, sizeof(s->reason), "%sExitCode:%lld", prefix,
                         (long long) ContainerStateTerminated_exitCode(terminated));
}

static bool is_sidecar(const struct json *pod, struct str name) {
        const struct json *c = json_find_by(PodSpec_initContainers(Pod_spec(pod)), "name", name);

        return str_eqc(Container_restartPolicy(c), "Always");
}

static void count_restarts(const struct json *status, int64_t *count, struct str *last) {
        struct str at = ContainerStateTerminated_finishedAt(
                        ContainerState_terminated(ContainerStatus_lastState(status)));

        *count += ContainerStatus_restartCount(status);
        if (str_cmp(at, *last) > 0) /* all in RFC 3339 UTC: text order is time order */
                *last = at;
}

/* The first init container that is not done says what the pod is waiting for. */
static void summarize_init(struct pod_summary *s, const struct json *pod) {
        const struct json *statuses = PodStatus_initContainerStatuses(Pod_status(pod));

        for (size_t i = 0; i < json_len(statuses); i++) {
                const struct json *c = json_item(statuses, i), *state = ContainerStatus_state(c);
                const struct json *terminated = ContainerState_terminated(state);
                struct str waiting = ContainerStateWaiting_reason(ContainerState_waiting(state));
                bool sidecar = is_sidecar(pod, ContainerStatus_name(c));

                count_restarts(c, &s->restarts, &s->last_restart);
                if (sidecar)
                        count_restarts(c, &s->sidecar_restarts, &s->last_sidecar_restart);
                if (terminated && ContainerStateTerminated_exitCode(terminated) == 0)
                        continue;
                if (sidecar && ContainerStatus_started(c)) {
                        s->ready += ContainerStatus_ready(c);
                        continue;
                }
                s->initializing = true;
                if (terminated)
                        set_exit(s, "Init:", terminated);
                else if (waiting.n > 0 && !str_eqc(waiting, "PodInitializing"))
                        set_reason(s, "Init:", waiting);
                else
                        snprintf(s->reason, sizeof(s->reason), "Init:%zu/%zu", i,
                                 json_len(PodSpec_initContainers(Pod_spec(pod))));
                return;
        }
}

static void summarize_containers(struct pod_summary *s, const struct json *pod) {
        const struct json *statuses = PodStatus_containerStatuses(Pod_status(pod));
        bool running = false;

        s->restarts = s->sidecar_restarts;
        s->last_restart = s->last_sidecar_restart;
        for (size_t i = json_len(statuses); i-- > 0;) {
                const struct json *c = json_item(statuses, i), *state = ContainerStatus_state(c);
                struct str waiting = ContainerStateWaiting_reason(ContainerState_waiting(state));

                count_restarts(c, &s->restarts, &s->last_restart);
                if (waiting.n > 0)
                        set_reason(s, "", waiting);
                else if (ContainerState_terminated(state))
                        set_exit(s, "", ContainerState_terminated(state));
                else if (ContainerStatus_ready(c) && ContainerState_running(state)) {
                        running = true;
                        s->ready++;
                }
        }
        if (running && !strcmp(s->reason, "Completed"))
                set_reason(s, "",
                           is_true(PodStatus_conditions(Pod_status(pod)), "Ready") ? STR("Running") : STR("NotReady"));
}

static void summarize_pod(struct pod_summary *s, const struct json *pod) {
        const struct json *status = Pod_status(pod), *spec = Pod_spec(pod);
        struct str phase = PodStatus_phase(status), reason = PodStatus_reason(status);

        *s = (struct pod_summary) { .total = (int64_t) json_len(PodSpec_containers(spec)) };
        set_reason(s, "", reason.n > 0 ? reason : phase);
        json_each_item(c, PodStatus_conditions(status))
                if (str_eqc(PodCondition_type(c), "PodScheduled") && str_eqc(PodCondition_reason(c), "SchedulingGated"))
                        set_reason(s, "", STR("SchedulingGated"));
        json_each_item(c, PodSpec_initContainers(spec))
                s->total += str_eqc(Container_restartPolicy(c), "Always");
        summarize_init(s, pod);
        if (!s->initializing || is_true(PodStatus_conditions(status), "Initialized"))
                summarize_containers(s, pod);
        if (deleting(pod) && str_eqc(reason, "NodeLost"))
                set_reason(s, "", STR("Unknown"));
        else if (deleting(pod) && !pod_has_ended(pod))
                set_reason(s, "", STR("Terminating"));
}

struct json cell_pod_ready(struct arena *a, const struct json *object, int64_t now_wall_ns) {
        struct pod_summary s;

        summarize_pod(&s, object);
        return json_of_printf(a, "%lld/%lld", (long long) s.ready, (long long) s.total);
}

struct json cell_pod_status(struct arena *a, const struct json *object, int64_t now_wall_ns) {
        struct pod_summary s;

        summarize_pod(&s, object);
        return json_of_copy(a, str_of(s.reason));
}

struct json cell_pod_restarts(struct arena *a, const struct json *object, int64_t now_wall_ns) {
        struct pod_summary s;

        summarize_pod(&s, object);
        if (s.restarts == 0 || s.last_restart.n == 0)
                return json_of_printf(a, "%lld", (long long) s.restarts);
        struct json ago = age(a, s.last_restart, now_wall_ns);
        return json_of_printf(a, "%lld (%" STR_FMT " ago)", (long long) s.restarts, STR_ARG(json_str(&ago)));
}

struct json cell_pod_gates(struct arena *a, const struct json *object, int64_t now_wall_ns) {
        const struct json *gates = PodSpec_readinessGates(Pod_spec(object));
        size_t n = 0;

        if (json_len(gates) == 0)
                return json_of_cstr("<none>");
        json_each_item(g, gates) {
                const struct json *c = json_find_by(PodStatus_conditions(Pod_status(object)), "type",
                                                    PodReadinessGate_conditionType(g));

                n += str_eqc(PodCondition_status(c), "True");
        }
        return json_of_printf(a, "%zu/%zu", n, json_len(gates));
}

/* ---- workloads ---- */

struct json cell_ready_of_desired(struct arena *a, const struct json *object, int64_t now_wall_ns) {
        return json_of_printf(a, "%lld/%lld", (long long) DeploymentStatus_readyReplicas(Deployment_status(object)),
                              (long long) DeploymentSpec_replicas(Deployment_spec(object)));
}

struct json cell_job_status(struct arena *a, const struct json *object, int64_t now_wall_ns) {
        const struct json *conditions = JobStatus_conditions(Job_status(object));

        return json_of_cstr(is_true(conditions, "Complete")        ? "Complete"
                            : is_true(conditions, "Failed")        ? "Failed"
                            : deleting(object)                     ? "Terminating"
                            : is_true(conditions, "Suspended")     ? "Suspended"
                            : is_true(conditions, "FailureTarget") ? "FailureTarget"
                                                                   : "Running");
}

struct json cell_job_completions(struct arena *a, const struct json *object, int64_t now_wall_ns) {
        const struct json *spec = Job_spec(object);
        long long done = JobStatus_succeeded(Job_status(object)), parallelism = JobSpec_parallelism(spec);

        if (JobSpec_has_completions(spec))
                return json_of_printf(a, "%lld/%lld", done, (long long) JobSpec_completions(spec));
        if (parallelism > 1)
                return json_of_printf(a, "%lld/1 of %lld", done, parallelism);
        return json_of_printf(a, "%lld/1", done);
}

struct json cell_job_duration(struct arena *a, const struct json *object, int64_t now_wall_ns) {
        const struct json *status = Job_status(object);
        int64_t start, end = now_wall_ns;
        char text[36];

        if (time_parse(JobStatus_startTime(status), &start) < 0)
                return json_of_cstr("");
        (void) time_parse(JobStatus_completionTime(status), &end); /* not over: until now */
        return json_of_copy(a, duration_human(text, end - start));
}

/* "deployment.apps/web" */
struct json cell_controller_of(struct arena *a, const struct json *object, int64_t now_wall_ns) {
        struct buf b = BUF_INIT;

        json_each_item(o, ObjectMeta_ownerReferences(Pod_metadata(object))) {
                struct str version = OwnerReference_apiVersion(o);
                ssize_t slash = str_find(version, '/');

                if (!OwnerReference_controller(o))
                        continue;
                add_lower(&b, OwnerReference_kind(o));
                if (slash > 0) {
                        buf_putc(&b, '.');
                        add_lower(&b, str_sub(version, 0, (size_t) slash));
                }
                buf_putc(&b, '/');
                buf_add_str(&b, OwnerReference_name(o));
                break;
        }
        return of_buf(a, &b, "<none>");
}

/* ---- autoscalers ---- */

static void add_value(struct buf *b, struct str s) {
        buf_add_str(b, s.n > 0 ? s : STR("<unknown>"));
}

/* One metric: "cpu: 12%/80%", "5/10 (avg)". All kinds of metrics have target and current alike. */
static void add_metric(struct buf *b, const struct json *spec, const struct json *status) {
        static const struct {
                const char *type, *member;
                bool named;
        } kinds[] = {
                { "External", "external", false },
                { "Pods", "pods", false },
                { "Object", "object", false },
                { "Resource", "resource", true },
                { "ContainerResource", "containerResource", true },
        };
        const struct json *source = NULL, *target, *current;
        size_t i = 0;

        while (i < ARRAY_SIZE(kinds) && !str_eqc(MetricSpec_type(spec), kinds[i].type))
                i++;
        if (i == ARRAY_SIZE(kinds))
                return buf_addc(b, "<unknown type>");
        source = json_getc(spec, kinds[i].member);
        target = json_getc(source, "target");
        current = json_at_path(status, kinds[i].member, "current");
        if (kinds[i].named) {
                buf_add_str(b, json_str(json_getc(source, "name")));
                buf_addc(b, ": ");
        }
        if (MetricTarget_averageValue(target).n > 0) {
                add_value(b, MetricValueStatus_averageValue(current));
                buf_putc(b, '/');
                buf_add_str(b, MetricTarget_averageValue(target));
                if (!kinds[i].named && i != 1)
                        buf_addc(b, " (avg)");
        } else if (kinds[i].named) {
                if (MetricValueStatus_has_averageUtilization(current))
                        buf_printf(b, "%lld%%/", (long long) MetricValueStatus_averageUtilization(current));
                else
                        buf_addc(b, "<unknown>/");
                if (MetricTarget_has_averageUtilization(target))
                        buf_printf(b, "%lld%%", (long long) MetricTarget_averageUtilization(target));
                else
                        buf_addc(b, "<auto>");
        } else {
                add_value(b, MetricValueStatus_value(current));
                buf_putc(b, '/');
                buf_add_str(b, MetricTarget_value(target));
        }
}

struct json cell_autoscaler_targets(struct arena *a, const struct json *object, int64_t now_wall_ns) {
        const struct json *specs = HorizontalPodAutoscalerSpec_metrics(HorizontalPodAutoscaler_spec(object));
        const struct json *current =
                        HorizontalPodAutoscalerStatus_currentMetrics(HorizontalPodAutoscaler_status(object));
        struct buf b = BUF_INIT;

        for (size_t i = 0; i < json_len(specs) && i < 2; i++) {
                if (i > 0)
                        buf_addc(&b, ", ");
                add_metric(&b, json_item(specs, i), json_item(current, i));
        }
        if (json_len(specs) > 2)
                buf_printf(&b, " + %zu more...", json_len(specs) - 2);
        return of_buf(a, &b, "<none>");
}

/* ---- services and what is behind them ---- */

static void add_sorted(struct str *list, size_t *n, size_t max, struct str s) {
        size_t at = 0;

        while (at < *n && str_cmp(list[at], s) < 0)
                at++;
        if (*n == max || s.n == 0 || (at < *n && str_eq(list[at], s)))
                return;
        memmove(&list[at + 1], &list[at], (*n - at) * sizeof(*list));
        list[at] = s;
        (*n)++;
}

static void add_ingress_points(struct buf *b, const struct json *balancer) {
        struct str list[64];
        size_t n = 0;

        json_each_item(i, LoadBalancerStatus_ingress(balancer))
                add_sorted(list, &n, ARRAY_SIZE(list),
                           LoadBalancerIngress_ip(i).n ? LoadBalancerIngress_ip(i) : LoadBalancerIngress_hostname(i));
        for (size_t i = 0; i < n; i++)
                join(b, list[i], ",");
}

struct json cell_service_external_ip(struct arena *a, const struct json *object, int64_t now_wall_ns) {
        const struct json *spec = Service_spec(object);
        struct str type = ServiceSpec_type(spec);
        bool balanced = str_eqc(type, "LoadBalancer");
        struct buf b = BUF_INIT;

        if (str_eqc(type, "ExternalName"))
                return json_of_str(ServiceSpec_externalName(spec));
        if (!balanced && !str_eqc(type, "ClusterIP") && !str_eqc(type, "NodePort"))
                return json_of_cstr("<unknown>");
        if (balanced)
                add_ingress_points(&b, ServiceStatus_loadBalancer(Service_status(object)));
        json_each_item(ip, ServiceSpec_externalIPs(spec))
                join(&b, json_str(ip), ",");
        return of_buf(a, &b, balanced ? "<pending>" : "<none>");
}

struct json cell_service_ports(struct arena *a, const struct json *object, int64_t now_wall_ns) {
        struct buf b = BUF_INIT;

        json_each_item(p, ServiceSpec_ports(Service_spec(object))) {
                buf_printf(&b, "%s%lld", b.n ? "," : "", (long long) ServicePort_port(p));
                if (ServicePort_nodePort(p) > 0)
                        buf_printf(&b, ":%lld", (long long) ServicePort_nodePort(p));
                buf_printf(&b, "/%" STR_FMT, STR_ARG(ServicePort_protocol(p)));
        }
        return of_buf(a, &b, "<none>");
}

/* Three of them, and how many more there are. */
struct short_list {
        struct buf text;
        size_t shown, count;
};

static void list_add(struct short_list *l, struct str s) {
        if (l->count++ < 3) {
                if (l->count > 1)
                        buf_putc(&l->text, ',');
                buf_add_str(&l->text, s);
        }
}

static struct json list_done(struct arena *a, struct short_list *l, const char *absent) {
        if (l->count > 3)
                buf_printf(&l->text, " + %zu more...", l->count - 3);
        return of_buf(a, &l->text, absent);
}

struct json cell_endpoints(struct arena *a, const struct json *object, int64_t now_wall_ns) {
        struct short_list l = { 0 };
        char text[128];

        json_each_item(subset, Endpoints_subsets(object)) {
                const struct json *ports = EndpointSubset_ports(subset);

                for (size_t i = 0; i < MAX(json_len(ports), 1u); i++)
                        json_each_item(address, EndpointSubset_addresses(subset)) {
                                struct str ip = EndpointAddress_ip(address);
                                bool v6 = str_find(ip, ':') >= 0;

                                if (json_len(ports) == 0) {
                                        list_add(&l, ip);
                                        continue;
                                }
                                snprintf(text, sizeof(text), "%s%" STR_FMT "%s:%lld", v6 ? "[" : "", STR_ARG(ip),
                                         v6 ? "]" : "", (long long) EndpointPort_port(json_item(ports, i)));
                                list_add(&l, str_of(text));
                        }
        }
        return list_done(a, &l, json_len(Endpoints_subsets(object)) ? "" : "<none>");
}

struct json cell_slice_ports(struct arena *a, const struct json *object, int64_t now_wall_ns) {
        struct short_list l = { 0 };
        char text[32];

        json_each_item(p, EndpointSlice_ports(object)) {
                snprintf(text, sizeof(text), "%lld", (long long) DiscoveryEndpointPort_port(p));
                list_add(&l, DiscoveryEndpointPort_has_port(p)   ? str_of(text)
                             : DiscoveryEndpointPort_has_name(p) ? DiscoveryEndpointPort_name(p)
                                                                 : STR("*"));
        }
        return list_done(a, &l, "<unset>");
}

struct json cell_slice_endpoints(struct arena *a, const struct json *object, int64_t now_wall_ns) {
        struct short_list l = { 0 };

        json_each_item(e, EndpointSlice_endpoints(object))
                json_each_item(address, Endpoint_addresses(e))
                        list_add(&l, json_str(address));
        return list_done(a, &l, "<unset>");
}

struct json cell_ingress_hosts(struct arena *a, const struct json *object, int64_t now_wall_ns) {
        const struct json *rules = IngressSpec_rules(Ingress_spec(object));
        struct buf b = BUF_INIT;
        size_t n = 0;
        bool more = false;

        json_each_item(rule, rules) {
                more = n == 3;
                if (!more && IngressRule_host(rule).n > 0) {
                        join(&b, IngressRule_host(rule), ",");
                        n++;
                }
        }
        if (more)
                buf_printf(&b, " + %zu more...", json_len(rules) - 3);
        return of_buf(a, &b, "*");
}

struct json cell_ingress_address(struct arena *a, const struct json *object, int64_t now_wall_ns) {
        struct buf b = BUF_INIT;

        add_ingress_points(&b, IngressStatus_loadBalancer(Ingress_status(object)));
        return of_buf(a, &b, "");
}

struct json cell_ingress_ports(struct arena *a, const struct json *object, int64_t now_wall_ns) {
        return json_of_cstr(json_len(IngressSpec_tls(Ingress_spec(object))) > 0 ? "80, 443" : "80");
}

struct json cell_ingress_class_parameters(struct arena *a, const struct json *object, int64_t now_wall_ns) {
        const struct json *p = IngressClassSpec_parameters(IngressClass_spec(object));
        struct buf b = BUF_INIT;

        if (p) {
                buf_add_str(&b, IngressClassParametersReference_kind(p));
                if (IngressClassParametersReference_has_apiGroup(p))
                        join(&b, IngressClassParametersReference_apiGroup(p), ".");
                join(&b, IngressClassParametersReference_name(p), "/");
        }
        return of_buf(a, &b, "<none>");
}

struct json cell_ip_parent(struct arena *a, const struct json *object, int64_t now_wall_ns) {
        const struct json *p = IPAddressSpec_parentRef(IPAddress_spec(object));
        struct buf b = BUF_INIT;

        if (p) {
                add_lower(&b, ParentReference_resource(p));
                if (ParentReference_group(p).n > 0) {
                        buf_putc(&b, '.');
                        add_lower(&b, ParentReference_group(p));
                }
                if (ParentReference_namespace(p).n > 0)
                        join(&b, ParentReference_namespace(p), "/");
                join(&b, ParentReference_name(p), "/");
        }
        return of_buf(a, &b, "<none>");
}

/* ---- nodes ---- */

struct json cell_node_status(struct arena *a, const struct json *object, int64_t now_wall_ns) {
        const struct json *ready = json_find_by(NodeStatus_conditions(Node_status(object)), "type", STR("Ready"));

        return json_of_printf(a, "%s%s",
                              !ready                                         ? "Unknown"
                              : str_eqc(NodeCondition_status(ready), "True") ? "Ready"
                                                                             : "NotReady",
                              NodeSpec_unschedulable(Node_spec(object)) ? ",SchedulingDisabled" : "");
}

struct json cell_node_roles(struct arena *a, const struct json *object, int64_t now_wall_ns) {
        const struct str prefix = STR("node-role.kubernetes.io/");
        struct buf b = BUF_INIT;
        struct str roles[32];
        size_t n = 0;

        json_each_member(m, ObjectMeta_labels(Node_metadata(object))) {
                if (str_has_prefix(json_key(m), prefix))
                        add_sorted(roles, &n, ARRAY_SIZE(roles), str_sub(json_key(m), prefix.n, json_key(m).n));
                else if (str_eqc(json_key(m), "kubernetes.io/role"))
                        add_sorted(roles, &n, ARRAY_SIZE(roles), json_str(&m->value));
        }
        for (size_t i = 0; i < n; i++)
                join(&b, roles[i], ",");
        return of_buf(a, &b, "<none>");
}

/* ---- events ---- */

static struct str first_seen(const struct json *e) {
        return Event_firstTimestamp(e).n > 0 ? Event_firstTimestamp(e) : Event_eventTime(e);
}

struct json cell_event_first_seen(struct arena *a, const struct json *object, int64_t now_wall_ns) {
        return age(a, first_seen(object), now_wall_ns);
}

struct json cell_event_last_seen(struct arena *a, const struct json *object, int64_t now_wall_ns) {
        struct str last = Event_lastTimestamp(object).n > 0 ? Event_lastTimestamp(object) : first_seen(object);

        return age(a, Event_series(object) ? EventSeries_lastObservedTime(Event_series(object)) : last, now_wall_ns);
}

struct json cell_event_count(struct arena *a, const struct json *object, int64_t now_wall_ns) {
        if (Event_series(object))
                return json_of_int(EventSeries_count(Event_series(object)));
        return json_of_int(MAX(Event_count(object), 1));
}

struct json cell_event_object(struct arena *a, const struct json *object, int64_t now_wall_ns) {
        const struct json *o = Event_involvedObject(object);
        struct buf b = BUF_INIT;

        add_lower(&b, ObjectReference_kind(o));
        if (ObjectReference_name(o).n > 0) {
                buf_putc(&b, '/');
                buf_add_str(&b, ObjectReference_name(o));
        }
        return of_buf(a, &b, "");
}

struct json cell_event_source(struct arena *a, const struct json *object, int64_t now_wall_ns) {
        const struct json *source = Event_source(object);
        struct str component = EventSource_component(source), host = EventSource_host(source);
        struct buf b = BUF_INIT;

        buf_add_str(&b, component.n ? component : Event_reportingComponent(object));
        host = host.n ? host : Event_reportingInstance(object);
        if (host.n > 0) {
                buf_addc(&b, ", ");
                buf_add_str(&b, host);
        }
        return of_buf(a, &b, "");
}

struct json cell_event_message(struct arena *a, const struct json *object, int64_t now_wall_ns) {
        return of_str(str_trim(Event_message(object)), "");
}

/* ---- volumes ---- */

static struct json access_modes(struct arena *a, const struct json *modes) {
        static const char *const names[][2] = {
                { "ReadWriteOnce", "RWO" },
                { "ReadOnlyMany", "ROX" },
                { "ReadWriteMany", "RWX" },
                { "ReadWriteOncePod", "RWOP" },
        };
        struct buf b = BUF_INIT;

        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                if (json_has_str(modes, str_of(names[i][0])))
                        join(&b, str_of(names[i][1]), ",");
        return of_buf(a, &b, "");
}

struct json cell_volume_access_modes(struct arena *a, const struct json *object, int64_t now_wall_ns) {
        return access_modes(a, PersistentVolumeSpec_accessModes(PersistentVolume_spec(object)));
}

struct json cell_phase_or_terminating(struct arena *a, const struct json *object, int64_t now_wall_ns) {
        if (deleting(object))
                return json_of_cstr("Terminating");
        return of_str(PersistentVolumeStatus_phase(PersistentVolume_status(object)), "");
}

struct json cell_claim_access_modes(struct arena *a, const struct json *object, int64_t now_wall_ns) {
        if (PersistentVolumeClaimSpec_volumeName(PersistentVolumeClaim_spec(object)).n == 0)
                return json_of_cstr("");
        return access_modes(a, PersistentVolumeClaimStatus_accessModes(PersistentVolumeClaim_status(object)));
}

struct json cell_claim_capacity(struct arena *a, const struct json *object, int64_t now_wall_ns) {
        if (PersistentVolumeClaimSpec_volumeName(PersistentVolumeClaim_spec(object)).n == 0)
                return json_of_cstr("");
        return of_str(json_str(json_at_path(PersistentVolumeClaim_status(object), "capacity", "storage")), "0");
}

/* As claims and volumes had it before there was a field. */
struct json cell_storage_class(struct arena *a, const struct json *object, int64_t now_wall_ns) {
        const struct json *old = json_getc(ObjectMeta_annotations(PersistentVolume_metadata(object)),
                                           "volume.beta.kubernetes.io/storage-class");
        const struct json *spec = PersistentVolume_spec(object);

        return json_of_str(old ? json_str(old) : PersistentVolumeSpec_storageClassName(spec));
}

struct json cell_storage_class_name(struct arena *a, const struct json *object, int64_t now_wall_ns) {
        const struct json *meta = StorageClass_metadata(object), *annotations = ObjectMeta_annotations(meta);
        bool is_default = str_eqc(json_str(json_getc(annotations, "storageclass.kubernetes.io/is-default-class")),
                                  "true") ||
                          str_eqc(json_str(json_getc(annotations, "storageclass.beta.kubernetes.io/is-default-class")),
                                  "true");

        return json_of_printf(a, "%" STR_FMT "%s", STR_ARG(ObjectMeta_name(meta)), is_default ? " (default)" : "");
}

struct json cell_csi_attach_required(struct arena *a, const struct json *object, int64_t now_wall_ns) {
        const struct json *spec = CSIDriver_spec(object);

        return json_of_bool(!CSIDriverSpec_has_attachRequired(spec) || CSIDriverSpec_attachRequired(spec));
}

/* ---- access ---- */

static struct json subjects(struct arena *a, const struct json *object, const char *kind) {
        struct buf b = BUF_INIT;
        bool first = true;

        json_each_item(s, RoleBinding_subjects(object)) {
                if (!str_eqc(Subject_kind(s), kind))
                        continue;
                if (!first)
                        buf_addc(&b, ", ");
                first = false;
                if (str_eqc(Subject_kind(s), "ServiceAccount")) {
                        buf_add_str(&b, Subject_namespace(s));
                        buf_putc(&b, '/');
                }
                buf_add_str(&b, Subject_name(s));
        }
        return of_buf(a, &b, "");
}

struct json cell_subject_users(struct arena *a, const struct json *object, int64_t now_wall_ns) {
        return subjects(a, object, "User");
}

struct json cell_subject_groups(struct arena *a, const struct json *object, int64_t now_wall_ns) {
        return subjects(a, object, "Group");
}

struct json cell_subject_accounts(struct arena *a, const struct json *object, int64_t now_wall_ns) {
        return subjects(a, object, "ServiceAccount");
}

struct json cell_csr_duration(struct arena *a, const struct json *object, int64_t now_wall_ns) {
        const struct json *spec = CertificateSigningRequest_spec(object);
        char text[36];

        if (!CertificateSigningRequestSpec_has_expirationSeconds(spec))
                return json_of_cstr("<none>");
        return json_of_copy(a,
                            duration_human(text, CertificateSigningRequestSpec_expirationSeconds(spec) * NSEC_PER_SEC));
}

struct json cell_csr_condition(struct arena *a, const struct json *object, int64_t now_wall_ns) {
        const struct json *status = CertificateSigningRequest_status(object);
        const struct json *conditions = CertificateSigningRequestStatus_conditions(status);

        return json_of_printf(a, "%s%s%s",
                              json_find_by(conditions, "type", STR("Denied"))     ? "Denied"
                              : json_find_by(conditions, "type", STR("Approved")) ? "Approved"
                                                                                  : "Pending",
                              json_find_by(conditions, "type", STR("Failed")) ? ",Failed" : "",
                              CertificateSigningRequestStatus_certificate(status).n > 0 ? ",Issued" : "");
}

/* ---- the rest ---- */

struct json cell_config_map_data(struct arena *a, const struct json *object, int64_t now_wall_ns) {
        return json_of_int((int64_t) (json_len(ConfigMap_data(object)) + json_len(ConfigMap_binaryData(object))));
}

struct json cell_component_health(struct arena *a, const struct json *object, int64_t now_wall_ns) {
        const struct json *c = json_find_by(ComponentStatus_conditions(object), "type", STR("Healthy"));

        return json_of_cstr(!c ? "Unknown" : str_eqc(ComponentCondition_status(c), "True") ? "Healthy" : "Unhealthy");
}

static struct json quota(struct arena *a, const struct json *object, bool limits) {
        const struct json *status = ResourceQuota_status(object);
        struct buf b = BUF_INIT;

        json_each_member(m, ResourceQuotaStatus_hard(status)) {
                struct str used = json_str_or(json_get(ResourceQuotaStatus_used(status), json_key(m)), STR("0"));

                if (str_has_prefix(json_key(m), STR("limits.")) != limits)
                        continue;
                buf_printf(&b, "%s%" STR_FMT ": %" STR_FMT "/%" STR_FMT, b.n ? ", " : "", STR_ARG(json_key(m)),
                           STR_ARG(used), STR_ARG(json_str(&m->value)));
        }
        return of_buf(a, &b, "");
}

struct json cell_quota_requests(struct arena *a, const struct json *object, int64_t now_wall_ns) {
        return quota(a, object, false);
}

struct json cell_quota_limits(struct arena *a, const struct json *object, int64_t now_wall_ns) {
        return quota(a, object, true);
}

/* A LabelSelector as Go prints the struct: upstream shows it so. */
static struct json go_selector(struct arena *a, const struct json *selector) {
        const struct json *map = LabelSelector_matchLabels(selector);
        struct json labels = map ? json_copy_shallow(a, map) : json_new_object();
        struct buf b = BUF_INIT;

        json_sort(&labels);
        buf_printf(&b, "&LabelSelector{MatchLabels:map[string]string{");
        json_each_member(m, &labels)
                buf_printf(&b, "%" STR_FMT ": %" STR_FMT ",", STR_ARG(json_key(m)), STR_ARG(json_str(&m->value)));
        buf_printf(&b, "},MatchExpressions:[]LabelSelectorRequirement{");
        json_each_item(r, LabelSelector_matchExpressions(selector)) {
                const char *space = "";

                buf_printf(&b, "LabelSelectorRequirement{Key:%" STR_FMT ",Operator:%" STR_FMT ",Values:[",
                           STR_ARG(LabelSelectorRequirement_key(r)), STR_ARG(LabelSelectorRequirement_operator(r)));
                json_each_item(v, LabelSelectorRequirement_values(r)) {
                        buf_printf(&b, "%s%" STR_FMT, space, STR_ARG(json_str(v)));
                        space = " ";
                }
                buf_printf(&b, "],},");
        }
        buf_printf(&b, "},}");
        return of_buf(a, &b, "");
}

struct json cell_policy_param_ref(struct arena *a, const struct json *object, int64_t now_wall_ns) {
        const struct json *ref =
                        ValidatingAdmissionPolicyBindingSpec_paramRef(ValidatingAdmissionPolicyBinding_spec(object));
        struct str ns = ParamRef_namespace(ref);

        if (ParamRef_name(ref).n == 0)
                return ParamRef_selector(ref) ? go_selector(a, ParamRef_selector(ref)) : json_of_cstr("<unset>");
        return json_of_printf(a, "%" STR_FMT "/%" STR_FMT, STR_ARG(ns.n > 0 ? ns : STR("*")),
                              STR_ARG(ParamRef_name(ref)));
}

struct json cell_api_service_available(struct arena *a, const struct json *object, int64_t now_wall_ns) {
        const struct json *c =
                        json_find_by(APIServiceStatus_conditions(APIService_status(object)), "type", STR("Available"));

        if (!c)
                return json_of_cstr("Unknown");
        if (str_eqc(APIServiceCondition_status(c), "True") || APIServiceCondition_reason(c).n == 0)
                return json_of_str(APIServiceCondition_status(c));
        return json_of_printf(a, "%" STR_FMT " (%" STR_FMT ")", STR_ARG(APIServiceCondition_status(c)),
                              STR_ARG(APIServiceCondition_reason(c)));
}
