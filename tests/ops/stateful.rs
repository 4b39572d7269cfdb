//! Ops with state: examples whose values aren't compared, small programs, and the ops that are still without.

use metagraph::ops::{Queue, QueueOptions};
use metagraph::{DType, Graph, Operation, Output, Result, Shape, Tensor};

/// Examples of ops that give other values each time: op, example.
pub const ROWS: &[(&str, &str)] = &[
    ("RandomUniform", "dtype=f64; i32[2 3] => _"),
    ("RandomStandardNormal", "dtype=f16; i64[2 0] => _"),
    ("TruncatedNormal", "dtype=f32; i32[5] => _"),
    ("RandomUniformInt", "i32[4], i64 -3, i64 9 => _"),
    ("RandomShuffle", "f32[[1 2] [3 4]] => _"),
    ("Multinomial", "f32[[1 2 3] [0 0 1]], i32 4 => _"),
    ("ParameterizedTruncatedNormal", "i32[2 3], f32[0 1], f32 1, f32 -1, f32[1 8] => _"),
    ("RandomGamma", "i32[3], f64[[0.5 2]] => _"),
    ("RandomPoisson", "i32[3], f32[0.5 2] => _"),
    ("RandomPoissonV2", "dtype=i32; i64[2], f64[0.5 20] => _"),
    ("UniformCandidateSampler", "num_true=2, num_sampled=3, unique=true, range_max=9; i64[[1 2] [3 4]] => _, _, _"),
    ("LogUniformCandidateSampler", "num_true=1, num_sampled=3, unique=false, range_max=9; i64[[1] [3]] => _, _, _"),
    ("LearnedUnigramCandidateSampler", "num_true=1, num_sampled=3, unique=false, range_max=9; i64[[1] [3]] => _, _, _"),
    ("ThreadUnsafeUnigramCandidateSampler", "num_true=1, num_sampled=3, unique=false, range_max=9; i64[[1] [3]] => _, _, _"),
    (
        "FixedUnigramCandidateSampler",
        "num_true=1, num_sampled=3, unique=false, range_max=3, unigrams=[0.5, 1.5, 2.0]; i64[[1] [2]] => _, _, _",
    ),
    ("AllCandidateSampler", "num_true=1, num_sampled=4, unique=true; i64[[1] [3]] => _, _, _"),
    ("SampleDistortedBoundingBox", "i32[20 30 3], f32[[[0.1 0.2 0.8 0.9]]] => _, _, _"),
    ("SampleDistortedBoundingBoxV2", "i64[20 30 3], f32[[[0.1 0.2 0.8 0.9]]], f32 0.3 => _, _, _"),
    ("RandomCrop", "f32[[[1] [2]] [[3] [4]]], i64[1 2] => _"),
    ("NonDeterministicInts", "i64[2 3] => _"),
    ("StatelessRandomGetAlg", " => _"),
    ("Timestamp", " => _"),
    ("Print", "U=[], first_n=0; f32[1 2], () => _"),
    ("Assert", "T=[f32]; bool true, (f32[1]) => "),
    ("NoOp", " => "),
    ("ControlTrigger", " => "),
];

/// A program: what is fetched of it.
type Program = fn(&Graph) -> Result<Vec<Output>>;

/// The programs.
pub const PROGRAMS: &[(&str, Program)] = &[
    ("references", references),
    ("scattered", scattered),
    ("scattered by n-d indices", scattered_nd),
    ("handles", handles),
    ("temporary variable", temporary),
    ("generators", generators),
    ("queue", queue),
    ("stack", stack),
];

