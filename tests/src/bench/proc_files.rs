//! What the system tells of a process, in `/proc`.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

use super::{Result, at};

/// Memory of a process, in bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Memory {
    /// Resident now.
    pub(crate) resident: u64,
    /// The most that ever was.
    pub(crate) peak: u64,
}

fn read(pid: u32, name: &str) -> Result<String> {
    let path = PathBuf::from(format!("/proc/{pid}/{name}"));
    fs::read_to_string(&path).map_err(at(&path))
}

/// The number behind a name in a file of lines such as `VmRSS:     1234 kB`.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

pub(crate) fn memory(pid: u32) -> Result<Memory> {
    let status = read(pid, "status")?;
    let bytes = |name| field(&status, name).map(|kib| kib * 1024);
    match (bytes("VmRSS"), bytes("VmHWM")) {
        (Some(resident), Some(peak)) => Ok(Memory { resident, peak }),
        _ => Err(format!("/proc/{pid}/status tells nothing of memory: has the process ended?").into()),
    }
}

/// Processor time that a process took so far, in ticks of a hundredth of a second.
pub(crate) fn cpu_ticks(pid: u32) -> Result<u64> {
    ticks_in(&read(pid, "stat")?).ok_or_else(|| format!("/proc/{pid}/stat is not as expected").into())
}

fn ticks_in(stat: &str) -> Option<u64> {
    // The second field is the program's name in brackets, and may hold anything. After it comes the third.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

/// Processor time that a process took so far, in seconds: exact, where [`cpu_ticks`] counts hundredths.
pub(crate) fn cpu_seconds(pid: u32) -> Result<f64> {
    let clock = clock_getcpuclockid(Pid::from_raw(pid.cast_signed()))?;
    Ok(Duration::from(clock_gettime(clock)?).as_secs_f64())
}

/// How many processes wanted to run, on average over the last minute.
pub(crate) fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|load| load.parse().ok()).unwrap_or(f64::NAN)
}

/// The processor's name, how many there are, and the kernel.
pub(crate) fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let names: Vec<&str> = cpus.lines().filter_map(|line| line.strip_prefix("model name")).collect();
    let name = names.first().map_or("unknown processor", |name| name.trim_start_matches([' ', '\t', ':']));
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{count} x {name}, Linux {}", kernel.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_strange_names() {
        let stat = "7 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 40 2 13 14";
        assert_eq!(ticks_in(stat), Some(42));
        assert_eq!(ticks_in("7 (a"), None);
        assert_eq!(field("VmRSSx:\t1 kB\nVmRSS:\t  9 kB\n", "VmRSS"), Some(9));
    }

    #[test]
    fn this_process_has_memory() {
        let memory = memory(std::process::id()).unwrap();
        assert!(memory.resident > 0 && memory.peak >= memory.resident);
        assert!(cpu_ticks(std::process::id()).is_ok() && cpu_seconds(std::process::id()).is_ok());
    }
}
