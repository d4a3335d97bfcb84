/* What a CustomResourceDefinition must be. */
#include "help.h"

#define WIDGETS "CustomResourceDefinition.apiextensions.k8s.io \"widgets.example.com\""
#define SCHEMA "spec.validation.openAPIV3Schema"

static const struct {
        const char *schema, *more, *message;
} definitions[] = {
        { "{}", "", SCHEMA ".type: Required value: must not be empty at the root" },
        { "{'type':'array','items':{'type':'string'}}", "",
          SCHEMA ".type: Invalid value: \"array\": must be object at the root" },
        { "{'type':'object','properties':{'spec':{}}}", "",
          SCHEMA ".properties[spec].type: Required value: must not be empty for specified object fields" },
        { "{'type':'object','properties':{'l':{'type':'array'}}}", "",
          SCHEMA ".properties[l].items: Required value: must be specified" },
        { "{'type':'object','properties':{'s':{'type':'text'}}}", "",
          SCHEMA
          ".properties[s].type: Unsupported value: \"text\": supported values: \"array\", \"boolean\", \"integer\", "
          "\"number\", \"object\", \"string\"" },
        { "{'type':'object','properties':{'s':{'type':'integer','anyOf':[{'type':'integer'}]}}}", "",
          SCHEMA ".properties[s].anyOf[0].type: Forbidden: must be empty to be structural" },
        { "{'type':'object','anyOf':[{'required':['s'],'properties':{'s':{'minimum':1}}}]}", "",
          SCHEMA ".properties[s]: Required value: because it is defined in " SCHEMA ".anyOf[0].properties[s]" },
        { "{'type':'object','properties':{'metadata':{'type':'object','properties':{'labels':{'type':'object'}}}}}", "",
          SCHEMA ".properties[metadata]: Forbidden: must not specify anything other than name and generateName, but "
                 "metadata is implicitly specified" },
        { "{'type':'object','properties':{'s':{'type':'string','pattern':'('}}}", "",
          SCHEMA ".properties[s].pattern: Invalid value: \"(\": must be a valid regular expression, but isn't: error "
                 "parsing regexp: missing closing ): `(`" },
        { "{'type':'object','properties':{'s':{'type':'integer','default':'x'}}}", "",
          SCHEMA ".properties[s].default: Invalid value: \"string\":  in body must be of type integer: \"string\"" },
        { "{'type':'object','properties':{'s':{'type':'object','default':{'a':1}}}}", "",
          SCHEMA
          ".properties[s].default: Invalid value: map[string]interface {}{\"a\":1}: must not have unknown fields" },
        { "{'type':'object','properties':{'s':{'type':'string','default':'x','x-kubernetes-validations':[{'rule':"
          "'self.size() > 1'}]}}}",
          "", SCHEMA ".properties[s].default: Invalid value: \"string\": failed rule: self.size() > 1" },
        { "{'type':'object','x-kubernetes-validations':[{'rule':'true','fieldPath':'.b'}]}", "",
          SCHEMA ".x-kubernetes-validations[0].fieldPath: Invalid value: \".b\": fieldPath must be a valid path" },
        { "{'type':'object','properties':{'kind':{'type':'string','default':'x'}}}", "",
          SCHEMA ".properties[kind].default: Forbidden: must not be set in top-level kind" },
        { "{'type':'object','properties':{'s':{'type':'object','properties':{'a':{'type':'string'}},"
          "'additionalProperties':{'type':'string'}}}}",
          "",
          SCHEMA ".properties[s].additionalProperties: Forbidden: additionalProperties and properties are mutual "
                 "exclusive" },
        { "{'type':'object','properties':{'s':{'type':'array','uniqueItems':true,'items':{'type':'string'}}}}", "",
          SCHEMA
          ".properties[s].uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity "
          "becomes quadratic" },
        { "{'type':'object','properties':{'s':{'type':'array','x-kubernetes-list-type':'map','items':{'type':'object'}}"
          "}}",
          "",
          SCHEMA ".properties[s].x-kubernetes-list-map-keys: Required value: must not be empty if "
                 "x-kubernetes-list-type is map" },
        { "{'type':'object','properties':{'s':{'type':'array','x-kubernetes-list-type':'map','x-kubernetes-list-map-"
          "keys':"
          "['k'],'items':{'type':'object','properties':{'k':{'type':'string'}}}}}}",
          "",
          SCHEMA ".properties[s].items.properties[k].default: Required value: this property is in "
                 "x-kubernetes-list-map-keys, so it must have a default or be a required property" },
        { "{'type':'object','properties':{'s':{'type':'object','x-kubernetes-map-type':'odd'}}}", "",
          SCHEMA ".properties[s].x-kubernetes-map-type: Unsupported value: \"odd\": supported values: \"atomic\", "
                 "\"granular\"" },
        { "{'type':'object','$schema':'x'}", "",
          SCHEMA ": Invalid value: \"\": OpenAPIV3Schema 'schema' is not supported" },
        { "{'type':'object','properties':{'l':{'type':'array','items':[{'type':'string'}]}}}", "",
          SCHEMA ".properties[l].items: Forbidden: items must be a schema object and not an array" },
        { "{'type':'object','properties':{'b':{},'a':{},'c':{'type':'string','not':{'additionalProperties':false}}}}",
          "",
          "[" SCHEMA ".properties[a].type: Required value: must not be empty for specified object fields, " SCHEMA
          ".properties[b].type: Required value: must not be empty for specified object fields]" },
        { "{'type':'object','properties':{'e':{'type':'object','x-kubernetes-embedded-resource':true,'properties':{"
          "'kind':{'type':'string','default':'a "
          "b'},'metadata':{'type':'object','properties':{'labels':{'type':'object',"
          "'additionalProperties':{'type':'string'},'default':{'a':'ok'}}}}}}}}",
          "",
          SCHEMA ".properties[e].properties[kind].default: Invalid value: \"a b\": must result in valid metadata: "
                 "kind: Invalid value: \"a b\": may have mixed case, but should otherwise match: a DNS-1035 label must "
                 "consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end "
                 "with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
                 "'[a-z]([-a-z0-9]*[a-z0-9])?')" },
        { "{'type':'object','properties':{'e':{'type':'object','x-kubernetes-embedded-resource':true,"
          "'x-kubernetes-preserve-unknown-fields':true,'default':{'apiVersion':'v1','kind':'A','metadata':{'name':1}}}}"
          "}",
          "",
          SCHEMA ".properties[e].default.metadata: Invalid value: map[string]interface {}{\"name\":1}: json: cannot "
                 "unmarshal number into Go struct field ObjectMeta.name of type string" },
        { "{'type':'object','properties':{'e':{'type':'object','x-kubernetes-embedded-resource':true,'properties':{'z':"
          "{'type':'string'}},'default':{"
          "'kind':'A','metadata':{'x':1},'apiVersion':'v1','y':1}},'l':{'type':'array','items':{'type':'integer'},"
          "'default':['a']}}}",
          "",
          "[" SCHEMA ".properties[e].default: Invalid value: map[string]interface {}{\"apiVersion\":\"v1\", \"kind\":"
          "\"A\", \"metadata\":map[string]interface {}{}, \"y\":1}: must not have unknown fields, " SCHEMA
          ".properties[l].default.[0]: Invalid value: \"string\": [0] in body must be of type integer: \"string\"]" },
        { "{'type':'object'}", ",'selectableFields':[{'jsonPath':'.a[0]'}]",
          "spec.selectableFields[0].jsonPath: Invalid value: \".a[0]\": is an invalid path: does not refer to a valid "
          "field" },
        { "{'type':'object','properties':{'a':{'type':'object','additionalProperties':{'type':'string'}}}}",
          ",'selectableFields':[{'jsonPath':'.a[0]'},{'jsonPath':'a'},{'jsonPath':'.a.'}]",
          "[spec.selectableFields[0].jsonPath: Invalid value: \".a[0]\": is an invalid path: array notation is not "
          "allowed, spec.selectableFields[1].jsonPath: Invalid value: \"a\": is an invalid path: expected [ or . but "
          "got: a, spec.selectableFields[2].jsonPath: Invalid value: \".a.\": is an invalid path: unexpected end of "
          "JSON path]" },
        { "{'type':'object'}", ",'deprecationWarning':'old'",
          "spec.versions[0].deprecationWarning: Invalid value: \"old\": can only be set for deprecated versions" },
        { "{'type':'object'}",
          ",'subresources':{'scale':{'specReplicasPath':'.spec.a','statusReplicasPath':'.spec.b'}}",
          "spec.subresources.scale.statusReplicasPath: Invalid value: \".spec.b\": should be a json path under "
          ".status" },
        { "{'type':'object'}", ",'additionalPrinterColumns':[{'name':'A','type':'text','jsonPath':'.a'}]",
          "spec.additionalPrinterColumns[0].type: Invalid value: \"text\": must be one of "
          "boolean,date,integer,number,string" },
        { "{'type':'object'}", ",'selectableFields':[{'jsonPath':'.spec.a'}]",
          "spec.selectableFields[0].jsonPath: Invalid value: \".spec.a\": is an invalid path: does not refer to a "
          "valid "
          "field" },
};