/// Ops whose values no test compares with inferred shapes yet. The list can only shrink: an op that is seen must leave it.
pub const UNSEEN: &[&str] = &[
    "StatefulStandardNormal",
    "Placeholder",
    "PlaceholderV2",
    "Enter",
    "RefEnter",
    "RefExit",
    "NextIteration",
    "RefNextIteration",
    "LoopCond",
    "Abort",
    "If",
    "StatelessIf",
    "Case",
    "StatelessCase",
    "While",
    "StatelessWhile",
    "For",
    "PartitionedCall",
    "StatefulPartitionedCall",
    "RemoteCall",
    "SymbolicGradient",
    "ToBool",
    "FakeParam",
    "OptionalFromValue",
    "OptionalNone",
    "OptionalHasValue",
    "OptionalGetValue",
    "ConditionalAccumulator",
    "SparseConditionalAccumulator",
    "ResourceConditionalAccumulator",
    "AccumulatorApplyGradient",
    "ResourceAccumulatorApplyGradient",
    "SparseAccumulatorApplyGradient",
    "AccumulatorNumAccumulated",
    "ResourceAccumulatorNumAccumulated",
    "AccumulatorSetGlobalStep",
    "ResourceAccumulatorSetGlobalStep",
    "AccumulatorTakeGradient",
    "ResourceAccumulatorTakeGradient",
    "SparseAccumulatorTakeGradient",
    "Barrier",
    "BarrierInsertMany",
    "BarrierTakeMany",
    "BarrierClose",
    "BarrierReadySize",
    "BarrierIncompleteSize",
    "MutexV2",
    "MutexLock",
    "ConsumeMutexLock",
    "QueueEnqueue",
    "QueueEnqueueMany",
    "QueueDequeue",
    "QueueDequeueMany",
    "QueueDequeueManyV2",
    "QueueDequeueUpTo",
    "QueueDequeueUpToV2",
    "QueueClose",
    "QueueCloseV2",
    "QueueIsClosed",
    "QueueIsClosedV2",
    "QueueSize",
    "FIFOQueue",
    "PaddingFIFOQueue",
    "PaddingFIFOQueueV2",
    "PriorityQueue",
    "PriorityQueueV2",
    "RandomShuffleQueue",
    "RandomShuffleQueueV2",
    "FakeQueue",
    "GetSessionHandle",
    "GetSessionHandleV2",
    "GetSessionTensor",
    "DeleteSessionTensor",
    "Stack",
    "StackPush",
    "StackPop",
    "StackClose",
    "Stage",
    "Unstage",
    "StagePeek",
    "StageSize",
    "StageClear",
    "MapStage",
    "MapUnstage",
    "MapPeek",
    "MapUnstageNoKey",
    "MapSize",
    "MapIncompleteSize",
    "MapClear",
    "OrderedMapStage",
    "OrderedMapUnstage",
    "OrderedMapPeek",
    "OrderedMapUnstageNoKey",
    "OrderedMapSize",
    "OrderedMapIncompleteSize",
    "OrderedMapClear",
    "StubResourceHandleOp",
    "ResourceCreateOp",
    "ResourceInitializedOp",
    "ResourceUsingOp",
    "TensorArrayRead",
    "TensorArrayReadV2",
    "TensorArrayWrite",
    "TensorArrayWriteV2",
    "TensorArrayGather",
    "TensorArrayGatherV2",
    "TensorArrayScatter",
    "TensorArrayScatterV2",
    "TensorArrayConcat",
    "TensorArrayConcatV2",
    "TensorArraySplit",
    "TensorArraySplitV2",
    "TensorArraySize",
    "TensorArraySizeV2",
    "TensorArrayClose",
    "TensorArrayCloseV2",
    "TensorArrayCloseV3",
    "TensorArray",
    "TensorArrayV2",
    "TensorArrayGrad",
    "TensorArrayGradV2",
    "TensorArrayGradWithShape",
    "TensorArrayPack",
    "TensorArrayUnpack",
    "Save",
    "SaveSlices",
    "Restore",
    "RestoreSlice",
    "MergeV2Checkpoints",
    "ReadFile",
    "WriteFile",
    "MatchingFiles",
    "PrintV2",
    "Variable",
    "_VarHandlesOp",
    "_ReadVariablesOp",
    "DestroyResourceOp",
    "EmptyTensorList",
    "TensorListPushBack",
    "TensorListPushBackBatch",
    "TensorListPopBack",
    "TensorListLength",
    "TensorListElementShape",
    "TensorListConcatLists",
    "ApplyAdaMax",
    "ResourceApplyAdaMax",
    "ApplyAdagradV2",
    "ResourceApplyAdagradV2",
    "SparseApplyAdagradV2",
    "ResourceSparseApplyAdagradV2",
    "ResourceApplyAdamWithAmsgrad",
    "ApplyAddSign",
    "ResourceApplyAddSign",
    "ResourceApplyKerasMomentum",
    "ResourceSparseApplyKerasMomentum",
    "ApplyPowerSign",
    "ResourceApplyPowerSign",
    "ImmutableConst",
    "DebugGradientRefIdentity",
    "HashTable",
    "HashTableV2",
    "AnonymousHashTable",
    "MutableHashTable",
    "MutableHashTableV2",
    "AnonymousMutableHashTable",
    "MutableHashTableOfTensors",
    "MutableHashTableOfTensorsV2",
    "AnonymousMutableHashTableOfTensors",
    "MutableDenseHashTable",
    "MutableDenseHashTableV2",
    "AnonymousMutableDenseHashTable",
    "LookupTableFind",
    "LookupTableFindV2",
    "LookupTableInsert",
    "LookupTableInsertV2",
    "LookupTableImport",
    "LookupTableImportV2",
    "LookupTableExport",
    "LookupTableExportV2",
    "LookupTableSize",
    "LookupTableSizeV2",
    "InitializeTable",
    "InitializeTableV2",
    "InitializeTableFromTextFile",
    "InitializeTableFromTextFileV2",
    "LookupTableRemoveV2",
    "BlockLSTMGrad",
    "BlockLSTMGradV2",
    "RaggedTensorToVariantGradient",
    "AddSparseToTensorsMap",
    "AddManySparseToTensorsMap",
    "TakeManySparseFromTensorsMap",
];

