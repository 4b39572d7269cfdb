//! Writing a SavedModel.

use super::signature_def::{op_signature_def, predict_signature_def};
use super::{
    ASSETS_DIRECTORY, ASSETS_KEY, INIT_OP_SIGNATURE_KEY, LEGACY_INIT_OP_KEY, MAIN_OP_KEY, SAVED_MODEL_FILENAME_PB,
    SAVED_MODEL_FILENAME_PBTXT, SAVED_MODEL_SCHEMA_VERSION, TRAIN_OP_SIGNATURE_KEY, VARIABLES_DIRECTORY, VARIABLES_FILENAME,
    signature, tag,
};
use crate::bundle::write_atomically;
use crate::error::{Error, Result, bail};
use crate::graph::{CollectionItem, Graph, Operation, Output, attr, keys};
use crate::proto::{AssetFileDef, MetaGraphDef, SavedModel, SignatureDef, TensorInfo, tensor_info::Encoding, text};
use crate::session::Session;
use crate::tensor::DType;
use crate::train::{ExportOptions, SaveOptions, Saver, SaverOptions, export_meta_graph};
use indexmap::IndexMap;
use prost::{Message, Name};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What is written with a graph.
#[derive(Clone, Copy, Default)]
pub struct MetaGraphOptions<'a> {
    /// The signatures by key.
    pub signatures: &'a [(&'a str, SignatureDef)],
    /// Constant strings that are the paths of files; the files are copied into the SavedModel.
    pub assets: &'a [Output],
    /// What is run after loading and restoring, with the paths of the assets as they are then.
    pub main_op: Option<Operation>,
    /// What trains the model, noted in a signature of its own.
    pub train_op: Option<Operation>,
    /// Leave the devices out.
    pub clear_devices: bool,
    /// Leave the attributes out that have their op's default.
    pub strip_default_attrs: bool,
    /// Saves the variables; a sharded saver of all of them unless one is given.
    pub saver: Option<&'a Saver>,
}

/// Writes a SavedModel (`tf.saved_model.Builder`): first a graph with its variables, then other graphs over the same
/// variables, at last the file that holds them.
pub struct SavedModelBuilder {
    dir: PathBuf,
    saved_model: SavedModel,
    has_variables: bool,
    copied: BTreeSet<PathBuf>,
}

impl SavedModelBuilder {
    /// A builder that writes into this directory, which is made where there is none.
    ///
    /// # Errors
    /// `AlreadyExists` for a directory that isn't empty.
    pub fn new(dir: impl AsRef<Path>) -> Result<SavedModelBuilder> {
        let dir = dir.as_ref();
        let place = |e: std::io::Error| Error::from(e).within(dir.display().to_string());
        if dir.exists() && fs::read_dir(dir).map_err(place)?.next().is_some() {
            bail!(
                AlreadyExists,
                "Export directory {} already exists, and isn't empty. Please choose a different export directory, or delete \
                 all the contents of the specified directory.",
                dir.display()
            );
        }
        fs::create_dir_all(dir).map_err(place)?;
        let saved_model = SavedModel { saved_model_schema_version: SAVED_MODEL_SCHEMA_VERSION, meta_graphs: Vec::new() };
        Ok(SavedModelBuilder { dir: dir.to_path_buf(), saved_model, has_variables: false, copied: BTreeSet::new() })
    }

    /// Adds the session's graph and saves its variables. To be called once, first.
    ///
    /// # Errors
    /// `FailedPrecondition` if called before, or for a variable without a value; `InvalidArgument` for signatures whose
    /// tensors lack name or dtype, for reserved keys and for assets that aren't constant strings; `AlreadyExists` where
    /// the graph has a main op already; what writing returns.
    pub fn add_meta_graph_and_variables(&mut self, session: &Session, tags: &[&str], options: &MetaGraphOptions) -> Result<()> {
        if self.has_variables {
            bail!(
                FailedPrecondition,
                "Graph state including variables and assets has already been saved. Please invoke `add_meta_graph()` instead."
            );
        }
        let graph = session.graph();
        let signatures = self.prepare(graph, options)?;
        let variables = self.dir.join(VARIABLES_DIRECTORY);
        fs::create_dir_all(&variables)?;
        let made;
        let saver = match options.saver {
            Some(saver) => saver,
            None => {
                made = default_saver(graph)?;
                &made
            }
        };
        let save = SaveOptions { write_meta_graph: false, write_state: false, ..SaveOptions::default() };
        saver.save_with(session, variables.join(VARIABLES_FILENAME), &save)?;
        self.add(graph, tags, options, saver, signatures)?;
        self.has_variables = true;
        Ok(())
    }

