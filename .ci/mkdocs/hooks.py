"""Fits the pages of docs/ into a site.

In: the pages, which are written for a reader of the repository. Out: links to files of the repository lead to it, or are
plain text where its address is not known, and every reason and alert has an address of its own: /reasons/AccessDenied/
leads to the runbook of AccessDenied, /alerts/S3ReplicationNoLeader/ to that of the alert.
"""

import html
import os
import re
from pathlib import Path

# Such as https://github.com/OWNER/NAME/blob/main; the hosted workflow sets it.
REPOSITORY = os.environ.get("REPOSITORY_URL", "").rstrip("/")

LINK_OUT_OF_DOCS = re.compile(r"\[([^\]]+)\]\(\.\./([^)#]+)(#[^)]*)?\)")
REDIRECT = """<!doctype html>
<meta charset="utf-8">
<title>{name}</title>
<link rel="canonical" href="{target}">
<meta http-equiv="refresh" content="0; url={target}">
<a href="{target}">{name}</a>
"""


def on_config(config):
    """Lists pages that the navigation does not name at the end of the tasks, so that no page is lost."""
    named = re.findall(r"'([\w-]+\.md)'", repr(config["nav"]))
    pages = sorted(path.name for path in Path(config["docs_dir"]).glob("*.md") if path.name not in named)
    [tasks] = [section["Tasks"] for section in config["nav"] if "Tasks" in section]
    tasks.extend(pages)
    return config


def on_page_markdown(markdown, **_):
    def replaced(match):
        text, path, anchor = match.group(1), match.group(2), match.group(3) or ""
        if REPOSITORY:
            return f"[{text}]({REPOSITORY}/{path}{anchor})"
        return text if text.startswith("`") or path.endswith(text) else f"{text} (`{path}`)"

    return LINK_OUT_OF_DOCS.sub(replaced, markdown)


def on_post_build(config, **_):
    docs, site = Path(config["docs_dir"]), Path(config["site_dir"])
    reasons = re.findall(r"^## (\w+)$", (docs / "reasons.md").read_text(), re.MULTILINE)
    alerts = re.findall(r"^\| `(\w+)` \|", (docs / "troubleshooting.md").read_text(), re.MULTILINE)
    if not reasons or not alerts:
        raise SystemExit("docs/reasons.md has no reasons, or docs/troubleshooting.md no alerts")
    for reason in reasons:
        redirect(site / "reasons" / reason, reason, f"../#{reason.lower()}")
    for alert in alerts:
        redirect(site / "alerts" / alert, alert, "../../troubleshooting/#by-alert")


def redirect(folder, name, target):
    folder.mkdir(parents=True, exist_ok=True)
    page = REDIRECT.format(name=html.escape(name), target=html.escape(target))
    (folder / "index.html").write_text(page)
