//! `status`, `check`, `suspend`, `resume`, `map` and `backfill`: what a person sees of a cluster and changes in it.

use anyhow::{Context, Result};
use rig::operator::OperatorBuilder;
use rig::world::World;
use serde_json::{Value, json};

use super::{stderr, stdout};
use crate::support::{NAME, Scene, operator_of, person, replication};

/// A person who may change resources, as the role `edit` allows.
fn editor(world: &World) -> OperatorBuilder {
    operator_of(world).kubeconfig(world.cluster().admin_kubeconfig())
}

struct Ended {
    code: Option<i32>,
    text: String,
    error: String,
}

async fn run(who: OperatorBuilder, args: &[&str]) -> Result<Ended> {
    let output = who.run(args.iter().copied(), "").await?;
    Ok(Ended { code: output.status.code(), text: stdout(&output), error: stderr(&output) })
}

#[tokio::test]
async fn status_shows_one_as_a_tree_and_many_as_lines_and_its_code_says_whether_all_is_well() -> Result<()> {
    let scene = Scene::named("cli-status").ready().await?;
    let world = &scene.world;
    let namespace = world.namespace.as_str();
    let well = run(person(world), &["status", NAME, "-n", namespace]).await?;
    assert_eq!(well.code, Some(0), "{}", well.error);
    assert!(well.text.starts_with(&format!("✓ {namespace}/{NAME}: ")), "{}", well.text);
    for part in
        [&scene.source, &scene.destination, "us-east-1", "eu-west-1", "✓ Ready (Applied", "orders-role"]
    {
        assert!(well.text.contains(part), "{part}: {}", well.text);
    }
    assert!(!well.text.contains('\u{1b}'), "no colour without a terminal");

    let missing = world.bucket_name();
    let mut broken = replication("broken", &scene.destination, &missing);
    broken["metadata"]["labels"] = json!({"team": "data"});
    world.apply(&broken.to_string()).await?;
    let says = |status: &Value| crate::support::reason(status, "Ready") == "DestinationBucketNotFound";
    world.wait("broken", says, "to be refused").await?;
    let many = run(person(world), &["status", "-n", namespace]).await?;
    assert_eq!(many.code, Some(2), "{}", many.error);
    assert!(many.text.starts_with("1 of 2 replications needs attention: "), "{}", many.text);
    let position = |name: &str| many.text.find(&format!(" {namespace}/{name} "));
    assert!(position("broken").context("broken")? < position(NAME).context(NAME)?, "{}", many.text);
    assert!(many.text.contains(&missing), "the message names the bucket: {}", many.text);
    assert!(
        many.text.contains(&format!("→ s3-replication-operator status broken -n {namespace}")),
        "{}",
        many.text
    );

    for (format, args) in [("json", ["-l", "team=data"]), ("yaml", ["-l", "team=data"])] {
        let ended =
            run(person(world), &[&["status", "-n", namespace, "-o", format], &args[..]].concat()).await?;
        assert_eq!(ended.code, Some(2));
        let list: Value = serde_saphyr::from_str(&ended.text)?;
        assert_eq!(
            list["summary"],
            json!({"total": 1, "wrong": 1, "verdicts": [{"verdict": "Retrying", "count": 1}]})
        );
        assert_eq!(list["items"][0]["name"], "broken");
        assert_eq!(list["items"][0]["reason"], "DestinationBucketNotFound");
    }
    let everywhere = run(person(world), &["status", "-A"]).await?;
    assert!(everywhere.text.contains(&format!(" {namespace}/broken ")), "{}", everywhere.text);

    let map = run(person(world), &["map", "-n", namespace]).await?;
    assert_eq!(map.code, Some(2), "{}", map.error);
    let arrow = format!("└─▶ ✓ {}", scene.destination);
    assert!(map.text.contains(&arrow) && map.text.contains(&format!("  {}\n", scene.source)), "{}", map.text);
    Ok(())
}

#[tokio::test]
async fn a_missing_resource_is_an_error_that_says_how_to_go_on() -> Result<()> {
    let world = World::new("cli-missing").await?;
    for subcommand in ["status", "check", "suspend", "resume", "backfill"] {
        let ended = run(editor(&world), &[subcommand, "nothing", "-n", &world.namespace]).await?;
        assert_eq!(ended.code, Some(1), "{subcommand}");
        let wanted = format!("error: namespace {} has no BucketReplication nothing", world.namespace);
        assert!(ended.error.starts_with(&wanted), "{subcommand}: {}", ended.error);
    }
    let ended = run(person(&world), &["status", "--context", "nowhere"]).await?;
    assert_eq!(ended.code, Some(1));
    assert!(ended.error.contains("nowhere") && ended.error.contains("--kubeconfig"), "{}", ended.error);
    let empty = run(person(&world), &["status", "-n", &world.namespace]).await?;
    let none = format!("There are no replications in namespace {}.\n", world.namespace);
    let everywhere = "→ s3-replication-operator status -A\n";
    assert_eq!((empty.code, empty.text), (Some(0), format!("{none}{everywhere}")));
    Ok(())
}

