//! The README says what the program says.

#![allow(clippy::expect_used, reason = "a test that can't go on fails")]

use clap::{Args as _, Command};
use tara_export::{
    cli::ServerArguments,
    config::{ListenSettings, LogSettings, Settings, TelemetrySettings},
};

const README: &str = include_str!("../README.md");

fn settings() -> Command {
    let command = Settings::augment_args(Command::new("settings"));
    let command = LogSettings::augment_args(ListenSettings::augment_args(command));
    TelemetrySettings::augment_args(command)
}

#[test]
fn the_readme_lists_every_setting_with_its_default() {
    let command = settings();
    let mut faults = Vec::new();
    for argument in command.get_arguments() {
        let Some(variable) = argument.get_env().and_then(|name| name.to_str()) else {
            faults.push(format!("{} has no environment variable", argument.get_id()));
            continue;
        };
        let row = README.lines().find(|line| line.starts_with(&format!("| `{variable}` |")));
        let Some(row) = row else {
            faults.push(format!("{variable} is missing"));
            continue;
        };
        for default in argument.get_default_values().iter().filter_map(|value| value.to_str()) {
            if !row.contains(&format!("`{default}`")) {
                faults.push(format!("{variable} has the default {default}, the README another"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The variables of the commands that speak to a server.
fn of_commands() -> Vec<String> {
    let command = ServerArguments::augment_args(Command::new("commands"));
    let flags = command
        .get_arguments()
        .filter_map(|argument| Some(argument.get_env()?.to_string_lossy().into_owned()));
    // No flag, since everybody sees those.
    flags.chain(["TARA_EXPORT_TOKEN".to_owned()]).collect()
}

#[test]
fn the_readme_lists_every_variable_of_the_commands() {
    for variable in of_commands() {
        let row = format!("| `{variable}` |");
        assert!(README.lines().any(|line| line.starts_with(&row)), "{variable} is missing");
    }
}

#[test]
fn the_readme_lists_no_setting_that_is_gone() {
    let command = settings();
    let known: Vec<String> = command
        .get_arguments()
        .filter_map(|argument| Some(argument.get_env()?.to_string_lossy().into_owned()))
        .chain(of_commands())
        .collect();
    let settings = README.split("## Settings").nth(1).expect("the README has settings");
    let settings = settings.split("\n## ").next().expect("a first part");
    for row in settings.lines().filter(|line| line.starts_with("| `")) {
        let variable = row.split('`').nth(1).expect("a variable in backticks");
        assert!(known.iter().any(|name| name == variable), "{variable} is no setting");
    }
}
