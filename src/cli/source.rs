//! Finds out what a path is: a MetaGraph, a graph, a checkpoint, a SavedModel, a file of arrays; by content, not by name.

use crate::bundle::state::{self, CHECKPOINT};
use crate::bundle::{CheckpointReader, index_filename};
use crate::error::{Error, Result, bail};
use crate::proto::{GraphDef, MetaGraphDef, SavedModel, text};
use bytes::Bytes;
use prost::Message;
use std::fs;
use std::path::{Path, PathBuf};

/// The last bytes of a checkpoint's table.
const TABLE_MAGIC: [u8; 8] = 0xdb47_7524_8b80_fb57u64.to_le_bytes();

/// The kinds of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    MetaGraph,
    GraphDef,
    Checkpoint,
    SavedModel,
    Arrays,
}

/// What a path turned out to be.
#[derive(Debug)]
pub(super) struct Source {
    pub kind: Kind,
    /// What was found, in sentences.
    pub notes: Vec<String>,
    /// The graph and what goes with it; for a GraphDef the graph alone.
    pub meta: Option<MetaGraphDef>,
    /// The file that the graph is from.
    pub graph_path: Option<PathBuf>,
    /// The prefix of the checkpoint that has the values.
    pub checkpoint: Option<String>,
    /// The directory of a SavedModel.
    pub saved_model: Option<PathBuf>,
    /// A file of arrays, .npz or .safetensors.
    pub arrays: Option<PathBuf>,
}

/// A message that has a graph.
pub(super) enum Parsed {
    MetaGraph(Box<MetaGraphDef>),
    GraphDef(Box<GraphDef>),
    SavedModel(SavedModel),
}

fn read(path: &Path) -> Result<Bytes> {
    fs::read(path).map(Bytes::from).map_err(|e| crate::bundle::io_error(path, &e))
}

fn has_ops(graph: &GraphDef) -> bool {
    let is_op = |op: &str| !op.is_empty() && op.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.>/-:".contains(&b));
    let functions = graph.library.as_ref().is_some_and(|l| l.function.iter().any(|f| f.signature.is_some()));
    graph.node.iter().take(100).all(|n| is_op(&n.op) && !n.name.is_empty()) && (!graph.node.is_empty() || functions)
}

fn as_meta_graph(bytes: &Bytes) -> Option<Parsed> {
    let meta = MetaGraphDef::decode(bytes.clone()).ok()?;
    let real = meta.graph_def.as_ref().is_some_and(|g| has_ops(g) || (g.node.is_empty() && meta.meta_info_def.is_some()));
    real.then(|| Parsed::MetaGraph(Box::new(meta)))
}

fn as_graph(bytes: &Bytes) -> Option<Parsed> {
    GraphDef::decode(bytes.clone()).ok().filter(has_ops).map(|g| Parsed::GraphDef(Box::new(g)))
}

fn as_saved_model(bytes: &Bytes) -> Option<Parsed> {
    let model = SavedModel::decode(bytes.clone()).ok()?;
    let real = !model.meta_graphs.is_empty() && model.meta_graphs.iter().all(|m| m.graph_def.is_some());
    real.then_some(Parsed::SavedModel(model))
}

/// Whether a file is text is seen in so many bytes.
const SNIFFED: usize = 4096;

/// True for bytes that can be a message in text form, and can't in binary form: no control characters, which the tags
/// and lengths of a binary message are.
fn is_text(bytes: &[u8]) -> bool {
    let start = &bytes[..bytes.len().min(SNIFFED)];
    let control = |&b: &u8| b == 0x7f || (b < 0x20 && !b"\t\n\r\x0b\x0c".contains(&b));
    let valid = match std::str::from_utf8(start) {
        Ok(_) => true,
        Err(e) => e.error_len().is_none() && start.len() < bytes.len(),
    };
    valid && !start.iter().any(control) && start.iter().any(|b| b.is_ascii_alphabetic() || *b == b'#')
}