#[tokio::test]
async fn check_waits_for_the_operator_and_prints_what_came_of_it() -> Result<()> {
    let scene = Scene::named("cli-check").ready().await?;
    let world = &scene.world;
    // Not what the operator found before its own write: that would be an answer of AWS from before it.
    let s3 = world.s3(crate::support::SOURCE_REGION);
    let mut held = scene.find_configuration().await?.context("no configuration")?;
    held.rules[0].status = aws_sdk_s3::types::ReplicationRuleStatus::Disabled;
    s3.put_bucket_replication().bucket(&scene.source).replication_configuration(held).send().await?;
    let ended = run(editor(world), &["check", NAME, "-n", &world.namespace]).await?;
    assert_eq!(ended.code, Some(0), "{}{}", ended.text, ended.error);
    assert!(ended.text.contains("✓ Ready (Applied"), "{}", ended.text);
    assert!(ended.text.contains("last correction") && ended.text.contains("status: want"), "{}", ended.text);
    let step = format!("the operator checks {}/{NAME}\n", world.namespace);
    assert!(ended.error.starts_with(&step) && ended.error.matches(&step).count() == 1, "{}", ended.error);
    let corrected = scene.find_configuration().await?.context("no configuration")?;
    assert_eq!(
        corrected.rules[0].status,
        aws_sdk_s3::types::ReplicationRuleStatus::Enabled,
        "the check has corrected it"
    );

    // A person who may only read sees which right is missing.
    let checked = run(editor(world), &["check", NAME, "-n", &world.namespace, "-o", "yaml"]).await?;
    assert_eq!(checked.code, Some(0), "{}", checked.error);
    let checked: Value = serde_saphyr::from_str(&checked.text)?;
    assert_eq!((&checked["name"], &checked["verdict"]), (&json!(NAME), &json!("Applied")));
    let denied = run(person(world), &["check", NAME, "-n", &world.namespace]).await?;
    assert_eq!(denied.code, Some(1));
    assert!(
        denied.error.contains("request a check of") && denied.error.contains("patch"),
        "{}",
        denied.error
    );
    Ok(())
}

#[tokio::test]
async fn a_check_that_nobody_answers_ends_with_what_to_check() -> Result<()> {
    let world = World::new("cli-nobody").await?;
    world.apply(&replication(NAME, "source-bucket", "dest-bucket").to_string()).await?;
    let ended = run(editor(&world), &["check", NAME, "-n", &world.namespace, "--timeout", "10s"]).await?;
    assert_eq!((ended.code, ended.text.as_str()), (Some(1), ""));
    let lines: Vec<&str> = ended.error.lines().collect();
    let [step, waits, end, watch, pods] = lines.as_slice() else { panic!("{lines:?}") };
    assert!(step.starts_with("the operator checks "), "{step}");
    assert!(
        waits.starts_with("no answer yet") && waits.contains("this command waits 10s at most"),
        "{waits}"
    );
    assert!(end.contains("did not answer within 10s") && end.contains("stays requested"), "{end}");
    assert_eq!(*watch, format!("→ s3-replication-operator status {NAME} -n {} -w", world.namespace));
    assert!(pods.ends_with("get pods,leases -n s3-replication-system"), "{pods}");
    let once = run(editor(&world), &["check", NAME, "-n", &world.namespace, "--timeout", "0"]).await?;
    assert_eq!(once.code, Some(1), "{}", once.error);
    assert!(once.error.contains("did not answer within 0s"), "{}", once.error);
    Ok(())
}

