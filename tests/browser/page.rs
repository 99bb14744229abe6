//! The trials on a page. The program makes each page from a report in JSON.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::devtools::Browser;

const TEXT: &str =
    "<script>window.hacked=1</script><img src=x onerror=window.hacked=2>\" onload=\"window.hacked=3";

/// A replication of a report.
fn replication(name: &str, verdict: &str, reason: &str, message: &str) -> Value {
    json!({
        "namespace": "data", "name": name, "verdict": verdict, "reason": reason, "message": message,
        "meaning": "what it means", "next": [format!("kubectl s3replication check {name} -n data")],
        "conditions": [], "suspended": false, "managementPolicy": "Enforce",
        "source": {"bucket": format!("{name}-source"), "region": "us-east-1", "account": "111111111111"},
        "rules": [{
            "id": "all", "enabled": true, "metrics": false,
            "destination": {"bucket": format!("{name}-copy"), "region": "eu-west-1", "account": "222222222222"},
        }],
        "drift": [], "driftCount": 0, "backfills": [],
    })
}

fn report_of(replications: Vec<Value>) -> Value {
    let wrong = replications.iter().filter(|view| view["verdict"] == "Failing").count();
    let bucket = |name: &str| json!({"accountId": "111111111111", "bucket": name});
    json!({
        "generated": "2026-03-01T12:30:00Z",
        "summary": {
            "total": replications.len(), "wrong": wrong,
            "verdicts": [{"verdict": "Failing", "count": wrong}],
        },
        "replications": replications,
        "accounts": [{"accountId": "111111111111", "buckets": 3}],
        "notReplicated": [bucket("lonely-2"), bucket("lonely-10"), bucket("lonely-1")],
        "notManaged": [],
        "unknown": [{"accountId": "333333333333", "why": "access denied"}],
    })
}

fn small() -> Value {
    report_of(vec![
        replication("orders", "Failing", "ForeignRole", "The role exists."),
        replication("archive", "Retrying", "Throttled", "IAM throttles the operator."),
        replication("bills", "Applied", "Applied", "m"),
    ])
}

/// The page that the program makes of a report.
fn page_of(report: &Value) -> Result<PathBuf> {
    let directory = rig::paths::scratch_dir("page")?;
    let (from, to) = (directory.join("report.json"), directory.join("report.html"));
    fs::write(&from, report.to_string())?;
    let output = Command::new(env!("CARGO_BIN_EXE_s3-replication-operator"))
        .args(["report", "-o", "html", "--from"])
        .arg(&from)
        .arg("--file")
        .arg(&to)
        .output()?;
    ensure!(output.status.code() == Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(to)
}

/// The names in the rows that are shown, in their order.
fn shown(browser: &mut Browser) -> Result<Vec<String>> {
    let rows = browser.evaluate(
        "Array.from(document.querySelectorAll('[data-table=replications] tbody tr'))
            .filter((row) => row.getClientRects().length).map((row) => row.cells[1].textContent)",
    )?;
    Ok(serde_json::from_value(rows)?)
}

/// Types into the filter, and returns what it says once it has filtered.
fn filter(browser: &mut Browser, words: &str, verdict: &str) -> Result<String> {
    let expression = format!(
        "new Promise((done) => {{
            const section = document.querySelector('[data-table=replications]');
            const status = section.querySelector('[role=status]');
            const [search, select] = [section.querySelector('input'), section.querySelector('select')];
            status.textContent = '';
            new MutationObserver(() => {{ if (status.textContent) done(status.textContent); }})
                .observe(status, {{childList: true, characterData: true, subtree: true}});
            search.value = {};
            select.value = {};
            search.dispatchEvent(new Event('input'));
        }})",
        json!(words),
        json!(verdict),
    );
    Ok(browser.evaluate(&expression)?.as_str().context("no count")?.to_owned())
}

pub fn opens(browser: &mut Browser) -> Result<()> {
    let page = page_of(&small())?;
    browser.open(&page)?;
    assert_eq!(browser.complaints(), Vec::<String>::new());
    assert_eq!(browser.requests(), [format!("file://{}", page.display())], "a request leaves the file");
    let verdict = browser.evaluate("document.querySelector('.verdict').textContent")?;
    assert_eq!(
        verdict,
        "1 of 3 replications needs attention: 1 failing. Unknown: 1 account could not be read (333333333333)."
    );
    assert_eq!(shown(browser)?, ["data/orders", "data/archive", "data/bills"], "the order of urgency");
    assert_eq!(browser.evaluate("document.querySelectorAll('svg .arrow[marker-end]').length")?, 3);
    Ok(())
}

