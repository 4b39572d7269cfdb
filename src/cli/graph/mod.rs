//! `metagraph graph`: draws a graph as a person would look at it. Name scopes and loops are boxes that fold.

mod dot;
mod html;
mod inline;
mod layout;
mod scene;
mod svg;

use super::source::Source;
use super::view::View;
use super::{Done, Failure, Outcome, freeze, inspect, print, print_json, style};
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::proto::MetaGraphDef;
use clap::ValueEnum;
use scene::Scene;
use serde_json::json;
use std::path::PathBuf;

const EXAMPLES: &str = "Examples:
  metagraph graph model.meta --out model.svg
  metagraph graph model.meta --out model.html                  folds, searches, shows attributes
  metagraph graph model.meta --scope rnn/while --out loop.svg  the inside of a loop
  metagraph graph frozen.pb --fetch probabilities --format dot --out model.dot

The format is told by the file's name unless given.";

/// The formats of drawings.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A picture; large graphs with most boxes folded.
    Svg,
    /// For Graphviz.
    Dot,
    /// A page for browsers, in one file.
    Html,
}

/// Draw a model's graph.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// A .meta, .pb or .pbtxt file, a checkpoint with a .meta beside it, or a directory
    path: String,
    /// The format of the drawing
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Draw the nodes of this name scope only
    #[arg(long, value_name = "PREFIX")]
    scope: Option<String>,
    /// Draw what these tensors or operations need only
    #[arg(long, value_name = "NAME", num_args = 1..)]
    fetch: Vec<String>,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Print what was written as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Outcome {
    let by_name = args.out.extension().and_then(|e| Format::from_str(&e.to_string_lossy(), true).ok());
    let Some(format) = args.format.or(by_name) else {
        let sentence = format!("the name {} tells no format: give --format svg, dot or html", args.out.display());
        return Err(Failure::Usage(sentence));
    };
    let source = Source::find(&args.path)?;
    let Some(meta) = &source.meta else {
        return Err(Error::not_found(format!("{} has no graph: {}", args.path, source.notes.join("; "))).into());
    };
    let graph = import(meta)?;
    let view = View::new(&graph);
    let mut keep = vec![true; view.nodes.len()];
    if !args.fetch.is_empty() {
        let mut starts = Vec::new();
        for name in &args.fetch {
            let op = name.rsplit_once(':').map_or(name.as_str(), |n| n.0);
            starts.push(graph.get_operation_by_name(op)?.id());
        }
        keep = view.needed_by(starts, true);
    }
    if let Some(scope) = &args.scope {
        let scope = scope.trim_end_matches('/');
        let inside = |name: &str| name == scope || name.strip_prefix(scope).is_some_and(|rest| rest.starts_with('/'));
        keep.iter_mut().zip(&view.nodes).for_each(|(k, n)| *k = *k && inside(&n.name));
        if !keep.contains(&true) {
            return Err(Error::not_found(format!("no node stands in the scope {scope}")).into());
        }
    }
    let scene = Scene::new(&graph, &view, &keep, args.scope.as_deref().unwrap_or(""));
    let nodes = keep.iter().filter(|k| **k).count();
    let title = format!("{} ({})", args.path, style::count(nodes, "node"));
    let text = match format {
        Format::Svg => svg::draw(&scene, &title),
        Format::Dot => dot::draw(&scene, &title),
        Format::Html => html::draw(&scene, &graph, &view, &title),
    };
    freeze::write(&args.out, text.as_bytes())?;
    if args.json {
        print_json(&json!({ "out": args.out, "nodes": nodes, "bytes": text.len() }))?;
    } else {
        print(&format!("{}: {}\n", args.out.display(), title))?;
    }
    Ok(Done::Ok)
}

/// The graph with the functions that it calls in the place of the calls.
fn import(meta: &MetaGraphDef) -> Result<Graph> {
    if let Some(def) = meta.graph_def.as_ref().filter(|d| d.library.as_ref().is_some_and(|l| !l.function.is_empty()))
        && let Ok(graph) = inspect::import(&MetaGraphDef { graph_def: Some(inline::inlined(def)), ..meta.clone() })
    {
        return Ok(graph);
    }
    inspect::import(meta)
}

/// Text within XML.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
