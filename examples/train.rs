//! Trains a character model on a text and leaves in a folder what TensorFlow leaves: `model.meta`, `model.index`,
//! `model.data-00000-of-00001` and `checkpoint`; beside them `characters.json`, `losses.csv`, `loss.svg` and the state
//! with which training goes on, `state.npy`.
//!
//! ```text
//! cargo run --release --example train -- --text corpus.txt --dir model --steps 500
//! cargo run --release --example train -- --text corpus.txt --dir model --steps 500 --resume
//! ```
//!
//! With `--resume` nothing is built: the graph comes out of `model.meta`, and the op `training` is run by its name.
//! With `--logdir DIR` the graph gets summaries, which TensorBoard shows: the loss, the distributions of the variables, and
//! the graph itself.

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use metagraph::nn::{LSTMCell, LSTMStateTuple, RnnOptions};
use metagraph::random::{PhiloxRandom, SimplePhilox};
use metagraph::summary::{self, FileWriter};
use metagraph::train::{AdamOptimizer, Optimizer, Saver};
use metagraph::{Callable, DType, Graph, Output, Session, Tensor, bundle, numpy, train};
use plotters::prelude::*;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Train a character model on a text, with a sample and a checkpoint every so often.
#[derive(Parser)]
#[command(name = "train")]
struct Arguments {
    /// The text to learn, in UTF-8; by default the Rust sources of this project
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,
    /// The folder for the model and what belongs to it
    #[arg(long, value_name = "DIR", default_value = "model")]
    dir: PathBuf,
    /// Size of the LSTM's state [default: 500]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    hidden: Option<u32>,
    /// Characters in a training step
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    seq: u32,
    /// Training steps; 0 saves the initialised model
    #[arg(long, default_value_t = 500)]
    steps: usize,
    /// Adam's learning rate [default: 0.01, or the one in the resumed model]
    #[arg(long, value_parser = learning_rate)]
    learning_rate: Option<f32>,
    /// Seed of the initial values and of the samples
    #[arg(long, default_value_t = 42)]
    seed: i64,
    /// Steps from one sample and checkpoint to the next; 0 for the end only
    #[arg(long, default_value_t = 100)]
    sample_every: usize,
    /// Characters in a sample
    #[arg(long, default_value_t = 600)]
    length: usize,
    /// Go on with the model in the folder
    #[arg(long)]
    resume: bool,
    /// Write the loss, the variables' distributions and the graph for TensorBoard into this folder
    #[arg(long, value_name = "DIR")]
    logdir: Option<PathBuf>,
}

fn learning_rate(text: &str) -> std::result::Result<f32, String> {
    match text.parse::<f32>() {
        Ok(value) if value.is_finite() && value > 0.0 => Ok(value),
        Ok(_) => Err("must be a finite number above 0".into()),
        Err(error) => Err(error.to_string()),
    }
}

/// The text, and where it comes from.
fn corpus(file: Option<&Path>) -> Result<(String, String)> {
    if let Some(file) = file {
        let bytes = fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let text = String::from_utf8(bytes)
            .map_err(|e| format!("{}: not UTF-8 at byte {}", file.display(), e.utf8_error().valid_up_to()))?;
        return Ok((text, file.display().to_string()));
    }
    let mut files = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    let texts = files.iter().map(fs::read_to_string).collect::<std::io::Result<Vec<_>>>()?;
    Ok((texts.concat(), "the Rust sources of this project".into()))
}

/// A text as columns of its characters.
struct Text {
    characters: Vec<char>,
    columns: Vec<usize>,
}

impl Text {
    /// The text over its own characters in the order of their code points, or over those of a model.
    fn new(text: &str, known: Option<Vec<char>>) -> Result<Text> {
        let sorted = || text.chars().collect::<std::collections::BTreeSet<_>>().into_iter().collect();
        let characters: Vec<char> = known.unwrap_or_else(sorted);
        let index: std::collections::HashMap<char, usize> = characters.iter().enumerate().map(|(i, &c)| (c, i)).collect();
        let column = |(at, c): (usize, char)| {
            let unknown =
                || format!("character {at} of the text, {c:?}, is none of the {} that the model knows", characters.len());
            index.get(&c).copied().ok_or_else(unknown)
        };
        let columns = text.chars().enumerate().map(column).collect::<std::result::Result<_, _>>()?;
        Ok(Text { characters, columns })
    }

    /// One row a character: 1 in its column, 0 elsewhere; `f32[length, 1, vocabulary]`.
    fn one_hot(&self, columns: &[usize]) -> Result<Tensor> {
        let vocabulary = self.characters.len();
        let mut values = vec![0f32; columns.len() * vocabulary];
        for (row, &column) in values.chunks_exact_mut(vocabulary).zip(columns) {
            row[column] = 1.0;
        }
        Ok(Tensor::new(&[columns.len(), 1, vocabulary], values)?)
    }
}

