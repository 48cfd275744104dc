//! The document: `docs/performance.md`, its charts, and the raw data, all from one run.
//!
//! What people wrote stands in `benches/performance.md`; a line `{{name}}` there is replaced by what was measured.

use crate::cell::{Entry, Outcome, Role};
use crate::chart;
use crate::report::{Report, figure};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// The text around the figures.
const TEMPLATE: &str = include_str!("../performance.md");

/// What one of the program's commands found.
#[derive(Debug)]
pub struct Part {
    /// The command.
    pub name: &'static str,
    /// What it found.
    pub report: Report,
}

/// Writes a file.
///
/// # Errors
///
/// What the operating system said.
pub fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

/// Whether `path` can be written, so that nothing is measured in vain.
///
/// # Errors
///
/// What the operating system said.
pub fn writable(path: &Path) -> Result<(), String> {
    let is_new = !path.exists();
    let file = fs::OpenOptions::new().append(true).create(true).open(path);
    file.map_err(|error| format!("{}: {error}", path.display()))?;
    if is_new {
        let _ = fs::remove_file(path);
    }
    Ok(())
}

/// Writes the document, its charts and its data below `docs`.
///
/// # Errors
///
/// What the operating system said.
pub fn publish(docs: &Path, parts: &[Part]) -> Result<(), String> {
    let folder = docs.join("performance");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut text = TEMPLATE.to_owned();
    for part in parts {
        write(
            &folder.join(part.name).with_extension("json"),
            &part.report.json()?,
        )?;
        let outcomes = &part.report.outcomes;
        let tables = match outcomes.iter().all(|outcome| outcome.rows.len() == 1) {
            true => brief(outcomes),
            false => outcomes.iter().map(table).collect(),
        };
        text = text.replace(&format!("{{{{{}}}}}", part.name), tables.trim_end());
    }
    if let Some(peers) = parts.iter().find(|part| part.name == "peers") {
        text = text.replace("{{goals}}", goals(&peers.report.cells).trim_end());
        text = text.replace("{{machine}}", &machine(&peers.report));
        for (name, cells) in chart::CHARTS {
            let outcomes = peers.report.outcomes.iter();
            let outcomes: Vec<&Outcome> = outcomes
                .filter(|outcome| cells.contains(&outcome.cell.as_str()))
                .collect();
            if !outcomes.is_empty() {
                let drawn = chart::bars(&outcomes).map_err(|said| format!("{name}: {said}"))?;
                write(&folder.join(name).with_extension("svg"), &drawn)?;
            }
        }
    }
    write(&docs.join("performance.md"), &text)
}

/// What it was measured on, and with what.
fn machine(report: &Report) -> String {
    let machine = &report.machine;
    let place = if machine.virtual_machine {
        ", in a virtual machine"
    } else {
        ""
    };
    let versions: Vec<String> = report
        .versions
        .iter()
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    format!(
        "Measured on {}, {} processors{place}, Linux {}, at commit `{}`, by `annulus-bench {}`: {}. {}",
        machine.cpu,
        machine.cpus,
        machine.kernel,
        report.commit,
        report.command,
        report.notes.join("; "),
        match versions.is_empty() {
            true => String::new(),
            false => format!("The others: {}.", versions.join(", ")),
        }
    )
    .trim_end()
    .to_owned()
}

/// All goals: what is to be reached, and how far it is.
fn goals(entries: &[Entry]) -> String {
    let mut text =
        "| cell | ours | against | to reach | reached |  |\n|---|--:|---|--:|--:|---|\n".to_owned();
    for entry in entries {
        let Some(goal) = entry.goal else { continue };
        let reached = match (entry.ratio, entry.interval) {
            (Some(ratio), Some([low, high])) => {
                format!("{} [{}, {}]", figure(ratio), figure(low), figure(high))
            }
            _ => "–".to_owned(),
        };
        let _ = writeln!(
            text,
            "| {} | {} {} | {} | {} {} | {reached} | {} |",
            entry.cell,
            figure(entry.ours),
            entry.unit,
            entry.against,
            entry.sense,
            figure(goal),
            match entry.met {
                Some(true) => "yes",
                Some(false) => "**no**",
                None => "–",
            }
        );
    }
    text
}

/// The subjects of a cell.
fn table(outcome: &Outcome) -> String {
    let mut text = format!(
        "### {}\n\n{}. In {}.\n\n",
        outcome.cell,
        capital(outcome.what),
        outcome.unit
    );
    let names = outcome.rows.iter().flat_map(|row| row.more.keys().copied());
    let names: BTreeSet<&str> = names.collect();
    let _ = write!(text, "| | median | times ours | rounds |");
    for name in &names {
        let _ = write!(text, " {name} |");
    }
    let _ = write!(text, "\n|---|--:|--:|--:|{}\n", "--:|".repeat(names.len()));
    for row in &outcome.rows {
        let ratio = match row.role {
            Role::Ours => "1".to_owned(),
            _ => format!(
                "{} [{}, {}]",
                figure(row.ratio.median),
                figure(row.ratio.low),
                figure(row.ratio.high)
            ),
        };
        let _ = write!(
            text,
            "| {} | {} | {ratio} | {} of {} |",
            row.subject,
            figure(row.median),
            row.kept,
            row.kept + row.dropped
        );
        for name in &names {
            let value = row
                .more
                .get(name)
                .map_or_else(|| "–".to_owned(), |&value| figure(value));
            let _ = write!(text, " {value} |");
        }
        text.push('\n');
    }
    text.push('\n');
    for row in outcome.rows.iter().filter(|row| !row.note.is_empty()) {
        let _ = writeln!(text, "{}: {}.\n", row.subject, row.note);
    }
    text
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

/// Cells of one subject each, in one table.
fn brief(outcomes: &[Outcome]) -> String {
    let mut text = "| | measured | median | unit |\n|---|---|--:|---|\n".to_owned();
    for outcome in outcomes {
        let Some(row) = outcome.rows.first() else {
            continue;
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} |",
            outcome.cell,
            outcome.what,
            figure(row.median),
            outcome.unit
        );
    }
    text.trim_end().to_owned()
}
