//! `metagraph diff`: what two models, graphs or checkpoints differ in.

use super::checkpoint::Values;
use super::source::Source;
use super::style::{self, CYAN, GREEN, RED, YELLOW, count, head, paint_out, table};
use super::{Done, Outcome, print, print_json, stats};
use crate::error::{Result, bail};
use crate::proto::{AttrValue, FunctionDef, MetaGraphDef, NodeDef, text};
use crate::tensor::Tensor;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const EXAMPLES: &str = "Examples:
  metagraph diff model-100 model-200           which variables changed, and by how much
  metagraph diff old.meta new.meta             which nodes are new, gone or changed
  metagraph diff model.ckpt weights.npz        did the conversion keep all values?

Exits with 0 where there is no difference, and with 1 where there is one.";

/// Compare two models or checkpoints; exits with 1 where they differ.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// A model, graph, checkpoint, .npz or .safetensors file
    a: String,
    /// What it is compared with
    b: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Attributes that say nothing of what a node computes.
const UNIMPORTANT: &[&str] = &["_output_shapes"];

struct Changes {
    kind: &'static str,
    only_a: Vec<String>,
    only_b: Vec<String>,
    /// Name, and what differs.
    changed: Vec<(String, Vec<String>)>,
    same: usize,
}

impl Changes {
    fn any(&self) -> bool {
        !(self.only_a.is_empty() && self.only_b.is_empty() && self.changed.is_empty())
    }
}

pub(super) fn run(args: &Args) -> Outcome {
    let (a, b) = (Source::find(&args.a)?, Source::find(&args.b)?);
    let mut all = Vec::new();
    if let (Some(a), Some(b)) = (&a.meta, &b.meta) {
        all.push(graphs(a, b)?);
        all.extend(around(a, b));
    }
    let has_values = |s: &Source| s.checkpoint.is_some() || s.arrays.is_some();
    if has_values(&a) && has_values(&b) {
        all.push(values(&Values::open(&a)?, &Values::open(&b)?)?);
    }
    if all.is_empty() {
        let error = || -> Result<Done> {
            bail!(InvalidArgument, "nothing to compare: {} and {}", a.notes.join("; "), b.notes.join("; "))
        };
        return Ok(error()?);
    }
    let differ = all.iter().any(Changes::any);
    match args.json {
        true => print_json(&report_json(&all, differ))?,
        false => print(&report(args, &all))?,
    }
    Ok(if differ { Done::Found } else { Done::Ok })
}

