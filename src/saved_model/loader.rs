//! Reading a SavedModel: the graph of given tags, its variables, and what is to run after loading.

use super::{
    ASSETS_DIRECTORY, ASSETS_KEY, INIT_OP_SIGNATURE_KEY, LEGACY_INIT_OP_KEY, MAIN_OP_KEY, SAVED_MODEL_FILENAME_PB,
    SAVED_MODEL_FILENAME_PBTXT, VARIABLES_DIRECTORY, VARIABLES_FILENAME,
};
use crate::bundle::state::checkpoint_exists;
use crate::error::{Error, Result, bail};
use crate::graph::{Graph, Operation, Output};
use crate::proto::collection_def::Kind;
use crate::proto::{AssetFileDef, MetaGraphDef, SavedModel, SignatureDef, TensorInfo, tensor_info::Encoding, text};
use crate::session::{Session, SessionOptions};
use crate::tensor::Tensor;
use crate::train::{ImportMetaOptions, Saver, import_meta_graph_def};
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// True for a directory that has the file of a SavedModel; nothing is read.
pub fn maybe_saved_model_directory(dir: impl AsRef<Path>) -> bool {
    [SAVED_MODEL_FILENAME_PB, SAVED_MODEL_FILENAME_PBTXT].iter().any(|name| dir.as_ref().join(name).is_file())
}

/// Reads the MetaGraphs of a SavedModel, from the binary file or, where there is none, from the one in text form.
///
/// # Errors
/// `NotFound` where there is neither, `DataLoss` for a binary file that can't be read, `InvalidArgument` with line and
/// column for a text.
pub fn read_saved_model(dir: impl AsRef<Path>) -> Result<SavedModel> {
    let dir = dir.as_ref();
    let read = |name: &str| {
        let path = dir.join(name);
        let place = |e: Error| e.within(path.display().to_string());
        path.exists().then(|| fs::read(&path).map_err(|e| place(e.into())))
    };
    if let Some(bytes) = read(SAVED_MODEL_FILENAME_PB) {
        let place = || dir.join(SAVED_MODEL_FILENAME_PB).display().to_string();
        return SavedModel::decode(bytes::Bytes::from(bytes?))
            .map_err(|e| Error::data_loss(format!("no SavedModel: {e}")).within(place()));
    }
    if let Some(bytes) = read(SAVED_MODEL_FILENAME_PBTXT) {
        let place = |e: Error| e.within(dir.join(SAVED_MODEL_FILENAME_PBTXT).display().to_string());
        let bytes = bytes?;
        let text = std::str::from_utf8(&bytes).map_err(|e| place(Error::data_loss(format!("no text: {e}"))))?;
        return text::parse(text).map_err(place);
    }
    bail!(
        NotFound,
        "SavedModel file does not exist at: {}/{{{SAVED_MODEL_FILENAME_PBTXT}|{SAVED_MODEL_FILENAME_PB}}}",
        dir.display()
    )
}

/// How a SavedModel is loaded.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// Put before every name of the graph; the names in signatures stay as they are.
    pub import_scope: Option<String>,
    /// Leave the devices out.
    pub clear_devices: bool,
    /// How the session runs the graph.
    pub session: SessionOptions,
}

/// A SavedModel in a session: its variables have their values, and what the model runs after loading has run.
pub struct SavedModelBundle {
    session: Session,
    meta_graph_def: MetaGraphDef,
    import_scope: Option<String>,
}

impl SavedModelBundle {
    /// Loads the MetaGraph with exactly these tags into a new graph and session.
    ///
    /// # Errors
    /// As [`read_saved_model`]; `NotFound` where no MetaGraph has these tags, the message then lists those that there
    /// are; what importing, restoring and the model's init operation return.
    pub fn load(dir: impl AsRef<Path>, tags: &[&str]) -> Result<SavedModelBundle> {
        SavedModelBundle::load_with(dir, tags, LoadOptions::default())
    }

    /// Loads with options.
    ///
    /// # Errors
    /// As [`SavedModelBundle::load`].
    pub fn load_with(dir: impl AsRef<Path>, tags: &[&str], options: LoadOptions) -> Result<SavedModelBundle> {
        let session = Session::with_options(&Graph::new(), options.session.clone());
        let meta_graph_def = load(&session, dir, tags, &options)?;
        Ok(SavedModelBundle { session, meta_graph_def, import_scope: options.import_scope })
    }

    /// The session that holds the model.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The session alone.
    pub fn into_session(self) -> Session {
        self.session
    }

