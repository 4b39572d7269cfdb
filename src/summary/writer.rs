//! Event files: what TensorBoard reads.

use super::record::RecordWriter;
use crate::error::{Error, Result, bail};
use crate::graph::Graph;
use crate::proto::event::What;
use crate::proto::{Event, MetaGraphDef, SessionLog, SourceMetadata, Summary, TaggedRunMetadata};
use crate::tensor::Tensor;
use crate::train::{ExportOptions, export_meta_graph};
use prost::Message;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The version of the files.
const FILE_VERSION: &str = "brain.Event:2";
/// What the first event names as its writer, by which readers know the format.
const WRITER: &str = "tensorflow.core.util.events_writer";

/// How event files are written.
#[derive(Clone, Debug)]
pub struct FileWriterOptions {
    /// After so many seconds, what has been added goes to the file.
    pub flush_secs: f64,
    /// Appended to the file's name.
    pub filename_suffix: String,
}

impl Default for FileWriterOptions {
    fn default() -> FileWriterOptions {
        FileWriterOptions { flush_secs: 120.0, filename_suffix: String::new() }
    }
}

/// A summary as a message, as its bytes, or as the tensor that a summary op gives.
pub trait SummarySource {
    /// The message.
    ///
    /// # Errors
    /// `InvalidArgument` for what is no summary.
    fn to_summary(&self) -> Result<Summary>;
}

impl SummarySource for Summary {
    fn to_summary(&self) -> Result<Summary> {
        Ok(self.clone())
    }
}

impl SummarySource for [u8] {
    fn to_summary(&self) -> Result<Summary> {
        Summary::decode(self).map_err(|e| Error::invalid_argument(format!("the bytes are no summary: {e}")))
    }
}

impl SummarySource for Tensor {
    fn to_summary(&self) -> Result<Summary> {
        match self.strings()? {
            [bytes] => bytes.to_summary(),
            other => bail!(InvalidArgument, "a summary is one string, got {} of them", other.len()),
        }
    }
}

struct State {
    /// None once the writer is closed.
    out: Option<RecordWriter<BufWriter<File>>>,
    flushed: Option<Instant>,
    tags: HashSet<String>,
    run_tags: HashSet<String>,
}

/// Writes events into a new file `events.out.tfevents.<seconds>.<host>` of a directory (`tf.summary.FileWriter`).
/// Several threads may add to one writer. What was added is in the file at the latest when the writer is flushed, closed
/// or dropped.
pub struct FileWriter {
    path: PathBuf,
    flush_after: Duration,
    state: Mutex<State>,
}

fn wall_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}

/// The machine's name.
fn host() -> String {
    let from_file = || fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| fs::read_to_string("/etc/hostname")).ok();
    let names = [from_file(), std::env::var("HOSTNAME").ok(), std::env::var("COMPUTERNAME").ok()];
    let name = names.into_iter().flatten().map(|n| n.trim().to_string()).find(|n| !n.is_empty());
    name.unwrap_or_else(|| "localhost".to_string()).replace(['/', '\\'], "_")
}

impl FileWriter {
    /// A writer into a new file of this directory, which is made where there is none.
    ///
    /// # Errors
    /// What the file system returns.
    pub fn new(logdir: impl AsRef<Path>) -> Result<FileWriter> {
        FileWriter::with_options(logdir, &FileWriterOptions::default())
    }

    /// A writer that begins with a graph and its MetaGraph.
    ///
    /// # Errors
    /// As [`FileWriter::new`] and [`FileWriter::add_graph`].
    pub fn with_graph(logdir: impl AsRef<Path>, graph: &Graph) -> Result<FileWriter> {
        let writer = FileWriter::new(logdir)?;
        let meta = export_meta_graph(graph, None, &ExportOptions::default())?;
        writer.add(What::GraphDef(meta.graph_def.clone().unwrap_or_default().encode_to_vec().into()), None)?;
        writer.add_meta_graph(&meta, None)?;
        Ok(writer)
    }