#[tokio::test]
async fn an_interrupted_check_says_how_to_go_on() -> Result<()> {
    let world = World::new("cli-interrupt").await?;
    world.apply(&replication(NAME, "source-bucket", "dest-bucket").to_string()).await?;
    // SIGTERM is that of `timeout` and of supervisors.
    for signal in ["-INT", "-TERM"] {
        let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_s3-replication-operator"))
            .args(["check", NAME, "-n", &world.namespace, "--kubeconfig"])
            .arg(world.cluster().admin_kubeconfig())
            .stderr(std::process::Stdio::piped())
            .spawn()?;
        let requested = |object: Option<&Value>| {
            object.is_some_and(|object| {
                object["metadata"]["annotations"]["s3replication.dev/requestedAt"].is_string()
            })
        };
        world.wait_object(NAME, requested, "to have a request").await?;
        let pid = child.id().to_string();
        let mut error = std::io::BufReader::new(child.stderr.take().context("stderr")?);
        let mut line = String::new();
        std::io::BufRead::read_line(&mut error, &mut line)?;
        std::process::Command::new("kill").args([signal, &pid]).status()?;
        let code = child.wait()?.code();
        std::io::Read::read_to_string(&mut error, &mut line)?;
        assert_eq!(code, Some(1), "{signal}: {line}");
        // The kubeconfig was a flag, and is one of the command that goes on.
        let watch = format!(" {NAME} -n {} -w", world.namespace);
        for part in ["stopped waiting", "status --kubeconfig ", &watch] {
            assert!(line.contains(part), "{signal}: {part}: {line}");
        }
    }
    Ok(())
}

/// The text that a program has written so far, as it arrives.
pub struct Screen {
    child: std::process::Child,
    lines: std::sync::mpsc::Receiver<String>,
    seen: String,
}

impl Screen {
    pub fn of(mut command: std::process::Command) -> Result<Screen> {
        use std::io::Read;
        let mut child =
            command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped()).spawn()?;
        let mut output = child.stdout.take().context("stdout")?;
        let (sender, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut part = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut part) {
                let Some(text) = part.get(..count) else { return };
                if sender.send(String::from_utf8_lossy(text).into_owned()).is_err() {
                    return;
                }
            }
        });
        Ok(Screen { child, lines, seen: String::new() })
    }

    /// Waits for a text, and returns everything up to it and what came with it.
    pub async fn until(&mut self, wanted: &str) -> Result<String> {
        let start = std::time::Instant::now();
        while !self.seen.contains(wanted) {
            match self.lines.try_recv() {
                Ok(text) => self.seen.push_str(&text),
                Err(_) if start.elapsed() > rig::world::DEADLINE => {
                    anyhow::bail!("{wanted:?} does not come: {:?}", self.seen)
                }
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
            }
        }
        Ok(std::mem::take(&mut self.seen))
    }

    /// Waits for a text, and returns everything up to its end. The rest comes with the next wait.
    async fn up_to(&mut self, wanted: &str) -> Result<String> {
        let mut text = self.until(wanted).await?;
        let end = text.find(wanted).context("it was there")? + wanted.len();
        self.seen = text.split_off(end);
        Ok(text)
    }

    /// Presses Ctrl-C.
    pub fn press(&self) -> Result<()> {
        std::process::Command::new("kill").args(["-INT", &self.child.id().to_string()]).status()?;
        Ok(())
    }

    /// Waits for the end, and returns the exit code.
    pub fn ended(mut self) -> Result<Option<i32>> {
        Ok(self.child.wait()?.code())
    }

    /// Waits for the end, and returns what is still printed, and the exit code.
    pub fn rest(mut self) -> Result<(String, Option<i32>)> {
        let code = self.child.wait()?.code();
        while let Ok(text) = self.lines.recv() {
            self.seen.push_str(&text);
        }
        Ok((self.seen, code))
    }

    /// Presses Ctrl-C, and returns the exit code.
    pub fn interrupt(self) -> Result<Option<i32>> {
        self.press()?;
        self.ended()
    }
}

#[tokio::test]
async fn a_watched_status_prints_a_line_for_each_change_and_ends_with_ctrl_c() -> Result<()> {
    let scene = Scene::named("cli-watch").ready().await?;
    let world = &scene.world;
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_s3-replication-operator"));
    command.args(["status", "-w", "-n", &world.namespace, "--kubeconfig"]);
    command.arg(world.cluster().person_kubeconfig());
    let mut screen = Screen::of(command)?;
    let first = screen.until("applied").await?;
    assert_eq!(first.lines().count(), 1, "{first}");
    scene.patch_spec(json!({"suspend": true})).await?;
    let second = screen.until("suspended (Suspended)").await?;
    assert!(second.contains(&format!("‖ {}/{NAME}: ", world.namespace)), "{second}");
    assert!(!second.contains('\u{1b}'), "lines, without a terminal: {second:?}");
    scene.delete().await?;
    screen.until(&format!("- {}/{NAME}: deleted", world.namespace)).await?;
    assert_eq!(screen.interrupt()?, Some(0), "nothing is wrong with what is not there");
    Ok(())
}

