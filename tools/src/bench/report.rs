//! What is told in the end, and where it goes.

use super::chart;
use super::machine::Machine;
use super::row::Row;
use super::table;
use crate::exit::Failure;
use serde::Serialize;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Everything that was found.
#[derive(Debug, Serialize)]
pub struct Report {
    pub machine: Machine,
    pub command: String,
    pub version: &'static str,
    pub rows: Vec<Row>,
    /// What a reader of the figures has to know.
    pub notes: Vec<String>,
}

/// Where the report goes besides the standard output.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Exports")]
pub struct Exports {
    /// Write machine, command, rows and notes as JSON.
    #[arg(long, value_name = "FILE")]
    export_json: Option<PathBuf>,

    /// Write the rows as CSV, times in nanoseconds.
    #[arg(long, value_name = "FILE")]
    export_csv: Option<PathBuf>,

    /// Write the table as Markdown.
    #[arg(long, value_name = "FILE")]
    export_md: Option<PathBuf>,

    /// Draw PREFIX-latency.svg and PREFIX-throughput.svg.
    #[arg(long, value_name = "PREFIX")]
    export_svg: Option<PathBuf>,
}

impl Exports {
    fn charts(&self) -> Option<[PathBuf; 2]> {
        let prefix = self.export_svg.as_ref()?;
        let named = |what: &str| {
            let mut path = prefix.clone().into_os_string();
            path.push(what);
            PathBuf::from(path)
        };
        Some([named("-latency.svg"), named("-throughput.svg")])
    }

    /// Finds out whether all can be written before anything is measured.
    pub fn prepare(&self) -> Result<(), Failure> {
        let files = [&self.export_json, &self.export_csv, &self.export_md];
        let files = files.into_iter().flatten().cloned();
        for path in files.chain(self.charts().into_iter().flatten()) {
            // What is there already stays until there is something new.
            let file = File::options().append(true).create(true).open(&path);
            file.map_err(|error| failed(&path, error))?;
        }
        Ok(())
    }

    /// Writes what was asked for.
    pub fn write(&self, report: &Report) -> Result<(), Failure> {
        let write =
            |path: &Path, text: String| fs::write(path, text).map_err(|error| failed(path, error));
        if let Some(path) = &self.export_json {
            let json = serde_json::to_string_pretty(report);
            let json = json.map_err(|error| failed(path, error.into()))?;
            write(path, json + "\n")?;
        }
        if let Some(path) = &self.export_csv {
            write(path, table::csv(report))?;
        }
        if let Some(path) = &self.export_md {
            write(path, table::markdown(report))?;
        }
        if let Some([latency, throughput]) = self.charts() {
            let drawn = |path: &Path, svg: Result<String, String>| {
                write(
                    path,
                    svg.map_err(|error| failed(path, io::Error::other(error)))?,
                )
            };
            drawn(&latency, chart::latency(report))?;
            drawn(&throughput, chart::throughput(report))?;
        }
        Ok(())
    }
}

fn failed(path: &Path, error: io::Error) -> Failure {
    Failure::Input {
        source: path.display().to_string(),
        error,
    }
}
