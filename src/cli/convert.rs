//! `metagraph convert`: named tensors from one kind of file to another, one at a time.

use super::checkpoint::{Sink, Values};
use super::source::Source;
use super::{Done, Outcome, print, print_json, style};
use crate::error::bail;
use crate::safetensors::order;
use serde_json::json;

const EXAMPLES: &str = "Examples:
  metagraph convert model.ckpt weights.npz             for NumPy: numpy.load('weights.npz')['rnn/kernel']
  metagraph convert model.ckpt weights.safetensors     for safetensors
  metagraph convert weights.npz new/model.ckpt         back: a checkpoint that any Saver restores

The kind of file that is written is told by its name; any other name is a checkpoint's prefix.";

/// Turn a checkpoint into an .npz or .safetensors file, or back.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// A checkpoint (prefix, file or directory), an .npz or a .safetensors file
    #[arg(value_name = "CHECKPOINT")]
    input: String,
    /// The file to write: OUT.npz, OUT.safetensors, or the prefix of a checkpoint
    #[arg(value_name = "OUT")]
    output: String,
    /// Print what was written as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    let source = Source::find(&args.input)?;
    let values = Values::open(&source)?;
    if let Some(prefix) = &source.checkpoint
        && std::path::absolute(prefix).ok() == std::path::absolute(&args.output).ok()
    {
        let error = || -> crate::error::Result<Done> { bail!(InvalidArgument, "{prefix} would be written over itself") };
        return Ok(error()?);
    }
    let variables = values.variables()?;
    let mut sink = Sink::create(&args.output, &variables)?;
    let bar = style::bar(variables.len() as u64, "converting");
    let mut bytes = 0;
    for name in order(&variables) {
        let tensor = values.read(name)?;
        bytes += tensor.byte_size() as u64;
        sink.add(name, &tensor)?;
        bar.inc(1);
    }
    sink.finish()?;
    bar.finish_and_clear();
    if args.json {
        print_json(&json!({ "out": args.output, "tensors": variables.len(), "bytes": bytes }))?;
        return Ok(Done::Ok);
    }
    print(&format!("{}: {}, {}\n", args.output, style::count(variables.len(), "tensor"), style::bytes(bytes)))?;
    Ok(Done::Ok)
}
