#include "http/http.h"

#include <strings.h>

struct str http_header_get(const struct http_header *h, size_t n, const char *lower_name) {
        size_t len = strlen(lower_name);

        for (size_t i = 0; i < n; i++)
                if (h[i].name.n == len && memcmp(h[i].name.p, lower_name, len) == 0)
                        return h[i].value;
        return (struct str) { 0 };
}

static const struct {
        int status;
        const char *text;
} statuses[] = {
        { 100, "Continue" },
        { 101, "Switching Protocols" },
        { 102, "Processing" },
        { 103, "Early Hints" },
        { 200, "OK" },
        { 201, "Created" },
        { 202, "Accepted" },
        { 203, "Non-Authoritative Information" },
        { 204, "No Content" },
        { 205, "Reset Content" },
        { 206, "Partial Content" },
        { 207, "Multi-Status" },
        { 208, "Already Reported" },
        { 226, "IM Used" },
        { 300, "Multiple Choices" },
        { 301, "Moved Permanently" },
        { 302, "Found" },
        { 303, "See Other" },
        { 304, "Not Modified" },
        { 305, "Use Proxy" },
        { 307, "Temporary Redirect" },
        { 308, "Permanent Redirect" },
        { 400, "Bad Request" },
        { 401, "Unauthorized" },
        { 402, "Payment Required" },
        { 403, "Forbidden" },
        { 404, "Not Found" },
        { 405, "Method Not Allowed" },
        { 406, "Not Acceptable" },
        { 407, "Proxy Authentication Required" },
        { 408, "Request Timeout" },
        { 409, "Conflict" },
        { 410, "Gone" },
        { 411, "Length Required" },
        { 412, "Precondition Failed" },
        { 413, "Request Entity Too Large" },
        { 414, "Request URI Too Long" },
        { 415, "Unsupported Media Type" },
        { 416, "Requested Range Not Satisfiable" },
        { 417, "Expectation Failed" },
        { 418, "I'm a teapot" },
        { 421, "Misdirected Request" },
        { 422, "Unprocessable Entity" },
        { 423, "Locked" },
        { 424, "Failed Dependency" },
        { 425, "Too Early" },
        { 426, "Upgrade Required" },
        { 428, "Precondition Required" },
        { 429, "Too Many Requests" },
        { 431, "Request Header Fields Too Large" },
        { 451, "Unavailable For Legal Reasons" },
        { 500, "Internal Server Error" },
        { 501, "Not Implemented" },
        { 502, "Bad Gateway" },
        { 503, "Service Unavailable" },
        { 504, "Gateway Timeout" },
        { 505, "HTTP Version Not Supported" },
        { 506, "Variant Also Negotiates" },
        { 507, "Insufficient Storage" },
        { 508, "Loop Detected" },
        { 510, "Not Extended" },
        { 511, "Network Authentication Required" },
};

const char *http_status_text(int status) {
        for (size_t i = 0; i < ARRAY_SIZE(statuses); i++)
                if (statuses[i].status == status)
                        return statuses[i].text;
        return "";
}

void http_add_header(struct buf *dst, struct str name, struct str value) {
        char *p = buf_reserve(dst, name.n + value.n + 4);
        bool upper = true;

        for (size_t i = 0; i < name.n; i++) {
                char c = name.p[i];

                if (upper && c >= 'a' && c <= 'z')
                        c ^= 0x20;
                upper = c == '-';
                *p++ = c;
        }
        *p++ = ':';
        *p++ = ' ';
        for (size_t i = 0; i < value.n; i++)
                *p++ = value.p[i] == '\r' || value.p[i] == '\n' || !value.p[i] ? ' ' : value.p[i];
        *p++ = '\r';
        *p++ = '\n';
        dst->n += name.n + value.n + 4;
}

/* ---- guessing types: https://mimesniff.spec.whatwg.org/#identifying-a-resource-with-an-unknown-mime-type ---- */

