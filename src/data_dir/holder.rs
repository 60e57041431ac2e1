//! The content of the lock file, which describes the holder of a data directory.
//!
//! ```text
//! process 4711 on server-a, started 2026-11-22T18:37:00Z
//! holder 0192f0c1-7a3e-4d52-9b6f-2c8d1e5a4b70
//! place 9d1c8a52-3b0e-4c59-9d7e-0b1f2a3c4d5e pid:[4026531836] 4711 8812345
//! address http://127.0.0.1:8080
//! beat 00000000000000000042
//! ```
//!
//! `address` is the URL of a server for commands on its machine, from the moment at which it listens. The first line is human-readable. `place` identifies the process: the boot id of its machine, its PID namespace, its
//! PID and its start time.

use std::{fmt, fs, io, path::Path, time::SystemTime};

use uuid::Uuid;

/// Digits of the number of heartbeats. The width is fixed, so that each heartbeat overwrites the previous one.
const BEAT_DIGITS: usize = 20;

/// Limit of the URL in the lock file. A longer one, of a socket in a deep folder, is left out.
const MAX_ADDRESS_BYTES: usize = 256;

/// A process that holds a data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holder {
    /// Human-readable.
    line: String,
    id: Uuid,
    process_id: Option<ProcessId>,
    /// The URL of a server.
    address: Option<String>,
}

/// Identifies a process on Linux.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ProcessId {
    boot_id: String,
    pid_namespace: String,
    pid: u32,
    /// In clock ticks since boot.
    started: u64,
}

/// The parsed content of a lock file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// A holder and its number of heartbeats.
    Held(Holder, u64),
    /// The last holder shut down cleanly, there was none, or it ran a release without heartbeats.
    Free,
}

impl Holder {
    /// This process.
    pub(super) fn this_process() -> Self {
        let pid = std::process::id();
        let host = gethostname::gethostname();
        let line = format!(
            "process {pid} on {}, started {}",
            host.to_string_lossy().replace(char::is_control, "_"),
            humantime::format_rfc3339_seconds(SystemTime::now())
        );
        Self {
            line,
            id: Uuid::new_v4(),
            process_id: ProcessId::of_this_process(pid),
            address: None,
        }
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.id == other.id
    }

    /// Whether the process is known to have exited. Only known for processes of the same boot and PID namespace.
    pub(super) fn is_known_to_have_exited(&self) -> bool {
        let (Some(process_id), Some(own)) =
            (&self.process_id, ProcessId::of_this_process(std::process::id()))
        else {
            return false;
        };
        let is_visible =
            (&process_id.boot_id, &process_id.pid_namespace) == (&own.boot_id, &own.pid_namespace);
        is_visible
            && running_since(process_id.pid)
                .is_ok_and(|started| started != Some(process_id.started))
    }

    /// This holder with the URL of its server. A URL that does not fit into the line is left out.
    pub(super) fn with_address(&self, url: &str) -> Self {
        let is_plain = url.len() <= MAX_ADDRESS_BYTES && !url.contains(char::is_control);
        Self { address: is_plain.then(|| url.to_owned()), ..self.clone() }
    }

    /// The URL of the holder's server, if it is one and listens.
    pub(super) fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }

    /// The content of the lock file after this many heartbeats. Its length does not depend on the number.
    pub(super) fn content(&self, beats: u64) -> String {
        let Self { line, id, process_id, address } = self;
        let process_id = match process_id {
            Some(ProcessId { boot_id, pid_namespace, pid, started }) => {
                format!("place {boot_id} {pid_namespace} {pid} {started}\n")
            }
            None => String::new(),
        };
        let address = address.as_ref().map(|url| format!("address {url}\n")).unwrap_or_default();
        format!("{line}\nholder {id}\n{process_id}{address}beat {beats:0BEAT_DIGITS$}\n")
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.line)
    }
}

