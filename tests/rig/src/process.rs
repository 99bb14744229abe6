//! Child processes that cannot outlive this one: not after a panic, not after
//! Ctrl-C, not even after SIGKILL.
//!
//! Each child runs under a small shell script, its guard (`guard.sh`), in a process group of
//! its own. This process holds the other end of the guard's standard input, a pipe: when it ends, the
//! system closes the pipe, and the guard ends the child and removes its data. Statics,
//! which Rust never drops, are covered in the same way.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use tokio::sync::watch;

/// How often readiness is checked.
const POLL: Duration = Duration::from_millis(30);

/// How often a child is started again because its port was taken meanwhile.
const PORT_TRIES: usize = 5;

/// How many ports are tried until one is free.
const CHOICES: usize = 1_000;

/// The first of the ports to choose from: those below have well-known owners more often.
const FIRST_PORT: u16 = 10_000;

/// The command to run, and the way to run it.
#[derive(Debug, Clone)]
pub struct Spec {
    name: String,
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(String, Option<OsString>)>,
    data: Option<PathBuf>,
    dir: Option<PathBuf>,
    grace: Duration,
}

impl Spec {
    /// A program and the name that its log file gets.
    pub fn new(name: &str, program: impl Into<PathBuf>) -> Self {
        Self {
            name: name.to_owned(),
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            data: None,
            dir: None,
            grace: Duration::from_secs(5),
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.to_owned(), Some(value.as_ref().to_owned())));
        self
    }

    /// Removes variables that begin with one of these from the child's environment, so
    /// that the settings of this machine change nothing.
    pub fn without_env(mut self, prefixes: &[&str]) -> Self {
        let removed = std::env::vars_os()
            .filter_map(|(name, _)| name.into_string().ok())
            .filter(|name| prefixes.iter().any(|prefix| name.starts_with(prefix)))
            .map(|name| (name, None));
        self.env.extend(removed.collect::<Vec<_>>());
        self
    }

    /// The child's own data directory, removed by the guard when the child ends.
    pub fn data(mut self, dir: &Path) -> Self {
        self.data = Some(dir.to_path_buf());
        self
    }

    /// The working directory.
    pub fn current_dir(mut self, dir: &Path) -> Self {
        self.dir = Some(dir.to_path_buf());
        self
    }

    /// How long the child has to end after TERM before it is killed.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Starts the child.
    pub fn start(self) -> Result<Process> {
        let log = crate::paths::log_file(&self.name)?;
        let mut command = Command::new("sh");
        command
            .arg(crate::paths::sources().join("src/guard.sh"))
            .arg(self.data.as_deref().unwrap_or(Path::new("")))
            .arg(&log)
            .arg(self.grace.as_secs().max(1).to_string())
            .arg(&self.program)
            .args(&self.args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0);
        for (name, value) in &self.env {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        let mut guard = command.spawn().with_context(|| {
            format!("cannot start {} ({}): is there an `sh` on the PATH?", self.name, self.program.display())
        })?;
        let control = guard.stdin.take().context("the guard has no input")?;
        let output = guard.stdout.take().context("the guard has no output")?;
        let mut pid = String::new();
        BufReader::new(output).read_line(&mut pid).context("cannot read the guard's first line")?;
        let pid =
            pid.trim().parse().with_context(|| format!("the guard of {} did not start it", self.name))?;

        let (sender, exited) = watch::channel(None);
        thread::spawn(move || {
            let code = guard.wait().ok().and_then(|status| status.code());
            // The receiver may be gone.
            let _ = sender.send(Some(code.unwrap_or(-1)));
        });
        Ok(Process { name: self.name, pid, log, control: Mutex::new(Some(control)), exited })
    }
}

/// A running child process. Dropping it ends the child: TERM first, KILL after a while.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: u32,
    log: PathBuf,
    control: Mutex<Option<ChildStdin>>,
    exited: watch::Receiver<Option<i32>>,
}

