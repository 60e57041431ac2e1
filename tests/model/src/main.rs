//! Prints the tables of `docs/guarantees.md`; the exit code says whether they are as expected.

use std::process::ExitCode;

use tara_export_model::report;

fn main() -> ExitCode {
    let scenarios_hold = report::print_scenarios();
    println!();
    let examples_break = report::print_counterexamples();
    if scenarios_hold && examples_break { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
