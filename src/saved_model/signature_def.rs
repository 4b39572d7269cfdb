//! Signatures: named inputs and outputs of a graph, with the method by which a server calls them.

use super::signature;
use crate::error::{Result, bail};
use crate::graph::{Graph, Operation, Output};
use crate::proto::{SignatureDef, TensorInfo, tensor_info::Encoding};
use crate::tensor::{DType, Shape};

/// What a signature says of a tensor: its name, dtype and shape (`tf.saved_model.build_tensor_info`).
///
/// # Errors
/// `InvalidArgument` for a tensor of another graph.
pub fn build_tensor_info(graph: &Graph, output: Output) -> Result<TensorInfo> {
    Ok(TensorInfo {
        dtype: graph.dtype(output)?.number(),
        tensor_shape: Some(graph.shape(output)?.to_message()),
        encoding: Some(Encoding::Name(graph.tensor_name(output))),
    })
}

/// A signature of any method (`tf.saved_model.build_signature_def`).
pub fn build_signature_def(
    inputs: impl IntoIterator<Item = (String, TensorInfo)>,
    outputs: impl IntoIterator<Item = (String, TensorInfo)>,
    method_name: &str,
) -> SignatureDef {
    SignatureDef {
        inputs: inputs.into_iter().collect(),
        outputs: outputs.into_iter().collect(),
        method_name: method_name.to_string(),
        ..SignatureDef::default()
    }
}

fn infos(graph: &Graph, tensors: &[(&str, Output)]) -> Result<Vec<(String, TensorInfo)>> {
    tensors.iter().map(|(key, output)| Ok((key.to_string(), build_tensor_info(graph, *output)?))).collect()
}

/// The signature of a prediction (`tf.saved_model.predict_signature_def`): any inputs and outputs.
///
/// # Errors
/// `InvalidArgument` where there are no inputs or no outputs.
pub fn predict_signature_def(graph: &Graph, inputs: &[(&str, Output)], outputs: &[(&str, Output)]) -> Result<SignatureDef> {
    if inputs.is_empty() || outputs.is_empty() {
        bail!(InvalidArgument, "Prediction `inputs` and `outputs` cannot be empty.");
    }
    Ok(build_signature_def(infos(graph, inputs)?, infos(graph, outputs)?, signature::PREDICT_METHOD_NAME))
}

fn check_dtype(graph: &Graph, output: Output, expected: DType, what: &str) -> Result<()> {
    let dtype = graph.dtype(output)?;
    if dtype != expected {
        bail!(InvalidArgument, "{what} must be of type {expected}. Found {} of type {dtype}.", graph.tensor_name(output));
    }
    Ok(())
}

/// The signature of a regression (`tf.saved_model.regression_signature_def`): strings, serialized examples, to floats.
///
/// # Errors
/// `InvalidArgument` for tensors of other dtypes.
pub fn regression_signature_def(graph: &Graph, examples: Output, predictions: Output) -> Result<SignatureDef> {
    check_dtype(graph, examples, DType::String, "Regression input tensors")?;
    check_dtype(graph, predictions, DType::Float, "Regression output tensors")?;
    let inputs = infos(graph, &[(signature::REGRESS_INPUTS, examples)])?;
    let outputs = infos(graph, &[(signature::REGRESS_OUTPUTS, predictions)])?;
    Ok(build_signature_def(inputs, outputs, signature::REGRESS_METHOD_NAME))
}

/// The signature of a classification (`tf.saved_model.classification_signature_def`): strings, serialized examples, to
/// the names of classes, their scores, or both.
///
/// # Errors
/// `InvalidArgument` for tensors of other dtypes, or without classes and scores.
pub fn classification_signature_def(
    graph: &Graph,
    examples: Output,
    classes: Option<Output>,
    scores: Option<Output>,
) -> Result<SignatureDef> {
    if classes.is_none() && scores.is_none() {
        bail!(InvalidArgument, "Classification `classes` and `scores` cannot both be None.");
    }
    check_dtype(graph, examples, DType::String, "Classification input tensors")?;
    let mut outputs = Vec::new();
    if let Some(classes) = classes {
        check_dtype(graph, classes, DType::String, "Classification classes")?;
        outputs.push((signature::CLASSIFY_OUTPUT_CLASSES, classes));
    }
    if let Some(scores) = scores {
        check_dtype(graph, scores, DType::Float, "Classification scores")?;
        outputs.push((signature::CLASSIFY_OUTPUT_SCORES, scores));
    }
    let inputs = infos(graph, &[(signature::CLASSIFY_INPUTS, examples)])?;
    Ok(build_signature_def(inputs, infos(graph, &outputs)?, signature::CLASSIFY_METHOD_NAME))
}

/// A signature whose only output, under this key, is an operation.
pub fn op_signature_def(graph: &Graph, op: Operation, key: &str) -> SignatureDef {
    let info = TensorInfo {
        dtype: 0,
        tensor_shape: Some(Shape::unknown().to_message()),
        encoding: Some(Encoding::Name(graph.op_name(op))),
    };
    build_signature_def([], [(key.to_string(), info)], "")
}

/// True for a signature that TensorFlow Serving can serve (`tf.saved_model.is_valid_signature`).
pub fn is_valid_signature(def: &SignatureDef) -> bool {
    let has = |tensors: &std::collections::BTreeMap<String, TensorInfo>, key: &str, dtype: DType| {
        tensors.get(key).is_some_and(|info| info.dtype == dtype.number())
    };
    match def.method_name.as_str() {
        signature::PREDICT_METHOD_NAME => !def.inputs.is_empty() && !def.outputs.is_empty(),
        signature::REGRESS_METHOD_NAME => {
            def.inputs.len() == 1
                && has(&def.inputs, signature::REGRESS_INPUTS, DType::String)
                && def.outputs.len() == 1
                && has(&def.outputs, signature::REGRESS_OUTPUTS, DType::Float)
        }
        signature::CLASSIFY_METHOD_NAME => {
            def.inputs.len() == 1
                && has(&def.inputs, signature::CLASSIFY_INPUTS, DType::String)
                && !def.outputs.is_empty()
                && def.outputs.iter().all(|(key, info)| match key.as_str() {
                    signature::CLASSIFY_OUTPUT_CLASSES => info.dtype == DType::String.number(),
                    signature::CLASSIFY_OUTPUT_SCORES => info.dtype == DType::Float.number(),
                    _ => false,
                })
        }
        _ => false,
    }
}
