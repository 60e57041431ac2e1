//! The command line of the built binary: completions and man pages, JSON, quiet output, standard output.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/sample-review");
const ID: &str = "6f1c7a52-3b0e-4c59-9d7e-0b1f2a3c4d5e";

fn run(data_dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tara-export"));
    command.env_clear().env("DATA_DIR", data_dir).args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The names of all commands that can be executed, such as `events-list`.
fn commands() -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let subcommands = |arguments: &[&str]| -> Vec<String> {
        let help = stdout(&run(folder.path(), &[arguments, &["--help"]].concat()));
        let Some((_, list)) = help.split_once("Commands:\n") else { return Vec::new() };
        let lines = list.lines().take_while(|line| !line.is_empty());
        // A description can have more lines, which start further to the right.
        let lines = lines.filter_map(|line| line.strip_prefix("  "));
        let lines = lines.filter(|line| !line.starts_with(' '));
        let names = lines.filter_map(|line| line.split_whitespace().next().map(str::to_owned));
        names.filter(|name| name != "help").collect()
    };
    let mut all = Vec::new();
    for name in subcommands(&[]) {
        let inner = subcommands(&[&name]);
        all.extend(inner.iter().map(|inner| format!("{name}-{inner}")));
        all.push(name);
    }
    all
}

#[test]
fn every_command_has_a_man_page() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("share/man/man1");
    let written = run(folder.path(), &["man", "--out", pages.to_str().unwrap()]);
    assert_eq!(written.status.code(), Some(0), "{}", stderr(&written));
    let commands = commands();
    assert!(commands.contains(&"events-list".to_owned()), "{commands:?}");
    for command in &commands {
        let page = fs::read_to_string(pages.join(format!("tara-export-{command}.1")));
        let page = page.unwrap_or_else(|error| panic!("{command}: {error}"));
        assert!(page.contains(".TH tara-export") && page.contains(".SH SYNOPSIS"), "{page}");
    }
    let main = run(folder.path(), &["man"]);
    assert!(stdout(&main).contains(".TH tara-export 1"), "{}", stdout(&main));
    assert_eq!(
        fs::read_to_string(pages.join("tara-export.1")).unwrap().lines().next(),
        stdout(&main).lines().next()
    );
    assert!(!folder.path().join(".tara-export").exists(), "no data directory is used");
}

#[test]
fn every_shell_has_completions_and_those_of_bash_are_valid() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(folder.path(), &["completions", shell]);
        assert_eq!(script.status.code(), Some(0), "{}", stderr(&script));
        for word in ["resume", "--server", "dry-run", "s3-bucket-name"] {
            assert!(stdout(&script).contains(word.trim_start_matches('-')), "{shell}: {word}");
        }
        if shell == "bash" {
            let path = folder.path().join("tara-export");
            fs::write(&path, &script.stdout).unwrap();
            let checked = Command::new("bash").arg("-n").arg(&path).output().unwrap();
            assert!(checked.status.success(), "{}", stderr(&checked));
            // The script completes the start of a command.
            let line = format!(
                "source {}; COMP_WORDS=(tara-export dow); COMP_CWORD=1; _tara__export tara-export dow tara-export; \
                 echo \"${{COMPREPLY[@]}}\"",
                path.display()
            );
            let completed = Command::new("bash").args(["-c", &line]).output().unwrap();
            assert_eq!(stdout(&completed), "download\n", "{}", stderr(&completed));
        }
    }
}