pub fn filters(browser: &mut Browser) -> Result<()> {
    browser.open(&page_of(&small())?)?;
    assert_eq!(filter(browser, "THROTTLES iam", "")?, "1 of 3 shown", "words in any order and case");
    assert_eq!(shown(browser)?, ["data/archive"]);
    assert_eq!(filter(browser, "", "Failing")?, "1 of 3 shown");
    assert_eq!(shown(browser)?, ["data/orders"]);
    assert_eq!(filter(browser, "bills", "Failing")?, "0 of 3 shown");
    assert_eq!(filter(browser, "", "")?, "3 of 3 shown");
    assert_eq!(browser.complaints(), Vec::<String>::new());
    Ok(())
}

pub fn sorts(browser: &mut Browser) -> Result<()> {
    browser.open(&page_of(&small())?)?;
    browser.evaluate("document.querySelectorAll('[data-table=replications] th button')[1].focus()")?;
    let direction = "document.querySelectorAll('[data-table=replications] th')[1].getAttribute('aria-sort')";
    for (wanted, order) in [
        ("ascending", ["data/archive", "data/bills", "data/orders"]),
        ("descending", ["data/orders", "data/bills", "data/archive"]),
    ] {
        browser.press("Enter", 13)?;
        assert_eq!(shown(browser)?, order);
        assert_eq!(browser.evaluate(direction)?, wanted);
    }
    // By urgency, which is not the order of the words; and numbers as numbers.
    browser.evaluate("document.querySelectorAll('[data-table=replications] th button')[0].click()")?;
    assert_eq!(shown(browser)?, ["data/orders", "data/archive", "data/bills"]);
    let buckets = browser.evaluate(
        "document.querySelectorAll('[data-table=not-replicated] th button')[1].click();
         Array.from(document.querySelectorAll('[data-table=not-replicated] tbody tr')).map((r) => r.cells[1].textContent)",
    )?;
    assert_eq!(buckets, json!(["lonely-1", "lonely-2", "lonely-10"]));

    // The first stop of the keyboard leads past the head of the page.
    browser.evaluate("document.activeElement.blur()")?;
    browser.press("Tab", 9)?;
    let first =
        browser.evaluate("document.activeElement.getAttribute('href') || document.activeElement.tagName")?;
    ensure!(first == "#replications" || first == "BUTTON", "{first}");
    Ok(())
}

pub fn escapes(browser: &mut Browser) -> Result<()> {
    let mut view = replication("orders", "Failing", TEXT, TEXT);
    view["name"] = json!(TEXT);
    view["next"] = json!([TEXT]);
    for bucket in ["/source", "/rules/0/destination"] {
        *view.pointer_mut(bucket).context("bucket")? =
            json!({"bucket": TEXT, "region": TEXT, "account": TEXT});
    }
    view["rules"][0]["id"] = json!(TEXT);
    view["driftCount"] = json!(1);
    view["drift"] = json!([{"resource": "Role", "name": TEXT, "path": TEXT, "want": TEXT, "got": TEXT}]);
    let mut report = report_of(vec![view]);
    report["notReplicated"] = json!([{"accountId": TEXT, "bucket": TEXT}]);
    report["unknown"] = json!([{"accountId": TEXT, "bucket": TEXT, "why": TEXT}]);
    let page = page_of(&report)?;
    browser.open(&page)?;
    assert_eq!(browser.evaluate("window.hacked === undefined")?, true);
    assert_eq!(browser.evaluate("[document.scripts.length, document.images.length]")?, json!([1, 0]));
    assert_eq!(browser.requests(), [format!("file://{}", page.display())]);
    let message = browser
        .evaluate("document.querySelector('[data-table=replications] tbody tr').cells[4].textContent")?;
    assert_eq!(message, TEXT, "the text is there as it is");
    // Even a script that got into the page would not run.
    browser.evaluate(
        "const s = document.createElement('script'); s.textContent = 'window.hacked = 4'; document.body.append(s)",
    )?;
    assert_eq!(browser.evaluate("window.hacked === undefined")?, true, "the page's policy");
    Ok(())
}