    /// Adds another graph over the variables that have been saved.
    ///
    /// # Errors
    /// `FailedPrecondition` where no variables have been saved; as
    /// [`SavedModelBuilder::add_meta_graph_and_variables`].
    pub fn add_meta_graph(&mut self, graph: &Graph, tags: &[&str], options: &MetaGraphOptions) -> Result<()> {
        if !self.has_variables {
            bail!(
                FailedPrecondition,
                "Graph state including variables and assets has not been saved yet. Please invoke \
                 `add_meta_graph_and_variables()` first."
            );
        }
        let signatures = self.prepare(graph, options)?;
        let made;
        let saver = match options.saver {
            Some(saver) => saver,
            None => {
                made = default_saver(graph)?;
                &made
            }
        };
        self.add(graph, tags, options, saver, signatures)
    }

    /// Checks the signatures, and notes assets and main op in the graph's collections.
    fn prepare(&mut self, graph: &Graph, options: &MetaGraphOptions) -> Result<Vec<(String, SignatureDef)>> {
        let mut signatures: Vec<(String, SignatureDef)> = Vec::new();
        for (key, def) in options.signatures {
            check_signature(key, def)?;
            signatures.push((key.to_string(), def.clone()));
        }
        if let Some(op) = options.train_op {
            signatures.push((TRAIN_OP_SIGNATURE_KEY.to_string(), op_signature_def(graph, op, TRAIN_OP_SIGNATURE_KEY)));
        }
        self.save_assets(graph, options.assets)?;
        if let Some(op) = options.main_op {
            for key in [MAIN_OP_KEY, LEGACY_INIT_OP_KEY] {
                if !graph.get_collection(key).is_empty() {
                    bail!(AlreadyExists, "Graph already contains one or more main ops under the collection {key}.");
                }
            }
            graph.add_to_collection(MAIN_OP_KEY, CollectionItem::Operation(op));
        }
        Ok(signatures)
    }

    fn add(
        &mut self,
        graph: &Graph,
        tags: &[&str],
        options: &MetaGraphOptions,
        saver: &Saver,
        signatures: Vec<(String, SignatureDef)>,
    ) -> Result<()> {
        let export = ExportOptions {
            saver: Some(saver),
            clear_devices: options.clear_devices,
            strip_default_attrs: options.strip_default_attrs,
            tags,
            ..ExportOptions::default()
        };
        let meta = export_meta_graph(graph, None, &export)?;
        self.saved_model.meta_graphs.push(MetaGraphDef { signature_def: signatures.into_iter().collect(), ..meta });
        Ok(())
    }

    /// Copies the files that constants name, each under a name that none of the others has.
    fn save_assets(&mut self, graph: &Graph, assets: &[Output]) -> Result<()> {
        let mut sources: IndexMap<String, PathBuf> = IndexMap::new();
        for &asset in assets {
            let source = asset_path(graph, asset)?;
            let name = unique_name(&source, &sources)?;
            let info = TensorInfo { encoding: Some(Encoding::Name(graph.tensor_name(asset))), ..TensorInfo::default() };
            let def = AssetFileDef { tensor_info: Some(info), filename: name.clone() };
            let any = prost_types::Any {
                type_url: format!("type.googleapis.com/{}", AssetFileDef::full_name()),
                value: def.encode_to_vec(),
            };
            graph.add_to_collection(ASSETS_KEY, CollectionItem::Any(any));
            sources.insert(name, source);
        }
        if sources.is_empty() {
            return Ok(());
        }
        let folder = self.dir.join(ASSETS_DIRECTORY);
        fs::create_dir_all(&folder)?;
        for (name, source) in sources {
            let target = folder.join(name);
            if source.exists() && source != target && self.copied.insert(target.clone()) {
                fs::copy(&source, &target).map_err(|e| Error::from(e).within(format!("asset {}", source.display())))?;
            }
        }
        Ok(())
    }

    /// Writes `saved_model.pb`, and returns its path.
    ///
    /// # Errors
    /// What writing returns.
    pub fn save(&self) -> Result<PathBuf> {
        let path = self.dir.join(SAVED_MODEL_FILENAME_PB);
        write_atomically(&path, &self.saved_model.encode_to_vec())?;
        Ok(path)
    }

    /// Writes `saved_model.pbtxt`, and returns its path.
    ///
    /// # Errors
    /// What writing returns.
    pub fn save_as_text(&self) -> Result<PathBuf> {
        let path = self.dir.join(SAVED_MODEL_FILENAME_PBTXT);
        write_atomically(&path, text::print_as(&self.saved_model, text::Style::Str).as_bytes())?;
        Ok(path)
    }
}

