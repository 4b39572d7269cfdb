//! Graphs around ops whose examples don't serve to differentiate, and the ops for which differences mean nothing.

use metagraph::ops::TensorArrayOptions;
use metagraph::{DType, Graph, Output, Result, Tensor, TensorArray, WhileOptions};

/// A graph around an op, with the point at which it is differentiated.
pub struct Sample {
    /// The op, which the graph holds.
    pub op: &'static str,
    /// The values of the inputs, all of floats.
    pub inputs: &'static [&'static str],
    /// Builds what is differentiated by the inputs.
    pub build: fn(&Graph, &[Output]) -> Result<Vec<Output>>,
}

const MATRIX: &[&str] = &["f64[[0.5 -1.25] [2 0.75] [0.3 -0.6]]"];
const IMAGE: &[&str] = &["f32[[[[1] [5] [3] [2]] [[4] [0.5] [6] [7]] [[2.5] [8] [1.5] [9]] [[5.5] [3.5] [0.2] [4.5]]]]"];
const VOLUME: &[&str] = &["f32[[[[[1] [5]] [[3] [2]]] [[[4] [0.5]] [[6] [7]]]]]"];
const NORMED: &[&str] = &["f32[[[[1 2] [3 6]] [[-1 0.5] [2 4]]]]", "f32[1 2]", "f32[0.5 1]"];

