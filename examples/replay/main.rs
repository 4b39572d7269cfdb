//! Replays recorded TensorFlow sessions:
//! `replay [--filter SUBSTRING] [--shapes] [--rewrites WHICH] [--json OUT] [--known FILE] [--support DIR] PATH...`
//!
//! A PATH is a case file (`*.jsonl.gz`), a model folder (with a `case.json`), or a folder of either. Exit status 0 if all
//! cases passed, 1 if one failed, 2 for wrong use. `--known` names a file of cases that are known to fail, one a line:
//! then only another failure, or a listed case that passes, is an error. `UPDATE=1` takes cases that pass now off the list.
//! `--shapes` runs the graphs without rewrites, node by node, within loops too, and compares what each node gives with the
//! dtype and shape that were inferred of it; what differs is a failure. `--support` writes what is supported into the README.md and OPS.md of a folder.
//!
//! `--rewrites` tells which rewrites of the plan are made: `all`, `none`, `NAME` for that one alone, `-NAME` for all others, and
//! `each` for every choice of these, one after the other.

use base64::Engine;
use metagraph::graph::ImportOptions;
use metagraph::{DType, Graph, Rewrites, Session, SessionOptions, Tensor, proto};
use prost::Message;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

mod models;
mod shapes;
mod support;

const TIMEOUT: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let (mut filter, mut json_out, mut known_file, mut support_dir, mut paths) = (String::new(), None, None, None, Vec::new());
    let (mut shapes, mut rewrites) = (false, vec![Rewrites::ALL]);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--filter" => match arguments.next() {
                Some(value) => filter = value,
                None => return usage(),
            },
            "--shapes" => shapes = true,
            "--rewrites" => match arguments.next().as_deref().map(choices) {
                Some(named) if !named.is_empty() => rewrites = named,
                _ => return usage(),
            },
            "--json" => match arguments.next() {
                Some(value) => json_out = Some(value),
                None => return usage(),
            },
            "--known" => match arguments.next() {
                Some(value) => known_file = Some(value),
                None => return usage(),
            },
            "--support" => match arguments.next() {
                Some(value) => support_dir = Some(value),
                None => return usage(),
            },
            flag if flag.starts_with('-') => return usage(),
            path => paths.push(PathBuf::from(path)),
        }
    }
    if paths.is_empty() {
        return usage();
    }
    let known: BTreeSet<String> = match known_file.as_ref().map(std::fs::read_to_string).transpose() {
        Ok(text) => text.unwrap_or_default().lines().filter(|l| !l.is_empty()).map(str::to_string).collect(),
        Err(error) => return refuse(&known_file.unwrap_or_default(), &error),
    };
    std::panic::set_hook(Box::new(|_| {}));
    let mut files = Vec::new();
    for path in &paths {
        let collected = std::path::absolute(path).and_then(|path| collect(&path, &mut files));
        if let Err(error) = collected {
            return refuse(&path.display().to_string(), &error);
        }
    }
    let mut report = Report { filter, ..Report::default() };
    let each = || rewrites.iter().try_for_each(|&rewrites| report.all(&files, How { shapes, rewrites }));
    if let Err(why) = elsewhere(each) {
        eprintln!("replay: {why}");
        return ExitCode::from(2);
    }
    report.passed.retain(|name| !report.failed.contains(name));
    if let Some(out) = json_out
        && let Err(error) = std::fs::write(&out, json!(report.records).to_string())
    {
        return refuse(&out, &error);
    }
    if let Some(dir) = support_dir
        && let Err(error) = support::write(Path::new(&dir), &report.records)
    {
        return refuse(&dir, &error);
    }
    let mut bad = report.failed.len();
    if let Some(path) = known_file {
        let fixed: Vec<&String> = known.iter().filter(|k| report.passed.contains(*k)).collect();
        let new: Vec<&String> = report.failed.iter().filter(|f| !known.contains(*f)).collect();
        new.iter().for_each(|name| println!("NEW FAILURE {name}"));
        fixed.iter().for_each(|name| println!("PASSES NOW {name}: take it off {path}"));
        bad = new.len() + fixed.len();
        if std::env::var_os("UPDATE").is_some() {
            let left: String = known.iter().filter(|k| !report.passed.contains(*k)).map(|k| format!("{k}\n")).collect();
            if let Err(error) = std::fs::write(&path, left) {
                return refuse(&path, &error);
            }
        }
    }
    println!("{} passed, {} failed, {} skipped", report.passed.len(), report.failed.len(), report.skipped);
    ExitCode::from(u8::from(bad > 0))
}

