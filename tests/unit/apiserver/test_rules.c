/* x-kubernetes-validations: what rules find in custom resources, and which definitions cannot be. JSON has ` for its
 * quotes here. */
#include "help.h"

#include "apiserver/extensions/crd_rules.h"

static const char *quoted(struct arena *a, const char *text) {
        char *copy = arena_cstr(a, str_of(text));

        for (char *p = copy; *p; p++)
                if (*p == '`')
                        *p = '"';
        return copy;
}

static struct json *tree(struct arena *a, const char *text) {
        struct json *j;

        if (json_parse(a, str_of(quoted(a, text)), NULL, &j, NULL) < 0)
                fail_msg("not JSON: %s", text);
        return j;
}

/* The errors, a line each. */
static void compare(struct arena *a, struct field_errors *fe, const char *what, const char *wanted) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        for (size_t i = 0; i < fe->list.n; i++)
                buf_printf(&b, "%s%" STR_FMT ": %" STR_FMT, i ? "\n" : "", STR_ARG(fe->list.v[i].field),
                           STR_ARG(fe->list.v[i].body));
        if (!str_eqc(buf_str(&b), quoted(a, wanted)))
                fail_msg("%s\n  is     %" STR_FMT "\n  wanted %s\n", what, STR_ARG(buf_str(&b)), quoted(a, wanted));
}

static void expect(const char *schema, const char *object, const char *old, const char *errors) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct crd_schema *s = crd_schema_compile(a, tree(a, schema), "K", "p");
        struct field_errors fe = { .a = a };

        crd_rules_compile(a, s);
        crd_rules_evaluate(&fe, NULL, s, tree(a, object), old ? tree(a, old) : NULL);
        crd_schema_release(s);
        compare(a, &fe, object, errors);
}

static const char spec[] = "{`type`:`object`,`properties`:{`spec`:{`type`:`object`,`x-kubernetes-validations`:["
                           "{`rule`:`self.min <= self.max`},"
                           "{`rule`:`self.max < 100`,`messageExpression`:`'at most 99' + (self.max > 150 ? '!' : '')`,"
                           "`reason`:`FieldValueForbidden`,`fieldPath`:`.max`},"
                           "{`rule`:`self.name == oldSelf.name`,`message`:` name is immutable `},"
                           "{`rule`:`oldSelf.hasValue() || self.min == 0`,`optionalOldSelf`:true,"
                           "`message`:`starts at 0`}],`properties`:{`min`:{`type`:`integer`},"
                           "`max`:{`type`:`integer`},`name`:{`type`:`string`,`maxLength`:9}}}}}";

static void rules_hold(void **state) {
        expect(spec, "{`spec`:{`min`:0,`max`:2,`name`:`a`}}", NULL, "");
        expect(spec, "{`spec`:{`min`:3,`max`:2,`name`:`a`}}", NULL,
               "spec: Invalid value: `object`: failed rule: self.min <= self.max\n"
               "spec: Invalid value: `object`: starts at 0");
        expect(spec, "{`spec`:{`min`:0,`max`:200,`name`:`a`}}", NULL, "spec.max: Forbidden: at most 99!");
        expect(spec, "{`spec`:{`min`:1,`max`:2,`name`:`b`}}", "{`spec`:{`min`:1,`max`:2,`name`:`a`}}",
               "spec: Invalid value: `object`: name is immutable");
        expect(spec, "{`spec`:{`max`:2}}", NULL,
               "spec: Invalid value: `object`: no such key: min evaluating rule: self.min <= self.max\n"
               "spec: Invalid value: `object`: no such key: min evaluating rule: starts at 0");
        expect(spec, "{}", NULL, "");
}

/* What was wrong before, and has not changed, is let pass; a rule about the change is not. */
static void ratchets(void **state) {
        expect(spec, "{`spec`:{`min`:3,`max`:2,`name`:`a`}}", "{`spec`:{`min`:3,`max`:2,`name`:`a`}}", "");
        expect(spec, "{`spec`:{`min`:4,`max`:2,`name`:`a`}}", "{`spec`:{`min`:3,`max`:2,`name`:`a`}}",
               "spec: Invalid value: `object`: failed rule: self.min <= self.max");
}

/* Items of what is no list are of no type that rules could be about; a property of no type has no rules at all. */
static void rules_of_no_type(void **state) {
        expect("{`type`:`object`,`properties`:{`b`:{`type`:`object`,`items`:{`type`:`object`,`properties`:{`n`:{"
               "`type`:`integer`,`x-kubernetes-validations`:[{`rule`:`self > 9`}]}},"
               "`x-kubernetes-validations`:[{`rule`:`self.n > 9`}]}}}}",
               "{`b`:[{`n`:1},{`n`:2}]}", NULL,
               "b[0]: Invalid value: `object`: rule compiler initialization error: failed to convert to declType for "
               "CEL validation rules\n"
               "b[1]: Invalid value: `object`: rule compiler initialization error: failed to convert to declType for "
               "CEL validation rules");
        expect("{`type`:`object`,`properties`:{`b`:{`type`:`array`,`items`:{`x-kubernetes-preserve-unknown-fields`:"
               "true,`properties`:{`n`:{`type`:`integer`,`x-kubernetes-validations`:[{`rule`:`self > 9`}]}}}}}}",
               "{`b`:[{`n`:1}]}", NULL, "");
}