/// The samples.
pub const SAMPLES: &[Sample] = &[
    Sample { op: "Switch", inputs: MATRIX, build: branches },
    Sample { op: "Merge", inputs: MATRIX, build: branches },
    Sample { op: "Enter", inputs: &["f64[0.5 -1.25]", "f64[2 0.75]"], build: turns },
    Sample { op: "Exit", inputs: &["f64[0.5 -1.25]", "f64[2 0.75]"], build: turns },
    Sample { op: "NextIteration", inputs: &["f64[0.5 -1.25]", "f64[2 0.75]"], build: turns },
    Sample { op: "LoopCond", inputs: &["f64[0.5 -1.25]", "f64[2 0.75]"], build: turns },
    Sample { op: "TensorArrayReadV3", inputs: MATRIX, build: array },
    Sample { op: "TensorArrayWriteV3", inputs: MATRIX, build: array },
    Sample { op: "TensorArrayGatherV3", inputs: MATRIX, build: array },
    Sample { op: "TensorArrayScatterV3", inputs: MATRIX, build: array },
    Sample { op: "TensorArrayConcatV3", inputs: MATRIX, build: parts },
    Sample { op: "TensorArraySplitV3", inputs: MATRIX, build: parts },
    Sample { op: "TensorListPushBack", inputs: MATRIX, build: stack_of_lists },
    Sample { op: "TensorListPopBack", inputs: MATRIX, build: stack_of_lists },
    Sample { op: "TensorListGetItem", inputs: MATRIX, build: list_items },
    Sample { op: "TensorListSetItem", inputs: MATRIX, build: list_items },
    Sample { op: "TensorListResize", inputs: MATRIX, build: list_items },
    Sample { op: "TensorListStack", inputs: MATRIX, build: list_items },
    Sample { op: "TensorListFromTensor", inputs: MATRIX, build: list_items },
    Sample { op: "TensorListGather", inputs: MATRIX, build: list_places },
    Sample { op: "TensorListScatter", inputs: MATRIX, build: list_places },
    Sample { op: "TensorListScatterV2", inputs: MATRIX, build: list_places },
    Sample { op: "TensorListScatterIntoExistingList", inputs: MATRIX, build: list_places },
    Sample { op: "TensorListSplit", inputs: MATRIX, build: list_parts },
    Sample { op: "TensorListConcat", inputs: MATRIX, build: list_parts },
    Sample { op: "TensorListConcatV2", inputs: MATRIX, build: list_parts },
    Sample {
        op: "Print",
        inputs: MATRIX,
        build: |g, x| g.op("Print").input(x[0]).input_list(&[]).attr("U", &[] as &[DType]).attr("first_n", 0).outputs(),
    },
    Sample {
        op: "Cholesky",
        inputs: &["f64[[4 1.5] [2.5 5]]"],
        build: |g, x| {
            let other = g.transpose(x[0], None)?;
            let symmetric = g.mul(g.add(x[0], other)?, g.constant(0.5f64)?)?;
            g.op("Cholesky").input(symmetric).outputs()
        },
    },
    Sample {
        op: "SelfAdjointEigV2",
        inputs: &["f64[[4 1.5] [2.5 7]]"],
        build: |g, x| {
            let other = g.transpose(x[0], None)?;
            let symmetric = g.mul(g.add(x[0], other)?, g.constant(0.5f64)?)?;
            g.op("SelfAdjointEigV2").input(symmetric).outputs()
        },
    },
    Sample {
        op: "Eig",
        inputs: &["f64[[4 1.5] [2.5 7]]"],
        build: |g, x| Ok(g.op("Eig").input(x[0]).attr("Tout", DType::Complex128).outputs()?[..1].to_vec()),
    },
    Sample {
        op: "MatrixSolveLs",
        inputs: &["f64[[1 2] [3 -1] [0.5 1]]", "f64[[1] [2] [3]]"],
        build: |g, x| g.op("MatrixSolveLs").input(x[0]).input(x[1]).input(g.constant(0.5f64)?).outputs(),
    },
    Sample { op: "BlockLSTM", inputs: LSTM, build: |g, x| block("BlockLSTM", g, x) },
    Sample { op: "BlockLSTMV2", inputs: LSTM, build: |g, x| block("BlockLSTMV2", g, x) },
    Sample {
        op: "CTCLoss",
        inputs: &["f32[[[0.1 0.5 -0.3]] [[0.2 -0.4 0.6]] [[0.3 0.1 0.2]]]"],
        build: |g, x| ctc("CTCLoss", g, x),
    },
    Sample {
        op: "SoftmaxCrossEntropyWithLogits",
        inputs: &["f64[[0.5 -1 2] [0.1 0.2 0.3]]"],
        build: |g, x| {
            let labels = g.constant("f64[[0.2 0.3 0.5] [1 0 0]]".parse::<Tensor>()?)?;
            Ok(g.op("SoftmaxCrossEntropyWithLogits").input(x[0]).input(labels).outputs()?[..1].to_vec())
        },
    },
    Sample {
        op: "SparseSoftmaxCrossEntropyWithLogits",
        inputs: &["f64[[0.5 -1 2] [0.1 0.2 0.3]]"],
        build: |g, x| {
            let op = g.op("SparseSoftmaxCrossEntropyWithLogits").input(x[0]).input(g.constant([2i32, 0])?);
            Ok(op.outputs()?[..1].to_vec())
        },
    },
    Sample { op: "FusedBatchNorm", inputs: NORMED, build: |g, x| normed("FusedBatchNorm", true, g, x) },
    Sample { op: "FusedBatchNormV2", inputs: NORMED, build: |g, x| normed("FusedBatchNormV2", true, g, x) },
    Sample { op: "FusedBatchNormV3", inputs: NORMED, build: |g, x| normed("FusedBatchNormV3", true, g, x) },
    Sample { op: "FusedBatchNormV3", inputs: NORMED, build: |g, x| normed("FusedBatchNormV3", false, g, x) },
    Sample { op: "FusedBatchNormGrad", inputs: NORMED, build: |g, x| norm_gradients("FusedBatchNorm", g, x) },
    Sample { op: "FusedBatchNormGradV2", inputs: NORMED, build: |g, x| norm_gradients("FusedBatchNormV2", g, x) },
    Sample { op: "FusedBatchNormGradV3", inputs: NORMED, build: |g, x| norm_gradients("FusedBatchNormV3", g, x) },
    Sample { op: "MaxPoolGrad", inputs: IMAGE, build: |g, x| pooled_gradient(g, x, "MaxPool", 2) },
    Sample { op: "MaxPoolGradGrad", inputs: IMAGE, build: |g, x| pooled_gradient(g, x, "MaxPool", 3) },
    Sample { op: "MaxPool3DGrad", inputs: VOLUME, build: |g, x| pooled_gradient(g, x, "MaxPool3D", 2) },
    Sample { op: "MaxPool3DGradGrad", inputs: VOLUME, build: |g, x| pooled_gradient(g, x, "MaxPool3D", 3) },
    Sample {
        op: "MaxPoolGradV2",
        inputs: IMAGE,
        build: |g, x| {
            let window = g.constant([1i32, 2, 2, 1])?;
            let y = g.op("MaxPoolV2").input(x[0]).input(window).input(window).attr("padding", "VALID").output()?;
            let dy = g.op("Sin").input(y).output()?;
            let op = g.op("MaxPoolGradV2").input(x[0]).input(y).input(dy).input(window).input(window);
            op.attr("padding", "VALID").outputs()
        },
    },
    Sample {
        op: "FractionalMaxPool",
        inputs: IMAGE,
        build: |g, x| {
            let op = g.op("FractionalMaxPool").input(x[0]).attr("pooling_ratio", &[1f32, 1.5, 1.5, 1.0][..]);
            let op = op.attr("deterministic", true).attr("seed", 3).attr("seed2", 4);
            Ok(op.outputs()?[..1].to_vec())
        },
    },
    Sample {
        op: "RGBToHSV",
        inputs: &["f64[[0.9 0.5 0.45] [0.2 0.6 0.3] [0.1 0.4 0.8] [0.7 0.1 0.3]]"],
        build: |g, x| g.op("RGBToHSV").input(x[0]).outputs(),
    },
    Sample {
        op: "ResizeNearestNeighbor",
        inputs: IMAGE,
        build: |g, x| g.op("ResizeNearestNeighbor").input(x[0]).input(g.constant([3i32, 5])?).outputs(),
    },
    Sample { op: "ImageProjectiveTransformV2", inputs: IMAGE, build: |g, x| transformed("ImageProjectiveTransformV2", g, x) },
    Sample { op: "ImageProjectiveTransformV3", inputs: IMAGE, build: |g, x| transformed("ImageProjectiveTransformV3", g, x) },
    Sample {
        op: "TopKV2",
        inputs: &["f64[[1 3 2.5] [5 4 6]]"],
        build: |g, x| Ok(g.op("TopKV2").input(x[0]).input(g.constant(2i32)?).outputs()?[..1].to_vec()),
    },
    Sample { op: "RaggedTensorToVariant", inputs: &["f64[1 2 3]"], build: ragged_variants },
    Sample { op: "RaggedTensorFromVariant", inputs: &["f64[1 2 3]"], build: ragged_variants },
    Sample {
        op: "SoftplusGrad",
        inputs: &["f64[2 -1.5]", "f64[0.3 -0.7]"],
        build: |g, x| g.op("SoftplusGrad").input(x[0]).input(x[1]).outputs(),
    },
    Sample {
        op: "Polygamma",
        inputs: &["f64[1.5 2.5]"],
        build: |g, x| g.op("Polygamma").input(g.constant([1f64, 2.0])?).input(x[0]).outputs(),
    },
    Sample { op: "Floor", inputs: &["f64[2.3 -1.5]"], build: |g, x| g.op("Floor").input(x[0]).outputs() },
    Sample {
        op: "SparseSegmentMeanWithNumSegments",
        inputs: MATRIX,
        build: |g, x| {
            let op = g.op("SparseSegmentMeanWithNumSegments").input(x[0]).input(g.constant([2i32, 0, 2])?);
            op.input(g.constant([0i32, 2, 2])?).input(g.constant(4i32)?).outputs()
        },
    },
    Sample {
        op: "SparseDenseCwiseDiv",
        inputs: &["f64[5 6]", "f64[0.5 2]"],
        build: |g, x| {
            let (indices, shape) = (g.constant([[0i64, 1], [1, 0]])?, g.constant([2i64, 2])?);
            g.op("SparseDenseCwiseDiv").input(indices).input(x[0]).input(shape).input(x[1]).outputs()
        },
    },
    Sample {
        op: "ExtractVolumePatches",
        inputs: VOLUME,
        build: |g, x| {
            let op = g.op("ExtractVolumePatches").input(x[0]).attr("ksizes", &[1i64, 2, 2, 1, 1][..]);
            op.attr("strides", &[1i64, 1, 1, 1, 1][..]).attr("padding", "SAME").outputs()
        },
    },
    Sample {
        op: "SparseReorder",
        inputs: &["f64[1 2 3]"],
        build: |g, x| {
            let (indices, shape) = (g.constant([[1i64, 0], [0, 1], [0, 0]])?, g.constant([2i64, 2])?);
            Ok(g.op("SparseReorder").input(indices).input(x[0]).input(shape).outputs()?[1..].to_vec())
        },
    },
    Sample {
        op: "SparseToDense",
        inputs: &["f64[5 6]", "f64 0.5"],
        build: |g, x| {
            let (indices, shape) = (g.constant([[0i32, 1], [1, 0]])?, g.constant([2i32, 3])?);
            g.op("SparseToDense").input(indices).input(shape).input(x[0]).input(x[1]).outputs()
        },
    },
];