/// Reads a message that has a graph from its bytes, in binary or text form.
///
/// # Errors
/// `InvalidArgument` for text of another form, `DataLoss` for other bytes.
pub(super) fn parse(bytes: &Bytes) -> Result<Parsed> {
    if is_text(bytes) {
        let words = std::str::from_utf8(bytes).map_err(|_| Error::invalid_argument("the text isn't UTF-8"))?;
        let top = top_fields(words);
        let has = |name: &str| top.iter().any(|t| t == name);
        return if has("meta_graphs") || has("saved_model_schema_version") {
            text::parse(words).map(Parsed::SavedModel)
        } else if has("graph_def") || has("meta_info_def") || has("collection_def") || has("saver_def") {
            text::parse(words).map(|m| Parsed::MetaGraph(Box::new(m)))
        } else if has("node") || has("versions") || has("library") {
            text::parse(words).map(|g| Parsed::GraphDef(Box::new(g)))
        } else {
            Err(Error::invalid_argument("it is text, but none of a graph, a MetaGraph or a SavedModel"))
        };
    }
    // A MetaGraph's first field is a message that can look like a node, and the other way round, so the rest decides.
    let found = as_saved_model(bytes).or_else(|| as_meta_graph(bytes)).or_else(|| as_graph(bytes));
    found.ok_or_else(|| Error::data_loss("it holds no graph, no MetaGraph and no SavedModel: cut off, or another kind of file"))
}

/// The names of the outermost fields of a message in text form, those of the first lines that have any.
fn top_fields(text: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let (mut depth, mut quoted) = (0usize, None);
    let mut word = String::new();
    let (mut escaped, mut comment) = (false, false);
    for c in text.chars() {
        comment = (comment || (c == '#' && quoted.is_none())) && c != '\n';
        if comment {
            continue;
        }
        if let Some(quote) = quoted {
            if !escaped && (c == quote || c == '\n') {
                quoted = None;
            }
            escaped = !escaped && c == '\\';
            continue;
        }
        match c {
            '"' | '\'' => quoted = Some(c),
            '{' | '<' | ':' if depth == 0 && !word.is_empty() => {
                if !names.contains(&word) {
                    names.push(std::mem::take(&mut word));
                }
                word.clear();
                depth += usize::from(c != ':');
            }
            '{' | '<' => depth += 1,
            '}' | '>' => depth = depth.saturating_sub(1),
            '\n' if depth == 0 => word.clear(),
            c if depth == 0 && (c.is_ascii_alphanumeric() || c == '_') => word.push(c),
            _ => {}
        }
    }
    names
}

impl Source {
    fn new(kind: Kind) -> Source {
        Source { kind, notes: Vec::new(), meta: None, graph_path: None, checkpoint: None, saved_model: None, arrays: None }
    }

    /// Finds out what a path is.
    ///
    /// # Errors
    /// `NotFound` where there is nothing, with what was looked for; as [`parse`] for files of other kinds.
    pub fn find(path: &str) -> Result<Source> {
        let at = Path::new(path);
        if index_filename(at).is_file() {
            return Source::of_checkpoint(path.to_string(), Vec::new());
        }
        if at.is_dir() {
            return Source::of_directory(path);
        }
        if at.is_file() {
            return Source::of_file(path).map_err(|e| if e.context().is_empty() { e.within(path.to_string()) } else { e });
        }
        if CheckpointReader::open(at).is_ok() {
            return Source::of_checkpoint(path.to_string(), Vec::new());
        }
        let meta = state::meta_graph_filename(path, "meta");
        if Path::new(&meta).is_file() {
            let mut source = Source::of_file(&meta)?;
            source.notes.push(format!("there is no checkpoint {path}, only its graph {meta}"));
            return Ok(source);
        }
        bail!(NotFound, "there is no {path}, no {path}.index and no {path}.meta{}", near(at))
    }

    /// What a file holds that has a graph; the checkpoint beside it isn't looked for.
    ///
    /// # Errors
    /// As [`parse`].
    pub fn of_graph_file(path: &str) -> Result<Source> {
        let at = Path::new(path);
        if path.ends_with(".index") || prefix_of_part(path).is_some() || at.file_name().is_some_and(|n| n == CHECKPOINT) {
            return Source::of_file(path);
        }
        let (kind, what, meta) = match parse(&read(at)?).map_err(|e| e.within(path.to_string()))? {
            Parsed::GraphDef(graph) => {
                (Kind::GraphDef, "a graph", MetaGraphDef { graph_def: Some(*graph), ..Default::default() })
            }
            Parsed::MetaGraph(meta) => (Kind::MetaGraph, "a MetaGraph", *meta),
            Parsed::SavedModel(_) => {
                bail!(InvalidArgument, "{path} is a SavedModel: give its directory with --saved-model")
            }
        };
        let mut source = Source::new(kind);
        source.notes.push(format!("{path}: {what}"));
        source.meta = Some(meta);
        source.graph_path = Some(at.into());
        Ok(source)
    }