fn default_saver(graph: &Graph) -> Result<Saver> {
    Saver::with_options(graph, &SaverOptions { sharded: true, allow_empty: true, ..SaverOptions::default() })
}

fn check_signature(key: &str, def: &SignatureDef) -> Result<()> {
    if [INIT_OP_SIGNATURE_KEY, TRAIN_OP_SIGNATURE_KEY].contains(&key) {
        bail!(InvalidArgument, "SignatureDef map key \"{key}\" is reserved. Please use a different key.");
    }
    for (name, info) in def.inputs.iter().chain(&def.outputs) {
        check_info(info).map_err(|e| e.within(format!("'{name}' of the signature '{key}'")))?;
    }
    Ok(())
}

fn check_info(info: &TensorInfo) -> Result<()> {
    match &info.encoding {
        None => {
            bail!(InvalidArgument, "All TensorInfo protos used in the SignatureDefs must have one of the 'encoding' fields set.")
        }
        Some(Encoding::CompositeTensor(composite)) => composite.components.iter().try_for_each(check_info),
        Some(_) if info.dtype == 0 => {
            bail!(InvalidArgument, "All TensorInfo protos used in the SignatureDefs must have the dtype field set.")
        }
        Some(_) => Ok(()),
    }
}

/// The path that a constant string is.
fn asset_path(graph: &Graph, asset: Output) -> Result<PathBuf> {
    let name = graph.tensor_name(asset);
    if graph.op_type(asset.op) != "Const" || graph.dtype(asset)? != DType::String {
        bail!(InvalidArgument, "Asset filepath tensor {name} is invalid: it must be a constant string.");
    }
    let value = attr::tensor(&graph.get_attr(asset.op, "value")?)?;
    match value.strings()? {
        [path] if !path.is_empty() => Ok(PathBuf::from(String::from_utf8_lossy(path).into_owned())),
        other => bail!(InvalidArgument, "Asset filepath tensor {name} is invalid: it must be one path, got {}.", other.len()),
    }
}

/// The file's own name, or that with a number where another file has it.
fn unique_name(source: &Path, taken: &IndexMap<String, PathBuf>) -> Result<String> {
    let Some(name) = source.file_name().map(|n| n.to_string_lossy().into_owned()) else {
        bail!(InvalidArgument, "the asset '{}' is no file", source.display())
    };
    let Some(other) = taken.get(&name) else { return Ok(name) };
    let same = other == source || matches!((fs::read(other), fs::read(source)), (Ok(a), Ok(b)) if a == b);
    if same {
        return Ok(name);
    }
    let mut number = 1;
    while taken.contains_key(&format!("{name}_{number}")) {
        number += 1;
    }
    Ok(format!("{name}_{number}"))
}

/// Writes a SavedModel for serving with one prediction as its signature (`tf.saved_model.simple_save`). The files of the
/// collection [`keys::ASSET_FILEPATHS`] go with it.
///
/// # Errors
/// As [`SavedModelBuilder::new`] and [`SavedModelBuilder::add_meta_graph_and_variables`].
pub fn simple_save(
    session: &Session,
    dir: impl AsRef<Path>,
    inputs: &[(&str, Output)],
    outputs: &[(&str, Output)],
) -> Result<()> {
    let graph = session.graph();
    let def = predict_signature_def(graph, inputs, outputs)?;
    let mut builder = SavedModelBuilder::new(dir)?;
    let files = graph.get_collection(keys::ASSET_FILEPATHS).into_iter();
    let assets: Vec<Output> = files.filter_map(|f| if let CollectionItem::Tensor(t) = f { Some(t) } else { None }).collect();
    let options = MetaGraphOptions {
        signatures: &[(signature::DEFAULT_SERVING_SIGNATURE_DEF_KEY, def)],
        assets: &assets,
        clear_devices: true,
        ..MetaGraphOptions::default()
    };
    builder.add_meta_graph_and_variables(session, &[tag::SERVING], &options)?;
    builder.save()?;
    Ok(())
}

/// An operation that initializes all variables, local variables and tables (`tf.saved_model.main_op.main_op`).
///
/// # Errors
/// As [`Graph::global_variables_initializer`].
pub fn main_op(graph: &Graph) -> Result<Operation> {
    let ops = [graph.global_variables_initializer()?, graph.local_variables_initializer()?, graph.tables_initializer()?];
    graph.group(&ops)
}
