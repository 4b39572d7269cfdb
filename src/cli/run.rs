//! `metagraph run`: the runtime from a shell.

use super::model::{Model, SourceArgs, explain};
use super::{Done, Failure, Outcome, literal, print, print_json, stats, style};
use crate::error::{Error, Result, bail};
use crate::exec::{RunMetadata, RunOptions};
use crate::graph::{Graph, Operation, Output};
use crate::numpy;
use crate::proto::{SignatureDef, tensor_info};
use crate::tensor::Tensor;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const EXAMPLES: &str = "Examples:
  metagraph run --meta model.meta --checkpoint model --feed 'x=[[1,2,3]]' --fetch probabilities:0
  metagraph run --graph frozen.pb --feeds in.npz --fetch y:0 --out out.npz
  metagraph run --saved-model export/1 --signature predict --feed text='hello'
  metagraph run --meta model.meta --target init --save start
  metagraph run --meta start.meta --checkpoint start --feeds batch.npz --target Adam --fetch loss:0 --repeat 100 --save next
  metagraph run --graph frozen.pb --feeds in.npz --fetch y --repeat 10 --trace step.json    where does the time go?

A literal is a number, a list as in JSON, a string, or a tensor with its type: f32[1 2], i64 3. The feeds of --feed
go before those of --feeds. A name without :0 means the operation's first output.";

/// Run a model: feed values, fetch values, train, save.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    source: SourceArgs,
    /// A value for a tensor: NAME=FILE.npy or NAME=LITERAL
    #[arg(long, value_name = "NAME=VALUE", num_args = 1..)]
    feed: Vec<String>,
    /// A file of values for the tensors that its keys name
    #[arg(long, value_name = "F.npz")]
    feeds: Option<PathBuf>,
    /// A tensor whose value is wanted
    #[arg(long, value_name = "NAME", num_args = 1..)]
    fetch: Vec<String>,
    /// An operation to run for its effect
    #[arg(long, value_name = "OP", num_args = 1..)]
    target: Vec<String>,
    /// Run so many times in one session; the last values count
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u64).range(1..))]
    repeat: u64,
    /// Where the fetched values go, under their names
    #[arg(long, value_name = "OUT.npz")]
    out: Option<PathBuf>,
    /// Write a checkpoint and a .meta afterwards
    #[arg(long, value_name = "PREFIX")]
    save: Option<String>,
    /// Measure the nodes of the last run, for Chrome's trace viewer or Perfetto
    #[arg(long, value_name = "T.json")]
    trace: Option<PathBuf>,
    /// Print what was fetched as JSON
    #[arg(long)]
    json: bool,
}

/// What is fed, fetched and run, by handles.
struct Step {
    feeds: Vec<(Output, Tensor)>,
    fetches: Vec<(String, Output)>,
    targets: Vec<Operation>,
}