fn refuse(what: &str, why: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("replay: {what}: {why}");
    ExitCode::from(2)
}

/// How the cases are run.
#[derive(Clone, Copy)]
pub struct How {
    /// Whether shapes are compared as well; then plans have no rewrites, so that every node runs.
    pub shapes: bool,
    pub rewrites: Rewrites,
}

impl How {
    fn open(&self, graph: &Graph) -> Session {
        let mut options = SessionOptions::default();
        options.rewrites = if self.shapes { Rewrites::NONE } else { self.rewrites };
        Session::with_options(graph, options)
    }
}

/// The choices that a text names; none if there is no such rewrite.
fn choices(text: &str) -> Vec<Rewrites> {
    Rewrites::choices().into_iter().filter(|(name, _)| text == "each" || text == name).map(|(_, choice)| choice).collect()
}

/// Runs something in a folder of its own, since some cases write files beside themselves.
fn elsewhere(run: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    let folder = std::env::temp_dir().join(format!("metagraph-replay-{}", std::process::id()));
    let io = |e: std::io::Error| format!("{}: {e}", folder.display());
    let here = std::env::current_dir().map_err(io)?;
    std::fs::create_dir_all(&folder).map_err(io)?;
    std::env::set_current_dir(&folder).map_err(io)?;
    let done = run();
    std::env::set_current_dir(here).map_err(io)?;
    std::fs::remove_dir_all(&folder).map_err(io)?;
    done
}

/// What came of the cases.
#[derive(Default)]
struct Report {
    filter: String,
    passed: BTreeSet<String>,
    failed: BTreeSet<String>,
    skipped: usize,
    records: Vec<Value>,
}

impl Report {
    fn all(&mut self, files: &[PathBuf], how: How) -> Result<(), String> {
        for file in files {
            let done = if file.is_dir() { self.model(file, how) } else { self.cases(file, how) };
            done.map_err(|error| format!("{}: {error}", file.display()))?;
        }
        Ok(())
    }

    /// The cases of one file, a line each.
    fn cases(&mut self, file: &Path, how: How) -> Result<(), String> {
        let handle = std::fs::File::open(file).map_err(|e| e.to_string())?;
        for line in BufReader::new(flate2::read::GzDecoder::new(handle)).lines() {
            let line = line.map_err(|e| e.to_string())?;
            let case: Value = serde_json::from_str(&line).map_err(|e| e.to_string())?;
            let name = case["name"].as_str().unwrap_or("?").to_string();
            let ops = case["ops"].clone();
            self.one(file, name, ops, move || run_case(&case, how));
        }
        Ok(())
    }

    /// The runs of one model folder.
    fn model(&mut self, folder: &Path, how: How) -> Result<(), String> {
        let text = std::fs::read_to_string(folder.join("case.json")).map_err(|e| e.to_string())?;
        let case: Value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
        let base = folder.file_name().map(|f| f.to_string_lossy().into_owned()).unwrap_or_default();
        let stateful = case["runs"].as_array().into_iter().flatten().any(|r| r["stateful"] == true);
        let model = models::Model { folder: folder.to_path_buf(), case: case.clone(), how };
        if stateful {
            self.one(folder, format!("model/{base}"), Value::Null, move || model.run_all());
            return Ok(());
        }
        for (index, run) in case["runs"].as_array().into_iter().flatten().enumerate() {
            let id = run["id"].as_str().map_or_else(|| index.to_string(), str::to_string);
            let model = model.clone();
            self.one(folder, format!("model/{base}/{id}"), Value::Null, move || model.run_one(index));
        }
        Ok(())
    }