#[tokio::test]
async fn a_watched_status_prints_an_object_for_each_change_for_a_program() -> Result<()> {
    let scene = Scene::named("cli-watch-json").ready().await?;
    let world = &scene.world;
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_s3-replication-operator"));
    command.args(["status", NAME, "-w", "-o", "json", "-n", &world.namespace, "--kubeconfig"]);
    command.arg(world.cluster().person_kubeconfig());
    let mut screen = Screen::of(command)?;
    let mut printed = screen.until("\n}\n").await?;
    scene.patch_spec(json!({"suspend": true})).await?;
    while !printed.contains("\"verdict\": \"Suspended\"") {
        printed.push_str(&screen.until("\n}\n").await?);
    }
    let objects = serde_json::Deserializer::from_str(&printed).into_iter::<Value>();
    let objects = objects.collect::<Result<Vec<Value>, _>>()?;
    assert!(objects.len() >= 2 && objects.iter().all(|object| object["name"] == NAME), "{printed}");
    assert_eq!(screen.interrupt()?, Some(0), "it was suspended on purpose");
    Ok(())
}

#[tokio::test]
async fn a_terminal_gets_colour_and_its_width_and_no_color_is_respected() -> Result<()> {
    let scene = Scene::named("cli-terminal").ready().await?;
    let world = &scene.world;
    if !std::path::Path::new("/usr/bin/script").exists() {
        eprintln!("there is no script (util-linux), which makes a terminal: nothing is tested here");
        return Ok(());
    }
    let program = env!("CARGO_BIN_EXE_s3-replication-operator");
    let on_terminal = |subcommand: &str, no_color: &str| {
        let kubeconfig = world.cluster().person_kubeconfig().display();
        let status =
            format!("{program} status {subcommand} -n {} --kubeconfig {kubeconfig}", world.namespace);
        let mut command = std::process::Command::new("script");
        command.args(["-qec", &format!("stty cols 72 rows 20; {status}"), "/dev/null"]);
        command.env("NO_COLOR", no_color).env("TERM", "xterm-256color");
        command
    };
    let shown = |no_color: &str| -> Result<String> {
        Ok(String::from_utf8_lossy(
            &on_terminal("", no_color).stdin(std::process::Stdio::null()).output()?.stdout,
        )
        .into_owned())
    };
    let coloured = shown("")?;
    assert!(coloured.contains("\u{1b}[32m"), "green: {coloured:?}");
    // The shell of an editor acts on no control sequences, neither of colour nor of a picture.
    let watched =
        on_terminal("-w --timeout 0", "").env("TERM", "dumb").stdin(std::process::Stdio::null()).output()?;
    let watched = String::from_utf8_lossy(&watched.stdout).into_owned();
    assert!(!watched.contains('\u{1b}') && watched.contains("orders"), "{watched:?}");
    let plain = shown("1")?;
    assert!(!plain.contains('\u{1b}') && plain.contains('✓'), "{plain:?}");
    for line in plain.lines().filter(|line| line.contains(" orders") || line.contains("NAMESPACE/NAME")) {
        assert!(line.trim_end().chars().count() <= 72, "{line}");
    }
    Ok(())
}

