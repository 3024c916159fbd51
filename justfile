# The commands that a change has to pass. `.ci/run` calls the same ones.

default: check

check: fmt clippy test doc

fmt:
    cargo fmt --check

clippy:
    cargo clippy --release --all-targets -- -D warnings

test:
    cargo test --release
    cargo test --release --features profiling --test profile

doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --release --no-deps

# Tests that fail without an adapter instead of skipping.
gpu:
    RINGLIGHT_REQUIRE_GPU=1 cargo test --release

# Every benchmark once, small sizes.
bench-smoke:
    cargo bench -- --test

# Beside OpenFHE, SEAL and tfhe-ntt; writes a record.
peers:
    benches/peers/run

# The page of plots from the records.
plots:
    scripts/plots

deny:
    cargo deny check

# Every feature alone.
each-feature:
    cargo clippy --release --all-targets --no-default-features -- -D warnings
    cargo clippy --release --all-targets --no-default-features --features gpu -- -D warnings
    cargo clippy --release --all-targets --no-default-features --features onnx -- -D warnings
    cargo clippy --release --all-targets --no-default-features --features profiling -- -D warnings
    cargo clippy --release --all-targets --features profiling -- -D warnings
