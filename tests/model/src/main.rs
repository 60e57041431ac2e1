//! Prints the tables of `docs/guarantees.md`.

use tara_export_model::{mechanisms::Mechanisms, report, scenarios};

fn main() {
    let only: Vec<String> = std::env::args().skip(1).collect();
    for scenario in scenarios::all() {
        if !only.is_empty() && !only.iter().any(|name| name == scenario.name) {
            continue;
        }
        let search = report::search(&scenario, Mechanisms::default(), None, 2);
        println!(
            "| {} | {} | {} | {} | {} | {:.1} |",
            scenario.name,
            scenario.mixes,
            search.states,
            search.unique_states,
            search.depth,
            search.duration.as_secs_f64()
        );
        for violation in &search.violations {
            println!("BROKEN {}\n{}", violation.invariant, violation.trace());
        }
    }
}