/// The model: an LSTM over one-hot characters, a dense layer, the cross-entropy of the next character, Adam.
fn build(graph: &Graph, vocabulary: usize, hidden: usize, learning_rate: f32) -> Result<Saver> {
    let x = graph.named("x").placeholder(DType::Float, [None, Some(1), Some(vocabulary)])?;
    let y = graph.named("y").placeholder(DType::Float, [None, Some(1), Some(vocabulary)])?;
    let init_state = graph.named("init_state").placeholder(DType::Float, [2, 1, hidden])?;
    let cell = LSTMCell::new(hidden).name("celula");
    let start = LSTMStateTuple { c: graph.index(init_state, &[0.into()])?, h: graph.index(init_state, &[1.into()])? };
    let w = graph.get_variable("out_w", [hidden, vocabulary])?;
    let b = graph.get_variable("out_b", [vocabulary])?;
    let options =
        RnnOptions { initial_state: Some(start.into()), time_major: true, dtype: Some(DType::Float), ..Default::default() };
    let (h, _) = graph.dynamic_rnn(&cell, x, &options)?;
    let last = graph.index(h, &[(..).into(), 0.into(), (..).into()])?;
    let logits = graph.add(graph.matmul(last, w.value()?)?, b.value()?)?;
    graph.named("probabilities").softmax(logits)?;
    let cross_entropy = graph.softmax_cross_entropy_with_logits_v2(y, logits)?;
    let loss = graph.named("loss").reduce_mean(cross_entropy, None, false)?;
    AdamOptimizer::new(learning_rate).minimize(&graph.named("training"), loss)?;
    graph.global_variables_initializer()?;
    Ok(Saver::new(graph)?)
}

/// The steps from one summary to the next.
const SUMMARY_EVERY: usize = 10;

/// The merged summaries: those that the graph has, or new ones of the loss and of every trainable variable.
fn summaries(graph: &Graph, loss: Output) -> Result<Output> {
    if let Some(merged) = graph.get_operations().into_iter().find(|&op| graph.op_type(op) == "MergeSummary") {
        return Ok(merged.output(0));
    }
    summary::scalar(graph, "summaries/loss", loss)?;
    for variable in graph.trainable_variables() {
        summary::histogram(graph, &format!("summaries/{}", variable.op_name()), variable.value()?)?;
    }
    summary::merge_all(graph)?.ok_or_else(|| "the graph has no summaries".into())
}

/// The characters of the model in the folder, if they are stored there.
fn stored_characters(dir: &Path) -> Result<Option<Vec<char>>> {
    let Some(file) = ["characters.json", "reference.json"].map(|name| dir.join(name)).into_iter().find(|path| path.exists())
    else {
        return Ok(None);
    };
    let json: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&file)?).map_err(|error| format!("{}: {error}", file.display()))?;
    let chars = json["chars"].as_str().ok_or_else(|| format!("{}: expected a string \"chars\"", file.display()))?;
    Ok(Some(chars.chars().collect()))
}

/// The losses of the steps so far.
fn stored_losses(dir: &Path) -> Result<Vec<f32>> {
    let file = dir.join("losses.csv");
    if !file.exists() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(&file)?;
    let loss = |(at, line): (usize, &str)| {
        let value = line.split_once(',').and_then(|(_, loss)| loss.trim().parse().ok());
        value.ok_or_else(|| format!("{}:{}: expected step,loss; got {line:?}", file.display(), at + 1).into())
    };
    text.lines().enumerate().skip(1).map(loss).collect()
}

/// Writes a file beside its place and moves it there, so that it is whole at any time.
fn write(dir: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let temporary = dir.join(format!("{name}.tmp"));
    fs::write(&temporary, bytes)?;
    Ok(fs::rename(&temporary, dir.join(name))?)
}

/// The curve of the losses and of their running mean.
fn draw(dir: &Path, losses: &[f32]) -> Result<()> {
    let mut picture = String::new();
    {
        let area = SVGBackend::with_string(&mut picture, (960, 540)).into_drawing_area();
        area.fill(&WHITE)?;
        let highest = losses.iter().copied().fold(0.0, f32::max) * 1.05;
        let mut chart = ChartBuilder::on(&area)
            .caption("Loss (nats a character)", ("sans-serif", 22))
            .margin(16)
            .x_label_area_size(44)
            .y_label_area_size(56)
            .build_cartesian_2d(0..losses.len().max(2) - 1, 0.0..highest.max(0.1))?;
        chart.configure_mesh().x_desc("step").y_desc("loss").light_line_style(WHITE).label_style(("sans-serif", 14)).draw()?;
        let steps = || losses.iter().copied().enumerate();
        chart
            .draw_series(LineSeries::new(steps(), RGBColor(150, 190, 230)))?
            .label("each step")
            .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], RGBColor(150, 190, 230)));
        let mut smoothed = Smoothed::default();
        let line = RGBColor(20, 70, 140).stroke_width(2);
        chart
            .draw_series(LineSeries::new(steps().map(|(i, loss)| (i, smoothed.add(loss))), line))?
            .label("smoothed")
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], line));
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE)
            .border_style(RGBColor(200, 200, 200))
            .label_font(("sans-serif", 14))
            .draw()?;
        area.present()?;
    }
    write(dir, "loss.svg", picture.as_bytes())
}