static const char lists[] =
                "{`type`:`object`,`properties`:{"
                "`keyed`:{`type`:`array`,`maxItems`:9,`x-kubernetes-list-type`:`map`,`x-kubernetes-list-map-keys`:[`k`]"
                ","
                "`items`:{`type`:`object`,`x-kubernetes-validations`:[{`rule`:`self.v >= oldSelf.v`}],"
                "`properties`:{`k`:{`type`:`string`},`v`:{`type`:`integer`}}}},"
                "`plain`:{`type`:`array`,`items`:{`type`:`integer`,`x-kubernetes-validations`:[{`rule`:`self > 0`}]}},"
                "`map`:{`type`:`object`,`maxProperties`:9,`additionalProperties`:{`type`:`string`,`maxLength`:9,"
                "`x-kubernetes-validations`:[{`rule`:`self != 'x' || self == oldSelf`},{`rule`:`self.size() < 5`}]}}}}";

static void correlates(void **state) {
        expect(lists, "{`keyed`:[{`k`:`b`,`v`:1},{`k`:`a`,`v`:2},{`k`:`c`,`v`:0}]}",
               "{`keyed`:[{`k`:`a`,`v`:2},{`k`:`b`,`v`:5}]}",
               "keyed[0]: Invalid value: `object`: failed rule: self.v >= oldSelf.v");
        expect(lists, "{`plain`:[1,0,-1]}", NULL,
               "plain[1]: Invalid value: `integer`: failed rule: self > 0\n"
               "plain[2]: Invalid value: `integer`: failed rule: self > 0");
        expect(lists, "{`map`:{`a`:`x`,`b`:`toolong`,`c`:null}}", "{`map`:{`a`:`y`}}",
               "map[a]: Invalid value: `string`: failed rule: self != 'x' || self == oldSelf\n"
               "map[b]: Invalid value: `string`: failed rule: self.size() < 5");
}

/* What a schema says of an object's name is checked as everything else. */
static void metadata_has_rules(void **state) {
        static const char schema[] = "{`type`:`object`,`properties`:{`metadata`:{`type`:`object`,`properties`:{`name`:{"
                                     "`type`:`string`,`maxLength`:9,`x-kubernetes-validations`:[{`rule`:"
                                     "`self.startsWith('a')`}]}}}}}";

        expect(schema, "{`metadata`:{`name`:`abc`,`uid`:`u`}}", NULL, "");
        expect(schema, "{`metadata`:{`name`:`b`}}", NULL,
               "metadata.name: Invalid value: `string`: failed rule: self.startsWith('a')");
}

static void stops_when_the_budget_is_spent(void **state) {
        static const char schema[] = "{`type`:`object`,`properties`:{`l`:{`type`:`array`,`items`:{`type`:`integer`},"
                                     "`x-kubernetes-validations`:[{`rule`:`self.all(x, self.all(y, x + y >= 0))`},"
                                     "{`rule`:`false`}]}}}";
        _cleanup_buf_ struct buf b = BUF_INIT;

        buf_addc(&b, "{`l`:[");
        for (int i = 0; i < 1000; i++)
                buf_printf(&b, "%s%d", i ? "," : "", i);
        buf_addc(&b, "]}");
        buf_putc(&b, 0);
        expect(schema, b.p, NULL,
               "l: Invalid value: `array`: 'operation cancelled: actual cost limit exceeded': no further validation "
               "rules will be run due to call cost exceeds limit for rule: self.all(x, self.all(y, x + y >= 0))");
}

/* A required field is missing: rules would only repeat that. */
static void waits_for_the_rest(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct crd_schema *s = crd_schema_compile(a, tree(a, spec), "K", "p");
        struct field_errors fe = { .a = a };

        crd_rules_compile(a, s);
        field_required(&fe, PATH(NULL, "spec.name"), "");
        crd_rules_evaluate(&fe, NULL, s, tree(a, "{`spec`:{`min`:3,`max`:2}}"), NULL);
        crd_schema_release(s);
        compare(a, &fe, "an invalid object",
                "spec.name: Required value\n"
                "<nil>: Invalid value: `null`: some validation rules were not checked because the object was invalid; "
                "correct the existing errors to complete validation");
}

static void refused(const char *schema, const char *errors) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct field_errors fe = { .a = a };

        crd_rules_validate(&fe, PATH(NULL, "s"), tree(a, schema), 0);
        compare(a, &fe, schema, errors);
}

/* An object with one field and one rule. */
#define OF(field, rule) "{`type`:`object`,`x-kubernetes-validations`:[" rule "],`properties`:{" field "}}"
#define A_STRING "`a`:{`type`:`string`}"

