/* CertificateSigningRequests: what those who approve and those who sign look at. */
#pragma once

#include <openssl/x509.h>

#include "base/error.h"
#include "json/json.h"

/* The PKCS #10 request in spec.request, its signature verified. -EINVAL with a message; the caller frees. */
int csr_read_request(const struct json *spec, X509_REQ **ret, struct error *err);
/* Is the request one that spec.signerName may sign, by its subject, names and usages? -EINVAL says what is wrong,
 * -ENOENT: not one of the cluster's signers. */
int csr_check(const struct json *spec, const X509_REQ *request, struct error *err);
struct str csr_common_name(const X509_REQ *request, char dst[static 256]);
