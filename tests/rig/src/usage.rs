//! The memory and CPU time of a process: in, its id; out, what Linux counts in `/proc/PID/status` and `/proc/PID/stat`.

use std::fs;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

/// How often memory is sampled: reading the file takes some ten microseconds.
const SAMPLE: Duration = Duration::from_millis(10);

/// The meaning of the three figures for memory.
pub const MEMORY_NOTE: &str = "memory: VmHWM is the kernel's own peak of all resident memory; the two kinds are each the \
                               highest of samples taken every 10 ms, and their peaks need not coincide. File-backed is \
                               mostly the program itself, which the kernel can drop and read again.";

/// Resident memory by kind, in MiB.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Memory {
    pub anonymous: f64,
    pub file_backed: f64,
}

impl Memory {
    fn max(self, other: Self) -> Self {
        Self {
            anonymous: self.anonymous.max(other.anonymous),
            file_backed: self.file_backed.max(other.file_backed),
        }
    }
}

/// CPU time in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cpu {
    pub user: f64,
    pub system: f64,
}

impl Cpu {
    pub fn total(self) -> f64 {
        self.user + self.system
    }
}

/// The resources that a process has used so far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// The highest resident memory of all kinds together since its start, in MiB.
    pub peak: f64,
    /// The resident memory now.
    pub memory: Memory,
    pub cpu: Cpu,
}

impl Usage {
    /// # Errors
    /// If the process has ended, or the system is not Linux.
    pub fn of(pid: u32) -> Result<Self> {
        Self::parse(&read(pid, "status")?, &read(pid, "stat")?)
    }

    fn parse(status: &str, stat: &str) -> Result<Self> {
        Ok(Self { peak: mebibytes(status, "VmHWM:")?, memory: memory(status)?, cpu: cpu(stat)? })
    }
}

/// Samples the memory of a process until it is stopped.
pub struct MemorySampler {
    peak: Arc<Mutex<Memory>>,
    stop: Sender<()>,
    thread: JoinHandle<Result<()>>,
}

impl MemorySampler {
    /// Starts a thread of its own, so that a busy runtime delays no sample.
    pub fn start(pid: u32) -> Self {
        let peak = Arc::new(Mutex::new(Memory::default()));
        let shared = Arc::clone(&peak);
        let (stop, stopped) = mpsc::channel();
        let thread = thread::spawn(move || {
            loop {
                let sample = memory(&read(pid, "status")?)?;
                let mut peak = shared.lock().unwrap_or_else(PoisonError::into_inner);
                *peak = peak.max(sample);
                drop(peak);
                if stopped.recv_timeout(SAMPLE) != Err(RecvTimeoutError::Timeout) {
                    return Ok(());
                }
            }
        });
        Self { peak, stop, thread }
    }

    #[cfg(test)]
    fn peak(&self) -> Memory {
        *self.peak.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops and returns the highest sample of each kind.
    ///
    /// # Errors
    /// If the process ended before.
    pub fn stop(self) -> Result<Memory> {
        let Self { peak, stop, thread } = self;
        drop(stop);
        thread.join().map_err(|_| anyhow!("the sampling of memory panicked"))??;
        Ok(*peak.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn read(pid: u32, file: &str) -> Result<String> {
    let path = format!("/proc/{pid}/{file}");
    fs::read_to_string(&path).with_context(|| format!("cannot read {path}; this needs Linux"))
}

fn memory(status: &str) -> Result<Memory> {
    Ok(Memory { anonymous: mebibytes(status, "RssAnon:")?, file_backed: mebibytes(status, "RssFile:")? })
}

/// Reads a line such as `VmHWM:    60536 kB`; the kernel's kB are 1024 bytes.
fn mebibytes(status: &str, field: &str) -> Result<f64> {
    let value = status.lines().find_map(|line| line.strip_prefix(field));
    let kibibytes = value.and_then(|value| value.split_whitespace().next());
    let kibibytes: f64 = kibibytes.with_context(|| format!("/proc/PID/status has no {field}"))?.parse()?;
    Ok(kibibytes / 1024.0)
}

/// Reads the 14th and 15th field of `/proc/PID/stat`.
fn cpu(stat: &str) -> Result<Cpu> {
    // Linux counts in hundredths of a second for programs, whatever the kernel's own tick is.
    const TICKS: f64 = 100.0;
    // The program's name, the second field, is in brackets and may hold spaces.
    let (_, rest) = stat.rsplit_once(')').context("/proc/PID/stat has no name")?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut seconds = || -> Result<f64> {
        Ok(fields.next().context("/proc/PID/stat is too short")?.parse::<f64>()? / TICKS)
    };
    Ok(Cpu { user: seconds()?, system: seconds()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\toperator\nVmHWM:\t   61952 kB\nVmRSS:\t   51200 kB\nRssAnon:\t   20480 kB\n\
                          RssFile:\t   30720 kB\nRssShmem:\t       0 kB\n";
    const STAT: &str = "42 (a (b) c) S 1 42 42 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 5 0 100 1000 200";

    #[test]
    fn memory_is_read_in_mebibytes_and_cpu_time_in_seconds() {
        let usage = Usage::parse(STATUS, STAT).unwrap();
        assert_eq!(usage.peak, 60.5);
        assert_eq!(usage.memory, Memory { anonymous: 20.0, file_backed: 30.0 });
        assert_eq!(usage.cpu, Cpu { user: 2.5, system: 0.5 });
        assert_eq!(usage.cpu.total(), 3.0);
    }

    #[test]
    fn a_missing_field_is_an_error() {
        assert!(Usage::parse("VmHWM: 1 kB\n", STAT).unwrap_err().to_string().contains("RssAnon"));
        assert!(Usage::parse(STATUS, "42 (a) S 1").unwrap_err().to_string().contains("too short"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_sampler_sees_memory_that_is_freed_again() {
        let before = Usage::of(std::process::id()).unwrap().memory.anonymous;
        let sampler = MemorySampler::start(std::process::id());
        // 64 MiB, each page written.
        let pages = std::hint::black_box(vec![1u8; 64 << 20]);
        while sampler.peak().anonymous < before + 60.0 {
            thread::sleep(SAMPLE);
        }
        drop(pages);
        assert!(sampler.stop().unwrap().anonymous >= before + 60.0);
    }
}
