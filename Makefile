# Everything that a checkout needs. `make demo` shows the product at work, `make test` proves it.

.PHONY: help setup demo test check deb

help:
	@echo "make setup   install what the build needs (cmake, a C compiler) and check the rest"
	@echo "make demo    set up, build, and watch a synchronous and an asynchronous call"
	@echo "make test    set up, then run every test"
	@echo "make check   formatting and lints, warnings are errors"
	@echo "make deb     a Debian package in target/debian (cargo install cargo-deb)"

setup:
	@sh .ci/setup

# The demo shows what happens, not how fast: a debug build is ready in a third of the time.
demo: setup
	cargo run --locked -- demo

test: setup
	@sh .ci/postgres
	@sh .ci/clients
	@if cargo nextest --version >/dev/null 2>&1; then \
	    cargo nextest run --locked && cargo test --locked --doc; \
	else \
	    cargo test --locked; \
	fi

check: setup
	cargo fmt --all --check
	cargo clippy --locked --all-targets -- -D warnings

deb: setup
	cargo deb --locked
