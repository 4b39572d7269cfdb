//! Tables of what is supported, from the op registry and the results of a replay.

use metagraph::graph::op::{Grad, Kernel, Op};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

/// Cases seen and passed.
#[derive(Clone, Copy, Default)]
struct Count {
    cases: usize,
    passed: usize,
}

impl Count {
    fn add(&mut self, record: &Value) {
        self.cases += 1;
        self.passed += usize::from(record["passed"] == true);
    }
}

const BEGIN: &str = "<!-- support: written by `replay --support` -->\n";
const END: &str = "<!-- end of support -->\n";

/// Puts the totals of each set between the marks in `DIR/README.md`, and writes the list of ops to `DIR/OPS.md`.
pub fn write(dir: &Path, records: &[Value]) -> std::io::Result<()> {
    let mut sets: BTreeMap<&str, Count> = BTreeMap::new();
    let mut ops: BTreeMap<&str, Count> = BTreeMap::new();
    for record in records {
        sets.entry(record["set"].as_str().unwrap_or("?")).or_default().add(record);
        for op in record["ops"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            ops.entry(op).or_default().add(record);
        }
    }
    let mut table = String::from("| recorded sessions | cases | passed | |\n|---|---|---|---|\n");
    for (set, count) in &sets {
        let share = 100.0 * count.passed as f64 / count.cases as f64;
        let _ = writeln!(table, "| {set} | {} | {} | {share:.1}% |", count.cases, count.passed);
    }
    let mut all: Vec<&Op> = metagraph::ops::all().collect();
    all.sort_by_key(|op| op.name);
    let kernels = all.iter().filter(|op| !matches!(op.kernel, Kernel::Missing(_))).count();
    let gradients = all.iter().filter(|op| matches!(op.grad, Grad::Fn(_) | Grad::Control)).count();
    let _ = writeln!(
        table,
        "\n{} op types are known, {kernels} of them run and {gradients} have gradients: [OPS.md](OPS.md) lists them.",
        all.len()
    );
    let path = dir.join("README.md");
    let readme = std::fs::read_to_string(&path)?;
    let parts = readme.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let Some((before, after)) = parts else {
        return Err(std::io::Error::other(format!("{} has no marks {BEGIN:?} and {END:?}", path.display())));
    };
    std::fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}"))?;

    let mut list = String::from(
        "# Ops\n\nWritten by `replay --support`. *Gradient*: yes; stops (TensorFlow lets none through); none (TensorFlow has none).\n\
         *Sessions*: how many of the recorded sessions with the op pass.\n\n| op | gradient | sessions |\n|---|---|---|\n",
    );
    for op in all {
        let gradient = match op.grad {
            Grad::Fn(_) | Grad::Control => "yes",
            Grad::None(_) => "stops",
            Grad::Missing => "none",
        };
        let count = ops.get(op.name).copied().unwrap_or_default();
        let sessions = if count.cases == 0 { String::new() } else { format!("{} of {}", count.passed, count.cases) };
        let _ = writeln!(list, "| {} | {gradient} | {sessions} |", op.name);
    }
    std::fs::write(dir.join("OPS.md"), list)
}