/// `timeout 30 … status -w` sends SIGTERM, and a terminal that is closed SIGHUP.
#[tokio::test]
async fn a_watch_leaves_the_terminal_as_it_was_with_the_last_picture_however_it_ends() -> Result<()> {
    let scene = Scene::named("cli-screen").ready().await?;
    let world = &scene.world;
    if !std::path::Path::new("/usr/bin/script").exists() {
        eprintln!("there is no script (util-linux), which makes a terminal: nothing is tested here");
        return Ok(());
    }
    let (enter, leave) = ("\u{1b}[?1049h", "\u{1b}[?1049l\u{1b}[?25h");
    let pid_file = rig::paths::scratch_dir("screen")?.join("pid");
    for (signal, suspend) in [("INT", true), ("TERM", false), ("HUP", true)] {
        let (program, pid_file) = (env!("CARGO_BIN_EXE_s3-replication-operator"), pid_file.display());
        let kubeconfig = world.cluster().person_kubeconfig().display();
        let status = format!("{program} status -w -n {} --kubeconfig {kubeconfig}", world.namespace);
        let mut command = std::process::Command::new("script");
        let typed = format!("stty cols 72 rows 20; echo $$ > {pid_file}; exec {status}");
        command.args(["-qec", &typed, "/dev/null"]).env("NO_COLOR", "1").env("TERM", "xterm-256color");
        let mut screen = Screen::of(command)?;
        // A picture overwrites the last one, and nothing clears the screen.
        let first = screen.until("\u{1b}[J").await?;
        assert!(first.starts_with(enter), "{first:?}");
        scene.patch_spec(json!({"suspend": suspend})).await?;
        let wanted = if suspend { "Suspended" } else { "1 applied" };
        let second = screen.until(wanted).await?;
        for picture in [&first, &second] {
            assert!(picture.contains("\u{1b}[H") && !picture.contains("\u{1b}[2J"), "{picture:?}");
        }
        let pid = std::fs::read_to_string(pid_file.to_string())?;
        std::process::Command::new("kill").args([&format!("-{signal}"), pid.trim()]).status()?;
        let end = screen.until(leave).await?;
        let (last, code) = screen.rest()?;
        let after = format!("{end}{last}").split(leave).nth(1).unwrap_or_default().to_owned();
        assert!(after.contains(wanted) && !after.contains('\u{1b}'), "{signal}: {after:?}");
        assert_eq!(code, Some(0), "{signal}: {after}");
    }
    Ok(())
}

#[tokio::test]
async fn ctrl_z_gives_the_terminal_back_and_fg_draws_again() -> Result<()> {
    let scene = Scene::named("cli-stop").ready().await?;
    let world = &scene.world;
    if !std::path::Path::new("/usr/bin/script").exists() {
        eprintln!("there is no script (util-linux), which makes a terminal: nothing is tested here");
        return Ok(());
    }
    let (enter, leave) = ("\u{1b}[?1049h", "\u{1b}[?1049l\u{1b}[?25h");
    let pid_file = rig::paths::scratch_dir("stop")?.join("pid");
    let (program, pid_path) = (env!("CARGO_BIN_EXE_s3-replication-operator"), pid_file.display());
    let kubeconfig = world.cluster().person_kubeconfig().display();
    let status = format!("{program} status -w -n {} --kubeconfig {kubeconfig}", world.namespace);
    // A shell with jobs, as a person has one: it goes on where its job stops. `bg` leaves the terminal to the shell, and
    // once it returns the job runs. A job that would draw there stops again, and /proc shows that (T). One that does not
    // is waited for ten seconds, so that the shell ends although the test has failed.
    let is_stopped = format!("grep -q '^State:.T' /proc/$(cat {pid_path})/status");
    let wait = format!("for _ in $(seq 500); do {is_stopped} && echo behind && break; sleep 0.02; done");
    let jobs = format!("set -m; sh -c 'echo $$ > {pid_path}; exec {status}'; echo stopped; bg; {wait}; fg");
    let script = pid_file.with_file_name("jobs.sh");
    std::fs::write(&script, jobs)?;
    let mut command = std::process::Command::new("script");
    command.args(["-qec", &format!("stty cols 72 rows 20; bash {}", script.display()), "/dev/null"]);
    command.env("NO_COLOR", "1").env("TERM", "xterm-256color");
    let mut screen = Screen::of(command)?;
    let first = screen.until("\u{1b}[J").await?;
    assert!(first.starts_with(enter), "{first:?}");
    let signal = |name: &str| -> Result<()> {
        let pid = std::fs::read_to_string(&pid_file)?;
        std::process::Command::new("kill").args([name, pid.trim()]).status()?;
        Ok(())
    };
    signal("-TSTP")?;
    let stopped = screen.up_to("stopped\r\n").await?;
    assert!(stopped.contains(leave) && !stopped.contains(enter), "{stopped:?}");
    let behind = screen.up_to("behind\r\n").await?;
    assert!(!behind.contains(enter), "it draws on no terminal of others: {behind:?}");
    let again = screen.until("1 applied").await?;
    assert!(again.contains(enter), "{again:?}");
    signal("-INT")?;
    let end = screen.until(leave).await?;
    let (last, code) = screen.rest()?;
    assert!(format!("{end}{last}").contains("1 applied"), "{end:?}{last:?}");
    assert_eq!(code, Some(0));
    Ok(())
}

