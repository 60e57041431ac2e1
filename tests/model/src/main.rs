//! Prints the tables of `docs/guarantees.md`.

use tara_export_model::{mechanisms::Mechanisms, report, scenarios};

fn main() {
    let only: Vec<String> = std::env::args().skip(1).collect();
    if only.iter().any(|word| word == "off") {
        for example in tara_export_model::counterexamples::all() {
            if only.len() > 1 && !only.iter().any(|name| name == example.mechanism) {
                continue;
            }
            let scenario = scenarios::all()
                .into_iter()
                .find(|scenario| scenario.name == example.scenario)
                .unwrap();
            for wanted in [Some(example.invariant), None] {
                let search = report::search(&scenario, example.without, wanted, 1);
                for violation in &search.violations {
                    println!(
                        "{} | {} | {} | {} | {:.1}",
                        example.mechanism,
                        scenario.name,
                        violation.invariant,
                        violation.steps(),
                        search.duration.as_secs_f64()
                    );
                }
            }
            println!();
        }
        return;
    }
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