/// A mean that forgets: each step counts 2% less than the next.
#[derive(Default)]
struct Smoothed {
    sum: f32,
    weight: f32,
}

impl Smoothed {
    fn add(&mut self, loss: f32) -> f32 {
        self.sum = 0.98 * self.sum + loss;
        self.weight = 0.98 * self.weight + 1.0;
        self.sum / self.weight
    }
}

/// `[c, h]` as one tensor, `f32[2, 1, hidden]`.
fn joined(c: &Tensor, h: &Tensor) -> Result<Tensor> {
    let values = [c.as_slice::<f32>()?, h.as_slice::<f32>()?].concat();
    Ok(Tensor::new(&[2, 1, values.len() / 2], values)?)
}

/// Text from the model as it is now, beginning with the character in column `first`.
fn sample(step: &Callable, text: &Text, hidden: usize, first: usize, length: usize, random: &mut SimplePhilox) -> Result<String> {
    let mut state = Tensor::new(&[2, 1, hidden], vec![0f32; 2 * hidden])?;
    let mut column = first;
    let mut written = String::new();
    for _ in 0..length {
        let results = step.run(&[&text.one_hot(&[column])?, &state])?;
        state = joined(&results[1], &results[2])?;
        let mut left = random.rand_double();
        let probabilities = results[0].as_slice::<f32>()?;
        column = probabilities
            .iter()
            .position(|&p| {
                left -= f64::from(p);
                left < 0.0
            })
            .unwrap_or(column);
        written.push(text.characters[column]);
    }
    Ok(written)
}

