//! Measures metagraph for `benches/compare/run`: takes commands as lines of JSON, answers each with a line of JSON.
//!
//! `{"do": "step", "dir": D, "seconds": S}` runs the row in D again and again and gives the time of each step;
//! `first` imports and runs once; `save` and `restore` move the variables of D; `limit` measures what the machine needs.

use metagraph::{Graph, Operation, Output, RunOptions, Session, Tensor, bench_internals as kernels, numpy, train};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

type Anything<T> = Result<T, Box<dyn std::error::Error>>;

/// What `row.json` says.
struct Row {
    dir: PathBuf,
    spec: Value,
}

/// A row that is ready to run.
struct Loaded {
    session: Session,
    saver: train::Saver,
    feeds: Vec<(Output, Tensor)>,
    fetches: Vec<Output>,
    targets: Vec<Operation>,
    /// The number of a feed, and of the fetches that are stacked for it.
    carry: Vec<(usize, Vec<usize>)>,
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

impl Row {
    fn open(dir: &str) -> Anything<Row> {
        let dir = PathBuf::from(dir);
        let spec = serde_json::from_slice(&std::fs::read(dir.join("row.json"))?)?;
        Ok(Row { dir, spec })
    }

    fn load(&self) -> Anything<Loaded> {
        let graph = Graph::new();
        let saver = train::import_meta_graph(&graph, self.dir.join("graph.meta"))?;
        let session = Session::new(&graph);
        let (mut feeds, mut carry) = (Vec::new(), Vec::new());
        for (name, file) in self.spec["feeds"].as_object().into_iter().flatten() {
            let value = numpy::read_npy(std::fs::read(self.dir.join(file.as_str().unwrap_or_default()))?.as_slice())?;
            if let Some(from) = self.spec["carry"].get(name) {
                let from = from.as_array().into_iter().flatten().filter_map(Value::as_u64).map(|n| n as usize);
                carry.push((feeds.len(), from.collect()));
            }
            feeds.push((graph.get_tensor_by_name(name)?, value));
        }
        let fetches = texts(&self.spec["fetches"]).into_iter().map(|n| graph.get_tensor_by_name(n)).collect::<Result<_, _>>()?;
        let targets =
            texts(&self.spec["targets"]).into_iter().map(|n| graph.get_operation_by_name(n)).collect::<Result<_, _>>()?;
        if self.spec["variables"] == json!(true) {
            saver.restore(&session, self.prefix())?;
        }
        Ok(Loaded { session, saver, feeds, fetches, targets, carry })
    }

