/* What a pod sees of names: its hostname, /etc/hosts and resolv.conf.
 * https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/ */
#include "kubelet/internal.h"

#include "base/file.h"

#define MAX_SEARCHES 32
#define MAX_SEARCH_CHARS 2048
#define MAX_SERVERS 3
#define MAX_HOSTNAME 63

struct str pod_hostname(struct arena *a, const struct pod *p) {
        struct str name = jstr(p->spec, "hostname");

        if (json_bool(json_getc(p->spec, "hostNetwork"))) {
                char host[256] = "";

                gethostname(host, sizeof(host) - 1);
                return arena_str(a, str_of(host));
        }
        if (str_empty(name))
                name = str_of(p->name);
        if (json_bool(json_getc(p->spec, "setHostnameAsFQDN")) && !str_empty(jstr(p->spec, "subdomain")))
                return arena_printf(a, "%" STR_FMT ".%" STR_FMT ".%s.svc.%s", STR_ARG(name),
                                    STR_ARG(jstr(p->spec, "subdomain")), p->ns, p->k->o.cluster_domain);
        name = str_sub(name, 0, MAX_HOSTNAME);
        while (name.n && (name.p[name.n - 1] == '-' || name.p[name.n - 1] == '.'))
                name.n--;
        return name;
}

/* ---- resolv.conf ---- */

struct resolv {
        struct arena *a;
        struct json servers, searches, options;
};

static void push_unique(struct arena *a, struct json *list, struct str s) {
        if (!str_empty(s) && !json_has_str(list, s))
                json_push(a, list, json_of_copy(a, s));
}

/* The same option given twice: the later one wins. */
static void push_option(struct resolv *rc, struct str text) {
        struct str name = str_sub(text, 0, (size_t) (str_find(text, ':') < 0 ? (ssize_t) text.n : str_find(text, ':')));

        for (size_t i = 0; i < json_len(&rc->options); i++) {
                struct str have = json_str(&json_items(&rc->options)[i]);

                if (str_has_prefix(have, name) && (have.n == name.n || have.p[name.n] == ':')) {
                        json_items(&rc->options)[i] = json_of_copy(rc->a, text);
                        return;
                }
        }
        json_push(rc->a, &rc->options, json_of_copy(rc->a, text));
}

static bool next_word(struct str *line, struct str *ret) {
        *line = str_trim(*line);
        for (size_t i = 0; i <= line->n && line->n; i++)
                if (i == line->n || line->p[i] == ' ' || line->p[i] == '\t') {
                        *ret = str_sub(*line, 0, i);
                        *line = str_sub(*line, i, line->n);
                        return true;
                }
        return false;
}

static void read_host(struct resolv *rc, const char *path) {
        _cleanup_buf_ struct buf text = BUF_INIT;
        struct str word, key;

        if (file_read(path, 64 * 1024, &text, NULL) < 0)
                return;
        str_each(line, buf_str(&text), '\n') {
                if (!next_word(&line, &key) || key.p[0] == '#' || key.p[0] == ';')
                        continue;
                if (str_eqc(key, "search") || str_eqc(key, "domain"))
                        rc->searches = json_new_array();
                while (next_word(&line, &word)) {
                        if (str_eqc(key, "nameserver"))
                                push_unique(rc->a, &rc->servers, word);
                        else if (str_eqc(key, "search") || str_eqc(key, "domain"))
                                push_unique(rc->a, &rc->searches, word);
                        else if (str_eqc(key, "options"))
                                push_option(rc, word);
                }
        }
}

static void use_cluster(struct resolv *rc, struct pod *p) {
        struct json host_searches = rc->searches;
        struct arena *a = rc->a;

        rc->servers = json_new_array();
        rc->searches = json_new_array();
        rc->options = json_new_array();
        push_unique(a, &rc->servers, str_of(p->k->o.cluster_dns));
        if (p->k->o.cluster_domain[0]) {
                push_unique(a, &rc->searches, arena_printf(a, "%s.svc.%s", p->ns, p->k->o.cluster_domain));
                push_unique(a, &rc->searches, arena_printf(a, "svc.%s", p->k->o.cluster_domain));
                push_unique(a, &rc->searches, str_of(p->k->o.cluster_domain));
        }
        json_each_item(s, &host_searches)
                push_unique(a, &rc->searches, json_str(s));
        push_option(rc, STR("ndots:5"));
}

