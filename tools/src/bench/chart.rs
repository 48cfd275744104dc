//! Two charts: a line for each transport, a mark for each size, and a logarithmic scale.

use super::report::Report;
use super::row::Row;
use super::table;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Pixels across, and for each transport down.
const WIDTH: i32 = 960;
const LINE: i32 = 34;

/// Around the field of the marks.
const LEFT: i32 = 130;
const RIGHT: i32 = 30;
const TOP: i32 = 74;
const BOTTOM: i32 = 56;

/// Distinguishable by everyone (Okabe and Ito).
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];

const GREY: RGBColor = RGBColor(215, 215, 215);

/// One mark: where it is, and how far a line goes from it.
type Mark = fn(&Row) -> (f64, f64);

/// Latencies on schedule: the median, and a line to the 99th percentile.
pub fn latency(report: &Report) -> Result<String, String> {
    let mark: Mark = |row| (row.paced.p50 as f64, row.paced.p99 as f64);
    let title = "Latency on schedule: dot p50, line to p99 (less is better)";
    draw(report, title, mark, |value| table::time(value as u64))
}

/// Messages a second.
pub fn throughput(report: &Report) -> Result<String, String> {
    let mark: Mark = |row| (row.messages_per_second, row.messages_per_second);
    let title = "Messages a second, one sender and one receiver (more is better)";
    draw(report, title, mark, |value| match value {
        1e6.. => format!("{} M/s", value / 1e6),
        1e3.. => format!("{} k/s", value / 1e3),
        _ => format!("{value}/s"),
    })
}

fn draw(
    report: &Report,
    title: &str,
    mark: Mark,
    label: impl Fn(f64) -> String,
) -> Result<String, String> {
    let mut transports: Vec<&str> = Vec::new();
    let mut sizes: Vec<usize> = Vec::new();
    for row in &report.rows {
        if !transports.contains(&row.transport.as_str()) {
            transports.push(&row.transport);
        }
        if !sizes.contains(&row.size) {
            sizes.push(row.size);
        }
    }
    let height = TOP + LINE * transports.len() as i32 + BOTTOM;
    let scale = Scale::new(report.rows.iter().map(mark));
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (WIDTH as u32, height as u32));
        let page = Page(root.into_drawing_area());
        page.fill()?;
        page.text(title, (LEFT, 14), 18, HPos::Left)?;
        for (number, &size) in sizes.iter().enumerate() {
            let x = LEFT + 8 + 110 * number as i32;
            page.dot((x, 50), colour(number))?;
            let name = format!("{} bytes", table::size(size));
            page.text(&name, (x + 10, 50), 14, HPos::Left)?;
        }
        let foot = height - BOTTOM;
        for power in scale.first..=scale.last {
            let value = 10f64.powi(power);
            let x = scale.x(value);
            page.line([(x, TOP), (x, foot)], GREY, 1)?;
            page.text(&label(value), (x, foot + 16), 13, HPos::Center)?;
        }
        page.text(
            &report.machine.to_string(),
            (LEFT, height - 16),
            11,
            HPos::Left,
        )?;
        for (line, transport) in transports.iter().enumerate() {
            let middle = TOP + LINE * line as i32 + LINE / 2;
            page.text(transport, (LEFT - 10, middle), 14, HPos::Right)?;
            let ground = middle + LINE / 2;
            page.line([(LEFT, ground), (WIDTH - RIGHT, ground)], GREY, 1)?;
            for row in report.rows.iter().filter(|row| row.transport == *transport) {
                let number = sizes.iter().position(|size| *size == row.size);
                let number = number.unwrap_or(0);
                let y = middle - LINE / 3
                    + (2 * LINE / 3) * (2 * number as i32 + 1) / (2 * sizes.len() as i32);
                let (from, to) = mark(row);
                let (from, to) = (scale.x(from), scale.x(to));
                page.line([(from, y), (to, y)], colour(number), 2)?;
                page.dot((from, y), colour(number))?;
            }
        }
        page.0.present().map_err(|error| error.to_string())?;
    }
    Ok(svg)
}

fn colour(number: usize) -> RGBColor {
    COLOURS[number % COLOURS.len()]
}

/// A logarithmic scale over whole powers of ten.
struct Scale {
    first: i32,
    last: i32,
}

impl Scale {
    fn new(marks: impl Iterator<Item = (f64, f64)>) -> Self {
        let (mut first, mut last) = (i32::MAX, i32::MIN);
        for (from, to) in marks {
            first = first.min(from.max(1.0).log10().floor() as i32);
            last = last.max(to.max(1.0).log10().ceil() as i32);
        }
        match first < last {
            true => Self { first, last },
            false => Self {
                first: 0,
                last: last.clamp(1, 18),
            },
        }
    }

    fn x(&self, value: f64) -> i32 {
        let share =
            (value.max(1.0).log10() - f64::from(self.first)) / f64::from(self.last - self.first);
        LEFT + (f64::from(WIDTH - RIGHT - LEFT) * share).round() as i32
    }
}

/// A drawing in pixels.
struct Page<'a>(DrawingArea<SVGBackend<'a>, Shift>);

impl Page<'_> {
    fn fill(&self) -> Result<(), String> {
        self.0.fill(&WHITE).map_err(|error| error.to_string())
    }

    fn text(&self, text: &str, at: (i32, i32), size: i32, side: HPos) -> Result<(), String> {
        let style = ("sans-serif", size).into_text_style(&self.0);
        let style = style.pos(Pos::new(side, VPos::Center));
        self.0
            .draw(&Text::new(text.to_owned(), at, style))
            .map_err(|error| error.to_string())
    }

    fn line(&self, ends: [(i32, i32); 2], colour: RGBColor, width: u32) -> Result<(), String> {
        self.0
            .draw(&PathElement::new(ends.to_vec(), colour.stroke_width(width)))
            .map_err(|error| error.to_string())
    }

    fn dot(&self, at: (i32, i32), colour: RGBColor) -> Result<(), String> {
        self.0
            .draw(&Circle::new(at, 4, colour.filled()))
            .map_err(|error| error.to_string())
    }
}
