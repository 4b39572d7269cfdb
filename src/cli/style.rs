//! Colours, on terminals only, and progress bars.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::sync::atomic::{AtomicU8, Ordering};

/// When colours are used.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum When {
    /// On terminals, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

pub(super) const RED: u8 = 31;
pub(super) const GREEN: u8 = 32;
pub(super) const YELLOW: u8 = 33;
pub(super) const CYAN: u8 = 36;
pub(super) const BOLD: u8 = 1;
pub(super) const DIM: u8 = 2;

static STDOUT: AtomicU8 = AtomicU8::new(0);
static STDERR: AtomicU8 = AtomicU8::new(0);

/// Sets when colours are used, for the rest of the process.
pub(super) fn set(when: When) {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    let on = |terminal: bool| match when {
        When::Auto => terminal && !no_color,
        When::Always => true,
        When::Never => false,
    };
    STDOUT.store(on(std::io::stdout().is_terminal()).into(), Ordering::Relaxed);
    STDERR.store(on(std::io::stderr().is_terminal()).into(), Ordering::Relaxed);
}

fn paint(text: &str, code: u8, on: bool) -> String {
    if on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
}

/// The text in a colour, where the standard output takes it.
pub(super) fn paint_out(text: &str, code: u8) -> String {
    paint(text, code, STDOUT.load(Ordering::Relaxed) == 1)
}

/// The text in a colour, where the standard error takes it.
pub(super) fn stderr(text: &str, code: u8) -> String {
    paint(text, code, STDERR.load(Ordering::Relaxed) == 1)
}

/// A headline of a report.
pub(super) fn head(text: &str) -> String {
    paint_out(text, BOLD)
}

/// A bar on the standard error for so many steps; invisible where that is no terminal, and for short work.
pub(super) fn bar(steps: u64, what: &'static str) -> ProgressBar {
    if !std::io::stderr().is_terminal() || steps < 2 {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(steps), ProgressDrawTarget::stderr_with_hz(8)).with_message(what);
    match ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {eta}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// A number of bytes for people.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KB", "MB", "GB", "TB"];
    if count < 1000 {
        return if count == 1 { "1 byte".into() } else { format!("{count} bytes") };
    }
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.digits$} {}", UNITS[unit])
}

/// Rows as columns of equal width, indented.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let visible = |s: &str| -> usize {
        let mut escape = false;
        s.chars()
            .filter(|&c| {
                let was = escape;
                escape = c == '\x1b' || (escape && c != 'm');
                !(was || escape)
            })
            .count()
    };
    let width: Vec<usize> =
        (0..columns).map(|c| rows.iter().filter_map(|r| r.get(c)).map(|s| visible(s)).max().unwrap_or(0)).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::from(" ");
        for (cell, &width) in row.iter().zip(&width) {
            line += &format!(" {cell}{}", " ".repeat(width.min(60).saturating_sub(visible(cell)) + 1));
        }
        out += line.trim_end();
        out.push('\n');
    }
    out
}

/// A count with its noun: `1 node`, `2 nodes`.
pub(super) fn count(n: usize, noun: &str) -> String {
    let plural = match noun {
        _ if n == 1 => noun.to_string(),
        _ if noun.ends_with('y') => format!("{}ies", &noun[..noun.len() - 1]),
        _ if noun.ends_with('x') => format!("{noun}es"),
        _ => format!("{noun}s"),
    };
    format!("{n} {plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_counts_read_well() {
        for (n, text) in
            [(0, "0 bytes"), (1, "1 byte"), (999, "999 bytes"), (1000, "1.00 KB"), (4_264_812, "4.26 MB"), (999_999, "1.00 MB")]
        {
            assert_eq!(bytes(n), text);
        }
        assert_eq!([count(1, "node"), count(2, "entry"), count(0, "box")], ["1 node", "2 entries", "0 boxes"]);
    }

    #[test]
    fn colours_do_not_count_in_tables() {
        let rows = [vec!["\x1b[31mab\x1b[0m".to_string(), "x".into()], vec!["c".into(), "y".into()]];
        assert_eq!(table(&rows), "  \x1b[31mab\x1b[0m  x\n  c   y\n");
    }
}
