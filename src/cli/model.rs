//! Loads the model that `run` and `freeze` are given, and puts values into a session's variables.

use super::source::{Kind, Source, is_variable};
use crate::bundle::{BundleWriter, CheckpointReader};
use crate::error::{Code, Error, Result, bail};
use crate::graph::op::Variable;
use crate::graph::{CollectionItem, Graph, Operation, attr, keys};
use crate::proto::{MetaGraphDef, SignatureDef};
use crate::saved_model::{self, SavedModelBundle};
use crate::session::Session;
use crate::tensor::{DType, Shape};
use crate::train::{self, ExportOptions, ImportMetaOptions, SaveOptions, Saver};
use clap::ArgGroup;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What is run: one of three kinds of sources.
#[derive(clap::Args)]
#[command(group(ArgGroup::new("source").required(true).args(["meta", "graph", "saved_model"])))]
pub(super) struct SourceArgs {
    /// A MetaGraph, as a Saver writes it: model.meta
    #[arg(long, value_name = "M")]
    pub meta: Option<String>,
    /// The checkpoint whose values the variables get: a prefix, one of its files, or a directory with a checkpoint file
    #[arg(long, value_name = "P", conflicts_with = "saved_model")]
    pub checkpoint: Option<String>,
    /// A graph, as a rule a frozen one: model.pb or model.pbtxt
    #[arg(long, value_name = "G")]
    pub graph: Option<String>,
    /// The directory of a SavedModel
    #[arg(long, value_name = "DIR")]
    pub saved_model: Option<PathBuf>,
    /// A tag of the SavedModel's graph, `serve` unless given; may be repeated
    #[arg(long = "tag", value_name = "T", conflicts_with_all = ["meta", "graph"])]
    pub tags: Vec<String>,
    /// The signature of the SavedModel by whose keys values are fed and fetched
    #[arg(long, value_name = "S", conflicts_with_all = ["meta", "graph"])]
    pub signature: Option<String>,
}

/// A model that can be run.
pub(super) struct Model {
    pub graph: Graph,
    pub session: Session,
    /// The graph's own saver, if it has one.
    pub saver: Option<Saver>,
    pub signatures: BTreeMap<String, SignatureDef>,
    /// True when the variables have got values.
    pub restored: bool,
    pub notes: Vec<String>,
}

impl Model {
    /// Loads the source and gives its variables their values.
    ///
    /// # Errors
    /// What finding, reading, importing and restoring return.
    pub fn load(args: &SourceArgs) -> Result<Model> {
        if let Some(dir) = &args.saved_model {
            return Model::load_saved_model(dir, &args.tags);
        }
        let path = args.meta.as_deref().or(args.graph.as_deref()).unwrap_or_default();
        let source = if Path::new(path).is_dir() || !Path::new(path).exists() {
            Source::find(path)?
        } else {
            Source::of_graph_file(path)?
        };
        let Some(meta) = source.meta else {
            bail!(InvalidArgument, "{path} has no graph: {}", source.notes.join("; "));
        };
        let mut model = Model::from_meta(meta)?;
        model.notes = source.notes;
        if let Some(checkpoint) = &args.checkpoint {
            let prefix = checkpoint_prefix(checkpoint)?;
            model.restore(&prefix)?;
        }
        Ok(model)
    }

    /// A model from a message, without values.
    ///
    /// # Errors
    /// As [`train::import_meta_graph_def`].
    pub fn from_meta(meta: MetaGraphDef) -> Result<Model> {
        let graph = Graph::new();
        let signatures = meta.signature_def.clone();
        let saver = train::import_meta_graph_def(&graph, meta, &ImportMetaOptions::default())?;
        let saver = Some(saver).filter(|s| !s.as_saver_def().restore_op_name.is_empty());
        let session = Session::new(&graph);
        Ok(Model { graph, session, saver, signatures, restored: false, notes: Vec::new() })
    }

    fn load_saved_model(dir: &Path, tags: &[String]) -> Result<Model> {
        let mut tags = tags.to_vec();
        if tags.is_empty() {
            // A model of one MetaGraph needs no choice.
            let all = saved_model::read_saved_model(dir)?.meta_graphs;
            let own = |m: &MetaGraphDef| m.meta_info_def.as_ref().map(|i| i.tags.clone()).unwrap_or_default();
            tags = match &all[..] {
                [only] => own(only),
                _ => vec![saved_model::tag::SERVING.to_string()],
            };
        }
        let names: Vec<&str> = tags.iter().map(String::as_str).collect();
        let bundle = SavedModelBundle::load(dir, &names)?;
        let (graph, signatures) = (bundle.graph().clone(), bundle.signatures().clone());
        let def = bundle.meta_graph_def().saver_def.clone().filter(|d| !d.restore_op_name.is_empty());
        let saver = def.map(|def| Saver::from_def(&graph, def));
        let notes = vec![format!("{}: a SavedModel with the tags {}", dir.display(), tags.join(","))];
        Ok(Model { graph, session: bundle.into_session(), saver, signatures, restored: true, notes })
    }

    /// Restores a checkpoint by the graph's own saver, or else by the names of the variables; then runs what initializes
    /// tables and the variables that no checkpoint has.
    ///
    /// # Errors
    /// What restoring returns; `NotFound` with all names that the checkpoint lacks.
    pub fn restore(&mut self, prefix: &str) -> Result<()> {
        match &self.saver {
            Some(saver) => saver.restore(&self.session, prefix)?,
            None => self.restore_by_names(prefix)?,
        }
        self.restored = true;
        self.initialize_rest();
        Ok(())
    }