/// Inputs whose gradients TensorFlow leaves out or defines otherwise: op, position among the inputs of floats, why.
pub const UNLIKE_DIFFERENCES: &[(&str, usize, &str)] = &[
    ("Betainc", 0, "left out"),
    ("Betainc", 1, "left out"),
    ("Zeta", 0, "left out"),
    ("ScaleAndTranslate", 1, "left out"),
    ("ScaleAndTranslate", 2, "left out"),
    ("MatrixDiagV2", 1, "the padding has no gradient"),
    ("MatrixDiagV3", 1, "the padding has no gradient"),
    ("MatrixDiagPartV2", 1, "the padding has no gradient"),
    ("MatrixDiagPartV3", 1, "the padding has no gradient"),
    ("PadV2", 1, "the padding has no gradient"),
    ("MatrixSolveLs", 2, "the regularizer has no gradient"),
];

/// Examples at which the op isn't differentiable, or where TensorFlow has no gradient either: op, example, why.
pub const NOT_DIFFERENTIATED: &[(&str, &str, &str)] = &[
    ("SquaredDifference", "c64[1:2], c64[0:3] => c64[2:0]", "TensorFlow's gradient is that of real numbers"),
    ("EuclideanNorm", "c64[3:4 0], i32 0 => c64 5", "TensorFlow's gradient is that of real numbers"),
    (
        "Cumprod",
        "exclusive=true, reverse=true; c64[0:1 2 3], i32 0 => c64[6 3 1]",
        "TensorFlow's gradient is that of real numbers",
    ),
    ("Sign", "c64[3:4 0:0] => c64[0.6:0.8 0:0]", "TensorFlow's gradient is that of real numbers"),
    ("MatrixSquareRoot", "c64[[-4:0]] => c64[[0:2]]", "TensorFlow's gradient is that of real numbers"),
    ("MatrixDeterminant", "c128[[0:1 0:0] [0:0 0:1]] => c128 -1:0", "TensorFlow's gradient is that of real numbers"),
    ("ClipByValue", "f32[1 2 5], f32[3 3 3], f32 2 => f32[3 3 3]", "the least is above the greatest"),
    ("TopKV2", "f32[1 2], i32 0 => f32{0}[], i32{0}[]", "TensorFlow can't reshape the gradient either"),
    (
        "CropAndResize",
        "method='nearest', extrapolation_value=9; u8[[[[1] [2]] [[3] [4]]]], f32[[0 0 1 2]], i32[0], i32[2 2] => f32[[[[1] [9]] [[3] [9]]]]",
        "TensorFlow's gradient by the boxes is always bilinear",
    ),
    (
        "ImageProjectiveTransformV2",
        "interpolation='BILINEAR'; f32[[[[1] [2]] [[3] [4]]]], f32[[1 0 0.5 0 1 0 0 0]], i32[2 2] => f32[[[[1.5] [1]] [[3.5] [2]]]]",
        "TensorFlow transforms the gradient back, which at the border is something else",
    ),
    (
        "ScaleAndTranslate",
        "kernel_type='box', antialias=false; u8[[[[1] [2]]]], i32[1 4], f32[1 2], f32[0 1] => f32[[[[0] [1] [1] [2]]]]",
        "the gradient's op takes floats alone",
    ),
    ("Qr", "full_matrices=true; f64[[3] [4]] => f64[[-0.6 -0.8] [-0.8 0.6]], f64[[-5] [0]]", "TensorFlow has no gradient here"),
    ("Svd", "full_matrices=true; f32{0,2}[] => f32{0}[], f32{0,0}[], f32[[1 0] [0 1]]", "TensorFlow has no gradient here"),
    (
        "MatrixSolveLs",
        "fast=false; f64[[1 1] [1 1]], f64[[1] [2]], f64 0 => f64[[0.75] [0.75]]",
        "TensorFlow has no gradient here",
    ),
    ("BandedTriangularSolve", "f32[[1] [1] [1]], f32[[3]] => f32[[3]]", "TensorFlow has no gradient for more bands than rows"),
    ("SoftplusGrad", "f32[2 2], f32[0 -1000] => f32[1 0]", "an exponential overflows in the second derivative"),
    (
        "MaxPool",
        "ksize=[1,1,1,2], strides=[1,1,1,2], padding='VALID'; i32[[[[1 5 3 2]]]] => i32[[[[5 3]]]]",
        "TensorFlow has no gradient for pools of the depth",
    ),
    ("RFFT", "f32[1 2 3 4], i32[2] => c64[3:0 -1:0]", "TensorFlow's gradient is of signals of the transform's length"),
    (
        "SparseDenseCwiseDiv",
        "i64[[0 0] [1 1]], i32[7 -7], i64[2 2], i32 2 => i32[3 -3]",
        "TensorFlow's gradient gathers from a vector",
    ),
];