impl Content {
    /// Parses the content of a lock file.
    pub(super) fn parse(text: &str) -> Self {
        let mut lines = text.lines();
        let line = lines.next().unwrap_or_default().to_owned();
        let (mut id, mut process_id, mut address, mut beats) = (None, None, None, None);
        for line in lines {
            match line.split_once(' ') {
                Some(("holder", value)) => id = value.parse().ok(),
                Some(("place", value)) => process_id = ProcessId::parse(value),
                Some(("address", value)) if value.len() <= MAX_ADDRESS_BYTES => {
                    address = Some(value.replace(char::is_control, "_"));
                }
                Some(("beat", value)) => beats = value.parse().ok(),
                _ => {}
            }
        }
        match (id, beats) {
            (Some(id), Some(beats)) => Self::Held(Holder { line, id, process_id, address }, beats),
            _ => Self::Free,
        }
    }

    /// The content after a clean shutdown.
    pub(super) fn released() -> String {
        "released by its last holder\n".to_owned()
    }
}

impl ProcessId {
    fn of_this_process(pid: u32) -> Option<Self> {
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned();
        let pid_namespace = fs::read_link("/proc/self/ns/pid").ok()?.to_str()?.to_owned();
        let started = running_since(pid).ok()??;
        Some(Self { boot_id, pid_namespace, pid, started })
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        Some(Self {
            boot_id: words.next()?.to_owned(),
            pid_namespace: words.next()?.to_owned(),
            pid: words.next()?.parse().ok()?,
            started: words.next()?.parse().ok()?,
        })
    }
}

/// The start time of a process in clock ticks since boot. `None` if there is no such process or it is a zombie.
fn running_since(pid: u32) -> io::Result<Option<u64>> {
    /// Indexes of the fields after the name.
    const STATE: usize = 0;
    const START_TIME: usize = 19;
    let stat = match fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")) {
        Ok(stat) => stat,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // The name is in parentheses and may contain parentheses.
    let fields: Vec<&str> =
        stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace().collect();
    match (fields.get(STATE), fields.get(START_TIME)) {
        (Some(&("Z" | "X")), _) => Ok(None),
        (_, Some(started)) => started.parse().map(Some).map_err(io::Error::other),
        _ => Err(io::Error::other("too few fields in /proc/<pid>/stat")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn content_can_be_parsed_and_has_fixed_length() {
        let holder = Holder::this_process();
        let lengths = [0, 1, u64::MAX].map(|beats| {
            let content = holder.content(beats);
            assert_eq!(Content::parse(&content), Content::Held(holder.clone(), beats));
            content.len()
        });
        assert_eq!(lengths, [lengths[0]; 3]);
        assert!(lengths[0] < 512, "the content fits into one disk block");
        for free in ["", &Content::released(), "process 7 on server-a\n", "holder\nbeat\nplace"] {
            assert_eq!(Content::parse(free), Content::Free, "{free}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn only_visible_processes_are_known_to_have_exited() {
        let running = Holder::this_process();
        assert!(!running.is_known_to_have_exited());
        let with = |change: &dyn Fn(&mut ProcessId)| {
            let mut holder = running.clone();
            change(holder.process_id.as_mut().unwrap());
            holder
        };
        // Another process has reused the PID.
        assert!(with(&|process_id| process_id.started -= 1).is_known_to_have_exited());
        assert!(with(&|process_id| process_id.pid = u32::MAX).is_known_to_have_exited());
        let invisible: [&dyn Fn(&mut ProcessId); 2] =
            [&|process_id| process_id.boot_id = "another".to_owned(), &|process_id| {
                process_id.pid_namespace = "pid:[1]".to_owned()
            }];
        for elsewhere in invisible {
            let holder = with(&|process_id| {
                process_id.pid = u32::MAX;
                elsewhere(process_id);
            });
            assert!(!holder.is_known_to_have_exited(), "{holder:?}");
        }
        assert!(!Holder { process_id: None, ..running }.is_known_to_have_exited());
    }
}
