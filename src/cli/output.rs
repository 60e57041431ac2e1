//! The output of commands.

use std::{
    borrow::Cow,
    io::{self, IsTerminal as _, Write},
    sync::{Arc, Mutex, PoisonError},
};

use anstyle::AnsiColor;

/// The narrowest terminal that tables fit into.
const MIN_WIDTH: usize = 40;
/// The width of a terminal that does not report it.
const DEFAULT_WIDTH: usize = 80;

/// Writes results to standard output, progress and notes to standard error.
///
/// If the reader closes the pipe (`| head`), results are dropped, but the command continues: an export runs to its
/// end, and the exit code reports its result.
pub struct Output {
    stdout: Box<dyn Write + Send>,
    stderr: Box<dyn Write + Send>,
    stdout_is_terminal: bool,
    stderr_is_terminal: bool,
    stdout_has_colour: bool,
    stderr_has_colour: bool,
    /// Columns of the terminal; `None` without one.
    width: Option<usize>,
    is_closed: bool,
    is_quiet: bool,
    /// Settings of this command line that printed commands need too, such as `--data-dir`.
    settings: String,
    interruption: Option<Interruption>,
}

/// What to print if a signal ends the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interruption {
    /// A human-readable message.
    pub message: String,
    /// The command to run next.
    pub command: String,
}

impl Output {
    /// The standard streams of the process.
    pub fn of_process() -> Self {
        Self {
            stdout: Box::new(io::stdout()),
            stderr: Box::new(io::stderr()),
            stdout_is_terminal: io::stdout().is_terminal(),
            stderr_is_terminal: io::stderr().is_terminal(),
            stdout_has_colour: has_colour(&io::stdout()),
            stderr_has_colour: has_colour(&io::stderr()),
            width: io::stdout().is_terminal().then(terminal_width),
            is_closed: false,
            is_quiet: false,
            settings: String::new(),
            interruption: None,
        }
    }

    /// Leaves out notes and progress.
    pub fn quiet(mut self, is_quiet: bool) -> Self {
        self.is_quiet = is_quiet;
        self
    }

    /// Appends these arguments to the commands that it prints.
    pub fn with_settings(mut self, arguments: String) -> Self {
        self.settings = arguments;
        self
    }

    /// An output without a terminal that writes to the two returned buffers.
    pub fn captured() -> (Self, Captured, Captured) {
        let (stdout, stderr) = (Captured::default(), Captured::default());
        (Self::to_writers(Box::new(stdout.clone()), Box::new(stderr.clone())), stdout, stderr)
    }

    /// As [`Self::captured`], with a terminal of this width for results.
    pub fn captured_on_terminal(width: usize) -> (Self, Captured, Captured) {
        let (output, stdout, stderr) = Self::captured();
        (Self { stdout_is_terminal: true, width: Some(width), ..output }, stdout, stderr)
    }

    /// An output without a terminal that writes to these writers.
    pub fn to_writers(stdout: Box<dyn Write + Send>, stderr: Box<dyn Write + Send>) -> Self {
        let (stdout_is_terminal, stderr_is_terminal) = (false, false);
        Self {
            stdout,
            stderr,
            stdout_is_terminal,
            stderr_is_terminal,
            stdout_has_colour: false,
            stderr_has_colour: false,
            width: None,
            is_closed: false,
            is_quiet: false,
            settings: String::new(),
            interruption: None,
        }
    }

    /// Whether results are printed on a terminal.
    pub fn stdout_is_terminal(&self) -> bool {
        self.stdout_is_terminal
    }

    /// Columns of the terminal on which results are printed; `None` without a terminal.
    pub fn width(&self) -> Option<usize> {
        self.width
    }

    /// Whether progress is printed on a terminal, which can draw bars.
    pub fn stderr_is_terminal(&self) -> bool {
        self.stderr_is_terminal && !self.is_quiet
    }

    /// Whether standard error shows colours.
    pub fn stderr_has_colour(&self) -> bool {
        self.stderr_has_colour
    }

    /// Whether the reader has closed the pipe.
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Writes a line of the result.
    ///
    /// # Errors
    /// Returns the writer's error, except for a broken pipe.
    pub fn line(&mut self, line: &str) -> io::Result<()> {
        let line = with_colour(line, self.stdout_has_colour);
        self.bytes(format!("{line}\n").as_bytes())
    }

    /// Writes bytes of the result.
    ///
    /// # Errors
    /// Returns the writer's error, except for a broken pipe.
    pub fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.is_closed {
            return Ok(());
        }
        match self.stdout.write_all(bytes).and_then(|()| self.stdout.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.is_closed = true;
                Ok(())
            }
            result => result,
        }
    }

    /// Writes a line of progress or a note. Ignores errors.
    pub fn note(&mut self, line: &str) {
        if !self.is_quiet {
            self.problem(line);
        }
    }

    /// Writes a line about a failure, even if the output is quiet. Ignores errors.
    pub fn problem(&mut self, line: &str) {
        let line = with_colour(line, self.stderr_has_colour);
        let _ = writeln!(self.stderr, "{line}");
    }

    /// Writes a command of this program to run next, with the settings of this command line.
    pub fn command(&mut self, command: &str) {
        let settings = &self.settings;
        self.note(&format!("  {command}{settings}"));
    }

    /// Sets what to print if a signal ends the command from now on.
    pub fn set_interruption(&mut self, interruption: Interruption) {
        self.interruption = Some(interruption);
    }

    /// Prints what a signal left unfinished, even if the output is quiet. Returns whether there is something.
    pub fn print_interruption(&mut self) -> bool {
        let Some(Interruption { message, command }) = self.interruption.take() else {
            return false;
        };
        let _ = writeln!(self.stderr, "{message}\n  {command}{}", self.settings);
        true
    }
}

/// Columns of the terminal of standard output.
fn terminal_width() -> usize {
    let size = terminal_size::terminal_size_of(io::stdout());
    size.map_or(DEFAULT_WIDTH, |(terminal_size::Width(columns), _)| usize::from(columns))
        .max(MIN_WIDTH)
}

/// Whether a stream is a terminal that shows colours, and neither `NO_COLOR` nor `CLICOLOR` forbids them.
pub fn has_colour(stream: &impl anstream::stream::RawStream) -> bool {
    anstream::AutoStream::choice(stream) != anstream::ColorChoice::Never
}

/// The line, with the colour of the sign at its start.
pub(super) fn with_colour(line: &str, has_colour: bool) -> Cow<'_, str> {
    let colour = match line.chars().next() {
        Some('✓') => AnsiColor::Green,
        Some('!') => AnsiColor::Yellow,
        Some('✗') => AnsiColor::Red,
        _ => return Cow::Borrowed(line),
    };
    if !has_colour {
        return Cow::Borrowed(line);
    }
    let style = colour.on_default();
    let (sign, rest) = line.split_at(line.chars().next().map_or(0, char::len_utf8));
    Cow::Owned(format!("{style}{sign}{style:#}{rest}"))
}

impl std::fmt::Debug for Output {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Output").field("is_closed", &self.is_closed).finish_non_exhaustive()
    }
}

/// A buffer of [`Output::captured`].
#[derive(Debug, Clone, Default)]
pub struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    /// Everything written so far.
    pub fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_have_a_colour_on_a_terminal_only() {
        assert_eq!(with_colour("✓ done", true), "\u{1b}[32m✓\u{1b}[0m done");
        assert_eq!(with_colour("✓ done", false), "✓ done");
        assert_eq!(with_colour("done", true), "done");
        assert_eq!(with_colour("", true), "");
    }
}
