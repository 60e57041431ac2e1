//! Resource usage of processes on Linux (proc_pid_stat(5), proc_pid_status(5)).

use std::{fs, time::Duration};

/// The clock ticks in which Linux reports CPU time, on every architecture.
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU time of this process, without its children.
pub(crate) fn own_cpu() -> Duration {
    cpu("self", 0)
}

/// CPU time of this process's ended children.
pub(crate) fn ended_children_cpu() -> Duration {
    cpu("self", 2)
}

/// CPU time of another process.
pub(crate) fn cpu_of(process_id: u32) -> Duration {
    cpu(&process_id.to_string(), 0)
}

/// User and system time are two fields after the command's name in parentheses and eleven others;
/// the children's follow.
fn cpu(process: &str, skipped: usize) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("a running process");
    let (_, fields) = stat.rsplit_once(") ").expect("a name in brackets");
    let ticks = fields.split(' ').skip(11 + skipped).take(2).map(|field| {
        let ticks: f64 = field.parse().expect("a number of ticks");
        ticks
    });
    Duration::from_secs_f64(ticks.sum::<f64>() / TICKS_PER_SECOND)
}

/// The largest resident memory that a process has had, in bytes.
pub(crate) fn peak_memory_bytes(process_id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process_id}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kibibytes * 1024
}