fn variable(g: &Graph, text: &str) -> Result<(Output, Operation)> {
    let value: Tensor = text.parse()?;
    let v = g.op("VariableV2").attr("shape", Shape::known(value.dims())).attr("dtype", value.dtype()).output()?;
    let assign = g.op("Assign").input(v).input(g.constant(&value)?).finish()?;
    Ok((v, assign))
}

fn references(g: &Graph) -> Result<Vec<Output>> {
    let (v, assign) = variable(g, "f32[[1 2] [3 4]]")?;
    let one = g.constant("f32[[1 1] [1 1]]".parse::<Tensor>()?)?;
    let add = g.op("AssignAdd").input(v).input(one).control(assign).finish()?;
    let sub = g.op("AssignSub").input(v).input(one).control(add).finish()?;
    let part = |i: [i32; 2]| g.constant(i);
    let slice = g.op("StridedSliceAssign").input(v).input(part([0, 0])?).input(part([1, 2])?).input(part([1, 1])?);
    let slice = slice.input(g.constant([[7f32, 8.0]])?).control(sub).finish()?;
    let there = g.op("IsVariableInitialized").input(v).control(slice).output()?;
    let same = g.op("RefIdentity").input(v).control(slice).output()?;
    let chosen = g.op("RefSelect").input(g.constant(1i32)?).input_list(&[v, v]).control(slice).output()?;
    let switch = g.op("RefSwitch").input(v).input(there).finish()?;
    let merged = g.op("RefMerge").input_list(&[switch.output(0), switch.output(1)]).outputs()?;
    let (counter, start) = variable(g, "i32 0")?;
    let counted = g.op("CountUpTo").input(counter).attr("limit", 100).control(start).output()?;
    Ok(vec![there, same, chosen, merged[0], merged[1], counted])
}

fn scattered(g: &Graph) -> Result<Vec<Output>> {
    let (v, mut last) = variable(g, "f32[[1 2] [3 4] [5 6]]")?;
    let (rows, updates) = (g.constant([2i32, 0])?, g.constant([[1f32, 2.0], [3.0, 4.0]])?);
    let mut all = Vec::new();
    for op in ["Update", "Add", "Sub", "Mul", "Div", "Min", "Max"] {
        last = g.op(&format!("Scatter{op}")).input(v).input(rows).input(updates).control(last).finish()?;
        all.push(last.output(0));
    }
    Ok(all)
}

fn scattered_nd(g: &Graph) -> Result<Vec<Output>> {
    let (v, mut last) = variable(g, "f32[[1 2] [3 4] [5 6]]")?;
    let (places, updates) = (g.constant([[2i32, 0], [0, 1]])?, g.constant([1f32, 2.0])?);
    let mut all = Vec::new();
    for op in ["Update", "Add", "Sub", "Min", "Max"] {
        last = g.op(&format!("ScatterNd{op}")).input(v).input(places).input(updates).control(last).finish()?;
        all.push(last.output(0));
    }
    Ok(all)
}

fn handle(g: &Graph, text: &str, name: &str) -> Result<(Output, Operation)> {
    let value: Tensor = text.parse()?;
    let h = g.op("VarHandleOp").attr("shape", Shape::known(value.dims())).attr("dtype", value.dtype()).attr("shared_name", name);
    let h = h.output()?;
    let assign = g.op("AssignVariableOp").input(h).input(g.constant(&value)?).finish()?;
    Ok((h, assign))
}