impl Process {
    /// The process id of the program itself, not of its guard.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The file that holds what the program printed.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// The output of the program so far.
    pub fn log(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The last lines of the log, for error messages.
    pub fn log_tail(&self, lines: usize) -> String {
        tail(&self.log(), lines)
    }

    /// The exit code, once the program has ended; 128 + n when signal n ended it.
    pub fn exit_code(&self) -> Option<i32> {
        *self.exited.borrow()
    }

    /// Sends the program a signal, by its name without SIG: `KILL`, `TERM`, `STOP`.
    pub fn signal(&self, name: &str) {
        let mut control = match self.control.lock() {
            Ok(control) => control,
            Err(poisoned) => poisoned.into_inner(),
        };
        if let Some(pipe) = control.as_mut() {
            // A guard that has ended has no program to signal.
            let _ = writeln!(pipe, "{name}");
        }
    }

    /// Asks the guard to end the program, without waiting for it.
    pub fn close(&self) {
        let mut control = match self.control.lock() {
            Ok(control) => control,
            Err(poisoned) => poisoned.into_inner(),
        };
        control.take();
    }

    /// Waits for the end of the program, without blocking the runtime. Returns its exit code.
    ///
    /// # Errors
    /// If it has not ended within the deadline; the message quotes the end of its log.
    pub async fn wait(&self, deadline: Duration) -> Result<i32> {
        let mut exited = self.exited.clone();
        let code = tokio::time::timeout(deadline, exited.wait_for(Option::is_some))
            .await
            .map_err(|_| self.failure(&format!("had not ended after {deadline:?}")))?
            .map_err(|_| anyhow!("the watch over {} was lost", self.name))?;
        Ok(code.unwrap_or(-1))
    }

    /// Waits for the end of the program, however long that takes, blocking the thread.
    pub fn wait_blocking(&self) -> i32 {
        loop {
            if let Some(code) = self.exit_code() {
                return code;
            }
            thread::sleep(POLL);
        }
    }

    /// Waits for the end of the program, blocking the thread. Returns its exit code.
    ///
    /// # Errors
    /// If it has not ended within the deadline; the message quotes the end of its log.
    pub fn wait_ended(&self, deadline: Duration) -> Result<i32> {
        let start = Instant::now();
        loop {
            if let Some(code) = self.exit_code() {
                return Ok(code);
            }
            if start.elapsed() > deadline {
                return Err(self.failure(&format!("had not ended after {deadline:?}")));
            }
            thread::sleep(POLL);
        }
    }

    /// Waits until `ready` returns true.
    ///
    /// # Errors
    /// If the program has ended and is not ready, without waiting for the deadline, or if the deadline passes. The
    /// message quotes the end of its log.
    pub fn wait_ready(&self, deadline: Duration, mut ready: impl FnMut() -> bool) -> Result<()> {
        let start = Instant::now();
        loop {
            // Read first: a program may do the last thing that it is waited for, and end, between the two questions.
            let ended = self.exit_code();
            if ready() {
                return Ok(());
            }
            if let Some(code) = ended {
                return Err(self.failure(&format!("ended with code {code} before it was ready")));
            }
            if start.elapsed() > deadline {
                return Err(self.failure(&format!("was not ready after {deadline:?}")));
            }
            thread::sleep(POLL);
        }
    }

    fn failure(&self, what: &str) -> anyhow::Error {
        let (name, log) = (&self.name, self.log.display());
        anyhow!("{name} {what}; its log ends:\n{}\n(all of it: {log})", self.log_tail(20))
    }

    /// Whether the program ended because another process had its port.
    pub fn lost_its_port(&self) -> bool {
        self.exit_code().is_some() && self.log().contains("already in use")
    }
}

/// A port of 127.0.0.1 that was free a moment ago.
pub fn free_port() -> Result<u16> {
    Ok(bind_free_port()?.local_addr()?.port())
}

/// Listens on a free port of 127.0.0.1, chosen from those that the system gives to nobody by itself: an outgoing
/// connection, or a listener that leaves the choice to the system, would otherwise get the port while its server has not
/// begun to listen or is down for a while.
pub(crate) fn bind_free_port() -> Result<TcpListener> {
    let bind = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let choose = |ports: Range<u16>| (0..CHOICES).find_map(|_| bind(fastrand::u16(ports.clone())).ok());
    never_given().and_then(choose).map_or_else(|| bind(0), Ok).context("no free port on 127.0.0.1")
}

/// The ports below those that the system gives. `None`: there are none, or the system does not say.
fn never_given() -> Option<Range<u16>> {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let lowest = range.split_whitespace().next()?.parse().ok()?;
    Some(FIRST_PORT..lowest).filter(|ports| !ports.is_empty())
}

/// Starts something that listens on ports, again with others when one of them
/// was taken between choosing and listening.
pub fn on_free_ports<T>(mut start: impl FnMut() -> Result<(Process, Result<T>)>) -> Result<(Process, T)> {
    let mut tries = 1;
    loop {
        let (process, ready) = start()?;
        match ready {
            Ok(value) => return Ok((process, value)),
            Err(_) if process.lost_its_port() && tries < PORT_TRIES => tries += 1,
            Err(error) => return Err(error),
        }
    }
}

/// The last lines of a text.
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    let skip = all.len().saturating_sub(lines);
    all.into_iter().skip(skip).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Spec {
        Spec::new("sh", "sh").args(["-c", script])
    }