static void definitions_are_checked(void **state) {
        struct fixture *f = *state;
        struct answer r;

        for (size_t i = 0; i < ARRAY_SIZE(definitions); i++)
                check_invalid(ASK(f, API_CREATE, &res_customresourcedefinitions,
                                  .body = widget_definition(f, definitions[i].schema, definitions[i].more)),
                              WIDGETS, definitions[i].message);
        r = ASK(f, API_CREATE, &res_customresourcedefinitions,
                .body = widget_definition(f, "{'type':'object','default':{}}", ",'subresources':{'status':{}}"));
        assert_int_equal(r.code, 422); /* the schema as Go prints it: a value of any type behind a pointer, too */
        assert_non_null(strstr(r.message, ", Default:(*apiextensions.JSON)(0x"));
}

#define STORED(v) "{'name':'" v "','served':true,'storage':true,'schema':{'openAPIV3Schema':{'type':'object'}}}"
#define TWO_STORED(second)                                                                                     \
        "{'metadata':{'name':'widgets.example.com'},'spec':{'group':'example.com','scope':'Cluster','names':{" \
        "'plural':'widgets','kind':'Widget'},'versions':[" STORED("v1") "," STORED(second) "]}}"

static void names_and_versions_are_checked(void **state) {
        struct fixture *f = *state;
        static const struct {
                const char *body, *message;
        } cases[] = {
                { "{'metadata':{'name':'x.example.com'},'spec':{'group':'example.com','scope':'Cluster','names':{'"
                  "plural':"
                  "'widgets','kind':'Widget'},'versions':[{'name':'v1','served':true,'storage':true,'schema':{"
                  "'openAPIV3Schema':{'type':'object'}}}]}}",
                  "CustomResourceDefinition.apiextensions.k8s.io \"x.example.com\" is invalid: metadata.name: Invalid "
                  "value: \"x.example.com\": must be spec.names.plural+\".\"+spec.group" },
                { "{'metadata':{'name':'widgets.example.com'},'spec':{'group':'example.com','scope':'Cluster','names':{"
                  "'plural':'widgets','kind':'Widget'},'versions':[{'name':'v1','served':true,'storage':false,'schema':"
                  "{"
                  "'openAPIV3Schema':{'type':'object'}}}]}}",
                  "must have exactly one version marked as storage version" },
                { "{'metadata':{'name':'widgets.foo.k8s.io'},'spec':{'group':'foo.k8s.io','scope':'Cluster','names':{"
                  "'plural':'widgets','kind':'Widget'},'versions':[{'name':'v1','served':true,'storage':true,'schema':{"
                  "'openAPIV3Schema':{'type':'object'}}}]}}",
                  "metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups must have "
                  "approval "
                  "annotation \"api-approved.kubernetes.io\", see "
                  "https://github.com/kubernetes/enhancements/pull/1111" },
                { "{'metadata':{'name':'widgets.example.com'},'spec':{'group':'example.com','scope':'Cluster','names':{"
                  "'plural':'widgets','kind':'Widget'},'preserveUnknownFields':true,'versions':[{'name':'v1','served':"
                  "true,"
                  "'storage':true,'schema':{'openAPIV3Schema':{'type':'object'}}}]}}",
                  "spec.preserveUnknownFields: Invalid value: true: cannot set to true, set "
                  "x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead" },
                /* What versions share is not in them; the first that is stored is remembered, the last is wanted. */
                { TWO_STORED("v1"),
                  "status.storedVersions: Invalid value: []string{\"v1\"}: must have the storage version v1" },
                { TWO_STORED("v2"),
                  "Schema:(*apiextensions.CustomResourceValidation)(nil), Subresources:"
                  "(*apiextensions.CustomResourceSubresources)(nil), AdditionalPrinterColumns:"
                  "[]apiextensions.CustomResourceColumnDefinition(nil), SelectableFields:"
                  "[]apiextensions.SelectableField(nil)}}: must have exactly one version marked as storage version, "
                  "status.storedVersions: Invalid value: []string{\"v1\"}: must have the storage version v2" },
                { "{'metadata':{'name':'widgets.example.com'},'spec':{'group':'example.com','names':{'plural':'widgets'"
                  ","
                  "'kind':'Widget'}}}",
                  "[spec.scope: Required value, spec.versions: Invalid value: "
                  "[]apiextensions.CustomResourceDefinitionVersion(nil): must have exactly one version marked as "
                  "storage "
                  "version, status.storedVersions: Invalid value: []string(nil): must have at least one stored "
                  "version]" },
                { "{'metadata':{'name':'widgets.example.com'},'spec':{'group':'example.com','scope':'Cluster','names':{"
                  "'plural':'widgets','kind':'Widget'},'versions':[{'name':'','served':true,'storage':true,'schema':{"
                  "'openAPIV3Schema':{'type':'object'}}}]}}",
                  "CustomResourceDefinition.apiextensions.k8s.io \"widgets.example.com\" is invalid: "
                  "spec.versions[0].name: Invalid value: \"\": a DNS-1035 label must consist" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct answer r = ASK(f, API_CREATE, &res_customresourcedefinitions, .body = Q(cases[i].body));

                assert_int_equal(r.code, 422);
                if (!strstr(r.message, cases[i].message))
                        fail_msg("%s\nhas not: %s", r.message, cases[i].message);
        }
        check_error(ASK(f, API_CREATE, &res_customresourcedefinitions,
                        .body = Q("{'apiVersion':'apiextensions.k8s.io/v1beta1','kind':'CustomResourceDefinition'}")),
                    400,
                    "the API version in the data (apiextensions.k8s.io/v1beta1) does not match the expected API "
                    "version (apiextensions.k8s.io/v1)");
        check(ASK(f, API_CREATE, &res_customresourcedefinitions,
                  .body = widget_definition(f, "{'type':'object'}",
                                            "}],'conversion':{'strategy':'None','webhook':{}},'odd':[{"),
                  .options.dry_run = true),
              201, ".spec.conversion", "{\"strategy\":\"None\"}");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(definitions_are_checked),
                cmocka_unit_test(names_and_versions_are_checked),
        };

        return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
