# Each recipe is exactly what CI runs, or a command of its own that CI leaves out for its length.

# Everything that CI runs
ci:
    .ci/run

# The quick half: layout and lints
lint:
    tests/run fmt clippy

# Unit, property and golden tests, the tidy tree
test:
    tests/run build test

# The end-to-end suite on the lab; a part of a sentence picks scenarios
site *WORDS:
    cargo build --release --locked --workspace
    packaging/build
    cargo test --release --locked --workspace --test namespaces --no-run
    cargo test --release --locked --workspace --test site -- {{WORDS}}

# Licences, advisories and sources of the dependencies (needs cargo-deny)
deny:
    cargo deny --locked check
