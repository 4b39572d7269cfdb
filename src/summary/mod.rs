//! Summaries for TensorBoard: ops that turn values into messages (`tf.summary`), the event files that hold them, and
//! reading these back.
//!
//! ```
//! use metagraph::summary::{self, FileWriter};
//! use metagraph::{DType, Graph, Session, Tensor};
//! # let logdir = std::env::temp_dir().join(format!("metagraph-doc-summary-{}", std::process::id()));
//! let g = Graph::new();
//! let loss = g.named("x").placeholder(DType::Float, metagraph::Shape::scalar())?;
//! summary::scalar(&g, "loss", loss)?;
//! let merged = summary::merge_all(&g)?.expect("there is one summary");
//! let session = Session::new(&g);
//! let writer = FileWriter::with_graph(&logdir, &g)?;
//! for step in 0..3 {
//!     let message = session.run(&[merged], &[(loss, &Tensor::from(1.0 / (step + 1) as f32))])?;
//!     writer.add_summary(&message[0], Some(step))?;
//! }
//! writer.close()?;
//! let steps = summary::summary_iterator(writer.path())?.filter(|event| event.as_ref().is_ok_and(|e| e.step == 2));
//! assert_eq!(steps.count(), 1);
//! # std::fs::remove_dir_all(&logdir)?;
//! # Ok::<(), metagraph::Error>(())
//! ```

mod build;
mod record;
mod writer;

#[cfg(test)]
mod tests;

pub use build::{
    SummaryOptions, audio, audio_with, histogram, histogram_with, image, image_with, merge, merge_all, merge_all_in, scalar,
    scalar_with, tensor_summary, text, text_with,
};
pub use record::{EventIterator, RecordReader, RecordWriter, summary_iterator};
pub use writer::{FileWriter, FileWriterOptions, SummarySource};