    /// The graph.
    pub fn graph(&self) -> &Graph {
        self.session.graph()
    }

    /// The MetaGraph's message, without the nodes, which are in the graph.
    pub fn meta_graph_def(&self) -> &MetaGraphDef {
        &self.meta_graph_def
    }

    /// The signatures by key.
    pub fn signatures(&self) -> &BTreeMap<String, SignatureDef> {
        &self.meta_graph_def.signature_def
    }

    /// The signature of that key.
    ///
    /// # Errors
    /// `NotFound` where there is none; the message lists those that there are.
    pub fn signature(&self, key: &str) -> Result<&SignatureDef> {
        match self.signatures().get(key) {
            Some(signature) => Ok(signature),
            None => {
                let keys: Vec<&str> = self.signatures().keys().map(String::as_str).filter(|k| !k.starts_with("__")).collect();
                bail!(NotFound, "the SavedModel has no signature '{key}', it has {}", keys.join(", "))
            }
        }
    }

    /// The tensor that an input or output of a signature names.
    ///
    /// # Errors
    /// `Unimplemented` for sparse and composite tensors, `NotFound` for a name that isn't in the graph.
    pub fn tensor(&self, info: &TensorInfo) -> Result<Output> {
        match &info.encoding {
            Some(Encoding::Name(name)) => self.graph().get_tensor_by_name(&scoped(name, self.import_scope.as_deref())),
            Some(Encoding::CooSparse(sparse)) => {
                bail!(Unimplemented, "'{}' is the values of a sparse tensor of three parts", sparse.values_tensor_name)
            }
            Some(Encoding::CompositeTensor(_)) => bail!(Unimplemented, "the signature has a composite tensor"),
            None => bail!(InvalidArgument, "the signature names no tensor"),
        }
    }

    /// Runs a signature: values for its inputs by key, those of its outputs by key. Inputs that aren't given must have a
    /// default in the signature or in the graph.
    ///
    /// # Errors
    /// `NotFound` for a signature or input that there isn't; as [`Session::run`].
    pub fn run(&self, signature: &str, inputs: &[(&str, &Tensor)]) -> Result<BTreeMap<String, Tensor>> {
        let def = self.signature(signature)?;
        let mut feeds = Vec::new();
        for &(key, value) in inputs {
            let Some(info) = def.inputs.get(key) else {
                let keys: Vec<&str> = def.inputs.keys().map(String::as_str).collect();
                bail!(NotFound, "signature '{signature}' has no input '{key}', it has {}", keys.join(", "))
            };
            feeds.push((self.tensor(info)?, value.clone()));
        }
        for (key, default) in &def.defaults {
            if let Some(info) = def.inputs.get(key).filter(|_| !inputs.iter().any(|(given, _)| given == key)) {
                feeds.push((self.tensor(info)?, Tensor::from_message(default)?));
            }
        }
        let feeds: Vec<(Output, &Tensor)> = feeds.iter().map(|(output, value)| (*output, value)).collect();
        let fetches = def.outputs.values().map(|info| self.tensor(info)).collect::<Result<Vec<_>>>()?;
        let values = self.session.run(&fetches, &feeds).map_err(|e| e.within(format!("signature {signature}")))?;
        Ok(def.outputs.keys().cloned().zip(values).collect())
    }
}

/// Loads the MetaGraph with exactly these tags into the session's graph, restores its variables and runs what it runs
/// after loading (`tf.saved_model.loader.load`). Returns its message without the nodes. Of the options, the session's
/// don't count.
///
/// # Errors
/// As [`SavedModelBundle::load`].
pub fn load(session: &Session, dir: impl AsRef<Path>, tags: &[&str], options: &LoadOptions) -> Result<MetaGraphDef> {
    let (dir, start) = (dir.as_ref(), std::time::Instant::now());
    let mut meta = with_tags(read_saved_model(dir)?, tags, dir)?;
    let place = |e: Error| e.within(format!("SavedModel {}", dir.display()));
    let graph_def = meta.graph_def.take();
    let import = ImportMetaOptions { clear_devices: options.clear_devices, import_scope: options.import_scope.clone() };
    let saver = import_meta_graph_def(session.graph(), MetaGraphDef { graph_def, ..meta.clone() }, &import).map_err(place)?;
    restore(session, &saver, dir).map_err(place)?;
    run_init_op(session, &meta, dir, options.import_scope.as_deref()).map_err(place)?;
    tracing::debug!(dir = %dir.display(), ?tags, elapsed = ?start.elapsed(), "SavedModel loaded");
    Ok(meta)
}

