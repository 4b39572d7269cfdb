//! SavedModels: a directory with graphs, their signatures, variables and assets, as TensorFlow Serving takes it.
//!
//! ```text
//! DIR/saved_model.pb                      or saved_model.pbtxt: the MetaGraphs, each with its tags
//! DIR/variables/variables.index           the variables, a checkpoint
//! DIR/variables/variables.data-00000-of-00001
//! DIR/assets/                             files that the graphs read, such as vocabularies
//! ```
//!
//! ```
//! use metagraph::saved_model::{SavedModelBundle, simple_save, tag};
//! use metagraph::{DType, Graph, Session, Tensor};
//! # let dir = std::env::temp_dir().join(format!("metagraph-doc-saved-model-{}", std::process::id()));
//! let g = Graph::new();
//! let x = g.named("x").placeholder(DType::Float, [None])?;
//! let w = g.named("w").variable(Tensor::scalar(3f32))?;
//! let y = g.named("y").mul(x, w.value()?)?;
//! let session = Session::new(&g);
//! session.run_targets(&[g.global_variables_initializer()?], &[])?;
//! simple_save(&session, &dir, &[("x", x)], &[("y", y)])?;
//!
//! let bundle = SavedModelBundle::load(&dir, &[tag::SERVING])?;
//! let outputs = bundle.run("serving_default", &[("x", &Tensor::from([1f32, 2.0]))])?;
//! assert_eq!(outputs["y"].to_string(), "f32[3 6]");
//! # std::fs::remove_dir_all(&dir)?;
//! # Ok::<(), metagraph::Error>(())
//! ```

mod builder;
mod loader;
mod signature_def;

#[cfg(test)]
mod tests;

pub use builder::{MetaGraphOptions, SavedModelBuilder, main_op, simple_save};
pub use loader::{LoadOptions, SavedModelBundle, load, maybe_saved_model_directory, read_saved_model};
pub use signature_def::{
    build_signature_def, build_tensor_info, classification_signature_def, is_valid_signature, op_signature_def,
    predict_signature_def, regression_signature_def,
};

/// The version of the format (`saved_model_schema_version`).
pub const SAVED_MODEL_SCHEMA_VERSION: i64 = 1;
/// The file of the MetaGraphs in binary form.
pub const SAVED_MODEL_FILENAME_PB: &str = "saved_model.pb";
/// The file of the MetaGraphs in text form.
pub const SAVED_MODEL_FILENAME_PBTXT: &str = "saved_model.pbtxt";
/// The directory of the files that the graphs read.
pub const ASSETS_DIRECTORY: &str = "assets";
/// The collection that names the assets.
pub const ASSETS_KEY: &str = "saved_model_assets";
/// The collection of the operation that runs after loading.
pub const MAIN_OP_KEY: &str = "saved_model_main_op";
/// The same, as old models have it.
pub const LEGACY_INIT_OP_KEY: &str = "legacy_init_op";
/// The collection of the operation that trains.
pub const TRAIN_OP_KEY: &str = "saved_model_train_op";
/// The directory of the variables.
pub const VARIABLES_DIRECTORY: &str = "variables";
/// The prefix of the variables' checkpoint in its directory.
pub const VARIABLES_FILENAME: &str = "variables";
/// The signature that names the operation that runs after loading.
pub const INIT_OP_SIGNATURE_KEY: &str = "__saved_model_init_op";
/// The signature that names the operation that trains.
pub const TRAIN_OP_SIGNATURE_KEY: &str = "__saved_model_train_op";

/// The tags by which TensorFlow's tools tell the MetaGraphs of a SavedModel (`tf.saved_model.tag_constants`).
pub mod tag {
    /// For serving.
    pub const SERVING: &str = "serve";
    /// For training.
    pub const TRAINING: &str = "train";
    /// For evaluation.
    pub const EVAL: &str = "eval";
    /// For a GPU.
    pub const GPU: &str = "gpu";
    /// For a TPU.
    pub const TPU: &str = "tpu";
}

/// The keys and method names of signatures (`tf.saved_model.signature_constants`).
pub mod signature {
    /// The signature that servers take unless told otherwise.
    pub const DEFAULT_SERVING_SIGNATURE_DEF_KEY: &str = "serving_default";
    /// The input of a classification: serialized examples.
    pub const CLASSIFY_INPUTS: &str = "inputs";
    /// The method of a classification.
    pub const CLASSIFY_METHOD_NAME: &str = "tensorflow/serving/classify";
    /// The output of a classification that names the classes.
    pub const CLASSIFY_OUTPUT_CLASSES: &str = "classes";
    /// The output of a classification with the scores.
    pub const CLASSIFY_OUTPUT_SCORES: &str = "scores";
    /// The usual input of a prediction.
    pub const PREDICT_INPUTS: &str = "inputs";
    /// The method of a prediction.
    pub const PREDICT_METHOD_NAME: &str = "tensorflow/serving/predict";
    /// The usual output of a prediction.
    pub const PREDICT_OUTPUTS: &str = "outputs";
    /// The input of a regression: serialized examples.
    pub const REGRESS_INPUTS: &str = "inputs";
    /// The method of a regression.
    pub const REGRESS_METHOD_NAME: &str = "tensorflow/serving/regress";
    /// The output of a regression.
    pub const REGRESS_OUTPUTS: &str = "outputs";
    /// The signature of training.
    pub const DEFAULT_TRAIN_SIGNATURE_DEF_KEY: &str = "train";
    /// The signature of evaluation.
    pub const DEFAULT_EVAL_SIGNATURE_DEF_KEY: &str = "eval";
    /// The method of training.
    pub const SUPERVISED_TRAIN_METHOD_NAME: &str = "tensorflow/supervised/training";
    /// The method of evaluation.
    pub const SUPERVISED_EVAL_METHOD_NAME: &str = "tensorflow/supervised/eval";
}