    fn alive(pid: u32) -> bool {
        Command::new("kill")
            .args(["-0", &pid.to_string()])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }

    fn gone_soon(pid: u32) -> bool {
        (0..100).any(|_| {
            thread::sleep(Duration::from_millis(50));
            !alive(pid)
        })
    }

    #[test]
    fn a_free_port_is_one_that_the_system_gives_to_nobody() {
        let Some(ports) = never_given() else {
            eprintln!("this system does not say which ports it gives");
            return;
        };
        assert!(ports.contains(&free_port().unwrap()));
    }

    #[test]
    fn the_exit_code_and_the_output_come_through() {
        let process = sh("echo hello; exit 7").start().unwrap();
        assert_eq!(process.wait_blocking(), 7);
        assert_eq!(process.log(), "hello\n");
    }

    #[test]
    fn dropping_ends_the_program_and_removes_its_data() {
        let data = crate::paths::data_dir("drop").unwrap();
        let process = sh("exec sleep 60").data(&data).start().unwrap();
        let pid = process.pid();
        assert!(alive(pid));
        drop(process);
        assert!(gone_soon(pid));
        assert!((0..100).any(|_| {
            thread::sleep(Duration::from_millis(20));
            !data.exists()
        }));
    }

    #[test]
    fn a_program_that_ignores_term_is_killed() {
        let process =
            sh("trap '' TERM; while :; do sleep 0.1; done").grace(Duration::from_secs(1)).start().unwrap();
        let pid = process.pid();
        thread::sleep(Duration::from_millis(100));
        drop(process);
        assert!(gone_soon(pid));
    }

    #[test]
    fn a_signal_reaches_the_program_itself() {
        let process = sh("exec sleep 60").start().unwrap();
        process.signal("KILL");
        assert_eq!(process.wait_blocking(), 128 + 9);
    }

    #[test]
    fn a_program_that_gets_ready_and_ends_between_two_questions_was_ready() {
        let dir = crate::paths::data_dir("ready").unwrap();
        let asked = dir.join("asked");
        let process = sh(&format!("until [ -e '{}' ]; do sleep 0.02; done", asked.display()))
            .data(&dir)
            .start()
            .unwrap();
        let mut was_asked = false;
        let ready = process.wait_ready(Duration::from_secs(60), || {
            let before = std::mem::replace(&mut was_asked, true);
            if !before {
                fs::write(&asked, "").unwrap();
                process.wait_blocking();
            }
            before
        });
        ready.unwrap();
    }

    #[test]
    fn a_program_that_does_not_end_is_named() {
        let process = sh("exec sleep 60").start().unwrap();
        let error = process.wait_ended(Duration::from_millis(50)).unwrap_err().to_string();
        assert!(error.starts_with("sh had not ended after 50ms"), "{error}");
    }

    #[test]
    fn a_failed_start_quotes_the_log() {
        let process = sh("echo the disk is full >&2; exit 1").start().unwrap();
        let error = process.wait_ready(Duration::from_secs(5), || false).unwrap_err().to_string();
        assert!(error.contains("ended with code 1"), "{error}");
        assert!(error.contains("the disk is full"), "{error}");
    }
}
