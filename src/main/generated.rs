//! Completions and man pages, from the definitions of the commands.

use std::{fs, io, path::PathBuf};

use clap::Args;
use clap_complete::Shell;
use tara_export::cli::{CliError, CommandFailure, ExitStatus, Output};

const NAME: &str = "tara-export";

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsCommand {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl CompletionsCommand {
    /// Prints the script for the shell.
    pub(crate) fn run(
        self,
        mut command: clap::Command,
        output: &mut Output,
    ) -> Result<ExitStatus, CommandFailure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, NAME, &mut script);
        output.bytes(&script).map_err(CliError::from)?;
        Ok(ExitStatus::Done)
    }
}

/// Arguments of `man`.
#[derive(Debug, Args)]
pub(crate) struct ManCommand {
    /// Folder for the pages of all commands, such as /usr/local/share/man/man1; created if it is missing
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl ManCommand {
    /// Prints the page of the program, or writes one for each command.
    pub(crate) fn run(
        self,
        command: clap::Command,
        output: &mut Output,
    ) -> Result<ExitStatus, CommandFailure> {
        let written = match &self.out {
            Some(folder) => fs::create_dir_all(folder)
                .and_then(|()| clap_mangen::generate_to(command, folder))
                .map_err(|error| {
                    io::Error::new(error.kind(), format!("{}: {error}", folder.display()))
                }),
            None => {
                let mut page = Vec::new();
                let rendered = clap_mangen::Man::new(command).render(&mut page);
                rendered.and_then(|()| output.bytes(&page))
            }
        };
        written.map_err(CliError::from)?;
        Ok(ExitStatus::Done)
    }
}
