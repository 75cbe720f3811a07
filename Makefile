# make        builds Zuwai and, with it, its own executor image: out/oci/ (an OCI layout) and out/executor.tar
# make debug-image
#             builds the executor image with a shell, for CI systems: out/oci-debug/ and out/executor-debug.tar;
#             BUSYBOX is a static busybox, the installed one by default
# make test   runs all tests; as root on Debian or Ubuntu it first installs what they need
# make fuzz   fuzzes every target for ten minutes (needs cargo-fuzz; see docs/fuzzing.md)
# make bench  times whole builds against buildah (needs root; see benches/README.md)

CARGO ?= cargo
TARGET := $(shell rustc -vV | sed -n 's/^host: //p')
ZUWAI := target/$(TARGET)/release/zuwai
STAGE := out/context

.PHONY: all build image debug-image test lint fuzz bench clean

all: image

build:
	$(CARGO) build --release --locked -p zuwai
	@test $$(stat -c %s $(ZUWAI)) -le 25000000 || { echo "the binary is larger than 25 MB" >&2; exit 1; }

# The image's context: one binary under its three names, and the bundled CA roots.
image: build
	@rm -rf $(STAGE) out/oci out/executor.tar
	@mkdir -p $(STAGE)/kaniko/ssl/certs $(STAGE)/kaniko/.docker
	@cp $(ZUWAI) $(STAGE)/kaniko/executor
	@ln $(STAGE)/kaniko/executor $(STAGE)/kaniko/warmer
	@ln $(STAGE)/kaniko/executor $(STAGE)/kaniko/zuwai
	@$(ZUWAI) ca-roots > $(STAGE)/kaniko/ssl/certs/ca-certificates.crt
	$(ZUWAI) build -t zuwai/executor:dev -f deploy/Dockerfile \
		-o type=oci,dest=out/oci,tar=false -o type=docker,dest=out/executor.tar $(STAGE)

BUSYBOX ?= $(shell command -v busybox)

debug-image: image
	@test -n "$(BUSYBOX)" || { echo "needs a static busybox: install busybox-static, or set BUSYBOX" >&2; exit 1; }
	@rm -rf out/oci-debug out/executor-debug.tar
	@mkdir -p $(STAGE)/busybox
	@cp $(BUSYBOX) $(STAGE)/busybox/busybox
	$(ZUWAI) build -t zuwai/executor:debug -f deploy/Dockerfile.debug \
		-o type=oci,dest=out/oci-debug,tar=false -o type=docker,dest=out/executor-debug.tar $(STAGE)

test:
	@scripts/install-test-tools
	$(CARGO) test --workspace --locked --no-fail-fast

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

FUZZ_SECONDS := 600
FUZZ_TARGETS := parse expand mount dockerignore

fuzz:
	@for target in $(FUZZ_TARGETS); do \
		(cd fuzz && RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run $$target -- -dict=dictionaries/$$target.dict \
			-max_total_time=$(FUZZ_SECONDS) -timeout=10 -print_final_stats=1) || exit 1; \
	done

bench: image
	benches/run

clean:
	rm -rf out target
