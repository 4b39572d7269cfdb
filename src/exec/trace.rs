//! Where the time of a step goes and what its nodes give: counts and times, dtypes and shapes, and a file for Chrome's
//! trace viewer.

use crate::error::Result;
use crate::graph::op::{NodeInfo, Value};
use crate::graph::{Graph, Output};
use crate::tensor::{DType, Dims, Shape, Tensor};
use foldhash::{HashMap, HashMapExt};
use indexmap::IndexMap;
use std::fmt;
use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Single runs of nodes that a step keeps at most; later ones are only counted.
const MOST_EVENTS: usize = 1 << 20;

/// What a run is asked to tell about itself (`tf.RunOptions`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunOptions {
    /// Whether to measure each node.
    pub trace: bool,
    /// Whether to tell, of each node that is measured, what its outputs are.
    pub outputs: bool,
}

impl RunOptions {
    /// Options that ask for each node's times.
    pub fn traced() -> RunOptions {
        RunOptions { trace: true, outputs: false }
    }

    /// Options that ask for each node's times, and for dtypes and shapes of what it gives.
    pub fn described() -> RunOptions {
        RunOptions { trace: true, outputs: true }
    }
}

/// What a node took in a step.
#[derive(Clone, Debug)]
pub struct NodeTime {
    /// The node's name.
    pub name: Arc<str>,
    /// The op's type, or what a rewrite put in the node's place.
    pub op: &'static str,
    /// How often it ran.
    pub count: u64,
    /// The time of all runs together.
    pub time: Duration,
}

/// What a node gave at one of its outputs (`TensorDescription`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorDescription {
    /// The element type.
    pub dtype: DType,
    /// The dimensions.
    pub dims: Dims,
}

impl TensorDescription {
    fn of(value: &Value) -> Option<TensorDescription> {
        let of = |tensor: &Tensor| TensorDescription { dtype: tensor.dtype(), dims: tensor.dims().into() };
        match value {
            Value::Tensor(tensor) => Some(of(tensor)),
            Value::Ref(variable) => variable.get().as_ref().map(of),
            Value::Dead => None,
        }
    }
}

impl fmt::Display for TensorDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.dtype, Shape::known(&self.dims))
    }
}

/// One run of one node.
#[derive(Clone, Debug)]
pub struct NodeEvent {
    /// The position of the node in [`RunMetadata::nodes`].
    pub node: usize,
    /// When it began, after the step's beginning.
    pub start: Duration,
    /// How long it took.
    pub time: Duration,
    /// The thread that ran it, counted from 0.
    pub thread: u32,
    /// What it gave, if that was asked for: each output, none where it is dead or refers to a variable without a value.
    /// Empty for what a rewrite put in the place of several nodes.
    pub outputs: Vec<Option<TensorDescription>>,
}

/// What a traced step tells (`tf.RunMetadata`). Nodes that the plan dropped or computed in advance are not listed.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RunMetadata {
    /// The nodes that ran, in the order in which they first did.
    pub nodes: Vec<NodeTime>,
    /// Single runs, in the order in which they ended; at most a million.
    pub events: Vec<NodeEvent>,
    /// The time of the whole step, without that of making its plan.
    pub time: Duration,
}

impl RunMetadata {
    /// The nodes, the one with the most time first.
    pub fn by_time(&self) -> Vec<&NodeTime> {
        let mut nodes: Vec<&NodeTime> = self.nodes.iter().collect();
        nodes.sort_by_key(|n| std::cmp::Reverse(n.time));
        nodes
    }

    /// Counts and times by op, the one with the most time first.
    pub fn by_op(&self) -> Vec<(&'static str, u64, Duration)> {
        let mut ops: HashMap<&'static str, (u64, Duration)> = HashMap::new();
        for node in &self.nodes {
            let entry = ops.entry(node.op).or_default();
            *entry = (entry.0 + node.count, entry.1 + node.time);
        }
        let mut ops: Vec<_> = ops.into_iter().map(|(op, (count, time))| (op, count, time)).collect();
        ops.sort_by_key(|&(op, _, time)| (std::cmp::Reverse(time), op));
        ops
    }