pub fn contrasts(browser: &mut Browser) -> Result<()> {
    browser.open(&page_of(&small())?)?;
    for scheme in ["light", "dark"] {
        let feature = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        browser.call("Emulation.setEmulatedMedia", json!({"features": feature}))?;
        // The formulas of WCAG 2: https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio
        let ratios = browser.evaluate(
            "(() => {
                const style = getComputedStyle(document.documentElement);
                const light = (name) => {
                    const hex = style.getPropertyValue(name).trim().slice(1);
                    const parts = [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255)
                        .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
                    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
                };
                const found = {};
                for (const text of ['--text', '--dim', '--wrong', '--late', '--unsure', '--well', '--focus'])
                    for (const ground of ['--ground', '--panel']) {
                        const [a, b] = [light(text), light(ground)].sort((x, y) => y - x);
                        found[`${text} on ${ground}`] = (a + 0.05) / (b + 0.05);
                    }
                return found;
            })()",
        )?;
        let ratios = ratios.as_object().context("no ratios")?;
        ensure!(ratios.len() == 14, "{ratios:?}");
        for (pair, ratio) in ratios {
            ensure!(ratio.as_f64().is_some_and(|ratio| ratio >= 4.5), "{scheme}: {pair} has {ratio}");
        }
        let ground = browser.evaluate("getComputedStyle(document.body).backgroundColor")?;
        assert_eq!(ground == "rgb(255, 255, 255)", scheme == "light", "{ground}");
    }
    Ok(())
}

pub fn reads(browser: &mut Browser) -> Result<()> {
    browser.open(&page_of(&small())?)?;
    let tree = browser.call("Accessibility.getFullAXTree", json!({}))?;
    let nodes = tree["nodes"].as_array().context("no tree")?;
    let has = |role: &str, name: &str| {
        nodes.iter().any(|node| {
            node["role"]["value"] == role
                && node["name"]["value"].as_str().is_some_and(|held| held.contains(name))
        })
    };
    for (role, name) in [
        ("heading", "Buckets that do not replicate"),
        ("columnheader", "Verdict"),
        ("button", "Reason"),
        ("searchbox", "Filter by words"),
        ("combobox", "Verdict"),
        ("region", "Replications"),
        ("cell", "✗ failing"),
    ] {
        ensure!(has(role, name), "no {role} {name}");
    }
    ensure!(has("image", "Map: 3 arrows") || has("img", "Map: 3 arrows"), "the map has no name");
    ensure!(nodes.iter().any(|node| node["role"]["value"] == "status"), "the count is not announced");
    assert_eq!(browser.evaluate("document.documentElement.lang")?, "en");
    Ok(())
}

pub fn prints(browser: &mut Browser) -> Result<()> {
    browser.open(&page_of(&small())?)?;
    browser.call("Emulation.setEmulatedMedia", json!({"media": "print"}))?;
    let controls =
        "Array.from(document.querySelectorAll('.controls')).some((c) => c.getClientRects().length)";
    assert_eq!(browser.evaluate(controls)?, false);
    assert_eq!(shown(browser)?.len(), 3);
    let pdf = browser.call("Page.printToPDF", json!({}))?;
    // `%PDF` in Base64.
    ensure!(pdf["data"].as_str().is_some_and(|data| data.starts_with("JVBERi")), "no PDF");
    Ok(())
}

pub fn scales(browser: &mut Browser) -> Result<()> {
    let views = (0..10_000).map(|n| {
        let (verdict, reason) =
            if n % 100 == 0 { ("Failing", "ForeignRole") } else { ("Applied", "Applied") };
        replication(&format!("replication-{n}"), verdict, reason, "The role exists.")
    });
    let page = page_of(&report_of(views.collect()))?;
    let size = fs::metadata(&page)?.len();
    ensure!(size < 8_000_000, "{size} bytes");
    browser.open(&page)?;
    assert_eq!(browser.complaints(), Vec::<String>::new());
    assert_eq!(filter(browser, "", "Failing")?, "100 of 10000 shown");
    assert_eq!(filter(browser, "replication-9999", "")?, "1 of 10000 shown");
    assert_eq!(filter(browser, "", "")?, "10000 of 10000 shown");
    let sort =
        "const b = document.querySelectorAll('[data-table=replications] th button')[1]; b.click(); b.click()";
    browser.evaluate(sort)?;
    assert_eq!(shown(browser)?.first().map(String::as_str), Some("data/replication-9999"));
    Ok(())
}
