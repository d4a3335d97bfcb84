/* Expressions of admission: ValidatingAdmissionPolicy, matchConditions of policies and webhooks.
 *
 *   spec ──cel_policy_new──▶ programs; what does not compile keeps its error
 *                                │
 *   a write as cel_values ───────┴──cel_policy_matches──▶ cel_policy_validate──▶ decisions, audit annotations
 *
 * Which names an expression knows, what it must yield, what it may cost and the words for what goes wrong are those of
 * upstream's k8s.io/apiserver/pkg/admission/plugin/cel. A policy is immutable; threads share it. */
#pragma once

#include "cel/cel.h"

enum cel_input {
        CEL_IN_OBJECT,
        CEL_IN_OLD_OBJECT,
        CEL_IN_NAMESPACE, /* namespaceObject */
        CEL_IN_REQUEST,
        CEL_IN_PARAMS, /* only where there is a paramKind */
        CEL_IN_AUTHORIZER,
        CEL_IN_REQUEST_RESOURCE, /* authorizer.requestResource */
        CEL_IN_VARIABLES,
        CEL_INPUTS
};

/* The names that an expression may use. */
struct cel_env {
        struct cel_variable names[CEL_INPUTS];
        uint8_t inputs[CEL_INPUTS]; /* enum cel_input of each */
        size_t n;
};

struct cel_expression {
        struct str text;
        struct str error; /* why it does not compile ("compilation failed: ERROR: …"); else empty */
        struct cel_program *program;
        const struct cel_env *env;
};

struct cel_named { /* a matchCondition, a variable, an auditAnnotation */
        struct str name;
        struct cel_expression x;
};

struct cel_validation {
        struct cel_expression x, message_x; /* message_x.text empty: none */
        struct str message, reason;
};

struct cel_policy {
        struct arena *arena;
        struct cel_named *conditions, *variables, *annotations;
        struct cel_validation *validations;
        size_t n_conditions, n_variables, n_annotations, n_validations;
};

/* spec (borrowed): of a ValidatingAdmissionPolicy, or a webhook. object and params are their types when they are known,
 * to check the expressions against; NULL: anything. */
struct cel_policy *cel_policy_new(const struct json *spec, const struct cel_type *object,
                                  const struct cel_type *params);
void cel_policy_free(struct cel_policy *p); /* NULL is fine */

struct cel_decision {
        size_t index; /* of the validation */
        bool always;  /* an audit annotation could not be told: refused whatever the binding's actions are */
        bool passed;  /* it could not be told, and failurePolicy is Ignore: for metrics only */
        int64_t ns;   /* how long the expression took */
        struct str message, reason; /* reason empty: Invalid */
};

struct cel_policy_run {
        const struct cel_policy *policy;
        struct arena *arena;
        bool ignore;                         /* failurePolicy */
        struct cel_value inputs[CEL_INPUTS]; /* of what is not there: null */

        /* set by cel_policy_validate: each refusal and failure, and what goes to the audit log */
        struct cel_decision *decisions;
        size_t n_decisions;
        struct {
                struct str key, value;
        } * annotations;
        size_t n_annotations;

        /* private */
        uint64_t budget, composed;
        struct cel_value *memo; /* of variables; kind CEL_PARAM: not asked for yet */
        struct cel_lazy variables;
};
/* Do the matchConditions hold? 1, 0, or -EINVAL with the errors of those that could not be told. */
int cel_policy_matches(struct cel_policy_run *r, struct error *err);
void cel_policy_validate(struct cel_policy_run *r);