    /// Outputs of a described run that had another dtype or shape than the graph infers for them, each once, with what it
    /// had. What a rewrite made bears a node's name and an op of its own, and is passed over; so are the shapes of handles,
    /// of which TensorFlow says that they have two elements where arrays and stacks have none.
    pub fn unlike_inferred(&self, graph: &Graph) -> Vec<(Output, TensorDescription)> {
        let mut unlike: IndexMap<Output, TensorDescription> = IndexMap::new();
        for event in &self.events {
            let node = &self.nodes[event.node];
            let Ok(op) = graph.get_operation_by_name(&node.name) else { continue };
            if graph.op_type(op) != node.op {
                continue;
            }
            for (output, given) in graph.outputs(op).into_iter().zip(&event.outputs) {
                let (Some(given), Ok(dtype), Ok(shape)) = (given, graph.dtype(output), graph.shape(output)) else { continue };
                let fits = given.dtype == DType::Resource || shape.accepts(&given.dims);
                if dtype != given.dtype || !fits {
                    unlike.entry(output).or_insert_with(|| given.clone());
                }
            }
        }
        unlike.into_iter().collect()
    }

    /// Writes the single runs as a file for `chrome://tracing` or Perfetto: complete events, in microseconds.
    ///
    /// # Errors
    /// What writing returns.
    pub fn write_chrome_trace(&self, mut out: impl Write) -> Result<()> {
        write!(out, "{{\"displayTimeUnit\":\"ns\",\"traceEvents\":[")?;
        for (at, event) in self.events.iter().enumerate() {
            let node = &self.nodes[event.node];
            let micros = |d: Duration| d.as_nanos() as f64 / 1e3;
            let mut args = serde_json::json!({ "name": &*node.name });
            if !event.outputs.is_empty() {
                let text = |o: &Option<TensorDescription>| o.as_ref().map(TensorDescription::to_string);
                args["outputs"] = event.outputs.iter().map(text).collect();
            }
            write!(
                out,
                "{}\n{{\"ph\":\"X\",\"pid\":0,\"tid\":{},\"ts\":{:.3},\"dur\":{:.3},\"name\":\"{}\",\"cat\":\"op\",\"args\":{args}}}",
                if at > 0 { "," } else { "" },
                event.thread,
                micros(event.start),
                micros(event.time),
                node.op,
            )?;
        }
        write!(out, "\n]}}\n")?;
        Ok(())
    }
}

/// Collects what a step's nodes take.
pub(crate) struct Tracer {
    begin: Instant,
    outputs: bool,
    records: Mutex<Records>,
}

#[derive(Default)]
struct Records {
    /// Nodes by the address of what is known of them, which lives as long as the plan.
    known: HashMap<usize, usize>,
    metadata: RunMetadata,
}

impl Tracer {
    pub fn new(options: &RunOptions) -> Tracer {
        Tracer { begin: Instant::now(), outputs: options.outputs, records: Mutex::default() }
    }

    /// Notes a run of a node, and what it gave.
    pub fn record(&self, info: &Arc<NodeInfo>, start: Instant, outputs: &[Value]) {
        let time = start.elapsed();
        let outputs = if self.outputs { outputs.iter().map(TensorDescription::of).collect() } else { Vec::new() };
        let mut records = self.records.lock().unwrap_or_else(|e| e.into_inner());
        let Records { known, metadata } = &mut *records;
        let node = *known.entry(Arc::as_ptr(info) as usize).or_insert_with(|| {
            metadata.nodes.push(NodeTime { name: info.name.clone(), op: info.op, count: 0, time: Duration::ZERO });
            metadata.nodes.len() - 1
        });
        metadata.nodes[node].count += 1;
        metadata.nodes[node].time += time;
        if metadata.events.len() < MOST_EVENTS {
            let start = start.duration_since(self.begin);
            metadata.events.push(NodeEvent { node, start, time, thread: thread_number(), outputs });
        }
    }

    /// What was collected, once the step is over.
    pub fn finish(self) -> RunMetadata {
        let mut metadata = self.records.into_inner().unwrap_or_else(|e| e.into_inner()).metadata;
        metadata.time = self.begin.elapsed();
        metadata
    }
}

/// A small number for this thread.
fn thread_number() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    thread_local!(static NUMBER: u32 = NEXT.fetch_add(1, Ordering::Relaxed));
    NUMBER.with(|n| *n)
}