fn with_tags(model: SavedModel, tags: &[&str], dir: &Path) -> Result<MetaGraphDef> {
    let wanted: BTreeSet<&str> = tags.iter().copied().collect();
    let of = |meta: &MetaGraphDef| meta.meta_info_def.as_ref().map(|info| info.tags.clone()).unwrap_or_default();
    let available: Vec<Vec<String>> = model.meta_graphs.iter().map(of).collect();
    let matches = |meta: &MetaGraphDef| of(meta).iter().map(String::as_str).collect::<BTreeSet<_>>() == wanted;
    match model.meta_graphs.into_iter().find(matches) {
        Some(meta) => Ok(meta),
        None => bail!(
            NotFound,
            "MetaGraphDef associated with tags {tags:?} could not be found in SavedModel {}, with available tags {available:?}",
            dir.display()
        ),
    }
}

/// Restores the variables. A model without variables may lack their files.
fn restore(session: &Session, saver: &Saver, dir: &Path) -> Result<()> {
    let prefix = dir.join(VARIABLES_DIRECTORY).join(VARIABLES_FILENAME);
    let is_there = prefix.to_str().is_some_and(checkpoint_exists);
    if !is_there && session.graph().global_variables().is_empty() {
        tracing::debug!("the SavedModel has no variables");
        return Ok(());
    }
    saver.restore(session, prefix)
}

fn scoped(name: &str, scope: Option<&str>) -> String {
    match scope.map(|s| s.trim_end_matches('/')).filter(|s| !s.is_empty()) {
        Some(scope) => format!("{scope}/{name}"),
        None => name.to_string(),
    }
}

/// Runs what the model names to be run after loading, if it names something, with the paths of the assets fed.
fn run_init_op(session: &Session, meta: &MetaGraphDef, dir: &Path, scope: Option<&str>) -> Result<()> {
    let Some(op) = init_op(session.graph(), meta, scope)? else { return Ok(()) };
    let mut feeds = Vec::new();
    for asset in assets(meta)? {
        let Some(Encoding::Name(name)) = asset.tensor_info.and_then(|info| info.encoding) else {
            bail!(InvalidArgument, "the asset '{}' names no tensor", asset.filename)
        };
        let path = dir.join(ASSETS_DIRECTORY).join(&asset.filename);
        let output = session.graph().get_tensor_by_name(&scoped(&name, scope))?;
        feeds.push((output, Tensor::string(path.to_string_lossy().into_owned())));
    }
    let feeds: Vec<(Output, &Tensor)> = feeds.iter().map(|(output, value)| (*output, value)).collect();
    session.run_targets(&[op], &feeds).map_err(|e| e.within("the model's init operation".to_string()))
}

fn assets(meta: &MetaGraphDef) -> Result<Vec<AssetFileDef>> {
    if !meta.asset_file_def.is_empty() {
        return Ok(meta.asset_file_def.clone());
    }
    let Some(Kind::AnyList(list)) = meta.collection_def.get(ASSETS_KEY).and_then(|c| c.kind.as_ref()) else {
        return Ok(Vec::new());
    };
    let read = |any: &prost_types::Any| {
        AssetFileDef::decode(any.value.as_slice()).map_err(|e| Error::data_loss(format!("bad entry of {ASSETS_KEY}: {e}")))
    };
    list.value.iter().map(read).collect()
}

fn init_op(graph: &Graph, meta: &MetaGraphDef, scope: Option<&str>) -> Result<Option<Operation>> {
    let find = |name: &str| {
        let name = scoped(name, scope);
        let op = name.rsplit_once(':').map_or(name.as_str(), |(op, _)| op);
        graph.get_operation_by_name(op).map(Some)
    };
    if let Some(signature) = meta.signature_def.get(INIT_OP_SIGNATURE_KEY) {
        let Some(Encoding::Name(name)) = signature.outputs.get(INIT_OP_SIGNATURE_KEY).and_then(|info| info.encoding.as_ref())
        else {
            bail!(InvalidArgument, "the signature {INIT_OP_SIGNATURE_KEY} names no operation")
        };
        return find(name);
    }
    for key in [MAIN_OP_KEY, LEGACY_INIT_OP_KEY] {
        let Some(Kind::NodeList(list)) = meta.collection_def.get(key).and_then(|c| c.kind.as_ref()) else { continue };
        let [name] = list.value.as_slice() else {
            bail!(InvalidArgument, "Expected exactly one SavedModel init op. Found {}: {:?}.", list.value.len(), list.value)
        };
        return find(name);
    }
    Ok(None)
}
