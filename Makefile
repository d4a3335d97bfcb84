# Thin over meson. The two commands: `make start` (a running cluster) and `make test` (every test).

BUILD := build
CUBE  := $(BUILD)/cube

.PHONY: all build start stop test unit asan tsan lint fuzz e2e asan-e2e conformance bench fmt deb clean deps

all: build

deps:
	@scripts/deps

$(BUILD)/build.ninja:
	@meson setup $(BUILD) >/dev/null

build: deps $(BUILD)/build.ninja
	@ninja -C $(BUILD) --quiet src/cube/cube
	@# what users run: stripped, next to the unstripped one that profilers like
	@strip -o $(CUBE).tmp $(BUILD)/src/cube/cube && mv $(CUBE).tmp $(CUBE)

start: build
	@$(CUBE) start

stop:
	@$(CUBE) stop

test:
	@scripts/deps test
	@$(MAKE) --no-print-directory build
	@scripts/test

unit asan tsan lint fuzz e2e asan-e2e:
	@scripts/deps test
	@scripts/test $@

# upstream's own e2e suite: takes an hour, and is no part of `make test`; FOCUS narrows it
conformance: build
	@scripts/conformance $(if $(FOCUS),'$(FOCUS)')

bench:
	@scripts/deps bench
	@$(MAKE) --no-print-directory build
	@bench/run

fmt:
	@git ls-files '*.c' '*.h' | xargs clang-format -i

deb: build
	@scripts/deb

clean:
	rm -rf $(BUILD) build-*
