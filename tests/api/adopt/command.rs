//! Output and exit status of the `adopt` command.

use std::future::{pending, ready};

use clap::Parser;
use serde_json::Value;
use tara_export::cli::{AdoptCommand, ExitStatus, Output};

use super::fixture::{FOLDER, Fixture, adoption, old_files};

/// A command line with this command only, like the one in `main`.
#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    command: AdoptCommand,
}

/// Runs the command. Returns its exit status, standard output and standard error.
async fn run(
    fixture: &Fixture,
    arguments: &[&str],
    is_stopped: bool,
) -> (ExitStatus, String, String) {
    let command = Cli::try_parse_from(["adopt"].iter().chain(arguments)).unwrap().command;
    let adoption = adoption(fixture.store(), command.write).await;
    let (mut out, stdout, stderr) = Output::captured();
    let status = match is_stopped {
        true => command.run(adoption, ready(()), &mut out).await,
        false => command.run(adoption, pending(), &mut out).await,
    };
    (status.unwrap(), stdout.text(), stderr.text())
}

#[tokio::test]
async fn text_output_has_a_line_per_folder_and_a_summary() {
    let fixture = Fixture::local();
    fixture.put_folder(FOLDER, &old_files());
    fixture.put("reports/a.txt", "x");
    let (status, stdout, stderr) = run(&fixture, &[], false).await;
    assert_eq!(status, ExitStatus::Done);
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{stdout}");
    let adopts = format!("would adopt  {FOLDER}: 12 files, ");
    assert!(lines[0].starts_with(&adopts), "{stdout}");
    assert!(lines[0].ends_with(" of incident_report_0000.docx"), "{stdout}");
    assert!(lines[1].starts_with("skipped      reports: "), "{stdout}");
    assert!(lines[1].ends_with(" (OTHER_NAME)"), "{stdout}");
    assert!(stderr.contains("2 folders in "), "{stderr}");
    assert!(stderr.contains(": 1 would be adopted (12 files, "), "{stderr}");
    assert!(
        stderr.ends_with("Nothing was written. To adopt these folders, add --write.\n"),
        "{stderr}"
    );

    let (status, stdout, stderr) = run(&fixture, &["--write"], false).await;
    assert_eq!(status, ExitStatus::Done);
    assert!(stdout.starts_with(&format!("adopted      {FOLDER}: 12 files, ")), "{stdout}");
    assert!(stdout.contains(" as exports/"), "{stdout}");
    assert!(!stderr.contains("Nothing was written"), "{stderr}");

    let (_, stdout, stderr) = run(&fixture, &["--write"], false).await;
    assert!(!stdout.contains(FOLDER), "{stdout}");
    assert!(stderr.contains("0 adopted (0 files, 0 B), 1 are already bundles"), "{stderr}");
}

#[tokio::test]
async fn json_output_has_a_line_per_folder_and_a_summary() {
    let fixture = Fixture::local();
    fixture.put_folder(FOLDER, &old_files());
    fixture.put("reports/a.txt", "x");
    let (_, stdout, stderr) = run(&fixture, &["--write", "--json"], false).await;
    let lines: Vec<Value> =
        stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), stderr.as_str()), (3, ""));
    assert_eq!((&lines[0]["folder"], &lines[0]["outcome"]), (&FOLDER.into(), &"ADOPTED".into()));
    assert!(lines[0]["export"].as_str().unwrap().starts_with("exports/"));
    assert_eq!(
        (&lines[1]["outcome"], &lines[1]["reason"]),
        (&"SKIPPED".into(), &"OTHER_NAME".into())
    );
    assert_eq!(lines[2]["summary"]["adopted"], 1);
    assert_eq!(lines[2]["summary"]["skipped"], 1);
    assert_eq!(lines[2]["summary"]["stopped"], false);
}

#[tokio::test]
async fn stopped_run_reports_it_and_the_next_run_resumes() {
    let fixture = Fixture::local();
    fixture.put_folder(FOLDER, &old_files());
    let (status, stdout, stderr) = run(&fixture, &["--write"], true).await;
    assert_eq!((status, stdout.as_str()), (ExitStatus::Failed, ""));
    assert!(stderr.contains("Stopped early"), "{stderr}");
    let (status, stdout, _) = run(&fixture, &["--write"], false).await;
    assert_eq!(status, ExitStatus::Done);
    assert!(stdout.starts_with("adopted"), "{stdout}");
}
