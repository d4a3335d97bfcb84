/* YAML and JSON trees, over libyaml: what `kubectl apply -f` and Accept: application/yaml need.
 * YAML 1.1 as sigs.k8s.io/yaml reads it: yes/no/on/off are booleans, keys become strings, anchors are followed.
 * Limits against bombs: depth 100, 1,000,000 nodes after aliases are expanded, 3 MiB of text. */
#pragma once

#include "json/json.h"

#define YAML_ERROR "error converting YAML to JSON: " /* how errors begin; upstream has it only in some places */

/* The first document; null when there is none. -EINVAL with upstream's text ("error converting YAML to JSON: yaml: line
 * N: …"). duplicates as in json_parse_opts, may be NULL. */
int yaml_parse(struct arena *a, struct str text, struct json_duplicates *duplicates, struct json **ret,
               struct error *err);
/* Every document of a stream ("---"), empty ones left out: ret is an array. */
int yaml_parse_all(struct arena *a, struct str text, struct json **ret, struct error *err);
/* As sigs.k8s.io/yaml prints: keys sorted, two spaces, strings quoted only where they must be. */
void yaml_write(struct buf *dst, const struct json *j);