pub(super) fn run(args: &Args) -> Outcome {
    for feed in &args.feed {
        if !feed.contains('=') {
            return Err(Failure::Usage(format!("--feed takes NAME=VALUE, got {feed:?}")));
        }
    }
    let asked = !args.fetch.is_empty() || !args.target.is_empty() || args.save.is_some();
    if !asked && args.source.saved_model.is_none() {
        let hint = "name what is wanted with --fetch or --target; metagraph inspect shows the likely outputs";
        return Err(Failure::Usage(format!("nothing to run: {hint}")));
    }
    if args.out.is_some() && args.fetch.is_empty() && args.source.saved_model.is_none() {
        return Err(Failure::Usage("--out needs something to write: name it with --fetch".to_string()));
    }
    // Found out before the work is done.
    for path in [&args.out, &args.trace].into_iter().flatten() {
        if let Some(dir) = path.parent().filter(|d| !d.as_os_str().is_empty() && !d.is_dir()) {
            return Err(Error::not_found(format!("there is no directory {} for {}", dir.display(), path.display())).into());
        }
    }
    let model = Model::load(&args.source)?;
    let step = resolve(args, &model)?;
    let outputs: Vec<Output> = step.fetches.iter().map(|f| f.1).collect();
    let feeds: Vec<(Output, &Tensor)> = step.feeds.iter().map(|(o, t)| (*o, t)).collect();
    let bar = style::bar(args.repeat, "running");
    let start = Instant::now();
    let mut values = Vec::new();
    let mut metadata = RunMetadata::default();
    if !outputs.is_empty() || !step.targets.is_empty() {
        for run in 1..=args.repeat {
            let options =
                if args.trace.is_some() && run == args.repeat { RunOptions::described() } else { RunOptions::default() };
            let result = model.session.run_with_options(&outputs, &step.targets, &feeds, &options);
            (values, metadata) = result.map_err(|e| explain(e, model.restored))?;
            bar.inc(1);
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    bar.finish_and_clear();
    if let Some(prefix) = &args.save {
        model.save(prefix)?;
    }
    if let Some(path) = &args.trace {
        let mut trace = Vec::new();
        metadata.write_chrome_trace(&mut trace)?;
        super::freeze::write(path, &trace)?;
    }
    let named = || step.fetches.iter().map(|f| f.0.as_str()).zip(&values);
    if let Some(out) = &args.out {
        numpy::write_npz(out, named())?;
    }
    if args.json {
        print_json(&report_json(named(), args, seconds, &metadata)?)?;
    } else if args.out.is_none() {
        print(&report(named(), args, seconds, &metadata))?;
    }
    Ok(Done::Ok)
}

fn report<'a>(values: impl Iterator<Item = (&'a str, &'a Tensor)>, args: &Args, seconds: f64, metadata: &RunMetadata) -> String {
    let mut out = String::new();
    for (name, value) in values {
        out += &format!("{}  {}\n", style::head(name), style::paint_out(&stats::kind(value), style::CYAN));
        if value.len() > 1
            && let Some(stats) = stats::stats(value)
        {
            out += &format!("  {}\n", stats.line());
        }
        out += &stats::look(value, 4).lines().take(40).map(|l| format!("  {l}\n")).collect::<String>();
    }
    if args.repeat > 1 {
        out += &format!("{} runs in {:.3} s, {} a run\n", args.repeat, seconds, time(seconds / args.repeat as f64));
    }
    if let Some(prefix) = &args.save {
        out += &format!("saved {prefix}.index and {prefix}.meta\n");
    }
    if let Some(path) = &args.trace {
        out += &trace_report(path, metadata);
    }
    out
}

/// Which ops took the time of the measured run.
fn trace_report(path: &Path, metadata: &RunMetadata) -> String {
    let total = metadata.time.as_secs_f64();
    let by_op = metadata.by_op();
    let row = |&(op, count, spent): &(&str, u64, Duration)| {
        let part = format!("{:.1}%", 100.0 * spent.as_secs_f64() / total.max(1e-9));
        vec![op.to_string(), time(spent.as_secs_f64()), part, style::count(count as usize, "run")]
    };
    let rows: Vec<Vec<String>> = by_op.iter().take(10).map(row).collect();
    format!(
        "\n{} {} in the last run, by op\n{}trace in {}\n",
        style::head("Time"),
        time(total),
        style::table(&rows),
        path.display()
    )
}

fn time(seconds: f64) -> String {
    match seconds {
        s if s >= 1.0 => format!("{s:.2} s"),
        s if s >= 1e-3 => format!("{:.2} ms", s * 1e3),
        s => format!("{:.1} us", s * 1e6),
    }
}

fn report_json<'a>(
    values: impl Iterator<Item = (&'a str, &'a Tensor)>,
    args: &Args,
    seconds: f64,
    metadata: &RunMetadata,
) -> Result<serde_json::Value> {
    let mut fetches = serde_json::Map::new();
    for (name, value) in values {
        let mut entry = json!({ "dtype": value.dtype().name(), "shape": value.dims() });
        if let Some(stats) = stats::stats(value) {
            entry["statistics"] = stats.json();
        }
        // Larger values are for --out.
        if value.len() <= 1000 {
            entry["values"] = stats::to_json(value)?;
        }
        fetches.insert(name.to_string(), entry);
    }
    let mut report = json!({ "fetches": fetches, "runs": args.repeat, "seconds": seconds, "saved": args.save });
    if let Some(path) = &args.trace {
        let op = |(op, count, time): (&str, u64, Duration)| json!({ "op": op, "runs": count, "seconds": time.as_secs_f64() });
        report["trace"] = json!({
            "file": path, "seconds": metadata.time.as_secs_f64(),
            "ops": metadata.by_op().into_iter().map(op).collect::<Vec<_>>(),
        });
    }
    Ok(report)
}

