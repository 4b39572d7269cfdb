//! The builder of TensorArrays (`tf.TensorArray`, version 1).

use crate::error::{Result, bail};
use crate::graph::{Graph, Operation, Output};
use crate::ops::Idx;
use crate::ops::convert::Arg;
use crate::tensor::{DType, Shape};
use std::sync::{Arc, Mutex, MutexGuard};

/// What a new TensorArray is told beside dtype and size.
#[derive(Clone, Debug)]
pub struct TensorArrayOptions {
    /// Whether writes may make the array longer.
    pub dynamic_size: bool,
    /// Whether an element is given up once it is read.
    pub clear_after_read: bool,
    /// The name of the object in the running graph.
    pub tensor_array_name: String,
    /// Whether all elements have one shape, which the first write tells.
    pub infer_shape: bool,
    /// The static shape of the elements.
    pub element_shape: Shape,
    /// Whether writes are colocated with the first value that is written.
    pub colocate_with_first_write_call: bool,
}

impl Default for TensorArrayOptions {
    fn default() -> TensorArrayOptions {
        TensorArrayOptions {
            dynamic_size: false,
            clear_after_read: true,
            tensor_array_name: String::new(),
            infer_shape: true,
            element_shape: Shape::unknown(),
            colocate_with_first_write_call: true,
        }
    }
}

/// An array of tensors that is written an element at a time, each once, as a loop produces them (`tf.TensorArray`).
///
/// Its state is a scalar, the flow, which orders reads after writes: each write gives a new TensorArray that is to be used
/// in place of the old one, and loops carry the TensorArray as a loop variable.
///
/// ```
/// # use metagraph::{DType, Graph, Session, TensorArray};
/// let g = Graph::new();
/// let array = TensorArray::new(&g, DType::Float, 2i32, &Default::default())?;
/// let array = array.write(&g, 0i32, g.constant(1f32)?)?;
/// let array = array.write(&g, 1i32, g.constant(2f32)?)?;
/// let both = array.stack(&g)?;
/// assert_eq!(Session::new(&g).run(&[both], &[])?[0].to_string(), "f32[1 2]");
/// # Ok::<(), metagraph::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct TensorArray {
    dtype: DType,
    handle: Output,
    flow: Output,
    infer_shape: bool,
    dynamic_size: bool,
    size: Option<Arg>,
    /// Shared by all TensorArrays of one handle, since a write in a loop tells the shape of reads behind it.
    element_shape: Arc<Mutex<Shape>>,
    /// What writes are colocated with, once there was one; none where they are not.
    colocated: Option<Arc<Mutex<Option<Operation>>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

impl TensorArray {
    /// A new array of `size` elements.
    ///
    /// # Errors
    /// `InvalidArgument` for a size that is no int32 scalar.
    pub fn new(g: &Graph, dtype: DType, size: impl Into<Arg>, options: &TensorArrayOptions) -> Result<TensorArray> {
        let size = size.into();
        let (g, scope) = g.enter("TensorArray")?;
        let beside = options.colocate_with_first_write_call.then(|| g.colocate_only_with(None)).transpose()?;
        let op = g
            .named(scope.name())
            .call("TensorArrayV3")
            .arg(size.clone())
            .attr("dtype", dtype)
            .attr("element_shape", &options.element_shape)
            .attr("dynamic_size", options.dynamic_size)
            .attr("clear_after_read", options.clear_after_read)
            .attr("identical_element_shapes", options.infer_shape)
            .attr("tensor_array_name", options.tensor_array_name.as_str())
            .finish()?;
        drop(beside);
        Ok(TensorArray {
            dtype,
            handle: op.output(0),
            flow: op.output(1),
            infer_shape: options.infer_shape,
            dynamic_size: options.dynamic_size,
            size: Some(size),
            element_shape: Arc::new(Mutex::new(options.element_shape.clone())),
            colocated: options.colocate_with_first_write_call.then(Arc::default),
        })
    }

    /// The array behind a handle that exists.
    ///
    /// # Errors
    /// `InvalidArgument` for nodes of another graph.
    pub fn from_handle(g: &Graph, dtype: DType, handle: Output, flow: Output) -> Result<TensorArray> {
        drop(g.enter("TensorArray")?);
        Ok(TensorArray {
            dtype,
            handle,
            flow,
            infer_shape: true,
            dynamic_size: false,
            size: None,
            element_shape: Arc::default(),
            colocated: None,
        })
    }

    /// The same array with another flow.
    ///
    /// # Errors
    /// As [`TensorArray::from_handle`].
    pub fn with_flow(&self, g: &Graph, flow: Output) -> Result<TensorArray> {
        drop(g.plain().enter("TensorArray")?);
        Ok(TensorArray { flow, ..self.clone() })
    }

    /// The dtype of the elements.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The handle.
    pub fn handle(&self) -> Output {
        self.handle
    }

    /// The flow.
    pub fn flow(&self) -> Output {
        self.flow
    }

