/* http-parser, whose enum http_method would collide with ours. */
#pragma once

#define http_method http_parser_method
#include <http_parser.h>
#undef http_method