/// The signature that the flags ask for, or that a run without fetches means.
fn signature<'a>(args: &Args, model: &'a Model) -> Result<Option<(&'a str, &'a SignatureDef)>> {
    let names = || model.signatures.keys().cloned().collect::<Vec<_>>().join(", ");
    if let Some(name) = &args.source.signature {
        return match model.signatures.get_key_value(name) {
            Some((name, signature)) => Ok(Some((name, signature))),
            None => bail!(NotFound, "there is no signature {name}; there are {}", names()),
        };
    }
    let all_named = !args.fetch.is_empty() || !args.target.is_empty() || args.save.is_some();
    let usual = model.signatures.get_key_value("serving_default");
    match usual.or_else(|| model.signatures.iter().next().filter(|_| model.signatures.len() == 1)) {
        Some((name, signature)) => Ok(Some((name.as_str(), signature))),
        None if all_named => Ok(None),
        None => bail!(InvalidArgument, "name a signature with --signature or outputs with --fetch; there are {}", names()),
    }
}

/// The name of the tensor that an entry of a signature stands for.
fn tensor_of(info: &crate::proto::TensorInfo) -> Option<&str> {
    match &info.encoding {
        Some(tensor_info::Encoding::Name(name)) => Some(name),
        _ => None,
    }
}

fn resolve(args: &Args, model: &Model) -> Result<Step> {
    let g = &model.graph;
    let signature = signature(args, model)?.map(|s| s.1);
    let input = |name: &str| -> Result<Output> {
        let of_signature = signature.and_then(|s| s.inputs.get(name)).and_then(tensor_of);
        tensor(g, of_signature.unwrap_or(name))
    };
    let mut feeds: Vec<(Output, Tensor)> = Vec::new();
    for feed in &args.feed {
        let (name, text) = feed.split_once('=').unwrap_or((feed, ""));
        let output = input(name)?;
        let value = literal::parse(text, g.dtype(output).ok()).map_err(|e| e.within(format!("--feed {name}")))?;
        if feeds.iter().any(|f| f.0 == output) {
            bail!(InvalidArgument, "tensor {} is fed twice", g.tensor_name(output));
        }
        feeds.push((output, value));
    }
    if let Some(path) = &args.feeds {
        for (name, value) in numpy::read_npz(path)? {
            let place = |e: Error| e.within(format!("array {name} of {}", path.display()));
            let output = input(&name).map_err(place)?;
            let value = literal::cast(value, g.dtype(output).ok()).map_err(place)?;
            if !feeds.iter().any(|f| f.0 == output) {
                feeds.push((output, value));
            }
        }
    }
    let (mut fetches, mut targets) = (Vec::new(), Vec::new());
    for name in &args.fetch {
        if let Some(of_signature) = signature.and_then(|s| s.outputs.get(name)).and_then(tensor_of) {
            fetches.push((name.clone(), tensor(g, of_signature)?));
            continue;
        }
        match g.get_operation_by_name(name) {
            Ok(op) if g.num_outputs(op) == 0 => targets.push(op),
            Ok(op) => fetches.push((format!("{name}:0"), op.output(0))),
            Err(_) => fetches.push((name.clone(), tensor(g, name)?)),
        }
    }
    for name in &args.target {
        targets.push(g.get_operation_by_name(name.trim_start_matches('^').trim_end_matches(":0"))?);
    }
    if fetches.is_empty()
        && targets.is_empty()
        && args.save.is_none()
        && let Some(signature) = signature
    {
        for (key, info) in &signature.outputs {
            if let Some(name) = tensor_of(info) {
                fetches.push((key.clone(), tensor(g, name)?));
            }
        }
    }
    Ok(Step { feeds, fetches, targets })
}

/// The tensor of a name, with or without `:0`.
fn tensor(graph: &Graph, name: &str) -> Result<Output> {
    match name.contains(':') {
        true => graph.get_tensor_by_name(name),
        false => graph.get_tensor_by_name(&format!("{name}:0")),
    }
}