    /// The static shape of the elements.
    pub fn element_shape(&self) -> Shape {
        lock(&self.element_shape).clone()
    }

    fn check_element_shape(&self, shape: &Shape) -> Result<()> {
        let mut own = lock(&self.element_shape);
        match own.merge(shape) {
            Err(_) => bail!(InvalidArgument, "Inconsistent shapes: saw {shape} but expected {own}"),
            Ok(merged) if self.infer_shape => *own = merged,
            Ok(_) => {}
        }
        Ok(())
    }

    fn beside(&self, g: &Graph, value: Output) -> Result<Option<crate::graph::ScopeGuard>> {
        let Some(colocated) = &self.colocated else { return Ok(None) };
        let op = *lock(colocated).get_or_insert(value.op);
        g.colocate_with(op).map(Some)
    }

    /// The same array, after its flow.
    ///
    /// # Errors
    /// `InvalidArgument` for nodes of another graph.
    pub fn identity(&self, g: &Graph) -> Result<TensorArray> {
        let flow = g.identity(self.flow)?;
        self.with_flow(g, flow)
    }

    /// The array of the gradients of this one's elements, for the gradient computation named `source`.
    ///
    /// # Errors
    /// `InvalidArgument` for nodes of another graph.
    pub fn grad(&self, g: &Graph, source: &str, flow: Option<Output>) -> Result<TensorArray> {
        let flow = flow.unwrap_or(self.flow);
        let named = g.name_or("TensorArrayGradV3").to_string();
        let (g, _scope) = g.enter("TensorArrayGrad")?;
        let _beside = g.colocate_with(self.handle.op)?;
        let op = g.op("TensorArrayGradV3").name(&named).input(self.handle).input(flow).attr("source", source).finish()?;
        let flow = {
            let _after = g.control_dependencies(&[op])?;
            g.named("gradient_flow").identity(flow)?
        };
        let mut gradient = TensorArray::from_handle(&g, self.dtype, op.output(0), flow)?;
        gradient.infer_shape = self.infer_shape;
        gradient.element_shape = self.element_shape.clone();
        Ok(gradient)
    }

    /// One element.
    ///
    /// # Errors
    /// `InvalidArgument` for an index that is no int32 scalar.
    pub fn read(&self, g: &Graph, index: impl Into<Arg>) -> Result<Output> {
        let call = g.call("TensorArrayReadV3").arg(self.handle).arg(index).arg(self.flow);
        let value = call.attr("dtype", self.dtype).output()?;
        g.set_shape(value, self.element_shape())?;
        Ok(value)
    }

    /// The array after the write of one element.
    ///
    /// # Errors
    /// `InvalidArgument` for an index that is no int32 scalar, a value of another dtype, or of another shape than values
    /// written before.
    pub fn write(&self, g: &Graph, index: impl Into<Arg>, value: impl Into<Arg>) -> Result<TensorArray> {
        let named = g.name_or("TensorArrayWriteV3").to_string();
        let (g, _scope) = g.enter("TensorArrayWrite")?;
        let value = g.convert_to_tensor(value, None, "value")?;
        self.check_element_shape(&g.shape(value)?)?;
        let flow = {
            let _beside = self.beside(&g, value)?;
            let call = g.named(&named).call("TensorArrayWriteV3");
            call.arg(self.handle).arg(index).arg(value).arg(self.flow).output()?
        };
        self.with_flow(&g, flow)
    }

    /// All elements along a new first dimension.
    ///
    /// # Errors
    /// `InvalidArgument` for nodes of another graph.
    pub fn stack(&self, g: &Graph) -> Result<Output> {
        let named = g.name_or("TensorArrayGatherV3").to_string();
        let _beside = g.colocate_with(self.handle.op)?;
        let (g, _scope) = g.enter("TensorArrayStack")?;
        let size = self.size(&g)?;
        let indices = g.call("Range").default_name("range").arg(0i32).arg(size).arg(1i32).output()?;
        let value = self.gather(&g.named(&named), indices)?;
        if let (false, Some(size)) = (self.dynamic_size, &self.size) {
            let size = match size {
                Arg::Output(size) => g.constant_value(*size),
                value => value.value()?,
            };
            let rows = size.and_then(|s| s.item_i64().ok()).and_then(|s| usize::try_from(s).ok());
            g.set_shape(value, Shape::vector(rows).concatenate(&self.element_shape()))?;
        }
        Ok(value)
    }

    /// The elements at these indices along a new first dimension.
    ///
    /// # Errors
    /// `InvalidArgument` for indices that are no int32 vector.
    pub fn gather(&self, g: &Graph, indices: impl Into<Arg>) -> Result<Output> {
        let shape = self.element_shape();
        let call = g.call("TensorArrayGatherV3").arg(self.handle).arg(indices).arg(self.flow);
        let value = call.attr("dtype", self.dtype).attr("element_shape", &shape).output()?;
        g.set_shape(value, Shape::vector(None).concatenate(&shape))?;
        Ok(value)
    }