    fn of_file(path: &str) -> Result<Source> {
        let at = Path::new(path);
        if let Some(prefix) = prefix_of_part(path) {
            if index_filename(Path::new(&prefix)).is_file() {
                return Source::of_checkpoint(prefix, Vec::new());
            }
            bail!(NotFound, "{path} is a part of a checkpoint whose index {prefix}.index is missing");
        }
        if let Some(kind) = at.extension().and_then(|e| e.to_str()).filter(|e| ["npz", "safetensors"].contains(e)) {
            let mut source = Source::new(Kind::Arrays);
            source.notes.push(format!("{path}: named arrays in a .{kind} file"));
            source.arrays = Some(at.into());
            return Ok(source);
        }
        let bytes = read(at)?;
        if bytes.ends_with(&TABLE_MAGIC) {
            return Source::of_checkpoint(path.to_string(), Vec::new());
        }
        if at.file_name().is_some_and(|n| n == CHECKPOINT)
            || (is_text(&bytes) && String::from_utf8_lossy(&bytes).contains("model_checkpoint_path:"))
        {
            let dir = at.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let name = at.file_name().map(|n| n.to_string_lossy().into_owned());
            return Source::of_state(dir, name.as_deref());
        }
        let form = if is_text(&bytes) { ", in text form" } else { "" };
        match parse(&bytes)? {
            Parsed::GraphDef(graph) => {
                let mut source = Source::new(Kind::GraphDef);
                let frozen = if graph.node.iter().any(|n| is_variable(&n.op)) { "a graph" } else { "a frozen graph" };
                source.notes.push(format!("{path}: {frozen} (GraphDef{form})"));
                source.meta = Some(MetaGraphDef { graph_def: Some(*graph), ..Default::default() });
                source.graph_path = Some(at.into());
                Ok(source)
            }
            Parsed::MetaGraph(meta) => {
                let mut source = Source::new(Kind::MetaGraph);
                source.notes.push(format!("{path}: a MetaGraph (graph, collections and saver{form})"));
                source.meta = Some(*meta);
                source.graph_path = Some(at.into());
                source.find_checkpoint_beside(path);
                Ok(source)
            }
            Parsed::SavedModel(model) => {
                let dir = at.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
                Source::of_saved_model(dir, at, model)
            }
        }
    }

    /// The checkpoint that belongs to a `.meta` file: of the same name, or else the latest of the directory.
    fn find_checkpoint_beside(&mut self, path: &str) {
        let prefix = path.strip_suffix(".meta").unwrap_or(path);
        if prefix != path && CheckpointReader::open(prefix).is_ok() {
            self.notes.push(format!("{prefix}: its checkpoint"));
            self.checkpoint = Some(prefix.to_string());
            return;
        }
        let dir = Path::new(path).parent().unwrap_or(Path::new("."));
        if let Ok(Some(latest)) = state::latest_checkpoint(dir, None) {
            self.notes.push(format!("{latest}: the latest checkpoint beside it"));
            self.checkpoint = Some(latest);
        }
    }

    fn of_checkpoint(prefix: String, mut notes: Vec<String>) -> Result<Source> {
        let prefix = prefix_of_part(&prefix).unwrap_or(prefix);
        let reader = CheckpointReader::open(&prefix)?;
        let version = if matches!(reader, CheckpointReader::V2(_)) { "V2" } else { "V1" };
        notes.push(format!("{prefix}: a checkpoint ({version})"));
        let mut source = Source::new(Kind::Checkpoint);
        let meta = state::meta_graph_filename(&prefix, "meta");
        if Path::new(&meta).is_file() {
            match read(Path::new(&meta)).and_then(|b| parse(&b)) {
                Ok(Parsed::MetaGraph(graph)) => {
                    notes.push(format!("{meta}: its MetaGraph"));
                    source.meta = Some(*graph);
                    source.graph_path = Some(meta.into());
                }
                Ok(_) => notes.push(format!("{meta} beside it is no MetaGraph")),
                Err(e) => notes.push(format!("{meta} beside it can't be read: {}", e.message())),
            }
        }
        source.notes = notes;
        source.checkpoint = Some(prefix);
        Ok(source)
    }