    fn one(&mut self, file: &Path, name: String, ops: Value, run: impl FnOnce() -> Result<(), String> + Send + 'static) {
        if !name.contains(&self.filter) {
            self.skipped += 1;
            return;
        }
        let outcome = run_guarded(run);
        match &outcome {
            Ok(()) => {
                self.passed.insert(name.clone());
            }
            Err(why) => {
                println!("FAIL {name}: {}", why.replace('\n', " | "));
                self.failed.insert(name.clone());
            }
        }
        self.records.push(json!({
            "name": name, "ops": ops, "passed": outcome.is_ok(), "difference": outcome.err(),
            "file": file.file_name().map(|f| f.to_string_lossy().into_owned()),
            "set": file.parent().and_then(Path::file_name).map(|f| f.to_string_lossy().into_owned()),
        }));
    }
}

fn usage() -> ExitCode {
    eprintln!(
        "usage: replay [--filter SUBSTRING] [--shapes] [--rewrites WHICH] [--json OUT] [--known FILE] [--support DIR] PATH..."
    );
    ExitCode::from(2)
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if std::fs::metadata(path)?.is_file() || path.join("case.json").is_file() {
        files.push(path.to_path_buf());
        return Ok(());
    }
    let mut entries: Vec<PathBuf> = std::fs::read_dir(path)?.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?;
    entries.sort();
    for entry in entries {
        if entry.is_dir() || entry.to_string_lossy().ends_with(".jsonl.gz") {
            collect(&entry, files)?;
        }
    }
    Ok(())
}

/// Runs a case on a thread of its own; a panic or a minute without an answer is a failure.
fn run_guarded(run: impl FnOnce() -> Result<(), String> + Send + 'static) -> Result<(), String> {
    let (send, receive) = mpsc::channel();
    let spawned = std::thread::Builder::new().stack_size(64 << 20).spawn(move || {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
        let text = |p: Box<dyn std::any::Any + Send>| {
            let known = p.downcast_ref::<&str>().map(|s| s.to_string()).or_else(|| p.downcast_ref::<String>().cloned());
            format!("panicked: {}", known.unwrap_or_default())
        };
        let _ = send.send(outcome.unwrap_or_else(|p| Err(text(p))));
    });
    if let Err(error) = spawned {
        return Err(error.to_string());
    }
    receive.recv_timeout(TIMEOUT).unwrap_or_else(|_| Err(format!("no answer within {TIMEOUT:?}")))
}

fn run_case(case: &Value, how: How) -> Result<(), String> {
    let say = |e: metagraph::Error| e.to_string();
    let graph_def = proto::GraphDef::decode(decode(&case["graph"])?.as_slice()).map_err(|e| e.to_string())?;
    let graph = Graph::new();
    graph.import_graph_def(graph_def, &ImportOptions::default()).map_err(say)?;
    let session = how.open(&graph);
    for (index, run) in case["runs"].as_array().into_iter().flatten().enumerate() {
        run_one(&graph, &session, run, how).map_err(|e| format!("run {index}: {e}"))?;
    }
    Ok(())
}