    fn prefix(&self) -> PathBuf {
        self.dir.join("graph")
    }
}

impl Loaded {
    fn run(&mut self) -> Anything<()> {
        let feeds: Vec<(Output, &Tensor)> = self.feeds.iter().map(|(o, t)| (*o, t)).collect();
        let values = self.session.run_with_targets(&self.fetches, &self.targets, &feeds)?;
        for (feed, from) in &self.carry {
            let dims = self.feeds[*feed].1.dims().to_vec();
            let mut stacked: Vec<f32> = Vec::with_capacity(dims.iter().product());
            for &at in from {
                stacked.extend_from_slice(values[at].as_slice::<f32>()?);
            }
            self.feeds[*feed].1 = Tensor::new(&dims, stacked)?;
        }
        Ok(())
    }
}

/// Times of `body`, for so many seconds and at least three times, after one run that isn't counted.
fn times(seconds: f64, mut body: impl FnMut() -> Anything<()>) -> Anything<Vec<f64>> {
    body()?;
    let (start, mut times) = (Instant::now(), Vec::new());
    while times.len() < 3 || start.elapsed().as_secs_f64() < seconds {
        let begin = Instant::now();
        body()?;
        times.push(begin.elapsed().as_secs_f64());
    }
    Ok(times)
}

/// Reads so many bytes once, each thread its own part, in the widest vectors.
fn stream(seconds: f64, bytes: usize) -> Anything<Vec<f64>> {
    const LANES: usize = 128;
    let data = vec![1f32; bytes / 4];
    let units = data.len().div_ceil(LANES);
    times(seconds, || {
        let sum = std::sync::Mutex::new(0f32);
        kernels::pool::parallel_for(units, units.div_ceil(kernels::pool::current_threads()), |range| {
            let part = &data[range.start * LANES..(range.end * LANES).min(data.len())];
            let total = kernels::level::vectorize(
                #[inline(always)]
                || {
                    let mut sums = [0f32; LANES];
                    for chunk in part.chunks_exact(LANES) {
                        for (sum, x) in sums.iter_mut().zip(chunk) {
                            *sum += x;
                        }
                    }
                    sums.iter().sum::<f32>()
                },
            );
            *sum.lock().unwrap_or_else(|e| e.into_inner()) += total;
        });
        std::hint::black_box(sum);
        Ok(())
    })
}

fn copy(seconds: f64, bytes: usize) -> Anything<Vec<f64>> {
    let from = vec![1u8; bytes];
    times(seconds, || {
        std::hint::black_box(from.clone());
        Ok(())
    })
}

fn answer(command: &Value, loaded: &mut HashMap<String, Loaded>) -> Anything<Value> {
    let dir = command["dir"].as_str().unwrap_or_default();
    let seconds = command["seconds"].as_f64().unwrap_or(1.0);
    let bytes = command["bytes"].as_u64().unwrap_or(0) as usize;
    let out = command["out"].as_str().unwrap_or_default();
    let kept = |loaded: &mut HashMap<String, Loaded>| -> Anything<()> {
        if !loaded.contains_key(dir) {
            loaded.insert(dir.to_string(), Row::open(dir)?.load()?);
        }
        Ok(())
    };
    Ok(match command["do"].as_str().unwrap_or_default() {
        "step" => {
            kept(loaded)?;
            let row = loaded.get_mut(dir).ok_or("no row")?;
            json!(times(seconds, || row.run())?)
        }
        "first" => {
            let row = Row::open(dir)?;
            let begin = Instant::now();
            let mut ready = row.load()?;
            let import = begin.elapsed().as_secs_f64();
            ready.run()?;
            let total = begin.elapsed().as_secs_f64();
            json!({"import": [import], "run": [total - import]})
        }
        "save" => {
            kept(loaded)?;
            let row = &loaded[dir];
            let options = train::SaveOptions { write_meta_graph: false, ..train::SaveOptions::default() };
            json!(times(seconds, || Ok(row.saver.save_with(&row.session, Path::new(out), &options).map(drop)?))?)
        }
        "restore" => {
            kept(loaded)?;
            let (row, prefix) = (&loaded[dir], Row::open(dir)?.prefix());
            json!(times(seconds, || Ok(row.saver.restore(&row.session, &prefix)?))?)
        }
        "trace" => {
            kept(loaded)?;
            let row = loaded.get_mut(dir).ok_or("no row")?;
            row.run()?;
            let feeds: Vec<(Output, &Tensor)> = row.feeds.iter().map(|(o, t)| (*o, t)).collect();
            let (_, told) = row.session.run_with_options(&row.fetches, &row.targets, &feeds, &RunOptions::traced())?;
            if !out.is_empty() {
                told.write_chrome_trace(std::io::BufWriter::new(std::fs::File::create(out)?))?;
            }
            let ops: Vec<Value> = told.by_op().iter().map(|(op, n, t)| json!([op, n, t.as_secs_f64() * 1e6])).collect();
            json!({"time": told.time.as_secs_f64(), "ops": ops})
        }
        "stream" => json!(stream(seconds, bytes)?),
        "copy" => json!(copy(seconds, bytes)?),
        "forget" => {
            loaded.remove(dir);
            json!([])
        }
        "peak" => {
            let status = std::fs::read_to_string("/proc/self/status")?;
            let line = status.lines().find(|l| l.starts_with("VmHWM")).unwrap_or_default();
            json!(line.split_whitespace().nth(1).and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0) * 1024.0)
        }
        other => return Err(format!("'{other}' isn't known").into()),
    })
}

fn main() -> Anything<()> {
    let mut loaded = HashMap::new();
    for line in std::io::stdin().lock().lines() {
        let command: Value = serde_json::from_str(&line?)?;
        let reply = answer(&command, &mut loaded).unwrap_or_else(|error| json!({"error": error.to_string()}));
        println!("{reply}");
        std::io::stdout().flush()?;
    }
    Ok(())
}