/// Ops that are differentiated in samples, not by their examples: op, why.
pub const NOT_BY_ROWS: &[(&str, &str)] = &[
    ("Cholesky", "of symmetric matrices"),
    ("SelfAdjointEigV2", "of symmetric matrices"),
    ("Eig", "vectors are determined up to a factor"),
    ("RGBToHSV", "of colours without negative parts"),
    ("SparseToDense", "of a matrix of indices and a vector of values"),
    ("BlockLSTM", "only the output and the last state have gradients"),
    ("BlockLSTMV2", "only the output and the last state have gradients"),
    ("CTCLoss", "only the loss has a gradient"),
    ("SoftmaxCrossEntropyWithLogits", "of labels that add up to one"),
    ("FusedBatchNorm", "only the first output has a gradient"),
    ("FusedBatchNormV2", "only the first output has a gradient"),
    ("FusedBatchNormV3", "only the first output has a gradient"),
    ("FusedBatchNormGrad", "some inputs are computed from others"),
    ("FusedBatchNormGradV2", "some inputs are computed from others"),
    ("FusedBatchNormGradV3", "some inputs are computed from others"),
    ("MaxPoolGrad", "some inputs are computed from others"),
    ("MaxPoolGradV2", "some inputs are computed from others"),
    ("MaxPoolGradGrad", "some inputs are computed from others"),
    ("MaxPool3DGrad", "some inputs are computed from others"),
    ("MaxPool3DGradGrad", "some inputs are computed from others"),
];