fn run_one(graph: &Graph, session: &Session, run: &Value, how: How) -> Result<(), String> {
    let say = |e: metagraph::Error| e.to_string();
    let mut feeds = HashMap::new();
    for (name, value) in run["feeds"].as_object().into_iter().flatten() {
        feeds.insert(name.as_str(), tensor(value)?.ok_or("a feed has no value")?);
    }
    let (mut names, mut expected) = (Vec::new(), Vec::new());
    for fetch in run["fetches"].as_array().into_iter().flatten() {
        names.push(fetch[0].as_str().ok_or("a fetch has no name")?);
        expected.push(tensor(&fetch[1])?);
    }
    let targets: Vec<&str> = run["targets"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let got = (|| {
        let outputs = names.iter().map(|n| graph.get_tensor_by_name(n)).collect::<metagraph::Result<Vec<_>>>()?;
        let operations = targets.iter().map(|n| graph.get_operation_by_name(n)).collect::<metagraph::Result<Vec<_>>>()?;
        let feeds = feeds.iter().map(|(n, v)| Ok((graph.get_tensor_by_name(n)?, v))).collect::<metagraph::Result<Vec<_>>>()?;
        Ok(shapes::run(session, &outputs, &operations, &feeds, how.shapes))
    })();
    let (got, differences) = got.unwrap_or_else(|error| (Err(error), Vec::new()));
    if !differences.is_empty() {
        return Err(differences.join("; "));
    }
    if let Some(code) = run["error"]["code"].as_i64() {
        let message = run["error"]["message"].as_str().unwrap_or_default();
        return match got {
            Ok(_) => Err(format!("expected error {code}: {message}; it ran")),
            Err(error) if i64::from(error.code().number()) != code => {
                Err(format!("expected error {code}: {message}; got {error}"))
            }
            Err(_) => Ok(()),
        };
    }
    for ((name, expected), got) in names.iter().zip(&expected).zip(got.map_err(say)?) {
        if let Some(expected) = expected {
            compare(&got, expected).map_err(|why| format!("{name}: {why}"))?;
        }
    }
    Ok(())
}

fn decode(value: &Value) -> Result<Vec<u8>, String> {
    let text = value.as_str().ok_or("base64 text is missing")?;
    base64::engine::general_purpose::STANDARD.decode(text).map_err(|e| e.to_string())
}

fn tensor(value: &Value) -> Result<Option<Tensor>, String> {
    if value.is_null() {
        return Ok(None);
    }
    let message = proto::TensorProto::decode(decode(value)?.as_slice()).map_err(|e| e.to_string())?;
    Tensor::from_message(&message).map(Some).map_err(|e| e.to_string())
}

fn compare(got: &Tensor, expected: &Tensor) -> Result<(), String> {
    let differ = || format!("got {got:?}, expected {expected:?}");
    if got.dtype() != expected.dtype() || got.dims() != expected.dims() {
        return Err(format!("got {}{:?}, expected {}{:?}", got.dtype(), got.dims(), expected.dtype(), expected.dims()));
    }
    let (atol, rtol) = match got.dtype() {
        DType::Float | DType::Complex64 => (1e-5, 1e-4),
        DType::Double | DType::Complex128 => (1e-8, 1e-6),
        DType::Half => (2e-3, 2e-2),
        DType::Bfloat16 => (1e-2, 4e-2),
        DType::Resource | DType::Variant => return Ok(()),
        _ => return if got == expected { Ok(()) } else { Err(differ()) },
    };
    compare_floats(got, expected, atol, rtol)
}

/// Floats agree within `atol + rtol * |expected|`.
fn compare_floats(got: &Tensor, expected: &Tensor, atol: f64, rtol: f64) -> Result<(), String> {
    let differ = || format!("got {got:?}, expected {expected:?}");
    let (a, b) = (floats(got)?, floats(expected)?);
    let width = if got.dtype().is_complex() { 2 } else { 1 };
    for (index, (x, y)) in a.chunks(width).zip(b.chunks(width)).enumerate() {
        let same = x.iter().zip(y).all(|(p, q)| p == q || (p.is_nan() && q.is_nan()));
        let distance = x.iter().zip(y).map(|(p, q)| (p - q) * (p - q)).sum::<f64>().sqrt();
        let size = y.iter().map(|q| q * q).sum::<f64>().sqrt();
        if !same && !(distance <= atol + rtol * size) {
            return Err(format!("element {index}: {x:?} for {y:?}; {}", differ()));
        }
    }
    Ok(())
}

fn floats(tensor: &Tensor) -> Result<Vec<f64>, String> {
    let bytes = tensor.to_le_bytes().map_err(|e| e.to_string())?;
    Ok(match tensor.dtype() {
        DType::Float | DType::Complex64 => bytes.as_chunks().0.iter().map(|&c| f64::from(f32::from_le_bytes(c))).collect(),
        DType::Double | DType::Complex128 => bytes.as_chunks().0.iter().map(|&c| f64::from_le_bytes(c)).collect(),
        DType::Half => bytes.as_chunks().0.iter().map(|&c| half::f16::from_le_bytes(c).to_f64()).collect(),
        _ => bytes.as_chunks().0.iter().map(|&c| half::bf16::from_le_bytes(c).to_f64()).collect(),
    })
}