    /// All elements one behind the other along their first dimension.
    ///
    /// # Errors
    /// `InvalidArgument` for nodes of another graph.
    pub fn concat(&self, g: &Graph) -> Result<Output> {
        let shape = self.element_shape();
        let call = g.call("TensorArrayConcatV3").arg(self.handle).arg(self.flow);
        let op = call.attr("dtype", self.dtype).attr("element_shape_except0", shape.slice_from(1)).finish()?;
        let value = op.output(0);
        if shape.rank().is_none() {
            return Ok(value);
        }
        let mut rows = None;
        if self.infer_shape {
            let size = self.size(&g.plain())?;
            let size = g.constant_value(size).and_then(|s| s.item_i64().ok()).and_then(|s| usize::try_from(s).ok());
            rows = size.zip(shape.dim(0)).and_then(|(size, dim)| size.checked_mul(dim));
        }
        g.set_shape(value, Shape::vector(rows).concatenate(&shape.slice_from(1)))?;
        Ok(value)
    }

    /// The array after the write of all rows of a tensor.
    ///
    /// # Errors
    /// As [`TensorArray::scatter`].
    pub fn unstack(&self, g: &Graph, value: Output) -> Result<TensorArray> {
        let named = g.name_or("TensorArrayScatter").to_string();
        let (g, _scope) = g.enter("TensorArrayUnstack")?;
        let shape = g.shape_tensor(value)?;
        let rows = g.index(shape, &[Idx::from(0)])?;
        let indices = g.call("Range").default_name("range").arg(0i32).arg(rows).arg(1i32).output()?;
        self.scatter(&g.named(&named), indices, value)
    }

    /// The array after the write of a tensor's rows at these indices.
    ///
    /// # Errors
    /// `InvalidArgument` for indices that are no int32 vector, a value of another dtype, or rows of another shape than
    /// values written before.
    pub fn scatter(&self, g: &Graph, indices: impl Into<Arg>, value: impl Into<Arg>) -> Result<TensorArray> {
        let named = match g.name_or("TensorArrayScatter") {
            "TensorArrayScatter" => "TensorArrayScatterV3".to_string(),
            name => name.to_string(),
        };
        let (g, _scope) = g.enter("TensorArrayScatter")?;
        let value = g.convert_to_tensor(value, None, "value")?;
        self.check_element_shape(&g.shape(value)?.slice_from(1))?;
        let flow = {
            let _beside = self.beside(&g, value)?;
            let call = g.named(&named).call("TensorArrayScatterV3");
            call.arg(self.handle).arg(indices).arg(value).arg(self.flow).output()?
        };
        self.with_flow(&g, flow)
    }

    /// The array after the write of the parts of a tensor, of these lengths along its first dimension.
    ///
    /// # Errors
    /// `InvalidArgument` for lengths that are no vector of integers, or a value of another dtype.
    pub fn split(&self, g: &Graph, value: impl Into<Arg>, lengths: impl Into<Arg>) -> Result<TensorArray> {
        let named = g.name_or("TensorArraySplitV3").to_string();
        let (g, _scope) = g.enter("TensorArraySplit")?;
        let value = g.convert_to_tensor(value, Some(self.dtype), "value")?;
        let flow = {
            let _beside = self.beside(&g, value)?;
            let lengths = cast_lengths(&g, &lengths.into())?;
            if let Some(known) = g.constant_value(lengths)
                && let Ok(known) = known.to_dims()
                && let Some(&first) = known.first()
                && known.iter().all(|&l| l == first)
                && g.shape(value)?.rank().is_some()
            {
                self.check_element_shape(&Shape::from([first]).concatenate(&g.shape(value)?.slice_from(1)))?;
            }
            let call = g.named(&named).call("TensorArraySplitV3");
            call.arg(self.handle).arg(value).arg(lengths).arg(self.flow).output()?
        };
        self.with_flow(&g, flow)
    }

    /// The number of elements.
    ///
    /// # Errors
    /// `InvalidArgument` for nodes of another graph.
    pub fn size(&self, g: &Graph) -> Result<Output> {
        match &self.size {
            Some(size) if !self.dynamic_size => g.convert_to_tensor(size.clone(), Some(DType::Int32), "Const"),
            _ => g.call("TensorArraySizeV3").arg(self.handle).arg(self.flow).output(),
        }
    }

    /// Gives the elements up.
    ///
    /// # Errors
    /// `InvalidArgument` for nodes of another graph.
    pub fn close(&self, g: &Graph) -> Result<Operation> {
        g.op("TensorArrayCloseV3").input(self.handle).finish()
    }
}

/// Lengths as int64 (`tf.cast`).
fn cast_lengths(g: &Graph, lengths: &Arg) -> Result<Output> {
    let (g, scope) = g.enter("Cast")?;
    let lengths = g.convert(lengths, None, "x")?;
    if g.dtype(lengths)? == DType::Int64 {
        return Ok(lengths);
    }
    g.op("Cast").name(scope.name()).input(lengths).attr("DstT", DType::Int64).output()
}