/// Ops of which only the gradient is compared, not its gradient: op, why.
pub const ONCE: &[(&str, &str)] = &[
    ("FusedBatchNormGrad", "TensorFlow's elementary form stops at the mean"),
    ("FusedBatchNormGradV2", "TensorFlow's elementary form stops at the mean"),
    ("FusedBatchNormGradV3", "TensorFlow's elementary form stops at the mean"),
];

/// Ops whose gradients are checked in another way, or aren't derivatives: op, how.
pub const OTHERWISE: &[(&str, &str)] = &[
    ("RefSwitch", "as Switch, tests/graphs.rs"),
    ("RefMerge", "as Merge"),
    ("RefEnter", "as Enter"),
    ("RefExit", "as Exit"),
    ("RefNextIteration", "as NextIteration"),
    ("RefIdentity", "as Identity"),
    ("If", "tests/imported_gradients.rs"),
    ("StatelessIf", "tests/imported_gradients.rs"),
    ("Case", "tests/imported_gradients.rs"),
    ("StatelessCase", "tests/imported_gradients.rs"),
    ("While", "tests/imported_gradients.rs"),
    ("StatelessWhile", "tests/imported_gradients.rs"),
    ("PartitionedCall", "tests/imported_gradients.rs"),
    ("StatefulPartitionedCall", "tests/imported_gradients.rs"),
    ("TensorArrayRead", "the function of TensorArrayReadV3"),
    ("TensorArrayReadV2", "the function of TensorArrayReadV3"),
    ("TensorArrayWrite", "the function of TensorArrayWriteV3"),
    ("TensorArrayWriteV2", "the function of TensorArrayWriteV3"),
    ("TensorArrayGather", "the function of TensorArrayGatherV3"),
    ("TensorArrayGatherV2", "the function of TensorArrayGatherV3"),
    ("TensorArrayScatter", "the function of TensorArrayScatterV3"),
    ("TensorArrayScatterV2", "the function of TensorArrayScatterV3"),
    ("TensorArrayConcat", "the function of TensorArrayConcatV3"),
    ("TensorArrayConcatV2", "the function of TensorArrayConcatV3"),
    ("TensorArraySplit", "the function of TensorArraySplitV3"),
    ("TensorArraySplitV2", "the function of TensorArraySplitV3"),
    ("ReadVariableOp", "tests/optimizers.rs"),
    ("ResourceGather", "tests/optimizers.rs"),
    ("ResourceGatherNd", "as ResourceGather"),
    ("RandomGamma", "differentiated implicitly: tests/random.rs"),
    ("StatelessRandomGammaV2", "differentiated implicitly: tests/random.rs"),
    ("StatelessRandomGammaV3", "differentiated implicitly: tests/random.rs"),
    ("StatelessParameterizedTruncatedNormal", "differentiated implicitly: tests/random.rs"),
    ("PreventGradient", "an error"),
    ("ArgMax", "integers"),
    ("ArgMin", "integers"),
    ("CTCLossV2", "TensorFlow has a kernel for it on GPUs only"),
    ("QuantizeAndDequantize", "straight through"),
    ("QuantizeAndDequantizeV2", "straight through"),
    ("QuantizeAndDequantizeV3", "straight through"),
    ("QuantizeAndDequantizeV4", "straight through"),
    ("QuantizeAndDequantizeV4Grad", "TensorFlow takes the op's first inputs for others"),
    ("FakeQuantWithMinMaxArgs", "straight through"),
    ("FakeQuantWithMinMaxVars", "straight through"),
    ("FakeQuantWithMinMaxVarsPerChannel", "straight through"),
];

