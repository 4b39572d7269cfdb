//! Variables that are passed by handle.

use super::{resource_error, variable_input};
use crate::error::{Result, bail};
use crate::graph::op::{Grad, HandleData, InferCtx, Kernel, KernelCtx, Op, PrepareCtx, Prepared, Variable};
use crate::graph::{Graph, Output};
use crate::ops::shape;
use crate::tensor::{DType, ResourceHandle, Shape, Tensor};
use std::sync::Arc;

pub(super) static OPS: &[Op] = &[
    Op {
        name: "VarHandleOp",
        ins: &[],
        outs: &["resource: resource"],
        attrs: &[
            "container: string = ''",
            "shared_name: string = ''",
            "debug_name: string = ''",
            "dtype: type",
            "shape: shape",
            "allowed_devices: list(string) = []",
        ],
        shape: var_handle_shape,
        kernel: Kernel::StatefulPrepared(prepare_var_handle),
        grad: Grad::Missing,
        rows: &[],
    },
    Op {
        name: "_VarHandlesOp",
        ins: &[],
        outs: &["resources: N * resource"],
        attrs: &[
            "containers: list(string)",
            "shared_names: list(string)",
            "N: int >= 0",
            "dtypes: list(type)",
            "shapes: list(shape)",
        ],
        shape: var_handles_shape,
        kernel: Kernel::StatefulPrepared(prepare_var_handles),
        grad: Grad::Missing,
        rows: &[],
    },
    Op {
        name: "ReadVariableOp",
        ins: &["resource: resource"],
        outs: &["value: dtype"],
        attrs: &["dtype: type"],
        shape: read_variable_shape,
        kernel: Kernel::Stateful(read_variable),
        grad: Grad::Fn(|g, _, grads| Ok(vec![Some(grads.dense(g, 0)?.into())])),
        rows: &[],
    },
    Op {
        name: "_ReadVariablesOp",
        ins: &["resources: N * resource"],
        outs: &["values: dtypes"],
        attrs: &["N: int >= 0", "dtypes: list(type) >= 1"],
        shape: read_variables_shape,
        kernel: Kernel::Stateful(read_variables),
        grad: Grad::Missing,
        rows: &[],
    },
    Op {
        name: "VarIsInitializedOp",
        ins: &["resource: resource"],
        outs: &["is_initialized: bool"],
        attrs: &[],
        shape: shape::scalar,
        kernel: Kernel::Stateful(var_is_initialized),
        grad: Grad::None("whether there is a value"),
        rows: &[],
    },
    Op {
        name: "VariableShape",
        ins: &["input: resource"],
        outs: &["output: out_type"],
        attrs: &["out_type: {int32, int64} = DT_INT32"],
        shape: variable_shape_shape,
        kernel: Kernel::Stateful(variable_shape),
        grad: Grad::None("a shape"),
        rows: &[],
    },
    Op {
        name: "DestroyResourceOp",
        ins: &["resource: resource"],
        outs: &[],
        attrs: &["ignore_lookup_error: bool = true"],
        shape: shape::none,
        kernel: Kernel::Stateful(destroy_resource),
        grad: Grad::Missing,
        rows: &[],
    },
    Op {
        name: "ResourceStridedSliceAssign",
        ins: &["ref: resource", "begin: Index", "end: Index", "strides: Index", "value: T"],
        outs: &[],
        attrs: &[
            "T: type",
            "Index: {int32, int64}",
            "begin_mask: int = 0",
            "end_mask: int = 0",
            "ellipsis_mask: int = 0",
            "new_axis_mask: int = 0",
            "shrink_axis_mask: int = 0",
        ],
        shape: shape::none,
        kernel: Kernel::Stateful(crate::ops::array::strided_slice_assign_kernel),
        grad: Grad::Missing,
        rows: &[],
    },
    Op {
        name: "DisableCopyOnRead",
        ins: &["resource: resource"],
        outs: &[],
        attrs: &[],
        shape: shape::none,
        kernel: Kernel::Stateful(|_| Ok(())),
        grad: Grad::Missing,
        rows: &[],
    },
];

