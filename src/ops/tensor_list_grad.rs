//! Gradients of the ops of lists.

use crate::error::{Result, bail};
use crate::graph::{Gradient, Grads, Graph, Operation, Output, attr};
use crate::tensor::{DType, Shape, Tensor};

type Gradients = Result<Vec<Option<Gradient>>>;

fn element_dtype(g: &Graph, op: Operation) -> Result<DType> {
    attr::dtype(&g.get_attr(op, "element_dtype")?)
}

fn some(gradients: impl IntoIterator<Item = Option<Output>>) -> Gradients {
    Ok(gradients.into_iter().map(|o| o.map(Gradient::from)).collect())
}

fn element_shape(g: &Graph, list: Output) -> Result<Output> {
    g.op("TensorListElementShape").input(list).attr("shape_type", DType::Int32).output()
}

fn length(g: &Graph, list: Output) -> Result<Output> {
    g.op("TensorListLength").input(list).output()
}

/// A tensor's shape as a tensor.
fn shape_of(g: &Graph, tensor: Output) -> Result<Output> {
    let shape = g.shape_tensor(tensor)?;
    g.convert_to_tensor(shape, None, "Shape")
}

/// The shape of a tensor's rows, as a tensor.
fn row_shape(g: &Graph, tensor: Output) -> Result<Output> {
    let shape = shape_of(g, tensor)?;
    g.slice(shape, [1i32], [-1i32])
}

/// A static shape as TensorFlow hands it to lists: sizes that aren't known are -1, as is a rank.
fn shape_constant(g: &Graph, shape: &Shape) -> Result<Output> {
    match shape.signed() {
        Some(dims) => g.constant(Tensor::from(dims.iter().map(|&d| d as i32).collect::<Vec<_>>())),
        None => g.constant(-1i32),
    }
}

pub(super) fn push_back(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let shape = shape_of(g, g.input(op, 1)?)?;
    let list = grads.dense(g, 0)?;
    let pop = g.op("TensorListPopBack").input(list).input(shape).attr("element_dtype", element_dtype(g, op)?).finish()?;
    some([Some(pop.output(0)), Some(pop.output(1))])
}

pub(super) fn pop_back(g: &Graph, _: Operation, grads: &Grads) -> Gradients {
    let (list, element) = (grads.dense(g, 0)?, grads.dense(g, 1)?);
    some([Some(g.op("TensorListPushBack").input(list).input(element).output()?), None])
}

pub(super) fn stack(g: &Graph, _: Operation, grads: &Grads) -> Gradients {
    let tensor = grads.dense(g, 0)?;
    let shape = shape_constant(g, &g.shape(tensor)?.slice_from(1))?;
    some([Some(g.op("TensorListFromTensor").input(tensor).input(shape).output()?), None])
}

pub(super) fn concat(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let shape = element_shape(g, g.input(op, 0)?)?;
    let tensor = grads.dense(g, 0)?;
    let list = g.op("TensorListSplit").input(tensor).input(shape).input(op.output(1)).output()?;
    some(std::iter::once(Some(list)).chain(std::iter::repeat_n(None, g.inputs(op).len() - 1)))
}

pub(super) fn split(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (tensor, lengths) = (g.input(op, 0)?, g.input(op, 2)?);
    let rows = row_shape(g, tensor)?;
    let shape = g.concat(&[vec![-1i32].into(), rows.into()], 0i32)?;
    let list = grads.dense(g, 0)?;
    let joined =
        g.op("TensorListConcatV2").input(list).input(shape).input(lengths).attr("element_dtype", g.dtype(tensor)?).finish()?;
    some([Some(joined.output(0)), None, None])
}

pub(super) fn from_tensor(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let tensor = g.input(op, 0)?;
    let count = g.shape(tensor)?.dim(0).map_or(-1, |d| d as i64);
    let (list, rows) = (grads.dense(g, 0)?, row_shape(g, tensor)?);
    let stacked = g
        .op("TensorListStack")
        .input(list)
        .input(rows)
        .attr("element_dtype", g.dtype(tensor)?)
        .attr("num_elements", count)
        .output()?;
    some([Some(stacked), None])
}

/// An empty list of the size and element shape of another.
fn reserve_like(g: &Graph, list: Output, dtype: DType) -> Result<Output> {
    let (size, shape) = (length(g, list)?, element_shape(g, list)?);
    g.op("TensorListReserve").input(shape).input(size).attr("element_dtype", dtype).output()
}

pub(super) fn get_item(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let item = grads.dense(g, 0)?;
    let empty = reserve_like(g, g.input(op, 0)?, g.dtype(item)?)?;
    let list = g.op("TensorListSetItem").input(empty).input(g.input(op, 1)?).input(item).output()?;
    some([Some(list), None, None])
}

pub(super) fn set_item(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (index, item, list) = (g.input(op, 1)?, g.input(op, 2)?, grads.dense(g, 0)?);
    let zeros = g.zeros_like(item)?;
    let list_grad = g.op("TensorListSetItem").input(list).input(index).input(zeros).output()?;
    let shape = shape_of(g, item)?;
    let dtype = g.dtype(item)?;
    let item_grad = g.op("TensorListGetItem").input(list).input(index).input(shape).attr("element_dtype", dtype).output()?;
    some([Some(list_grad), None, Some(item_grad)])
}

pub(super) fn resize(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let size = length(g, g.input(op, 0)?)?;
    let list = grads.dense(g, 0)?;
    some([Some(g.op("TensorListResize").input(list).input(size).output()?), None])
}

pub(super) fn gather(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let tensor = grads.dense(g, 0)?;
    let empty = reserve_like(g, g.input(op, 0)?, g.dtype(tensor)?)?;
    let list = g.op("TensorListScatterIntoExistingList").input(empty).input(tensor).input(g.input(op, 1)?).output()?;
    some([Some(list), None, None])
}

fn gathered(g: &Graph, list: Output, tensor: Output, indices: Output) -> Result<Output> {
    let (rows, dtype) = (row_shape(g, tensor)?, g.dtype(tensor)?);
    g.op("TensorListGather").input(list).input(indices).input(rows).attr("element_dtype", dtype).output()
}

pub(super) fn scatter(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let inputs = g.inputs(op);
    let [tensor, indices, ..] = inputs[..] else { bail!(Internal, "a scatter has two inputs at least") };
    let tensor = gathered(g, grads.dense(g, 0)?, tensor, indices)?;
    some(std::iter::once(Some(tensor)).chain(std::iter::repeat_n(None, inputs.len() - 1)))
}

pub(super) fn scatter_into(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (tensor, indices, list) = (g.input(op, 1)?, g.input(op, 2)?, grads.dense(g, 0)?);
    let tensor_grad = gathered(g, list, tensor, indices)?;
    let zeros = g.zeros_like(tensor)?;
    let list = g.op("TensorListScatterIntoExistingList").input(list).input(zeros).input(indices).output()?;
    some([Some(list), Some(tensor_grad), None])
}
