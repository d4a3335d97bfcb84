// simdjson's DOM parser behind two C functions.
#include "other.h"

#include <simdjson.h>

struct parsed {
        simdjson::dom::parser parser;
        simdjson::dom::element root;
};

void *simdjson_dom(const char *text, size_t n) {
        auto *p = new parsed;

        if (p->parser.parse(text, n, false).get(p->root) == simdjson::SUCCESS)
                return p;
        delete p;
        return nullptr;
}

void simdjson_free(void *p) {
        delete static_cast<parsed *>(p);
}

bool simdjson_again(const char *text, size_t n) {
        static simdjson::dom::parser parser;
        simdjson::dom::element root;

        return parser.parse(text, n, false).get(root) == simdjson::SUCCESS;
}