fn split<'a, T>(
    a: &'a BTreeMap<String, T>,
    b: &'a BTreeMap<String, T>,
) -> (Vec<String>, Vec<String>, Vec<(&'a String, &'a T, &'a T)>) {
    let only = |x: &BTreeMap<String, T>, y: &BTreeMap<String, T>| x.keys().filter(|k| !y.contains_key(*k)).cloned().collect();
    let both = a.iter().filter_map(|(k, v)| b.get(k).map(|w| (k, v, w))).collect();
    (only(a, b), only(b, a), both)
}

fn graphs(a: &MetaGraphDef, b: &MetaGraphDef) -> Result<Changes> {
    let nodes = |m: &MetaGraphDef| -> BTreeMap<String, NodeDef> {
        m.graph_def.iter().flat_map(|g| &g.node).map(|n| (n.name.clone(), n.clone())).collect()
    };
    let (a, b) = (nodes(a), nodes(b));
    let (only_a, only_b, both) = split(&a, &b);
    let (mut changed, mut same) = (Vec::new(), 0);
    for (name, x, y) in both {
        let what = node_changes(x, y);
        if what.is_empty() { same += 1 } else { changed.push((name.clone(), what)) }
    }
    Ok(Changes { kind: "node", only_a, only_b, changed, same })
}

/// The inputs with `:0` left out, and control inputs in one order.
fn inputs(node: &NodeDef) -> (Vec<&str>, BTreeSet<&str>) {
    let (controls, data): (Vec<&str>, Vec<&str>) = node.input.iter().map(String::as_str).partition(|i| i.starts_with('^'));
    (data.into_iter().map(|i| i.strip_suffix(":0").unwrap_or(i)).collect(), controls.into_iter().collect())
}

fn node_changes(a: &NodeDef, b: &NodeDef) -> Vec<String> {
    let mut what = Vec::new();
    if a.op != b.op {
        what.push(format!("op {} is {}", a.op, b.op));
    }
    if inputs(a) != inputs(b) {
        what.push(format!("inputs [{}] are [{}]", a.input.join(", "), b.input.join(", ")));
    }
    if a.device != b.device {
        what.push(format!("device {:?} is {:?}", a.device, b.device));
    }
    let defaults = crate::ops::lookup(&a.op).map(|r| r.signature());
    let default = |name: &str| defaults.and_then(|s| s.attr(name)).and_then(|s| s.default.as_ref());
    let names: BTreeSet<&String> = a.attr.keys().chain(b.attr.keys()).collect();
    for name in names.into_iter().filter(|n| !UNIMPORTANT.contains(&n.as_str())) {
        let (x, y) = (a.attr.get(name).or(default(name)), b.attr.get(name).or(default(name)));
        if !same_attr(x, y) {
            what.push(format!("{name} {} is {}", attr_text(x), attr_text(y)));
        }
    }
    what
}

/// Attributes mean the same where their messages do, or where both are tensors of the same value.
fn same_attr(a: Option<&AttrValue>, b: Option<&AttrValue>) -> bool {
    let tensor = |v: Option<&AttrValue>| v.and_then(|v| crate::graph::attr::tensor(v).ok());
    a == b || matches!((tensor(a), tensor(b)), (Some(a), Some(b)) if a == b)
}

fn attr_text(value: Option<&AttrValue>) -> String {
    let Some(value) = value else { return "(none)".to_string() };
    if let Ok(tensor) = crate::graph::attr::tensor(value) {
        let text = if tensor.len() <= 40 { tensor.to_string() } else { String::new() };
        return if (1..=80).contains(&text.len()) { text } else { format!("{} with other values", stats::kind(&tensor)) };
    }
    let text: Vec<String> = text::print(value).split_whitespace().map(str::to_string).collect();
    let text = text.join(" ");
    if text.chars().count() > 80 { text.chars().take(77).collect::<String>() + "..." } else { text }
}

/// Collections, signatures and the saver.
fn around(a: &MetaGraphDef, b: &MetaGraphDef) -> Vec<Changes> {
    fn compare<T: PartialEq>(kind: &'static str, a: &BTreeMap<String, T>, b: &BTreeMap<String, T>) -> Changes {
        let (only_a, only_b, both) = split(a, b);
        let changed: Vec<(String, Vec<String>)> =
            both.iter().filter(|(_, x, y)| x != y).map(|(n, ..)| (n.to_string(), vec!["differs".to_string()])).collect();
        let same = both.len() - changed.len();
        Changes { kind, only_a, only_b, changed, same }
    }
    let functions = |m: &MetaGraphDef| -> BTreeMap<String, FunctionDef> {
        let library = m.graph_def.iter().flat_map(|g| &g.library).flat_map(|l| &l.function);
        library.filter_map(|f| Some((f.signature.as_ref()?.name.clone(), f.clone()))).collect()
    };
    let all = [
        compare("function", &functions(a), &functions(b)),
        compare("collection", &a.collection_def, &b.collection_def),
        compare("signature", &a.signature_def, &b.signature_def),
    ];
    all.into_iter().filter(|c| c.any() || c.same > 0).collect()
}

fn values(a: &Values, b: &Values) -> Result<Changes> {
    let (in_a, in_b) = (a.variables()?, b.variables()?);
    let (only_a, only_b, both) = split(&in_a, &in_b);
    let (mut changed, mut same) = (Vec::new(), 0);
    let bar = style::bar(both.len() as u64, "comparing");
    for (name, (dtype, shape), (other_dtype, other_shape)) in both {
        bar.inc(1);
        if dtype != other_dtype || shape != other_shape {
            changed.push((name.clone(), vec![format!("{dtype}{shape} is {other_dtype}{other_shape}")]));
            continue;
        }
        let (x, y) = (a.read(name)?, b.read(name)?);
        if x == y { same += 1 } else { changed.push((name.clone(), vec![difference(&x, &y)])) }
    }
    bar.finish_and_clear();
    Ok(Changes { kind: "value", only_a, only_b, changed, same })
}

/// How two tensors of one dtype and shape differ.
fn difference(a: &Tensor, b: &Tensor) -> String {
    let (Some(x), Some(y)) = (stats::numbers(a), stats::numbers(b)) else { return "differs".to_string() };
    let (mut largest, mut at, mut count, mut sum) = (0f64, 0, 0usize, 0f64);
    for (i, (x, y)) in x.iter().zip(&y).enumerate() {
        if x.to_bits() != y.to_bits() {
            count += 1;
        }
        let d = (x - y).abs();
        if d > largest {
            (largest, at) = (d, i);
        }
        sum += if d.is_finite() { d } else { 0.0 };
    }
    let mut index = Vec::new();
    let mut rest = at;
    for &dim in a.dims().iter().rev() {
        index.insert(0, (rest % dim).to_string());
        rest /= dim;
    }
    let place = if index.is_empty() { String::new() } else { format!(" at [{}]", index.join(",")) };
    format!(
        "{count} of {} elements differ, by at most {}{place}, {} on average",
        x.len(),
        stats::short(largest),
        stats::short(sum / x.len().max(1) as f64)
    )
}

fn report(args: &Args, all: &[Changes]) -> String {
    const SHOWN: usize = 60;
    let mut out = String::new();
    for changes in all {
        let kind = changes.kind;
        if !changes.any() {
            out += &format!("{}\n", paint_out(&format!("{}: all the same", count(changes.same, kind)), GREEN));
            continue;
        }
        out += &format!(
            "{}: {} changed, {} only in {}, {} only in {}, {} the same\n",
            head(&format!("{kind}s")),
            changes.changed.len(),
            changes.only_a.len(),
            args.a,
            changes.only_b.len(),
            args.b,
            changes.same
        );
        let mut rows = Vec::new();
        for (names, sign, color) in [(&changes.only_a, "-", RED), (&changes.only_b, "+", CYAN)] {
            rows.extend(names.iter().map(|n| vec![paint_out(sign, color), n.clone()]));
        }
        for (name, what) in &changes.changed {
            rows.push(vec![paint_out("~", YELLOW), name.clone(), what.join("; ")]);
        }
        out += &table(&rows[..rows.len().min(SHOWN)]);
        if rows.len() > SHOWN {
            out += &format!("  and {} more: --json lists all\n", rows.len() - SHOWN);
        }
    }
    out
}

fn report_json(all: &[Changes], differ: bool) -> Value {
    let mut out = serde_json::Map::new();
    out.insert("differ".into(), json!(differ));
    for changes in all {
        let changed: Vec<Value> = changes.changed.iter().map(|(n, w)| json!({ "name": n, "what": w })).collect();
        out.insert(
            format!("{}s", changes.kind),
            json!({ "only_a": changes.only_a, "only_b": changes.only_b, "changed": changed, "same": changes.same }),
        );
    }
    Value::Object(out)
}