static void add_config(struct resolv *rc, const struct json *config) {
        json_each_item(s, json_getc(config, "nameservers"))
                push_unique(rc->a, &rc->servers, json_str(s));
        json_each_item(s, json_getc(config, "searches"))
                push_unique(rc->a, &rc->searches, json_str(s));
        json_each_item(o, json_getc(config, "options")) {
                struct str name = jstr(o, "name"), value = jstr(o, "value");

                push_option(rc, value.n ? arena_printf(rc->a, "%" STR_FMT ":%" STR_FMT, STR_ARG(name), STR_ARG(value))
                                        : name);
        }
}

static void limit(struct resolv *rc) {
        size_t chars = 0;

        while (json_len(&rc->servers) > MAX_SERVERS)
                json_remove_item(&rc->servers, MAX_SERVERS);
        for (size_t i = 0; i < json_len(&rc->searches); i++) {
                chars += json_str(&json_items(&rc->searches)[i]).n + 1;
                if (i >= MAX_SEARCHES || chars > MAX_SEARCH_CHARS)
                        json_remove_item(&rc->searches, i--);
        }
}

struct json pod_dns(struct arena *a, struct pod *p) {
        struct str policy = json_str_or(json_getc(p->spec, "dnsPolicy"), STR("ClusterFirst"));
        bool host_network = json_bool(json_getc(p->spec, "hostNetwork"));
        struct resolv rc = { a, json_new_array(), json_new_array(), json_new_array() };
        struct json o = json_new_object();

        if (!str_eqc(policy, "None"))
                read_host(&rc, p->k->o.resolv_conf);
        if (p->k->o.cluster_dns[0] &&
            (str_eqc(policy, "ClusterFirstWithHostNet") || (str_eqc(policy, "ClusterFirst") && !host_network)))
                use_cluster(&rc, p);
        add_config(&rc, json_getc(p->spec, "dnsConfig"));
        limit(&rc);
        json_setc(a, &o, "servers", rc.servers);
        json_setc(a, &o, "searches", rc.searches);
        json_setc(a, &o, "options", rc.options);
        return o;
}

/* ---- /etc/hosts ---- */

static void add_aliases(struct buf *b, const struct json *aliases) {
        if (json_len(aliases) == 0)
                return;
        buf_addc(b, "\n# Entries added by HostAliases.\n");
        json_each_item(alias, aliases) {
                buf_add_str(b, jstr(alias, "ip"));
                json_each_item(name, json_getc(alias, "hostnames")) {
                        buf_putc(b, '\t');
                        buf_add_str(b, json_str(name));
                }
                buf_putc(b, '\n');
        }
}

static void add_own(struct buf *b, struct pod *p) {
        struct str host = pod_hostname(p->arena, p), subdomain = jstr(p->spec, "subdomain");

        buf_addc(b, "# Kubernetes-managed hosts file.\n"
                    "127.0.0.1\tlocalhost\n"
                    "::1\tlocalhost ip6-localhost ip6-loopback\n"
                    "fe00::0\tip6-localnet\n"
                    "fe00::0\tip6-mcastprefix\n"
                    "fe00::1\tip6-allnodes\n"
                    "fe00::2\tip6-allrouters\n");
        for (size_t i = 0; i < 2 && p->ips[i][0]; i++) {
                if (subdomain.n && p->k->o.cluster_domain[0])
                        buf_printf(b, "%s\t%" STR_FMT ".%" STR_FMT ".%s.svc.%s\t%" STR_FMT "\n", p->ips[i],
                                   STR_ARG(host), STR_ARG(subdomain), p->ns, p->k->o.cluster_domain, STR_ARG(host));
                else
                        buf_printf(b, "%s\t%" STR_FMT "\n", p->ips[i], STR_ARG(host));
        }
}

int pod_hosts_file(struct pod *p, char **ret_path, struct error *err) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct str path = arena_printf(p->arena, "%s/etc-hosts", p->dir);
        int r;

        if (json_bool(json_getc(p->spec, "hostNetwork"))) {
                buf_addc(&b, "# Kubernetes-managed hosts file (host network).\n");
                file_read("/etc/hosts", 1 << 20, &b, NULL);
        } else
                add_own(&b, p);
        add_aliases(&b, json_getc(p->spec, "hostAliases"));
        r = file_write(path.p, buf_str(&b), 0644, err); /* in place: containers have it mounted */
        if (r >= 0)
                *ret_path = (char *) path.p;
        return r;
}