fn branches(g: &Graph, x: &[Output]) -> Result<Vec<Output>> {
    let sum = g.reduce_sum(x[0], None, false)?;
    let above = g.greater(sum, g.constant(0f64)?)?;
    let y = g.cond(above, |g| g.op("Sin").input(x[0]).output(), |g| g.mul(x[0], x[0]))?;
    let below = g.cond(above, |_| Ok(x[0]), |g| g.op("Exp").input(x[0]).output())?;
    Ok(vec![y, below])
}

fn turns(g: &Graph, x: &[Output]) -> Result<Vec<Output>> {
    let start = vec![g.constant(0i32)?, x[0]];
    let results = g.while_loop(
        |g, v| g.less(v[0], 3i32),
        |g, v| Ok(vec![g.add(v[0], 1i32)?, g.op("Sin").input(g.mul(v[1], x[1])?).output()?]),
        start,
        &WhileOptions::default(),
    )?;
    Ok(vec![results[1]])
}

fn new_array(g: &Graph, size: i32) -> Result<TensorArray> {
    let options = TensorArrayOptions { clear_after_read: false, infer_shape: false, ..TensorArrayOptions::default() };
    TensorArray::new(g, DType::Double, size, &options)
}

fn array(g: &Graph, x: &[Output]) -> Result<Vec<Output>> {
    let array = new_array(g, 3)?.unstack(g, x[0])?;
    let first = array.read(g, 0i32)?;
    let twice = new_array(g, 2)?.write(g, 0i32, g.mul(first, first)?)?.write(g, 1i32, array.read(g, 2i32)?)?;
    Ok(vec![array.gather(g, [2i32, 0, 2])?, twice.stack(g)?])
}

