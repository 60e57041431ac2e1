//! Arguments that all commands share, and what they mean for the output.

use clap::{ArgAction, ArgMatches, Args, Command, parser::ValueSource};

use super::server::shell_word;

/// How much a command prints on standard error.
#[derive(Debug, Clone, Copy, Default, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArguments {
    /// Print no progress and no notes; errors are still printed
    #[arg(long, short, conflicts_with = "verbose")]
    pub quiet: bool,

    /// Print more log lines: -v info, -vv debug, -vvv trace; LOG_LEVEL selects modules
    #[arg(long, short, action = ArgAction::Count)]
    pub verbose: u8,
}

impl OutputArguments {
    /// The log level that the arguments select, if they do.
    pub fn log_level(self) -> Option<&'static str> {
        match (self.quiet, self.verbose) {
            (true, _) => Some("error"),
            (false, 0) => None,
            (false, 1) => Some("info"),
            (false, 2) => Some("debug"),
            (false, _) => Some("trace"),
        }
    }
}

/// The matches of the innermost command.
fn innermost(matches: &ArgMatches) -> &ArgMatches {
    matches.subcommand().map_or(matches, |(_, inner)| innermost(inner))
}

/// Whether the command prints JSON.
pub fn is_json(matches: &ArgMatches) -> bool {
    matches!(innermost(matches).try_get_one::<bool>("json"), Ok(Some(true)))
}

/// The arguments of a command line that set these settings, each with a leading space, for the commands that the
/// output mentions. Leaves out the environment, which those commands have too.
pub fn given_settings(settings: &Command, matches: &ArgMatches) -> String {
    let matches = innermost(matches);
    let mut arguments = String::new();
    for argument in settings.get_arguments() {
        let id = argument.get_id().as_str();
        let Some(option) = argument.get_long() else { continue };
        if matches.value_source(id) != Some(ValueSource::CommandLine) {
            continue;
        }
        arguments.push_str(&format!(" --{option}"));
        for value in matches.get_raw(id).into_iter().flatten() {
            arguments.push_str(&format!(" {}", shell_word(&value.to_string_lossy())));
        }
    }
    arguments
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    #[test]
    fn settings_of_the_command_line_are_repeated_and_quoted() {
        let settings = || {
            Command::new("settings")
                .arg(Arg::new("data_dir").long("data-dir").global(true))
                .arg(Arg::new("other").long("other").global(true).default_value("x"))
        };
        let command = settings().subcommand(Command::new("list"));
        let matches = command.get_matches_from(["a", "list", "--data-dir", "my data"]);
        assert_eq!(given_settings(&settings(), &matches), " --data-dir 'my data'");
    }

    #[test]
    fn log_level_follows_quiet_and_verbose() {
        let level = |quiet, verbose| OutputArguments { quiet, verbose }.log_level();
        assert_eq!(level(false, 0), None);
        assert_eq!(level(true, 0), Some("error"));
        assert_eq!(
            [1, 2, 3, 9].map(|count| level(false, count)),
            [Some("info"), Some("debug"), Some("trace"), Some("trace")]
        );
    }
}