#[test]
fn errors_are_one_json_object_with_a_code() {
    let folder = tempfile::tempdir().unwrap();
    let unknown = format!("exports/{ID}");
    for (arguments, code, exit_code) in [
        (&["list", "--json", "--since", "yesterday"][..], "USAGE", 2),
        (&["list", "--json", "--filter", "state = foo"], "INVALID_REQUEST", 2),
        (&["report", "--json", &unknown], "EXPORT_NOT_FOUND", 1),
        (&["watch", "--json", "6f1c7a52"], "EXPORT_NOT_FOUND", 1),
        (&["watch", "--json", "x"], "USAGE", 2),
        (&["check", "--json", "--server", "http://127.0.0.1:1"], "CONNECT_FAILED", 1),
        (&["export", "--json", "/no/such/folder"], "INVALID_INPUT", 2),
    ] {
        let output = run(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(exit_code), "{arguments:?}: {}", stderr(&output));
        let printed = stderr(&output);
        let line = printed.lines().last().unwrap();
        let error: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{printed}"));
        assert_eq!(error["error"]["code"], code, "{line}");
        assert_eq!(error["error"]["exitCode"], exit_code, "{line}");
        assert!(stdout(&output).is_empty(), "{}", stdout(&output));
    }
    let report = run(folder.path(), &["report", "--json", &unknown, "--data-dir", "my data"]);
    let error: Value = serde_json::from_str(stderr(&report).lines().last().unwrap()).unwrap();
    assert_eq!(error["error"]["next"], "tara-export list --data-dir 'my data'");
    // The same in words, once, with the option instead of the field.
    let filter = stderr(&run(folder.path(), &["list", "--filter", "state = foo"]));
    let expected = "error: --filter: at byte 8: \"foo\" is not a state: running, pending, \"fell back\", committed or \
                    failed (INVALID_REQUEST)\n";
    assert_eq!(filter, expected);
}

#[test]
fn dry_run_prints_the_files_and_stores_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let preview = run(&data_dir, &["export", SAMPLE, "--dry-run"]);
    assert_eq!(preview.status.code(), Some(0), "{}", stderr(&preview));
    assert!(
        stdout(&preview).contains("documents/before_incident_report_0000.docx      16.00 KiB"),
        "{}",
        stdout(&preview)
    );
    assert!(stderr(&preview).contains("Nothing was stored."), "{}", stderr(&preview));
    assert!(!data_dir.join(".tara-export/journal").exists());
    let listed = run(&data_dir, &["list"]);
    assert_eq!((stdout(&listed).as_str(), stderr(&listed).as_str()), ("", "no exports\n"));
    let json = run(&data_dir, &["export", SAMPLE, "--dry-run", "--json"]);
    let json: Value = serde_json::from_str(&stdout(&json)).unwrap();
    // The files of the bundle that the export really has.
    let exported = run(&data_dir, &["export", SAMPLE, "--json", "--request-id", ID]);
    let completed: Value = serde_json::from_str(stdout(&exported).lines().last().unwrap()).unwrap();
    let paths = |artifacts: &Value| -> Vec<String> {
        let artifacts = artifacts.as_array().unwrap().iter();
        artifacts.map(|artifact| artifact["path"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(paths(&json["artifacts"]), paths(&completed["completed"]["export"]["artifacts"]));
}

#[test]
fn download_writes_only_the_file_to_standard_output() {
    let folder = tempfile::tempdir().unwrap();
    let quiet = run(folder.path(), &["export", SAMPLE, "--quiet", "--request-id", ID]);
    assert_eq!((quiet.status.code(), stderr(&quiet).as_str()), (Some(0), ""));
    let listed = stdout(&run(folder.path(), &["list", "--json"]));
    let page: Value = serde_json::from_str(&listed).unwrap();
    // As tab completion gives it.
    let path =
        format!("{}/", page["exports"][0]["location"].as_str().unwrap().trim_end_matches('/'));
    let report =
        run(folder.path(), &["download", &path, "--artifact", "readable_report.txt", "-o", "-"]);
    assert_eq!((report.status.code(), stderr(&report).as_str()), (Some(0), ""));
    assert_eq!(report.stdout, fs::read(Path::new(&path).join("readable_report.txt")).unwrap());
    let archive = run(folder.path(), &["download", &ID[..8], "-o", "-"]);
    assert!(archive.stdout.starts_with(b"PK") && archive.stderr.is_empty());
    let refused = run(folder.path(), &["download", ID, "-o", "-", "--json"]);
    assert_eq!((refused.status.code(), refused.stdout.len()), (Some(2), 0));
}
