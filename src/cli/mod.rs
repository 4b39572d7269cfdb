//! The command `metagraph`: looks into models, runs them, and turns them into other forms, from a shell.
//!
//! One file a subcommand. Exit codes: 0; 1 where the work failed or found something; 2 for wrong use.

mod checkpoint;
mod convert;
mod describe;
mod diff;
mod doctor;
mod freeze;
mod graph;
mod inspect;
mod literal;
mod model;
mod run;
mod saving;
mod source;
mod specialize;
mod stats;
mod style;
mod view;

use crate::error::{Error, Result};
use clap::{CommandFactory, Parser, Subcommand};
use std::io::Write;
use std::process::ExitCode;

/// How a command ends that doesn't succeed.
enum Failure {
    /// The command was used wrongly.
    Usage(String),
    /// The work failed.
    Failed(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Failed(error)
    }
}

/// How a command ended that did its work.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Done {
    /// All is well.
    Ok,
    /// The answer is "no": files differ, a model is broken.
    Found,
}

type Outcome = Result<Done, Failure>;

const EXAMPLES: &str = "Examples:
  metagraph inspect model/                          what is in this directory?
  metagraph inspect model.meta --ops softmax        which nodes have softmax in their name?
  metagraph inspect model.ckpt --tensor rnn/kernel  a variable's values
  metagraph run --meta model.meta --checkpoint model --feed 'x=[[1,2,3]]' --fetch probabilities:0
  metagraph run --graph frozen.pb --feeds in.npz --fetch y:0 --out out.npz
  metagraph freeze --meta model.meta --checkpoint model --fetch probabilities --out frozen.pb
  metagraph convert model.ckpt weights.safetensors
  metagraph graph model.meta --format html --out model.html
  metagraph diff old/model new/model
  metagraph doctor model/

Exit codes: 0; 1 the work failed, or diff or doctor found something; 2 wrong use.";

/// Runs, inspects and converts TensorFlow-1 models.
#[derive(Parser)]
#[command(name = "metagraph", version, about, after_help = EXAMPLES)]
struct Args {
    /// When to use colours: on terminals, always or never.
    #[arg(long, global = true, value_enum, default_value = "auto")]
    color: style::When,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Say what a model is: inputs, outputs, state, variables, ops.
    Inspect(inspect::Args),
    /// Run a model: feed values, fetch values, train, save.
    Run(run::Args),
    /// Turn variables into constants and keep what the fetches need.
    Freeze(freeze::Args),
    /// Turn a checkpoint into an .npz or .safetensors file, or back.
    Convert(convert::Args),
    /// Draw a model's graph.
    Graph(graph::Args),
    /// Compare two models or checkpoints; exits with 1 where they differ.
    Diff(diff::Args),
    /// Look for what is wrong with a model and say what to do; exits with 1 where something is.
    Doctor(doctor::Args),
    /// Print the completions for a shell.
    ///
    /// For bash: metagraph completions bash > /etc/bash_completion.d/metagraph
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Runs the command with the process's arguments.
pub fn main() -> ExitCode {
    let args = Args::parse();
    style::set(args.color);
    let outcome = match &args.command {
        Command::Inspect(args) => inspect::run(args),
        Command::Run(args) => run::run(args),
        Command::Freeze(args) => freeze::run(args),
        Command::Convert(args) => convert::run(args),
        Command::Graph(args) => graph::run(args),
        Command::Diff(args) => diff::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Completions { shell } => completions(*shell),
    };
    let (code, sentence) = match outcome {
        Ok(Done::Ok) => return ExitCode::SUCCESS,
        Ok(Done::Found) => return ExitCode::from(1),
        Err(Failure::Failed(error)) => (1, one_line(&error)),
        Err(Failure::Usage(sentence)) => (2, sentence),
    };
    let _ = writeln!(std::io::stderr(), "{} {sentence}", style::stderr("error:", style::RED));
    ExitCode::from(code)
}

fn completions(shell: clap_complete::Shell) -> Outcome {
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "metagraph", &mut out);
    print(&String::from_utf8_lossy(&out))?;
    Ok(Done::Ok)
}

/// An error with all its places on one line.
fn one_line(error: &Error) -> String {
    let mut text = error.message().trim().replace('\n', " ");
    for place in error.context() {
        text += &format!("; in {}", place.replace('\n', " "));
    }
    format!("{text} ({:?})", error.code())
}

/// Writes to the standard output. That a reader went away is no failure.
fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::from(e).within("standard output")),
        _ => Ok(()),
    }
}

fn print_json(value: &serde_json::Value) -> Result<()> {
    print(&(serde_json::to_string_pretty(value).map_err(|e| Error::internal(e.to_string()))? + "\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interface_is_consistent() {
        Args::command().debug_assert();
    }
}
