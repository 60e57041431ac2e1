//! Observes the process through /proc, and returns memory through glibc.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use crate::policy::{INTERVAL, Policy, Usage};

/// Linux reports processor time in these ticks on every architecture (proc(5), `USER_HZ`).
const TICKS_PER_SECOND: u64 = 100;
/// Where `utime` and `stime` are in /proc/self/stat, counted behind the program's name.
const USER_TIME: usize = 11;
const SYSTEM_TIME: usize = 12;

/// The free memory that an arena keeps at its end; there are up to eight arenas for each processor.
/// glibc sets it to 64 MiB as soon as a large block is freed, and `malloc_trim` returns the end of the
/// main arena only.
const KEPT_AT_ARENA_END_BYTES: i32 = 256 * 1024;
/// Larger blocks are not of an arena; they return when they are freed. Above the pieces in which
/// documents are read and sent.
const OWN_MAPPING_FROM_BYTES: i32 = 2 * 1024 * 1024;

pub(crate) fn run() {
    set_thresholds();
    let mut policy = Policy::default();
    loop {
        thread::sleep(INTERVAL);
        let Some(now) = usage() else { continue };
        if !policy.observe(now) {
            continue;
        }
        let since = Instant::now();
        return_freed();
        let took = since.elapsed();
        policy.returned(usage().unwrap_or(now), took);
    }
}

/// Fixes glibc's thresholds, which otherwise grow with the blocks that are freed.
#[allow(unsafe_code, reason = "mallopt is a C function")]
fn set_thresholds() {
    for (parameter, value) in [
        (libc::M_TRIM_THRESHOLD, KEPT_AT_ARENA_END_BYTES),
        (libc::M_MMAP_THRESHOLD, OWN_MAPPING_FROM_BYTES),
    ] {
        // SAFETY: mallopt takes two numbers by value and no pointer, and locks the allocator. Values
        // that it does not know it ignores.
        let _was_known = unsafe { libc::mallopt(parameter, value) };
    }
}

/// Returns what is free at the end of the heap and every whole free page within it. Each of glibc's
/// arenas is locked while its own pages are returned.
#[allow(unsafe_code, reason = "malloc_trim is a C function")]
fn return_freed() {
    // SAFETY: malloc_trim takes a number by value and no pointer, touches memory only that the
    // allocator has as free, and may be called by any thread at any time (malloc_trim(3): MT-Safe).
    let _was_something_returned = unsafe { libc::malloc_trim(0) };
}

/// `None` where /proc is not mounted.
fn usage() -> Option<Usage> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    parse(&status, &stat)
}

fn parse(status: &str, stat: &str) -> Option<Usage> {
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = resident.split_whitespace().next()?.parse().ok()?;
    // The program's name may have spaces and parentheses.
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field)?.parse::<u64>().ok();
    let ticks = ticks(USER_TIME)? + ticks(SYSTEM_TIME)?;
    Some(Usage {
        resident_bytes: kibibytes * 1024,
        processor: Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_read_from_proc() {
        let status = "Name:\tx\nVmHWM:\t  9 kB\nVmRSS:\t    2048 kB\n";
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 1 0";
        let usage = parse(status, stat).map(|usage| (usage.resident_bytes, usage.processor));
        assert_eq!(usage, Some((2 << 20, Duration::from_secs(2))));
        assert!(super::usage().is_some_and(|usage| usage.resident_bytes > 0));
    }
}