#define SHOWN(rule, message)                                                                                         \
        "Invalid value: apiextensions.ValidationRule{Rule:`" rule "`, Message:``, MessageExpression:`" message "`, " \
        "Reason:(*apiextensions.FieldValueErrorReason)(nil), FieldPath:``, OptionalOldSelf:(*bool)(nil)}: "

/* They did once, to a release that was here before. */
static void rules_must_compile(void **state) {
        expect("{`type`:`object`,`properties`:{`spec`:{`type`:`object`,`properties`:{`n`:{`type`:`integer`}},"
               "`x-kubernetes-validations`:[{`rule`:`self.gone > 1`},{`rule`:`self.n > 1`}]}}}",
               "{`spec`:{`n`:0}}", NULL,
               "spec: Invalid value: `object`: rule compile error: compilation failed: ERROR: <input>:1:5: undefined "
               "field 'gone'\n | self.gone > 1\n | ....^\n"
               "spec: Invalid value: `object`: failed rule: self.n > 1");
}

static void definitions_are_checked(void **state) {
        refused(spec, "");
        refused(lists, "");
        refused(OF(A_STRING, "{`rule`:`self.b == 1`}"),
                "s.x-kubernetes-validations[0].rule: " SHOWN(
                                "self.b == 1", "") "compilation failed: "
                                                   "ERROR: <input>:1:5: undefined field 'b'\n | self.b == 1\n | ....^");
        refused(OF(A_STRING, "{`rule`:`self.a`}"),
                "s.x-kubernetes-validations[0].rule: " SHOWN("self.a", "") "cel expression must evaluate to a bool");
        refused(OF(A_STRING, "{`rule`:`true`,`messageExpression`:`1`}"),
                "s.x-kubernetes-validations[0].messageExpression: " SHOWN(
                                "true", "1") "messageExpression must evaluate to a string");
        refused(OF(A_STRING, "{`rule`:`true`,`optionalOldSelf`:true}"),
                "s.x-kubernetes-validations[0].optionalOldSelf: Invalid value: true: may not be set if oldSelf is not "
                "used in rule");
        refused("{`type`:`object`,`properties`:{`l`:{`type`:`array`,`maxItems`:5,`items`:{`type`:`integer`,"
                "`x-kubernetes-validations`:[{`rule`:`self > oldSelf`}]}}}}",
                "s.properties[l].items.x-kubernetes-validations[0].rule: Invalid value: `self > oldSelf`: oldSelf "
                "cannot be used on the uncorrelatable portion of the schema within s.properties[l]");
        refused("{`type`:`object`,`properties`:{`m`:{`type`:`object`,`x-kubernetes-map-type`:`atomic`,`properties`:{"
                "`n`:{`type`:`integer`,`x-kubernetes-validations`:[{`rule`:`self > oldSelf`}]}}}}}",
                "");
        refused("{`type`:`object`,`items`:{`type`:`array`,`maxItems`:2,`items`:{`type`:`string`},"
                "`x-kubernetes-validations`:[{`rule`:`size(self) > 0`}]}}",
                "");
}

#define HINT                                                                                                    \
        " (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and " \
        "strings are declared)"

static void definitions_are_affordable(void **state) {
        refused(OF("`l`:{`type`:`array`,`items`:{`type`:`string`}}", "{`rule`:`self.l.all(x, self.l.all(y, x == y))`}"),
                "s.x-kubernetes-validations[0].rule: Forbidden: estimated rule cost exceeds budget by factor of "
                "more than 100x" HINT "\n"
                "s.x-kubernetes-validations[0].rule: Forbidden: contributed to estimated rule cost total exceeding "
                "cost limit for entire OpenAPIv3 schema\n"
                "s: Forbidden: x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds "
                "budget by factor of more than 100x" HINT);
        refused(OF("`l`:{`type`:`array`,`maxItems`:10,`items`:{`type`:`string`,`maxLength`:10}}",
                   "{`rule`:`self.l.all(x, self.l.all(y, x == y))`}"),
                "");
        refused(OF("`x`:{`x-kubernetes-int-or-string`:true}",
                   "{`rule`:`type(self.x) == int ? self.x < 9 : self.x == '9%'`}"),
                "");
        refused("{`type`:`object`,`properties`:{`l`:{`type`:`array`,`maxItems`:50,`items`:{`type`:`string`,"
                "`x-kubernetes-validations`:[{`rule`:`self.contains('abc')`}]}}}}",
                "s.properties[l].items.x-kubernetes-validations[0].rule: Forbidden: estimated rule cost exceeds budget "
                "by factor of 1.6x" HINT);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(rules_hold),
                cmocka_unit_test(ratchets),
                cmocka_unit_test(rules_of_no_type),
                cmocka_unit_test(correlates),
                cmocka_unit_test(metadata_has_rules),
                cmocka_unit_test(stops_when_the_budget_is_spent),
                cmocka_unit_test(waits_for_the_rest),
                cmocka_unit_test(rules_must_compile),
                cmocka_unit_test(definitions_are_checked),
                cmocka_unit_test(definitions_are_affordable),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