#[tokio::test]
async fn the_command_that_status_prints_replaces_an_account_with_a_wrong_id() -> Result<()> {
    let world = World::with_accounts("cli-wrong-id").await?;
    let _operator = operator_of(&world).start().await?;
    let account = world.unique("cli-wrong-id");
    let (source, destination) = (world.bucket("us-east-1").await?, world.bucket("eu-west-1").await?);
    let manifest = json!({
        "apiVersion": "s3replication.dev/v1alpha1", "kind": "AwsAccount", "metadata": {"name": account},
        "spec": {
            "accountId": "123456789012", "namespaces": {"matchNames": [world.namespace]},
            "sources": [source], "destinations": [destination],
        },
    });
    world.apply(&manifest.to_string()).await?;
    let mut resource = replication(NAME, &source, &destination);
    resource["spec"]["source"]["accountRef"] = json!(account);
    world.apply(&resource.to_string()).await?;
    let mismatch = |status: &Value| crate::support::reason(status, "Ready") == "AccountMismatch";
    world.wait(NAME, mismatch, "to be refused").await?;
    let shown = run(person(&world), &["status", NAME, "-n", &world.namespace]).await?;
    assert_eq!(shown.code, Some(2), "{}", shown.error);
    let command = shown.text.lines().find(|line| line.contains("kubectl replace --force"));
    let command = command.and_then(|line| line.trim().strip_prefix("→ ")).context(shown.text.clone())?;
    assert!(command.ends_with(&format!("# if {} is the right account", world.account)), "{command}");

    let kubectl = world.cluster().kubectl_program().parent().context("no folder")?;
    let path = format!("{}:{}", kubectl.display(), std::env::var("PATH")?);
    let typed = editor(&world).binary("bash").env("PATH", path).run(["-euc", command], "").await?;
    assert!(typed.status.success(), "{}", stderr(&typed));
    world.wait_ready(NAME).await?;
    Ok(())
}

#[tokio::test]
async fn suspend_and_resume_say_what_they_mean_and_change_nothing_twice() -> Result<()> {
    let scene = Scene::named("cli-suspend").ready().await?;
    let world = &scene.world;
    let namespace = world.namespace.as_str();
    let suspended = run(editor(world), &["suspend", NAME, "-n", namespace]).await?;
    assert_eq!(suspended.code, Some(0), "{}", suspended.error);
    assert!(suspended.text.contains("S3 goes on replicating"), "{}", suspended.text);
    let says = |status: &Value| crate::support::reason(status, "Ready") == "Suspended";
    let object = world.wait(NAME, says, "to be suspended").await?;
    let again = run(editor(world), &["suspend", NAME, "-n", namespace]).await?;
    assert!(again.text.contains("was suspended already"), "{}", again.text);
    assert_eq!(world.get(NAME).await?["metadata"]["generation"], object["metadata"]["generation"]);

    let check = run(editor(world), &["check", NAME, "-n", namespace]).await?;
    assert_eq!(check.code, Some(1));
    assert!(check.error.contains(&format!("resume {NAME} -n {namespace}")), "{}", check.error);
    let status = run(person(world), &["status", NAME, "-n", namespace]).await?;
    assert_eq!(status.code, Some(0), "that was someone's wish");
    assert!(status.text.starts_with("‖ "), "{}", status.text);

    let resumed = run(editor(world), &["resume", NAME, "-n", namespace]).await?;
    assert_eq!(resumed.code, Some(0), "{}", resumed.error);
    world.wait_ready(NAME).await?;
    Ok(())
}

/// In an incident a misspelt name must not leave the ones after it as they were.
#[tokio::test]
async fn a_command_goes_on_after_a_name_that_fails_and_exits_with_one() -> Result<()> {
    let world = World::new("cli-names").await?;
    let namespace = world.namespace.as_str();
    for name in ["first", "last"] {
        world.apply(&replication(name, "source-bucket", "dest-bucket").to_string()).await?;
    }
    for (subcommand, suspended, done) in
        [("suspend", json!(true), "is suspended"), ("resume", json!(false), "is resumed")]
    {
        let ended = run(editor(&world), &[subcommand, "first", "typo", "last", "-n", namespace]).await?;
        assert_eq!(ended.code, Some(1), "{}", ended.error);
        let missing = format!("error: namespace {namespace} has no BucketReplication typo\n");
        assert!(
            ended.error.starts_with(&missing) && ended.error.matches("error").count() == 1,
            "{}",
            ended.error
        );
        for name in ["first", "last"] {
            assert!(ended.text.contains(&format!("{namespace}/{name} {done}")), "{}", ended.text);
            assert_eq!(world.get(name).await?["spec"]["suspend"], suspended, "{subcommand} {name}");
        }
    }
    Ok(())
}
