//! A plain table: absolute numbers first, then how many times the operations a second of each store kv makes.
//!
//! Invariant: a row says what its store promised while it was measured; a number without its promise is no number.

use crate::workload::Round;

/// One measured store.
pub struct Row {
    /// The store and its version.
    pub name: String,
    /// What it was asked to do and what it promised.
    pub promise: &'static str,
    /// Index of the row that is divided by this one, if any.
    pub against: Option<usize>,
    /// What was measured, in the order of time.
    pub rounds: Vec<Round>,
}

impl Row {
    /// A row without rounds yet.
    pub fn new(name: impl Into<String>, promise: &'static str, against: Option<usize>) -> Self {
        Self { name: name.into(), promise, against, rounds: Vec::new() }
    }

    fn median(&self, figure: impl Fn(&Round) -> f64) -> f64 {
        let mut figures: Vec<f64> = self.rounds.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        match figures.len() {
            0 => 0.0,
            odd if odd % 2 == 1 => figures[odd / 2],
            even => (figures[even / 2 - 1] + figures[even / 2]) / 2.0,
        }
    }
}

/// Prints the rows; `threads` turns a rate into the time one thread waited for one operation.
pub fn print(title: &str, notes: &[String], rows: &[Row], threads: usize) {
    println!("\n{title}");
    for note in notes {
        println!("  {note}");
    }
    println!(
        "  {:<24} {:<52} {:>11} {:>24} {:>10} {:>10} {:>9}",
        "store", "what and promise", "median op/s", "lowest .. highest", "time an op", "CPU an op", "kv is"
    );
    for row in rows {
        let median = row.median(|round| round.rate);
        let rates = || row.rounds.iter().map(|round| round.rate);
        let (lowest, highest) = (rates().fold(f64::INFINITY, f64::min), rates().fold(0.0, f64::max));
        let ratio = match row.against {
            Some(base) => format!("{:.2} x", rows[base].median(|round| round.rate) / median),
            None => "-".to_owned(),
        };
        println!(
            "  {:<24} {:<52} {:>11.0} {:>24} {:>10} {:>10} {:>9}",
            row.name,
            row.promise,
            median,
            format!("{lowest:.0} .. {highest:.0}"),
            duration(threads as f64 / median),
            duration(row.median(|round| round.cpu)),
            ratio
        );
    }
}

/// Seconds in the unit a reader would choose.
fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 1e-6 => format!("{:.1} ns", s * 1e9),
        s if s < 1e-3 => format!("{:.2} us", s * 1e6),
        s => format!("{:.2} ms", s * 1e3),
    }
}
