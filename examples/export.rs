//! Writes a SavedModel into `DIR/model` and what TensorBoard shows into `DIR/logs`:
//!
//! ```text
//! cargo run --example export -- DIR
//! tensorboard --logdir DIR/logs
//! saved_model_cli show --dir DIR/model --all
//! ```

use metagraph::saved_model::{MetaGraphOptions, SavedModelBuilder, predict_signature_def, tag};
use metagraph::summary::{self, FileWriter};
use metagraph::train::VariableOptions;
use metagraph::{DType, Error, Graph, Result, Session, Shape, Tensor};
use std::path::Path;

fn main() -> Result<()> {
    let Some(folder) = std::env::args().nth(1) else { return Err(Error::invalid_argument("expected a directory")) };
    let folder = Path::new(&folder);
    std::fs::create_dir_all(folder)?;
    save_model(folder)?;
    write_logs(&folder.join("logs"))
}

/// Three times the input, with a vocabulary that is read when the model is loaded.
fn save_model(folder: &Path) -> Result<()> {
    let vocabulary = folder.join("words.txt");
    std::fs::write(&vocabulary, "hello")?;
    let g = Graph::new();
    let x = g.named("x").placeholder(DType::Float, [None])?;
    let factor = g.named("factor").variable(3f32)?;
    let y = g.named("y").mul(x, factor.value()?)?;
    let hidden = VariableOptions { trainable: Some(false), collections: Some(Vec::new()), ..VariableOptions::default() };
    let words = g.named("words").variable_with("", hidden)?;
    let path = g.constant(&*vocabulary.to_string_lossy())?;
    let read = g.assign(words.handle()?, g.read_file(path)?)?;

    let session = Session::new(&g);
    session.run_targets(&[g.global_variables_initializer()?], &[])?;
    let mut builder = SavedModelBuilder::new(folder.join("model"))?;
    let signature = predict_signature_def(&g, &[("x", x)], &[("y", y)])?;
    let options = MetaGraphOptions {
        signatures: &[("serving_default", signature)],
        assets: &[path],
        main_op: Some(read.op),
        ..MetaGraphOptions::default()
    };
    builder.add_meta_graph_and_variables(&session, &[tag::SERVING], &options)?;
    builder.save()?;
    Ok(())
}

/// A loss that halves with each step, the distribution of some weights, a picture and a note.
fn write_logs(logdir: &Path) -> Result<()> {
    let g = Graph::new();
    let loss = g.placeholder(DType::Float, Shape::scalar())?;
    summary::scalar(&g, "loss", loss)?;
    summary::histogram(&g, "weights", [-1f32, 0.0, 2.0, 3.0])?;
    summary::image(&g, "picture", Tensor::new(&[1, 1, 2, 1], vec![0f32, 1.0])?)?;
    summary::text(&g, "note", "**hi**")?;
    let Some(merged) = summary::merge_all(&g)? else { return Ok(()) };
    let session = Session::new(&g);
    let writer = FileWriter::with_graph(logdir, &g)?;
    for step in 0..3 {
        let message = session.run(&[merged], &[(loss, &Tensor::from(0.5f32.powi(step)))])?;
        writer.add_summary(&message[0], Some(i64::from(step)))?;
    }
    writer.close()
}
