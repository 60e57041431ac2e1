//! Prints the tables of `docs/guarantees.md`, or their rows for scenarios whose names begin with the
//! first argument. Fails if an invariant is violated, or if a disabled mechanism violates none.

use std::{env, process::ExitCode};

use tara_export_model::report;

fn main() -> ExitCode {
    let prefix = env::args().nth(1).unwrap_or_default();
    let scenarios_pass = report::print_scenarios(&prefix);
    println!();
    let examples_pass = report::print_counterexamples(&prefix);
    if scenarios_pass && examples_pass { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
