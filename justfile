# Short names for the commands of CONTRIBUTING.md (tests/repository/contributing.rs compares them).

# List the recipes.
default:
    @just --list

# Build everything.
build:
    cargo build --workspace

# Export a sample review into exports/.
run:
    cargo run -- export examples/sample-review

# All Rust tests.
test:
    cargo test --workspace

# Tests of one binary of tests/, filtered by a part of their names.
test-one binary filter="":
    cargo test --workspace --test {{binary}} {{filter}}

# Unit tests, filtered by a part of their names.
unit filter="":
    cargo test --workspace --lib {{filter}}

# One crate's tests: bundle, store, catalog, client ...
crate name:
    cargo test --package tara-export-{{name}}

# One client's tests: rust, typescript, web, python, go or java.
client name:
    {{ if name == "rust" { "cargo test --workspace --test client" } else { ".ci/run client_" + name } }}

# Benchmarks beside other programs, in turns: all, or the named ones. Writes the tables of docs/benchmarks.md.
bench *names:
    benches/run {{names}}

# One benchmark, on local disk or in an S3 server in memory.
bench-one name *arguments:
    cargo bench --bench {{name}} -- {{arguments}}

# One benchmark against a real S3 server.
bench-s3 name *arguments:
    .ci/real-s3 minio cargo bench --bench {{name}} -- {{arguments}}

# Crash tests: at every step and at random.
crash:
    .ci/run crash

# Crash tests at random for some minutes, with the totals of all such calls.
soak minutes:
    .ci/soak {{minutes}}

# Fuzz all targets, or the named ones, for some seconds each.
fuzz seconds *targets:
    .ci/fuzz {{seconds}} {{targets}}

# What a release consists of, in target/dist: static binary, man pages, image, sums.
release:
    deploy/release.sh

# Format the Rust code.
format:
    cargo fmt --all

# All checks that must pass before a merge.
gate:
    .ci/run

# Some of its steps.
gate-step +steps:
    .ci/run {{steps}}