fn parts(g: &Graph, x: &[Output]) -> Result<Vec<Output>> {
    let array = new_array(g, 2)?.split(g, x[0], [1i64, 2])?;
    let second = array.read(g, 1i32)?;
    Ok(vec![array.concat(g)?, g.mul(second, second)?])
}

fn empty_list(g: &Graph, op: &str, count: i32) -> Result<Output> {
    let op = g.op(op).input(g.constant([2i32])?).input(g.constant(count)?);
    op.attr("element_dtype", DType::Double).attr("shape_type", DType::Int32).output()
}

fn stack_of_lists(g: &Graph, x: &[Output]) -> Result<Vec<Output>> {
    let mut list = empty_list(g, "EmptyTensorList", -1)?;
    for row in g.unstack(x[0])? {
        list = g.op("TensorListPushBack").input(list).input(row).output()?;
    }
    let shape = g.constant([2i32])?;
    let popped = g.op("TensorListPopBack").input(list).input(shape).attr("element_dtype", DType::Double).outputs()?;
    let again = g.op("TensorListPopBack").input(popped[0]).input(shape).attr("element_dtype", DType::Double).outputs()?;
    Ok(vec![popped[1], g.mul(again[1], popped[1])?])
}

fn list_items(g: &Graph, x: &[Output]) -> Result<Vec<Output>> {
    let shape = g.constant([2i32])?;
    let list = g.op("TensorListFromTensor").input(x[0]).input(shape).output()?;
    let get = |list: Output, at: i32| {
        let op = g.op("TensorListGetItem").input(list).input(g.constant(at)?).input(shape);
        op.attr("element_dtype", DType::Double).output()
    };
    let item = get(list, 1)?;
    let set = g.op("TensorListSetItem").input(list).input(g.constant(0i32)?).input(g.mul(item, item)?).output()?;
    let shorter = g.op("TensorListResize").input(set).input(g.constant(2i32)?).output()?;
    let stacked = g.op("TensorListStack").input(shorter).input(shape).attr("element_dtype", DType::Double).output()?;
    Ok(vec![stacked, get(set, 2)?])
}

fn list_places(g: &Graph, x: &[Output]) -> Result<Vec<Output>> {
    let (shape, places) = (g.constant([2i32])?, g.constant([2i32, 0, 1])?);
    let gather = |list: Output, places: &[i32]| {
        let op = g.op("TensorListGather").input(list).input(g.constant(places)?).input(shape);
        op.attr("element_dtype", DType::Double).output()
    };
    let scattered = g.op("TensorListScatter").input(x[0]).input(places).input(shape).output()?;
    let wide = g.op("TensorListScatterV2").input(x[0]).input(places).input(shape).input(g.constant(4i32)?).output()?;
    let list = empty_list(g, "TensorListReserve", 3)?;
    let into = g.op("TensorListScatterIntoExistingList").input(list).input(x[0]).input(places).output()?;
    Ok(vec![gather(scattered, &[0, 2])?, gather(wide, &[1])?, gather(into, &[2, 1])?])
}

fn list_parts(g: &Graph, x: &[Output]) -> Result<Vec<Output>> {
    let (shape, lengths) = (g.constant([-1i32, 2])?, g.constant([2i64, 1])?);
    let split = |y: Output| g.op("TensorListSplit").input(y).input(shape).input(lengths).output();
    let first = g.op("TensorListConcat").input(split(x[0])?).attr("element_dtype", DType::Double).outputs()?[0];
    let list = split(g.mul(x[0], x[0])?)?;
    let op = g.op("TensorListConcatV2").input(list).input(shape).input(g.constant(&[] as &[i64])?);
    Ok(vec![first, op.attr("element_dtype", DType::Double).outputs()?[0]])
}

