//! Child processes of a benchmark: their CPU time, as the kernel counts it; and what is made of several measurements.

use std::{
    fs,
    process::{Child, Command},
    time::Duration,
};

/// The one in the middle.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A child process, killed when dropped.
pub(crate) struct Process(Child);

impl Process {
    /// Starts a program.
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.spawn().expect("the program starts"))
    }

    /// CPU time used so far, user and system.
    pub(crate) fn cpu(&self) -> Duration {
        cpu_of(self.0.id())
    }

    /// Memory that is resident now, in bytes.
    pub(crate) fn resident(&self) -> u64 {
        resident_of(self.0.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn cpu_of(pid: u32) -> Duration {
    // Fields 14 and 15 of proc(5): user and system time in clock ticks of 10 ms.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Duration::from_millis(ticks * 10)
}

/// The machine's load over the last minute.
pub(crate) fn machine_load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split_whitespace().next().unwrap_or("?").to_owned()
}

/// A process's resident memory, in bytes.
pub(crate) fn resident_of(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kib.and_then(|kib| kib.parse::<u64>().ok())
        .unwrap_or_default()
        * 1024
}
