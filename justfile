# What people run while they work. CI runs `.ci/run`, which does the same as `just verify` on a fresh machine.

# Everything that must hold before a change lands; writes nothing.
verify: lint doc test

# Formatting and clippy.
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings

# The API documentation, without warnings.
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# All tests, the feature suite among them.
test:
    cargo test --workspace

# Ten times as many simulated lives of a projection node as `test` has: two minutes, or as many as are told.
simulate LIVES="10000":
    PROJECTION_TEST_SIMULATIONS={{LIVES}} cargo test -p projection --lib simulation

# Programs in WebAssembly, which `test` leaves out: their compiler takes some minutes to build.
test-wasm:
    cargo test -p projection --features wasm --test t31_wasm

# The main job: the feature suite.
features *ARGS:
    cargo test --test cucumber -- {{ARGS}}

# Checks the feature suite without starting anything.
check:
    cargo test --test cucumber -- --dry-run

# Licences and sources of dependencies; needs `cargo install cargo-deny`.
deny:
    cargo deny check licenses bans sources

# The measured promises of the design, as ratios within one run.
bench:
    cargo bench --workspace

# The book; needs `cargo install mdbook`.
book:
    mdbook build docs

# Mends what can be mended by machine.
fix:
    cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged
    cargo fmt --all