fn var_handle_shape(ctx: &mut InferCtx) -> Result<()> {
    let data = HandleData { dtype: ctx.dtype("dtype")?, shape: ctx.shape_attr("shape")? };
    ctx.set_handle(0, data);
    ctx.set(0, Shape::scalar())
}

fn var_handles_shape(ctx: &mut InferCtx) -> Result<()> {
    for (index, (dtype, shape)) in ctx.dtypes("dtypes")?.into_iter().zip(ctx.shapes("shapes")?).enumerate() {
        ctx.set_handle(index, HandleData { dtype, shape });
    }
    shape::scalar(ctx)
}

/// Finds or makes the variable, and the tensor with its handle.
fn handle(ctx: &PrepareCtx, container: &str, name: &str, dtype: DType, shape: Shape) -> Result<Tensor> {
    let variable: Arc<Variable> = ctx.session.resource(container, name, || Ok(Variable::new(name, dtype, shape)))?;
    Ok(Tensor::resource(ResourceHandle { container: Arc::from(container), name: Arc::from(name), object: Some(variable) }))
}

fn prepare_var_handle(ctx: &PrepareCtx) -> Result<Prepared> {
    let node = ctx.node;
    let shared = node.string("shared_name")?;
    let name = if shared.is_empty() { &node.name } else { shared };
    let handle = handle(ctx, node.string("container")?, name, node.dtype("dtype")?, node.shape("shape")?)?;
    Ok(Box::new(move |ctx: &mut KernelCtx| ctx.set(0, handle.clone())))
}

fn prepare_var_handles(ctx: &PrepareCtx) -> Result<Prepared> {
    let node = ctx.node;
    let (containers, names) = (node.strings("containers")?, node.strings("shared_names")?);
    let (dtypes, shapes) = (node.dtypes("dtypes")?, node.shapes("shapes")?);
    let count = node.output_types.len();
    if [containers.len(), names.len(), dtypes.len(), shapes.len()].iter().any(|&n| n != count) {
        bail!(InvalidArgument, "_VarHandlesOp needs {count} containers, shared_names, dtypes and shapes");
    }
    let mut handles = Vec::with_capacity(count);
    for (((container, name), dtype), shape) in containers.iter().zip(&names).zip(dtypes).zip(shapes) {
        handles.push(handle(ctx, container, name, dtype, shape)?);
    }
    Ok(Box::new(move |ctx: &mut KernelCtx| {
        handles.iter().enumerate().try_for_each(|(index, handle)| ctx.set(index, handle.clone()))
    }))
}

fn read_variable_shape(ctx: &mut InferCtx) -> Result<()> {
    read_shape(ctx, 0, ctx.dtype("dtype")?)
}

fn read_variables_shape(ctx: &mut InferCtx) -> Result<()> {
    ctx.dtypes("dtypes")?.into_iter().enumerate().try_for_each(|(index, dtype)| read_shape(ctx, index, dtype))
}

fn read_shape(ctx: &mut InferCtx, index: usize, dtype: DType) -> Result<()> {
    let Some(data) = ctx.handle(index) else { return ctx.set(index, Shape::unknown()) };
    if data.dtype != dtype {
        bail!(InvalidArgument, "Trying to read variable with wrong dtype. Expected {} got {dtype}", data.dtype);
    }
    ctx.set(index, data.shape)
}

fn read(ctx: &mut KernelCtx, index: usize) -> Result<()> {
    let variable = variable_input(ctx, index)?;
    let Some(value) = variable.get() else {
        bail!(
            FailedPrecondition,
            "Could not find variable {}. This could mean that the variable has been deleted. In TF1, it can also mean the \
             variable is uninitialized.",
            variable.name
        );
    };
    let dtype = ctx.node().output_types[index];
    if value.dtype() != dtype {
        bail!(InvalidArgument, "Trying to read variable with wrong dtype. Expected {dtype} got {}", value.dtype());
    }
    ctx.set(index, value)
}

fn read_variable(ctx: &mut KernelCtx) -> Result<()> {
    read(ctx, 0)
}

