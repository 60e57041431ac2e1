//! Prints the tables of `docs/guarantees.md`. Fails if an invariant is violated, or if a disabled
//! mechanism violates none.

use std::process::ExitCode;

use tara_export_model::report;

fn main() -> ExitCode {
    let scenarios_pass = report::print_scenarios();
    println!();
    let examples_pass = report::print_counterexamples();
    if scenarios_pass && examples_pass { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