    /// The latest checkpoint that a state file names.
    fn of_state(dir: &Path, name: Option<&str>) -> Result<Source> {
        let file = dir.join(name.unwrap_or(CHECKPOINT));
        let Some(state) = state::get_checkpoint_state(dir, name)? else {
            bail!(InvalidArgument, "{} can't be read as a checkpoint state file", file.display())
        };
        let named = state.model_checkpoint_path;
        let Some(latest) = state::latest_checkpoint(dir, name)? else {
            bail!(
                NotFound,
                "{} names the checkpoint {named}, which is neither there nor in {}: copy its files beside it",
                file.display(),
                dir.display()
            );
        };
        let mut notes = vec![format!("{}: the latest checkpoint is {named}", file.display())];
        if latest != named {
            notes.push(format!("that isn't there, as after a move; found {latest} beside the file"));
        }
        Source::of_checkpoint(latest, notes)
    }

    fn of_directory(path: &str) -> Result<Source> {
        let dir = Path::new(path);
        for name in ["saved_model.pb", "saved_model.pbtxt"] {
            let file = dir.join(name);
            if file.is_file() {
                let place = |e: Error| e.within(file.display().to_string());
                let Parsed::SavedModel(model) = parse(&read(&file)?).map_err(place)? else {
                    bail!(DataLoss, "{} is no SavedModel", file.display())
                };
                return Source::of_saved_model(dir, &file, model);
            }
        }
        if dir.join(CHECKPOINT).is_file() {
            return Source::of_state(dir, None);
        }
        let mut names: Vec<String> = fs::read_dir(dir)
            .map_err(|e| crate::bundle::io_error(dir, &e))?
            .filter_map(|e| e.ok()?.file_name().into_string().ok())
            .collect();
        names.sort();
        let join = |name: &str| dir.join(name).to_string_lossy().into_owned();
        let with = |suffix: &str| names.iter().filter(|n| n.ends_with(suffix)).cloned().collect::<Vec<_>>();
        for suffix in [".index", ".meta", ".pb", ".pbtxt"] {
            match &with(suffix)[..] {
                [] => {}
                [one] => return Source::find(&join(one)),
                several => {
                    let latest = several.iter().max_by_key(|n| fs::metadata(dir.join(n)).and_then(|m| m.modified()).ok());
                    let mut source = Source::find(&join(latest.unwrap_or(&several[0])))?;
                    source.notes.insert(0, format!("{path} has {} files *{suffix}; this is the newest", several.len()));
                    return Ok(source);
                }
            }
        }
        // Servers keep versions of a model in directories with numbers as names.
        let versions = names.iter().filter_map(|n| Some((n.parse::<u64>().ok()?, n)));
        let latest = versions.filter(|(_, n)| dir.join(n).join("saved_model.pb").is_file()).max();
        if let Some((_, name)) = latest {
            let mut source = Source::of_directory(&join(name))?;
            source.notes.insert(0, format!("{path} has versions of a SavedModel; this is the latest"));
            return Ok(source);
        }
        bail!(NotFound, "{path} is a directory without a saved_model.pb, a checkpoint file, a .index, a .meta or a .pb file")
    }

    fn of_saved_model(dir: &Path, file: &Path, model: SavedModel) -> Result<Source> {
        let mut source = Source::new(Kind::SavedModel);
        let tags = |m: &MetaGraphDef| m.meta_info_def.as_ref().map(|i| i.tags.join(",")).unwrap_or_default();
        let all: Vec<String> = model.meta_graphs.iter().map(tags).collect();
        source.notes.push(format!("{}: a SavedModel with the tags {}", dir.display(), all.join("; ")));
        let serve = model.meta_graphs.iter().position(|m| tags(m) == "serve").unwrap_or(0);
        source.meta = model.meta_graphs.into_iter().nth(serve);
        source.graph_path = Some(file.into());
        source.saved_model = Some(dir.into());
        let variables = dir.join("variables").join("variables").to_string_lossy().into_owned();
        if index_filename(Path::new(&variables)).is_file() {
            source.checkpoint = Some(variables);
        }
        Ok(source)
    }

