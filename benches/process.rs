//! Child processes of a benchmark: their CPU time, as the kernel counts it; and what is made of several measurements.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command},
    time::Duration,
};

/// The one in the middle.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A child process, killed when dropped.
pub(crate) struct Process {
    child: Child,
    /// The control group that holds it, if one does.
    group: Option<PathBuf>,
}

impl Process {
    /// Starts a program.
    pub(crate) fn start(command: &mut Command) -> Self {
        Self {
            child: command.spawn().expect("the program starts"),
            group: None,
        }
    }

    /// Lets it have so much of a core and no more, by a control group of either version.
    pub(crate) fn hold_to(&mut self, share: f64) {
        let period = 20_000.0;
        let (period, quota) = (format!("{period}"), format!("{:.0}", period * share));
        let root = Path::new("/sys/fs/cgroup");
        let one = root.join("cpu");
        let (parent, settings) = if one.exists() {
            let settings = vec![("cpu.cfs_period_us", period), ("cpu.cfs_quota_us", quota)];
            (one, settings)
        } else {
            (
                root.to_owned(),
                vec![("cpu.max", format!("{quota} {period}"))],
            )
        };
        let pid = self.child.id();
        let group = parent.join(format!("raincheck-bench-{pid}"));
        fs::create_dir(&group).expect("a control group can be made, by root");
        for (file, value) in settings {
            fs::write(group.join(file), value).expect("it takes its limit");
        }
        fs::write(group.join("cgroup.procs"), pid.to_string()).expect("it takes the process");
        self.group = Some(group);
    }

    /// CPU time used so far, user and system.
    pub(crate) fn cpu(&self) -> Duration {
        cpu_of(self.child.id())
    }

    /// Memory that is resident now, in bytes.
    pub(crate) fn resident(&self) -> u64 {
        resident_of(self.child.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(group) = &self.group {
            let _ = fs::remove_dir(group);
        }
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
