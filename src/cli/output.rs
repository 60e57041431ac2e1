//! The output of commands.

use std::{
    io::{self, IsTerminal as _, Write},
    sync::{Arc, Mutex, PoisonError},
};

/// Writes results to standard output, progress and notes to standard error.
///
/// If the reader closes the pipe (`| head`), results are dropped, but the command continues: an export runs to its
/// end, and the exit code reports its result.
pub struct Output {
    stdout: Box<dyn Write + Send>,
    stderr: Box<dyn Write + Send>,
    stdout_is_terminal: bool,
    stderr_is_terminal: bool,
    is_closed: bool,
}

impl Output {
    /// The standard streams of the process.
    pub fn of_process() -> Self {
        Self {
            stdout: Box::new(io::stdout()),
            stderr: Box::new(io::stderr()),
            stdout_is_terminal: io::stdout().is_terminal(),
            stderr_is_terminal: io::stderr().is_terminal(),
            is_closed: false,
        }
    }

    /// An output without a terminal that writes to the two returned buffers.
    pub fn captured() -> (Self, Captured, Captured) {
        let (stdout, stderr) = (Captured::default(), Captured::default());
        (Self::to_writers(Box::new(stdout.clone()), Box::new(stderr.clone())), stdout, stderr)
    }

    /// An output without a terminal that writes to these writers.
    pub fn to_writers(stdout: Box<dyn Write + Send>, stderr: Box<dyn Write + Send>) -> Self {
        let (stdout_is_terminal, stderr_is_terminal) = (false, false);
        Self { stdout, stderr, stdout_is_terminal, stderr_is_terminal, is_closed: false }
    }

    /// Whether results are printed on a terminal.
    pub fn stdout_is_terminal(&self) -> bool {
        self.stdout_is_terminal
    }

    /// Whether progress is printed on a terminal, which can draw bars.
    pub fn stderr_is_terminal(&self) -> bool {
        self.stderr_is_terminal
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
        let _ = writeln!(self.stderr, "{line}");
    }
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
