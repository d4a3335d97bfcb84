/* What the cluster's names mean, from Services and EndpointSlices:
 * https://github.com/kubernetes/dns/blob/master/docs/specification.md (schema 1.1.0), with `pods insecure` as kubeadm
 * sets CoreDNS up. */
#pragma once

#include "client/informer.h"
#include "dns/message.h"

#define DNS_TTL 30

struct records {
        const char *domain;
        struct informer *services, *slices, *namespaces;
        struct informer_index *slices_by_service, *slices_by_address, *services_by_ip;
};
/* Before the informers are started. domain must stay valid. */
void records_init(struct records *r, struct informer_factory *f, const char *domain);

enum records_result {
        RECORDS_ANSWERED, /* out has the answer, also when it is that there is no such name */
        RECORDS_FORWARD,  /* not a name of the cluster's */
        RECORDS_ALIAS,    /* out has the beginning: an ExternalName's CNAME. Records of alias.target are to follow, then
                             dns_end */
        RECORDS_NOT_YET,  /* the cluster's names are not known yet */
};
struct records_alias {
        struct dns_writer w;
        char target[DNS_NAME_MAX];
};
/* max: of the whole message. */
enum records_result records_answer(struct records *r, struct str wire, const struct dns_query *q, size_t max,
                                   struct buf *out, struct records_alias *alias);