fn handles(g: &Graph) -> Result<Vec<Output>> {
    let (h, mut last) = handle(g, "f32[[1 2] [3 4] [5 6]]", "held")?;
    let all = g.constant("f32[[1 1] [1 1] [1 1]]".parse::<Tensor>()?)?;
    for op in ["AssignAddVariableOp", "AssignSubVariableOp"] {
        last = g.op(op).input(h).input(all).control(last).finish()?;
    }
    let (rows, updates) = (g.constant([2i32, 0])?, g.constant([[1f32, 2.0], [3.0, 4.0]])?);
    for op in ["Update", "Add", "Sub", "Mul", "Div", "Min", "Max"] {
        last = g.op(&format!("ResourceScatter{op}")).input(h).input(rows).input(updates).control(last).finish()?;
    }
    let (places, single) = (g.constant([[2i32, 0], [0, 1]])?, g.constant([1f32, 2.0])?);
    for op in ["Update", "Add", "Sub", "Min", "Max"] {
        last = g.op(&format!("ResourceScatterNd{op}")).input(h).input(places).input(single).control(last).finish()?;
    }
    let part = |i: [i32; 2]| g.constant(i);
    let slice = g.op("ResourceStridedSliceAssign").input(h).input(part([0, 0])?).input(part([1, 2])?).input(part([1, 1])?);
    last = slice.input(g.constant([[7f32, 8.0]])?).control(last).finish()?;
    last = g.op("DisableCopyOnRead").input(h).control(last).finish()?;
    let read = g.op("ReadVariableOp").input(h).attr("dtype", DType::Float).control(last).output()?;
    let gathered = g.op("ResourceGather").input(h).input(rows).attr("dtype", DType::Float).control(last).output()?;
    let points = g.op("ResourceGatherNd").input(h).input(places).attr("dtype", DType::Float).control(last).output()?;
    let shape = g.op("VariableShape").input(h).control(last).output()?;
    let there = g.op("VarIsInitializedOp").input(h).control(last).output()?;
    let (counter, start) = handle(g, "i64 0", "counter")?;
    let count = g.op("ResourceCountUpTo").input(counter).attr("limit", 100).attr("T", DType::Int64).control(start).output()?;
    Ok(vec![read, gathered, points, shape, there, count])
}

fn temporary(g: &Graph) -> Result<Vec<Output>> {
    let v =
        g.op("TemporaryVariable").attr("shape", Shape::known(&[2])).attr("dtype", DType::Float).attr("var_name", "t").output()?;
    let set = g.op("Assign").input(v).input(g.constant([1f32, 2.0])?).output()?;
    Ok(vec![g.op("DestroyTemporaryVariable").input(set).attr("var_name", "t").output()?])
}

fn generators(g: &Graph) -> Result<Vec<Output>> {
    let (h, start) = handle(g, "i64[1 2 3]", "generator")?;
    let (algorithm, shape) = (g.constant(1i64)?, g.constant([2i64, 3])?);
    let op = |name: &str| g.op(name).input(h).input(algorithm).input(shape).control(start);
    let skip = g.op("RngSkip").input(h).input(algorithm).input(g.constant(5i64)?).control(start).finish()?;
    let again = g.op("RngReadAndSkip").input(h).input(g.constant(1i32)?).input(g.constant(2u64)?).control(skip).output()?;
    let binomial = op("StatefulRandomBinomial").input(g.constant(5f64)?).input(g.constant(0.5f64)?).output()?;
    Ok(vec![
        op("StatefulUniform").output()?,
        op("StatefulStandardNormalV2").output()?,
        op("StatefulTruncatedNormal").output()?,
        op("StatefulUniformInt").input(g.constant(-5i64)?).input(g.constant(5i64)?).output()?,
        op("StatefulUniformFullInt").output()?,
        binomial,
        again,
    ])
}

fn queue(g: &Graph) -> Result<Vec<Output>> {
    let options = QueueOptions { shapes: vec![Shape::known(&[2])], ..QueueOptions::default() };
    let queue = Queue::fifo(g, 1000, &[DType::Float], options)?;
    let put = queue.enqueue(g, &[g.constant([1f32, 2.0])?.into()])?;
    let more = queue.enqueue_many(g, &[g.constant([[1f32, 2.0], [3.0, 4.0]])?.into()])?;
    let _after = g.control_dependencies(&[put, more])?;
    Ok(vec![queue.size(g)?, queue.dequeue(g)?[0]])
}

fn stack(g: &Graph) -> Result<Vec<Output>> {
    let stack = g.op("StackV2").input(g.constant(4i32)?).attr("elem_type", DType::Float).output()?;
    let pushed = g.op("StackPushV2").input(stack).input(g.constant([1f32, 2.0])?).output()?;
    let popped = g.op("StackPopV2").input(stack).attr("elem_type", DType::Float).control(pushed.op).output()?;
    let close = g.op("StackCloseV2").input(stack).control(popped.op).finish()?;
    Ok(vec![g.op("Identity").input(popped).control(close).output()?])
}