static const struct magic {
        struct str begins;
        const char *type;
        const char *form; /* what stands at byte 8; NULL: anything */
} magics[] = {
        { STR_INIT("%PDF-"), "application/pdf", NULL },
        { STR_INIT("%!PS-Adobe-"), "application/postscript", NULL },
        { STR_INIT("\xfe\xff"), "text/plain; charset=utf-16be", NULL },
        { STR_INIT("\xff\xfe"), "text/plain; charset=utf-16le", NULL },
        { STR_INIT("\xef\xbb\xbf"), "text/plain; charset=utf-8", NULL },
        { STR_INIT("\0\0\1\0"), "image/x-icon", NULL },
        { STR_INIT("\0\0\2\0"), "image/x-icon", NULL },
        { STR_INIT("BM"), "image/bmp", NULL },
        { STR_INIT("GIF87a"), "image/gif", NULL },
        { STR_INIT("GIF89a"), "image/gif", NULL },
        { STR_INIT("RIFF"), "image/webp", "WEBPVP" },
        { STR_INIT("\x89PNG\r\n\x1a\n"), "image/png", NULL },
        { STR_INIT("\xff\xd8\xff"), "image/jpeg", NULL },
        { STR_INIT("FORM"), "audio/aiff", "AIFF" },
        { STR_INIT("ID3"), "audio/mpeg", NULL },
        { STR_INIT("OggS\0"), "application/ogg", NULL },
        { STR_INIT("MThd\0\0\0\6"), "audio/midi", NULL },
        { STR_INIT("RIFF"), "video/avi", "AVI " },
        { STR_INIT("RIFF"), "audio/wave", "WAVE" },
        { STR_INIT("\x1a\x45\xdf\xa3"), "video/webm", NULL },
        { STR_INIT("\0\1\0\0"), "font/ttf", NULL },
        { STR_INIT("OTTO"), "font/otf", NULL },
        { STR_INIT("ttcf"), "font/collection", NULL },
        { STR_INIT("wOFF"), "font/woff", NULL },
        { STR_INIT("wOF2"), "font/woff2", NULL },
        { STR_INIT("\x1f\x8b\x08"), "application/x-gzip", NULL },
        { STR_INIT("PK\3\4"), "application/zip", NULL },
        { STR_INIT("Rar!\x1a\7\0"), "application/x-rar-compressed", NULL },
        { STR_INIT("Rar!\x1a\7\1\0"), "application/x-rar-compressed", NULL },
        { STR_INIT("\0asm"), "application/wasm", NULL },
};

static bool is_page(struct str s) {
        static const char *const tags[] = {
                "<!DOCTYPE HTML", "<HTML",  "<HEAD", "<SCRIPT", "<IFRAME", "<H1", "<DIV", "<FONT", "<TABLE", "<A",
                "<STYLE",         "<TITLE", "<B",    "<BODY",   "<BR",     "<P",  "<!--"
        };

        for (size_t i = 0; i < ARRAY_SIZE(tags); i++) {
                size_t n = strlen(tags[i]);

                if (s.n > n && strncasecmp(s.p, tags[i], n) == 0 && (s.p[n] == ' ' || s.p[n] == '>'))
                        return true;
        }
        return false;
}

const char *http_sniff(struct str first) {
        struct str s = first = str_sub(first, 0, MIN(first.n, 512));

        while (s.n > 0 && strchr("\t\n\f\r ", *s.p) && *s.p)
                s = str_sub(s, 1, s.n);
        if (is_page(s))
                return "text/html; charset=utf-8";
        if (str_has_prefix(s, STR("<?xml")))
                return "text/xml; charset=utf-8";
        for (size_t i = 0; i < ARRAY_SIZE(magics); i++) {
                struct str form = str_of(magics[i].form ? magics[i].form : "");

                if (str_has_prefix(first, magics[i].begins) &&
                    (form.n == 0 || str_has_prefix(str_sub(first, MIN(first.n, 8), first.n), form)))
                        return magics[i].type;
        }
        for (size_t i = 0; i < s.n; i++) {
                unsigned char c = (unsigned char) s.p[i];

                if (c <= 0x08 || c == 0x0b || (c >= 0x0e && c <= 0x1a) || (c >= 0x1c && c <= 0x1f))
                        return "application/octet-stream";
        }
        return "text/plain; charset=utf-8";
}
