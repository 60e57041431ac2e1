//! The documents agree with the program: settings and their defaults, commands, and links.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command as Process,
};

use clap::{Args as _, Command};
use tara_export::{
    cli::ServerArguments,
    config::{ListenSettings, LogSettings, Settings, TelemetrySettings},
};

use crate::clone;
use crate::markdown::links;

const SETTINGS: &str = include_str!("../../docs/settings.md");

fn settings() -> Command {
    let command = Settings::augment_args(Command::new("settings"));
    let command = LogSettings::augment_args(ListenSettings::augment_args(command));
    TelemetrySettings::augment_args(command)
}

/// The table row of a variable.
fn row(variable: &str) -> Option<&'static str> {
    SETTINGS.lines().find(|line| line.starts_with(&format!("| `{variable}` |")))
}

#[test]
fn settings_document_has_every_setting_with_its_default() {
    let command = settings();
    let mut faults = Vec::new();
    for argument in command.get_arguments() {
        let Some(variable) = argument.get_env().and_then(|name| name.to_str()) else {
            faults.push(format!("{} has no environment variable", argument.get_id()));
            continue;
        };
        let Some(row) = row(variable) else {
            faults.push(format!("{variable} is missing"));
            continue;
        };
        for default in argument.get_default_values().iter().filter_map(|value| value.to_str()) {
            if !row.contains(&format!("`{default}`")) {
                faults.push(format!("{variable} has the default {default}, the document another"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The variables of the commands that call a server.
fn of_commands() -> Vec<String> {
    let command = ServerArguments::augment_args(Command::new("commands"));
    let flags = command
        .get_arguments()
        .filter_map(|argument| Some(argument.get_env()?.to_string_lossy().into_owned()));
    // Without a flag, because other users of the machine see flags.
    flags.chain(["TARA_EXPORT_TOKEN".to_owned()]).collect()
}

#[test]
fn settings_document_has_every_variable_of_the_commands() {
    for variable in of_commands() {
        assert!(row(&variable).is_some(), "{variable} is missing");
    }
}

#[test]
fn settings_document_has_no_unknown_setting() {
    let command = settings();
    let known: Vec<String> = command
        .get_arguments()
        .filter_map(|argument| Some(argument.get_env()?.to_string_lossy().into_owned()))
        .chain(of_commands())
        .collect();
    // The settings of the AWS SDK are not this server's. `crates/store/tests/contract/s3_machine.rs` checks them.
    let (before, rest) =
        SETTINGS.split_once("\n## Settings of the AWS SDK\n").expect("its section");
    let (_, after) = rest.split_once("\n## ").expect("the next section");
    let lines = before.lines().chain(after.lines());
    for row in lines.filter(|line| line.starts_with("| `")) {
        let variable = row.split('`').nth(1).expect("a variable in backticks");
        assert!(known.iter().any(|name| name == variable), "{variable} is no setting");
    }
}

/// The README and all documents, with their paths from the root.
fn documents() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![PathBuf::from("docs")];
    let mut paths: Vec<PathBuf> =
        ["README.md", "CONTRIBUTING.md", "SECURITY.md"].iter().map(PathBuf::from).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root.join(&folder)).expect("a folder of documents") {
            let entry = entry.expect("an entry of the folder");
            let path = folder.join(entry.file_name());
            if entry.path().is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                paths.push(path);
            }
        }
    }
    let read = |path: PathBuf| {
        let text = fs::read_to_string(root.join(&path)).expect("a document");
        (path, text)
    };
    paths.into_iter().map(read).collect()
}

/// The lines in a document's shell blocks, without prompts and comments; continued lines are joined.
fn shell_lines(document: &str) -> Vec<String> {
    let blocks = document.split("\n```").skip(1).step_by(2);
    let is_shell = |block: &&str| block.starts_with("sh\n") || block.starts_with("console\n");
    let mut lines = Vec::new();
    for block in blocks.filter(is_shell) {
        for line in block.replace("\\\n", " ").lines() {
            let line = line.strip_prefix("$ ").unwrap_or(line);
            let end = line.find(" #").unwrap_or(line.len());
            lines.push(line[..end].trim_end().to_owned());
        }
    }
    lines
}

/// The arguments of a command line of this program, single quotes resolved; `None` for other programs.
fn arguments(line: &str) -> Option<Vec<String>> {
    let starts = ["tara-export ", "cargo run -- "];
    let rest = starts.iter().find_map(|start| line.strip_prefix(start))?;
    let parts = rest.split('\'').enumerate();
    let words = parts.flat_map(|(number, part)| match number % 2 {
        0 => part.split_whitespace().map(str::to_owned).collect(),
        _ => vec![part.to_owned()],
    });
    // Not an argument: the output's pipe or file.
    Some(words.take_while(|word| !matches!(word.as_str(), "|" | ">")).collect())
}

#[test]
fn commands_in_documents_are_valid() {
    let mut count = 0;
    for (path, text) in documents() {
        for line in shell_lines(&text) {
            let Some(arguments) = arguments(&line) else { continue };
            // With --help the program parses the other arguments, and does not run the command.
            let output = Process::new(env!("CARGO_BIN_EXE_tara-export"))
                .env_clear()
                .args(&arguments)
                .arg("--help")
                .output()
                .expect("the program starts");
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{}: {line}\n{errors}", path.display());
            count += 1;
        }
    }
    assert!(count >= 15, "only {count} commands were found");
}

#[test]
fn links_in_documents_lead_to_files() {
    let mut broken = Vec::new();
    for (path, text) in documents() {
        let folder = path.parent().expect("a folder");
        let gone = links(&text).filter(|target| !clone::has(folder.join(target)));
        broken.extend(gone.map(|target| format!("{}: {target}", path.display())));
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
