//! Drives a browser by the DevTools protocol over a pipe: no port, no network
//! (<https://chromedevtools.github.io/devtools-protocol/>).

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

/// How long the browser may take for an answer. A machine that compiles meanwhile is slow.
const DEADLINE: Duration = Duration::from_secs(60);

/// The interval of polling.
const POLL: Duration = Duration::from_millis(20);

/// A browser with one page. Dropping it ends it.
pub struct Browser {
    child: Child,
    commands: ChildStdin,
    answers: Receiver<Value>,
    session: Option<String>,
    next: u64,
    /// Everything that the page did and nobody asked for: requests, exceptions, messages of the console.
    events: Vec<Value>,
}

impl Browser {
    pub fn start(program: &Path) -> Result<Browser> {
        let profile = rig::paths::scratch_dir("browser")?;
        // The browser reads from file descriptor 3 and writes to 4.
        let mut child = Command::new("sh")
            .args(["-c", r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1"#])
            .arg(program)
            // Tests run as root in containers, where the sandbox of the browser cannot.
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"])
            // The shared memory of a container may be too small for a page.
            .arg("--disable-dev-shm-usage")
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", program.display()))?;
        let commands = child.stdin.take().context("stdin")?;
        let mut output = BufReader::new(child.stdout.take().context("stdout")?);
        let (sender, answers) = channel();
        thread::spawn(move || {
            let mut message = Vec::new();
            while output.read_until(0, &mut message).is_ok_and(|count| count > 0) {
                message.pop();
                let sent = serde_json::from_slice(&message).is_ok_and(|value| sender.send(value).is_ok());
                if !sent {
                    return;
                }
                message.clear();
            }
        });
        let mut browser = Browser { child, commands, answers, session: None, next: 0, events: Vec::new() };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}))?;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", attach)?;
        browser.session = Some(attached["sessionId"].as_str().context("sessionId")?.to_owned());
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}))?;
        }
        Ok(browser)
    }

    /// Calls a method, and keeps the events that come before its answer.
    pub fn call(&mut self, method: &str, params: Value) -> Result<Value> {
        self.next += 1;
        let id = self.next;
        let mut message = json!({"id": id, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.commands.write_all(format!("{message}\0").as_bytes()).context("the browser has ended")?;
        loop {
            let mut answer =
                self.answers.recv_timeout(DEADLINE).with_context(|| format!("no answer to {method}"))?;
            if answer["id"] == id {
                ensure!(answer["error"].is_null(), "{method}: {}", answer["error"]);
                return Ok(answer["result"].take());
            }
            if answer["method"].is_string() {
                self.events.push(answer);
            }
        }
    }

    /// Opens a page and waits until it has loaded.
    pub fn open(&mut self, file: &Path) -> Result<()> {
        self.events.clear();
        let address = json!(format!("file://{}", file.display()));
        self.call("Page.navigate", json!({"url": address}))?;
        while !self.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            let event = self.answers.recv_timeout(DEADLINE).context("the page does not load")?;
            self.events.push(event);
        }
        // The event may be that of the page before.
        let is_there =
            format!("document.readyState === 'complete' && location.href === new URL({address}).href");
        let start = Instant::now();
        // Between two pages there is none that could answer.
        while !self.evaluate(&is_there).is_ok_and(|answer| answer == true) {
            ensure!(start.elapsed() < DEADLINE, "the page does not load");
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// The value of an expression in the page; that of a promise once it is there.
    pub fn evaluate(&mut self, expression: &str) -> Result<Value> {
        let params = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut answer = self.call("Runtime.evaluate", params)?;
        if !answer["exceptionDetails"].is_null() {
            bail!("{expression}: {}", answer["exceptionDetails"]);
        }
        Ok(answer["result"]["value"].take())
    }

    /// Presses a key.
    pub fn press(&mut self, key: &str, code: u32) -> Result<()> {
        let text = if key == "Enter" { "\r" } else { "" };
        for kind in ["keyDown", "keyUp"] {
            let params =
                json!({"type": kind, "key": key, "code": key, "text": text, "windowsVirtualKeyCode": code});
            self.call("Input.dispatchKeyEvent", params)?;
        }
        Ok(())
    }

    /// The errors of the page: exceptions, and messages of the console.
    pub fn complaints(&self) -> Vec<String> {
        const COMPLAINTS: [&str; 3] =
            ["Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"];
        let complaints =
            self.events.iter().filter(|event| COMPLAINTS.iter().any(|method| event["method"] == *method));
        complaints.map(|event| event["params"].to_string()).collect()
    }

    /// The addresses that the page asked for.
    pub fn requests(&self) -> Vec<String> {
        let sent = self.events.iter().filter(|event| event["method"] == "Network.requestWillBeSent");
        sent.filter_map(|event| event["params"]["request"]["url"].as_str().map(str::to_owned)).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