fn run(arguments: &Arguments) -> Result<()> {
    let dir = &arguments.dir;
    let (corpus, source) = corpus(arguments.text.as_deref())?;
    let seq = arguments.seq as usize;
    let known = if arguments.resume { stored_characters(dir)? } else { None };
    let text = Text::new(&corpus, known)?;
    let vocabulary = text.characters.len();
    let places = text.columns.len().saturating_sub(seq + 1);
    if places == 0 {
        let length = text.columns.len();
        return Err(format!("{source}: {length} characters are too few; with --seq {seq} at least {} are needed", seq + 2).into());
    }

    let graph = Graph::new();
    let saver = if arguments.resume {
        train::import_meta_graph(&graph, dir.join("model.meta"))?
    } else {
        graph.set_random_seed(arguments.seed);
        build(&graph, vocabulary, arguments.hidden.unwrap_or(500) as usize, arguments.learning_rate.unwrap_or(0.01))?
    };
    let tensor = |name: &str| graph.get_tensor_by_name(name);
    let (x, y, init_state, loss) = (tensor("x:0")?, tensor("y:0")?, tensor("init_state:0")?, tensor("loss:0")?);
    let (probabilities, c, h) = (tensor("probabilities:0")?, tensor("rnn/while/Exit_3:0")?, tensor("rnn/while/Exit_4:0")?);
    let hidden = graph.shape(init_state)?.dim(-1).ok_or("init_state:0 has no static size")?;
    let columns = graph.shape(x)?.dim(-1);
    if columns != Some(vocabulary) {
        let shape = graph.shape(x)?;
        return Err(format!("the text has {vocabulary} different characters, but x:0 has the shape {shape}").into());
    }
    if let Some(wanted) = arguments.hidden.filter(|&wanted| wanted as usize != hidden) {
        return Err(format!("--hidden {wanted}: the model in {} has {hidden}", dir.display()).into());
    }

    let session = Session::new(&graph);
    let prefix = dir.join("model");
    let mut losses = Vec::new();
    let mut state = Tensor::new(&[2, 1, hidden], vec![0f32; 2 * hidden])?;
    if arguments.resume {
        let checkpoint = bundle::state::latest_checkpoint(dir, None)?;
        saver.restore(&session, checkpoint.map_or_else(|| prefix.clone(), PathBuf::from))?;
        losses = stored_losses(dir)?;
        if let Ok(file) = fs::File::open(dir.join("state.npy")) {
            state = numpy::read_npy(std::io::BufReader::new(file))?;
        }
    } else {
        fs::create_dir_all(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        session.run_targets(&[graph.get_operation_by_name("init")?], &[])?;
    }

    let mut feeds = vec![x, y, init_state];
    let rate = arguments.learning_rate.filter(|_| arguments.resume).map(Tensor::scalar);
    if rate.is_some() {
        feeds.push(tensor("training/learning_rate:0")?);
    }
    let observer = match &arguments.logdir {
        Some(logdir) => {
            let merged = summaries(&graph, loss)?;
            Some((FileWriter::with_graph(logdir, &graph)?, merged))
        }
        None => None,
    };
    let training = [graph.get_operation_by_name("training")?];
    let step = session.callable(&feeds, &[loss, c, h], &training)?;
    let observed = match &observer {
        Some((_, merged)) => Some(session.callable(&feeds, &[loss, c, h, *merged], &training)?),
        None => None,
    };
    let speak = session.callable(&[x, init_state], &[probabilities, c, h], &[])?;
    let mut out = std::io::stdout();
    let parameters: usize = graph.trainable_variables().iter().filter_map(|v| v.shape().num_elements()).sum();
    writeln!(
        out,
        "{} characters, {vocabulary} different ones, from {source}; {} parameters; {}",
        text.columns.len(),
        parameters,
        dir.display()
    )?;

    let bar = ProgressBar::new(arguments.steps as u64);
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} [{elapsed} + {eta}] {msg}")?);
    let mut random = SimplePhilox::new(PhiloxRandom::new(arguments.seed as u64, losses.len() as u64));
    let mut smoothed = Smoothed::default();
    for &loss in &losses {
        smoothed.add(loss);
    }
    let mut started = Instant::now();
    let mut since = 0;
    for done in 1..=arguments.steps {
        let at = losses.len() * seq % places;
        let (read, next) = (text.one_hot(&text.columns[at..at + seq])?, text.one_hot(&text.columns[at + 1..at + 1 + seq])?);
        let mut values = vec![&read, &next, &state];
        values.extend(&rate);
        let results = match &observed {
            Some(observed) if losses.len() % SUMMARY_EVERY == 0 => observed.run(&values)?,
            _ => step.run(&values)?,
        };
        if let (Some((writer, _)), Some(message)) = (&observer, results.get(3)) {
            writer.add_summary(message, Some(losses.len() as i64))?;
        }
        let loss: f32 = results[0].item()?;
        if !loss.is_finite() {
            return Err(format!("the loss of step {} is {loss}; a lower --learning-rate may help", losses.len()).into());
        }
        state = joined(&results[1], &results[2])?;
        losses.push(loss);
        since += 1;
        let mean = smoothed.add(loss);
        let speed = (since * seq) as f64 / started.elapsed().as_secs_f64();
        bar.set_message(format!("loss {loss:.4}, smoothed {mean:.4}, {speed:.0} characters/s"));
        bar.inc(1);
        if arguments.sample_every > 0 && done % arguments.sample_every == 0 && done < arguments.steps {
            save(dir, &session, &saver, &text, &losses, &state)?;
            let sample = sample(&speak, &text, hidden, text.columns[at], arguments.length, &mut random)?;
            let line = format!("step {}: loss {loss:.4}, smoothed {mean:.4}, {speed:.0} characters/s", losses.len());
            bar.suspend(|| writeln!(out, "\n{line}\n{sample}"))?;
            (started, since) = (Instant::now(), 0);
        }
    }
    bar.finish_and_clear();
    if let Some((writer, _)) = observer {
        writer.close()?;
    }
    save(dir, &session, &saver, &text, &losses, &state)?;
    let sample = sample(&speak, &text, hidden, text.columns[0], arguments.length, &mut random)?;
    if let Some(loss) = losses.last() {
        let mean = smoothed.sum / smoothed.weight;
        writeln!(out, "\nstep {}: loss {loss:.4}, smoothed {mean:.4}", losses.len())?;
    }
    writeln!(out, "{sample}\n\nsaved {}.meta, .index, .data-00000-of-00001", prefix.display())?;
    Ok(())
}

/// Saves the model and what belongs to it.
fn save(dir: &Path, session: &Session, saver: &Saver, text: &Text, losses: &[f32], state: &Tensor) -> Result<()> {
    saver.save(session, dir.join("model"))?;
    let chars: String = text.characters.iter().collect();
    write(dir, "characters.json", serde_json::json!({ "chars": chars }).to_string().as_bytes())?;
    let mut table = String::from("step,loss\n");
    losses.iter().enumerate().for_each(|(step, loss)| table += &format!("{step},{loss}\n"));
    write(dir, "losses.csv", table.as_bytes())?;
    let mut bytes = Vec::new();
    numpy::write_npy(&mut bytes, state)?;
    write(dir, "state.npy", &bytes)?;
    draw(dir, losses)
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("train: {error}");
            ExitCode::FAILURE
        }
    }
}