    /// Runs the initializers of tables and of local variables. One that fails is found out by the step that needs it.
    fn initialize_rest(&self) {
        let g = &self.graph;
        let mut ops: Vec<Operation> = g.local_variables().iter().filter_map(|v| v.initializer().ok()).collect();
        for item in g.get_collection(keys::TABLE_INITIALIZERS) {
            match item {
                CollectionItem::Operation(op) => ops.push(op),
                CollectionItem::Tensor(t) => ops.push(t.op),
                _ => {}
            }
        }
        for op in ops {
            let _ = self.session.run_targets(&[op], &[]);
        }
    }

    fn restore_by_names(&self, prefix: &str) -> Result<()> {
        let reader = CheckpointReader::open(prefix)?;
        let mut missing = Vec::new();
        let bar = super::style::bar(self.graph.len() as u64, "restoring");
        for variable in variables(&self.graph) {
            bar.set_position(variable.op.id() as u64);
            if !reader.has(&variable.name) {
                missing.push(variable.name);
                continue;
            }
            let value = reader.read(&variable.name)?;
            if value.dtype() != variable.dtype || !variable.shape.accepts(value.dims()) {
                bail!(
                    InvalidArgument,
                    "variable {} is {}{} in the graph, {}{} in {prefix}",
                    variable.name,
                    variable.dtype,
                    variable.shape,
                    value.dtype(),
                    value.shape()
                );
            }
            let make = || Ok(Variable::new(&*variable.name, variable.dtype, variable.shape.clone()));
            self.session.state().resource(&variable.container, &variable.shared_name, make)?.set(Some(value));
        }
        bar.finish_and_clear();
        // Variables that nothing reads, or that are initialized by hand, need no value; a step that needs one will say so.
        if !missing.is_empty() && missing.len() == variables(&self.graph).len() {
            bail!(
                NotFound,
                "the checkpoint {prefix} has none of the graph's {} variables, such as {}: is it another model's?",
                missing.len(),
                missing[0]
            );
        }
        Ok(())
    }

    /// Saves the session's variables and the graph.
    ///
    /// # Errors
    /// As [`Saver::save`]; `FailedPrecondition` where no variable has a value.
    pub fn save(&self, prefix: &str) -> Result<()> {
        if let Some(saver) = &self.saver {
            saver.save_with(&self.session, prefix, &SaveOptions::default())?;
            return Ok(());
        }
        if !self.graph.global_variables().is_empty() {
            Saver::new(&self.graph)?.save(&self.session, prefix)?;
            return Ok(());
        }
        let mut writer = BundleWriter::new(prefix)?;
        for variable in variables(&self.graph) {
            if let Some(value) = self.value(&variable) {
                writer.add(&variable.name, &value)?;
            }
        }
        writer.finish()?;
        let meta = format!("{prefix}.meta");
        train::export_meta_graph(&self.graph, Some(Path::new(&meta)), &ExportOptions::default())?;
        Ok(())
    }

    /// The value that a variable has in the session.
    pub fn value(&self, variable: &VariableNode) -> Option<crate::tensor::Tensor> {
        self.session.state().find::<Variable>(&variable.container, &variable.shared_name)?.get()
    }
}

/// A variable of a graph, by its node.
#[derive(Clone, Debug)]
pub(super) struct VariableNode {
    pub op: Operation,
    pub name: String,
    pub container: String,
    /// The name by which sessions know it.
    pub shared_name: String,
    pub dtype: DType,
    pub shape: Shape,
    /// True for a resource, false for a reference.
    pub is_resource: bool,
}

/// All variables of a graph, in order of creation.
pub(super) fn variables(graph: &Graph) -> Vec<VariableNode> {
    let text = |op, name: &str| graph.get_attr(op, name).ok().and_then(|v| attr::string(&v).ok().map(str::to_string));
    let make = |op: Operation| -> Option<VariableNode> {
        let op_type = graph.op_type(op);
        if !is_variable(&op_type) {
            return None;
        }
        let name = graph.op_name(op);
        let shared_name = text(op, "shared_name").filter(|s| !s.is_empty()).unwrap_or_else(|| name.clone());
        Some(VariableNode {
            op,
            container: text(op, "container").unwrap_or_default(),
            shared_name,
            name,
            dtype: graph.get_attr(op, "dtype").ok().and_then(|v| attr::dtype(&v).ok())?,
            shape: graph.get_attr(op, "shape").ok().and_then(|v| attr::shape(&v).ok()).unwrap_or_default(),
            is_resource: op_type == "VarHandleOp",
        })
    };
    graph.get_operations().into_iter().filter_map(make).collect()
}

/// The prefix of the checkpoint that a path leads to.
///
/// # Errors
/// `NotFound` or `InvalidArgument` where it leads to none.
pub(super) fn checkpoint_prefix(path: &str) -> Result<String> {
    let source = Source::find(path)?;
    match (source.kind, source.checkpoint) {
        (Kind::Checkpoint, Some(prefix)) => Ok(prefix),
        _ => bail!(InvalidArgument, "{path} is no checkpoint: {}", source.notes.join("; ")),
    }
}

/// An error of a step, with a hint at what was left out.
pub(super) fn explain(error: Error, restored: bool) -> Error {
    if error.code() == Code::FailedPrecondition && error.message().contains("ninitialized") && !restored {
        let hint = "give the values with --checkpoint, or initialize them in a run of its own: --target init --save PREFIX";
        return Error::new(error.code(), format!("{}: {hint}", error.message()));
    }
    error
}