    /// The checkpoint's reader, where there is one.
    ///
    /// # Errors
    /// As [`CheckpointReader::open`].
    pub fn reader(&self) -> Result<Option<CheckpointReader>> {
        self.checkpoint.as_deref().map(CheckpointReader::open).transpose()
    }
}

/// True for the ops that are variables.
pub(super) fn is_variable(op: &str) -> bool {
    matches!(op, "Variable" | "VariableV2" | "VarHandleOp" | "AutoReloadVariable" | "TemporaryVariable")
}

/// The prefix of a checkpoint whose index or data file a path is.
fn prefix_of_part(path: &str) -> Option<String> {
    if let Some(prefix) = path.strip_suffix(".index") {
        return Some(prefix.to_string());
    }
    let (prefix, shard) = path.rsplit_once(".data-")?;
    let (shard, of) = shard.split_once("-of-")?;
    let number = |s: &str| s.len() >= 5 && s.bytes().all(|b| b.is_ascii_digit());
    (number(shard) && number(of)).then(|| prefix.to_string())
}

/// Up to three names of the directory that begin like the one that isn't there.
fn near(path: &Path) -> String {
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Some(wanted) = path.file_name().map(|n| n.to_string_lossy().into_owned()) else { return String::new() };
    let Ok(entries) = fs::read_dir(dir) else { return format!("; there is no directory {} either", dir.display()) };
    let stem = wanted.split(['.', '-']).next().unwrap_or_default().to_lowercase();
    let mut names: Vec<String> = entries
        .filter_map(|e| e.ok()?.file_name().into_string().ok())
        .filter(|n| !stem.is_empty() && n.to_lowercase().starts_with(&stem))
        .collect();
    names.sort();
    names.truncate(3);
    if names.is_empty() { String::new() } else { format!("; {} has {}", dir.display(), names.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::NodeDef;

    fn graph() -> GraphDef {
        let node = |name: &str, op: &str| NodeDef { name: name.into(), op: op.into(), ..Default::default() };
        GraphDef { node: vec![node("x", "Placeholder"), node("y", "Identity")], ..Default::default() }
    }

    #[test]
    fn messages_are_told_apart_by_content() {
        let kind = |bytes: Vec<u8>| match parse(&Bytes::from(bytes)) {
            Ok(Parsed::GraphDef(_)) => "graph",
            Ok(Parsed::MetaGraph(_)) => "meta",
            Ok(Parsed::SavedModel(_)) => "saved",
            Err(_) => "error",
        };
        let g = graph();
        let meta = MetaGraphDef { graph_def: Some(g.clone()), ..Default::default() };
        let saved = SavedModel { saved_model_schema_version: 1, meta_graphs: vec![meta.clone()] };
        assert_eq!(
            [kind(g.encode_to_vec()), kind(meta.encode_to_vec()), kind(saved.encode_to_vec())],
            ["graph", "meta", "saved"]
        );
        let texts = [text::print(&g), text::print(&meta), text::print(&saved)];
        assert_eq!(texts.map(|t| kind(t.into_bytes())), ["graph", "meta", "saved"]);
        assert_eq!([kind(vec![]), kind(b"hello".to_vec()), kind(b"\x00\x01\x02".to_vec())], ["error"; 3]);
    }

    #[test]
    fn parts_of_checkpoints_are_known() {
        for (path, prefix) in [
            ("a/m.index", Some("a/m")),
            ("a/m.data-00000-of-00001", Some("a/m")),
            ("a/.index", Some("a/")),
            ("a/m.data-0-of-1", None),
            ("a/m", None),
        ] {
            assert_eq!(prefix_of_part(path).as_deref(), prefix);
        }
    }

    #[test]
    fn fields_of_text_are_the_outermost() {
        assert_eq!(top_fields("# c: 1\nnode { name: \"a } b\" }\nversions { producer: 1 }\nx: 3"), ["node", "versions", "x"]);
    }
}