    /// A writer with options.
    ///
    /// # Errors
    /// As [`FileWriter::new`].
    pub fn with_options(logdir: impl AsRef<Path>, options: &FileWriterOptions) -> Result<FileWriter> {
        let logdir = logdir.as_ref();
        fs::create_dir_all(logdir).map_err(|e| Error::from(e).within(logdir.display().to_string()))?;
        let name = format!("events.out.tfevents.{:010}.{}{}", wall_time() as u64, host(), options.filename_suffix);
        let path = logdir.join(name);
        let file = File::options().create(true).append(true).open(&path);
        let file = file.map_err(|e| Error::from(e).within(path.display().to_string()))?;
        let state = State {
            out: Some(RecordWriter::new(BufWriter::new(file))),
            flushed: None,
            tags: HashSet::new(),
            run_tags: HashSet::new(),
        };
        let flush_after = Duration::try_from_secs_f64(options.flush_secs.max(0.0)).unwrap_or(Duration::MAX);
        let writer = FileWriter { path, flush_after, state: Mutex::new(state) };
        let event = Event {
            wall_time: wall_time(),
            what: Some(What::FileVersion(FILE_VERSION.to_string())),
            source_metadata: Some(SourceMetadata { writer: WRITER.to_string() }),
            ..Event::default()
        };
        writer.add_event(&event)?;
        Ok(writer)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Adds a summary: the message, its bytes, or the tensor that a summary op gives. The metadata of a tag is written
    /// once.
    ///
    /// # Errors
    /// `InvalidArgument` for what is no summary; what writing returns.
    pub fn add_summary(&self, summary: &(impl SummarySource + ?Sized), global_step: Option<i64>) -> Result<()> {
        let mut summary = summary.to_summary()?;
        let mut state = self.state();
        for value in &mut summary.value {
            if value.metadata.is_some() && !state.tags.insert(value.tag.clone()) {
                value.metadata = None;
            }
        }
        drop(state);
        self.add(What::Summary(summary), global_step)
    }

    /// Adds a graph, with the shapes of its tensors.
    ///
    /// # Errors
    /// As [`export_meta_graph`]; what writing returns.
    pub fn add_graph(&self, graph: &Graph, global_step: Option<i64>) -> Result<()> {
        let meta = export_meta_graph(graph, None, &ExportOptions::default())?;
        self.add(What::GraphDef(meta.graph_def.unwrap_or_default().encode_to_vec().into()), global_step)
    }

    /// Adds a MetaGraph.
    ///
    /// # Errors
    /// What writing returns.
    pub fn add_meta_graph(&self, meta: &MetaGraphDef, global_step: Option<i64>) -> Result<()> {
        self.add(What::MetaGraphDef(meta.encode_to_vec().into()), global_step)
    }

    /// Adds what happened to a session: that it started, stopped, or wrote a checkpoint.
    ///
    /// # Errors
    /// What writing returns.
    pub fn add_session_log(&self, log: SessionLog, global_step: Option<i64>) -> Result<()> {
        self.add(What::SessionLog(log), global_step)
    }

    /// Adds the serialized `RunMetadata` of a step under a tag.
    ///
    /// # Errors
    /// `AlreadyExists` for a tag that has been used; what writing returns.
    pub fn add_run_metadata(&self, run_metadata: &[u8], tag: &str, global_step: Option<i64>) -> Result<()> {
        if !self.state().run_tags.insert(tag.to_string()) {
            bail!(AlreadyExists, "The provided tag '{tag}' was already used for this event type");
        }
        let tagged = TaggedRunMetadata { tag: tag.to_string(), run_metadata: run_metadata.to_vec().into() };
        self.add(What::TaggedRunMetadata(tagged), global_step)
    }

    fn add(&self, what: What, step: Option<i64>) -> Result<()> {
        self.add_event(&Event { wall_time: wall_time(), step: step.unwrap_or(0), what: Some(what), ..Event::default() })
    }

    /// Adds any event.
    ///
    /// # Errors
    /// `FailedPrecondition` for a writer that has been closed; what writing returns.
    pub fn add_event(&self, event: &Event) -> Result<()> {
        let mut state = self.state();
        let Some(out) = &mut state.out else { bail!(FailedPrecondition, "{} has been closed", self.path.display()) };
        let place = |e: Error| e.within(self.path.display().to_string());
        out.write(&event.encode_to_vec()).map_err(place)?;
        if state.flushed.is_none_or(|at| at.elapsed() >= self.flush_after) {
            state.flushed = Some(Instant::now());
            if let Some(out) = &mut state.out {
                out.flush().map_err(place)?;
            }
        }
        Ok(())
    }

    /// Hands all that was added on to the file.
    ///
    /// # Errors
    /// What writing returns.
    pub fn flush(&self) -> Result<()> {
        match &mut self.state().out {
            Some(out) => out.flush().map_err(|e| e.within(self.path.display().to_string())),
            None => Ok(()),
        }
    }

    /// Flushes and closes the file; nothing can be added after.
    ///
    /// # Errors
    /// What writing returns.
    pub fn close(&self) -> Result<()> {
        self.flush()?;
        self.state().out = None;
        Ok(())
    }
}