fn read_variables(ctx: &mut KernelCtx) -> Result<()> {
    (0..ctx.num_inputs()).try_for_each(|index| read(ctx, index))
}

fn var_is_initialized(ctx: &mut KernelCtx) -> Result<()> {
    let initialized = variable_input(ctx, 0).is_ok_and(|v| v.is_initialized());
    ctx.set(0, Tensor::scalar(initialized))
}

fn variable_shape_shape(ctx: &mut InferCtx) -> Result<()> {
    let rank = ctx.handle(0).and_then(|data| data.shape.rank());
    ctx.set(0, Shape::vector(rank))
}

fn variable_shape(ctx: &mut KernelCtx) -> Result<()> {
    let variable = variable_input(ctx, 0)?;
    let value = variable.read().map_err(|e| resource_error(e, &variable))?;
    let shape = match ctx.node().output_types[0] {
        DType::Int64 => Tensor::from(value.dims().iter().map(|&d| d as i64).collect::<Vec<i64>>()),
        _ => {
            let mut dims = Vec::with_capacity(value.rank());
            for &dim in value.dims() {
                let Ok(dim) = i32::try_from(dim) else {
                    bail!(InvalidArgument, "VariableShape output type is int32 but a dimension is {dim}");
                };
                dims.push(dim);
            }
            Tensor::from(dims)
        }
    };
    ctx.set(0, shape)
}

/// A destroyed variable is one without a value: plans that hold it go on with the same variable once it is assigned.
fn destroy_resource(ctx: &mut KernelCtx) -> Result<()> {
    let handle = ctx.handle(0)?;
    let there = match handle.downcast::<Variable>() {
        Some(variable) => {
            let there = variable.is_initialized();
            variable.set(None);
            there
        }
        None => ctx.session().remove(&handle.container, &handle.name),
    };
    if !there && !ctx.node().boolean("ignore_lookup_error")? {
        bail!(NotFound, "Resource {}/{} does not exist.", handle.container, handle.name);
    }
    Ok(())
}

impl Graph {
    /// A handle to a variable without an initial value (`gen_resource_variable_ops.var_handle_op`). The name under
    /// which the session keeps the variable is `shared_name`, or the node's where that is empty.
    ///
    /// # Errors
    /// `InvalidArgument` for a bad name.
    pub fn var_handle_op(&self, dtype: DType, shape: impl Into<Shape>, shared_name: &str) -> Result<Output> {
        let op = self.op("VarHandleOp").attr("dtype", dtype).attr("shape", shape.into());
        op.attr("shared_name", shared_name).output()
    }

    /// Reads a variable given by handle.
    ///
    /// # Errors
    /// `InvalidArgument` for a tensor that is no handle, or a handle of a variable of another dtype.
    pub fn read_variable_op(&self, handle: Output, dtype: DType) -> Result<Output> {
        self.op("ReadVariableOp").input(handle).attr("dtype", dtype).output()
    }

    /// The dtype and shape of the variable behind a handle, as far as they are known.
    ///
    /// # Errors
    /// `InvalidArgument` for a tensor of another graph.
    pub(crate) fn handle_data(&self, handle: Output) -> Result<Option<HandleData>> {
        self.shape(handle)?;
        let inner = self.read();
        Ok(inner.node(handle.op)?.handles.get(handle.index as usize).cloned().flatten())
    }

    /// The shape of the variable behind a handle as a tensor (`resource_variable_ops.variable_shape`): a constant where
    /// it is known.
    ///
    /// # Errors
    /// `InvalidArgument` for a tensor that is no handle.
    pub(crate) fn variable_shape(&self, handle: Output) -> Result<Output> {
        let known = self.handle_data(handle)?.and_then(|data| data.shape.to_dims());
        match known.map(|dims| dims.iter().map(|&d| i32::try_from(d).ok()).collect::<Option<Vec<i32>>>()) {
            Some(Some(dims)) => self.constant(dims),
            _ => self.op("VariableShape").input(handle).output(),
        }
    }
}