const LSTM: &[&str] = &[
    "f32[[[0.5 -0.3]] [[1 0.2]]]",
    "f32[[0.4]]",
    "f32[[-0.2]]",
    "f32[[0.1 -0.4 0.3 0.2] [0.5 0.1 -0.2 0.3] [0.2 0.3 0.1 -0.5]]",
    "f32[0.1 0.2 -0.1 0.3]",
];

fn block(op: &str, g: &Graph, x: &[Output]) -> Result<Vec<Output>> {
    let peephole = g.constant([0f32])?;
    let op = g.op(op).input(g.constant(2i64)?).input(x[0]).input(x[1]).input(x[2]).input(x[3]);
    let outputs = op.input(peephole).input(peephole).input(peephole).input(x[4]).attr("cell_clip", -1f32).outputs()?;
    Ok(vec![outputs[6]])
}

fn ctc(op: &str, g: &Graph, x: &[Output]) -> Result<Vec<Output>> {
    let op = g.op(op).input(x[0]).input(g.constant([[0i64, 0], [0, 1]])?).input(g.constant([0i32, 1])?);
    Ok(op.input(g.constant([3i32])?).outputs()?[..1].to_vec())
}

fn normed(op: &str, training: bool, g: &Graph, x: &[Output]) -> Result<Vec<Output>> {
    let (mean, variance) = match training {
        true => (g.constant(&[] as &[f32])?, g.constant(&[] as &[f32])?),
        false => (g.constant([0.5f32, 1.0])?, g.constant([2f32, 0.5])?),
    };
    let op = g.op(op).input(x[0]).input(x[1]).input(x[2]).input(mean).input(variance).attr("epsilon", 0.01f32);
    Ok(op.attr("is_training", training).outputs()?[..1].to_vec())
}

fn norm_gradients(op: &str, g: &Graph, x: &[Output]) -> Result<Vec<Output>> {
    let y = normed(op, true, g, x)?;
    let found = g.gradients(&[g.mul(y[0], y[0])?], x, &Default::default())?;
    Ok(found.into_iter().flatten().filter_map(|gradient| gradient.dense()).collect())
}

/// The gradient of a pool of 2 by the sine of its values, or the gradient of that by its gradient.
fn pooled_gradient(g: &Graph, x: &[Output], op: &str, order: usize) -> Result<Vec<Output>> {
    let sizes: &[i64] = if op == "MaxPool" { &[1, 2, 2, 1] } else { &[1, 2, 2, 2, 1] };
    let with =
        |builder: metagraph::graph::OpBuilder| builder.attr("ksize", sizes).attr("strides", sizes).attr("padding", "VALID");
    let y = with(g.op(op).input(x[0])).output()?;
    let sine = g.op("Sin").input(y).output()?;
    let gradient = with(g.op(&format!("{op}Grad")).input(x[0]).input(y).input(sine)).output()?;
    if order == 2 {
        return Ok(vec![gradient]);
    }
    Ok(vec![with(g.op(&format!("{op}GradGrad")).input(x[0]).input(y).input(g.mul(gradient, x[0])?)).output()?])
}

fn transformed(op: &str, g: &Graph, x: &[Output]) -> Result<Vec<Output>> {
    let transform = g.constant([[1f32, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0]])?;
    let mut builder = g.op(op).input(x[0]).input(transform).input(g.constant([4i32, 4])?);
    if op.ends_with("V3") {
        builder = builder.input(g.constant(0f32)?);
    }
    builder.attr("interpolation", "NEAREST").outputs()
}

fn ragged_variants(g: &Graph, x: &[Output]) -> Result<Vec<Output>> {
    let splits = g.constant([0i64, 2, 3])?;
    let variants = g.op("RaggedTensorToVariant").input_list(&[splits]).input(x[0]).attr("batched_input", true).output()?;
    let back = g.op("RaggedTensorFromVariant").input(variants).attr("input_ragged_rank", 0).attr("output_ragged_rank", 1);
    Ok(vec![back.attr("Tvalues", DType::Double).outputs()?[1]])
}
