//! Restores a character model from its files alone, by the names of its tensors, and writes text with it.
//!
//! The program knows five names and nothing else of the model: `x:0`, `init_state:0`, `probabilities:0`,
//! `rnn/while/Exit_3:0` and `rnn/while/Exit_4:0`. Whoever wrote the files, this library or TensorFlow, makes no difference.
//!
//! ```text
//! cargo run --release --example sample -- --dir model --length 600 --prime "fn "
//! ```

use clap::Parser;
use metagraph::random::{PhiloxRandom, SimplePhilox};
use metagraph::{Graph, Session, Tensor, bundle, train};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Write text with a character model, restored by names from what `train` or TensorFlow left in a folder.
#[derive(Parser)]
#[command(name = "sample")]
struct Arguments {
    /// The folder with model.meta, the checkpoint, and the characters
    #[arg(long, value_name = "DIR", default_value = "model")]
    dir: PathBuf,
    /// How many characters to write
    #[arg(long, default_value_t = 600)]
    length: usize,
    /// Text that the model reads before it writes; it is printed first
    #[arg(long, value_name = "TEXT", default_value = "")]
    prime: String,
    /// Seed of the choice of characters; by default every run differs
    #[arg(long)]
    seed: Option<u64>,
    /// Below 1 for likelier text, above 1 for freer text, 0 for the likeliest character each time
    #[arg(long, value_name = "T", default_value_t = 1.0, value_parser = temperature)]
    temperature: f64,
}

fn temperature(text: &str) -> std::result::Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value >= 0.0 => Ok(value),
        Ok(_) => Err("must be a finite number that isn't negative".into()),
        Err(error) => Err(error.to_string()),
    }
}

/// The characters that the columns of `x` stand for, from `characters.json`, or from `reference.json`.
fn characters(dir: &Path) -> Result<Vec<char>> {
    let file = ["characters.json", "reference.json"].map(|name| dir.join(name)).into_iter().find(|path| path.exists());
    let file =
        file.ok_or_else(|| format!("{} has no characters.json, which tells the characters of the model", dir.display()))?;
    let json: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&file)?).map_err(|error| format!("{}: {error}", file.display()))?;
    let chars = json["chars"].as_str().ok_or_else(|| format!("{}: expected a string \"chars\"", file.display()))?;
    Ok(chars.chars().collect())
}

/// One row a character: 1 in the column of the character, 0 elsewhere; `f32[length, 1, vocabulary]`.
fn one_hot(text: &[usize], vocabulary: usize) -> Result<Tensor> {
    let mut values = vec![0f32; text.len() * vocabulary];
    for (row, &column) in values.chunks_exact_mut(vocabulary).zip(text) {
        row[column] = 1.0;
    }
    Ok(Tensor::new(&[text.len(), 1, vocabulary], values)?)
}

/// Draws a column with the probabilities of the row, sharpened or flattened by the temperature.
fn choose(probabilities: &[f32], temperature: f64, random: &mut SimplePhilox) -> usize {
    let likeliest = (0..probabilities.len()).max_by(|&a, &b| probabilities[a].total_cmp(&probabilities[b])).unwrap_or(0);
    if temperature == 0.0 {
        return likeliest;
    }
    let most = f64::from(probabilities[likeliest]).ln();
    let weights: Vec<f64> = probabilities.iter().map(|&p| ((f64::from(p).ln() - most) / temperature).exp()).collect();
    let mut left = random.rand_double() * weights.iter().sum::<f64>();
    for (column, weight) in weights.iter().enumerate() {
        left -= weight;
        if left < 0.0 {
            return column;
        }
    }
    likeliest
}

fn run(arguments: &Arguments) -> Result<()> {
    let dir = &arguments.dir;
    let characters = characters(dir)?;
    let vocabulary = characters.len();

    let graph = Graph::new();
    let saver = train::import_meta_graph(&graph, dir.join("model.meta"))?;
    let x = graph.get_tensor_by_name("x:0")?;
    let init_state = graph.get_tensor_by_name("init_state:0")?;
    let probabilities = graph.get_tensor_by_name("probabilities:0")?;
    let c = graph.get_tensor_by_name("rnn/while/Exit_3:0")?;
    let h = graph.get_tensor_by_name("rnn/while/Exit_4:0")?;
    let shape = graph.shape(x)?;
    if shape.dim(-1) != Some(vocabulary) {
        return Err(format!("{vocabulary} characters are known for {}, but x:0 has the shape {shape}", dir.display()).into());
    }
    let hidden = graph.shape(init_state)?.dim(-1).ok_or("init_state:0 has no static size")?;

    let session = Session::new(&graph);
    let checkpoint = bundle::state::latest_checkpoint(dir, None)?;
    saver.restore(&session, checkpoint.map_or_else(|| dir.join("model"), PathBuf::from))?;
    let step = session.callable(&[x, init_state], &[probabilities, c, h], &[])?;

    let clock = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64);
    let mut random = SimplePhilox::new(PhiloxRandom::new(arguments.seed.unwrap_or_else(clock), 0));
    let mut text = Vec::new();
    for char in arguments.prime.chars() {
        let column = characters.iter().position(|&c| c == char);
        text.push(column.ok_or_else(|| format!("--prime: the model has never seen the character {char:?}"))?);
    }
    let mut out = std::io::stdout().lock();
    write!(out, "{}", arguments.prime)?;
    if text.is_empty() {
        // Something to begin with: the start of a line where there are lines.
        text.push(characters.iter().position(|&c| c == '\n').unwrap_or(0));
    }
    let mut state = Tensor::new(&[2, 1, hidden], vec![0f32; 2 * hidden])?;
    for _ in 0..arguments.length {
        let results = step.run(&[&one_hot(&text, vocabulary)?, &state])?;
        let rows = results[0].as_slice::<f32>()?;
        let next = choose(&rows[rows.len() - vocabulary..], arguments.temperature, &mut random);
        let parts = [results[1].as_slice::<f32>()?, results[2].as_slice::<f32>()?].concat();
        state = Tensor::new(&[2, 1, hidden], parts)?;
        write!(out, "{}", characters[next])?;
        out.flush()?;
        text = vec![next];
    }
    writeln!(out)?;
    Ok(())
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe) => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("sample: {error}");
            ExitCode::FAILURE
        }
    }
}
